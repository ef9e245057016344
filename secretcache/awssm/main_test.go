package awssm_test

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestMain fails if a goroutine is left when all tests are through.
func TestMain(m *testing.M) {
	code := m.Run()
	var left []string
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); runtime.Gosched() {
		left = nil
		buf := make([]byte, 1<<20)
		for g := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if strings.Contains(g, "net/http") || strings.Contains(g, "secretcache/awssm.") {
				left = append(left, g)
			}
		}
		if len(left) == 0 {
			break
		}
	}
	if len(left) > 0 && code == 0 {
		fmt.Fprintln(os.Stderr, "goroutines left:\n"+strings.Join(left, "\n\n"))
		code = 1
	}
	os.Exit(code)
}
