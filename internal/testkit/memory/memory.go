// Package memory searches the memory of the process, for tests of what stays in it.
package memory

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"testing"
)

// Password returns the n-th password. It makes the password each time, so that a test need not keep
// one.
func Password(n int) []byte {
	sum := sha256.Sum256([]byte("password " + strconv.Itoa(n)))
	return hex.AppendEncode(nil, sum[:])
}

// Holds returns the numbers, below passwords, of the passwords that are in memory that is not
// garbage: on the heap, on the stacks of goroutines or in global variables.
func Holds(tb testing.TB, passwords int) []int {
	tb.Helper()
	dump, err := dump(filepath.Join(tb.TempDir(), "heap"))
	if err != nil {
		tb.Fatal(err)
	}
	var found []int
	for n := range passwords {
		if bytes.Contains(dump, Password(n)) {
			found = append(found, n)
		}
	}
	return found
}

func dump(name string) ([]byte, error) {
	f, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	runtime.GC()
	runtime.GC() // the second collection frees the contents of sync.Pools
	debug.WriteHeapDump(f.Fd())
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return io.ReadAll(f)
}
