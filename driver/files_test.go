package driver_test

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
)

// A fileEngine reads the file that the parameter "ca" names. The file must contain "good".
func withFile(t *testing.T) (path string, log *bytes.Buffer, b *bench) {
	t.Helper()
	path, log = filepath.Join(t.TempDir(), "ca.pem"), &bytes.Buffer{}
	write(t, path, "good 1", time.Minute)
	b = newBench(t, func(b *bench, dsn *string) {
		*dsn += "?ca=" + path
		b.opts.Logger = slog.New(slog.NewTextHandler(log, nil))
		b.engine.info.Files = func(params map[string]string) []string { return []string{params["ca"]} }
		b.engine.prepare = func(ep driver.Endpoint) error {
			text, err := os.ReadFile(ep.Params["ca"])
			if err == nil && !strings.HasPrefix(string(text), "good") {
				err = errors.New("the file is cut off")
			}
			return err
		}
	})
	return path, log, b
}

// write writes a file and sets its modification time.
func write(t *testing.T, path, text string, age time.Duration) {
	t.Helper()
	then := time.Now().Add(-age)
	if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chtimes(path, then, then)); err != nil {
		t.Fatal(err)
	}
}

func (b *bench) prepared(t *testing.T) int {
	t.Helper()
	if err := b.ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.engine.mu.Lock()
	defer b.engine.mu.Unlock()
	return len(b.engine.endpoints)
}

func TestAFileThatChangesIsReadAgain(t *testing.T) {
	path, _, b := withFile(t)
	for i, step := range []struct {
		what   string
		change func()
		reads  int
	}{
		{"first connection", func() {}, 1},
		{"no change", func() {}, 1},
		{"another text", func() { write(t, path, "good 22", time.Minute) }, 2},
		{"same size, another time", func() { write(t, path, "good 33", 2*time.Minute) }, 3},
		{"same size and time, another file", func() {
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			write(t, path+".new", "good 44", time.Minute)
			if err := errors.Join(os.Chtimes(path+".new", info.ModTime(), info.ModTime()), os.Rename(path+".new", path)); err != nil {
				t.Fatal(err)
			}
		}, 4},
		{"no change again", func() {}, 4},
		{"just written", func() { write(t, path, "good 55", 0) }, 5},
		{"perhaps written again within a tick of the clock", func() {}, 6},
	} {
		step.change()
		if got := b.prepared(t); got != step.reads {
			t.Fatalf("step %d, %s: read %d times, want %d", i, step.what, got, step.reads)
		}
	}
}

func TestAFileThatCannotBeUsedKeepsTheFormerOne(t *testing.T) {
	path, log, b := withFile(t)
	b.prepared(t)
	write(t, path, "go", time.Minute)
	if got := b.prepared(t); got != 2 {
		t.Errorf("read %d times, want 2", got)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if got := b.prepared(t); got != 3 { // the engine tries again, because the permissions may have changed
		t.Errorf("read %d times, want 3", got)
	}
	if n := strings.Count(log.String(), "level=WARN"); n != 1 || !strings.Contains(log.String(), "the file is cut off") {
		t.Errorf("%d warnings, want one with the cause: %s", n, log)
	}
	write(t, path, "good again", time.Minute)
	for range 2 {
		if got := b.prepared(t); got != 4 {
			t.Errorf("read %d times, want the good file once", got)
		}
	}
}

func TestAFileThatCannotBeReadAtFirstIsAnError(t *testing.T) {
	path, _, b := withFile(t)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := b.ping(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("connect = %v, want the error of a file that does not exist", err)
	}
	write(t, path, "good", time.Minute)
	b.prepared(t)
}
