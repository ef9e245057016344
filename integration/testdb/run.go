package testdb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
)

// ErrMissing is matched by an error of [Run] if a server is not available.
var ErrMissing = errors.New("no such server")

// Run gives servers to a program that is not a test. It calls f in a goroutine of its own. A call
// that would fail or skip a test ends f, and Run returns the reason. The servers end with f.
func Run(ctx context.Context, f func(tb testing.TB)) error {
	p := &program{ctx: ctx}
	fleet.open.Store(true)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer p.cleanUp()
		f(p)
	}()
	<-done
	p.fail(fleet.end())
	return errors.Join(p.errs...)
}

// A program is the testing.TB of Run. It has the methods that this package and the stand-ins for
// AWS's services use. The others are nil.
type program struct {
	testing.TB
	ctx context.Context

	mu       sync.Mutex // guards all below
	errs     []error
	cleanups []func()
}

func isProgram(tb testing.TB) bool {
	_, ok := tb.(*program)
	return ok
}

func (p *program) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		p.errs = append(p.errs, err)
	}
}

// cleanUp calls the funcs of Cleanup, the last one first.
func (p *program) cleanUp() {
	p.mu.Lock()
	cleanups := p.cleanups
	p.cleanups = nil
	p.mu.Unlock()
	for _, f := range slices.Backward(cleanups) {
		f()
	}
}

func (p *program) Helper()                   {}
func (p *program) Context() context.Context  { return p.ctx }
func (p *program) Error(args ...any)         { p.fail(errors.New(fmt.Sprint(args...))) }
func (p *program) Errorf(f string, a ...any) { p.fail(fmt.Errorf(f, a...)) }

func (p *program) Cleanup(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cleanups = append(p.cleanups, f)
}

func (p *program) Fatal(args ...any) {
	p.Error(args...)
	runtime.Goexit()
}

func (p *program) Fatalf(format string, args ...any) {
	p.Errorf(format, args...)
	runtime.Goexit()
}

func (p *program) Skip(args ...any) {
	p.fail(fmt.Errorf("%w: %s", ErrMissing, fmt.Sprint(args...)))
	runtime.Goexit()
}

func (p *program) Skipf(format string, args ...any) { p.Skip(fmt.Sprintf(format, args...)) }

// TempDir returns a directory that is removed when the program's f returns.
func (p *program) TempDir() string {
	dir, err := os.MkdirTemp("", "testdb")
	if err != nil {
		p.Fatal(err)
	}
	p.Cleanup(func() { p.fail(os.RemoveAll(dir)) })
	return dir
}
