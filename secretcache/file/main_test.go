package file_test

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestMain fails if a goroutine of a fetch is left at the end of all tests.
func TestMain(m *testing.M) {
	code := m.Run()
	stacks := func() string {
		buf := make([]byte, 1<<20)
		return string(buf[:runtime.Stack(buf, true)])
	}
	const own = "secretcache/file.("
	for end := time.Now().Add(5 * time.Second); strings.Contains(stacks(), own) && time.Now().Before(end); {
		runtime.Gosched()
	}
	if s := stacks(); strings.Contains(s, own) && code == 0 {
		fmt.Fprintln(os.Stderr, "goroutines left:\n"+s)
		code = 1
	}
	os.Exit(code)
}
