package awssm_test

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/internal/standin/awsrecorder"
)

// recorder is the proxy of all tests. It answers every request that is not for this machine.
var recorder *awsrecorder.Recorder

// TestMain fails if a goroutine is left at the end of all tests.
func TestMain(m *testing.M) {
	var err error
	if recorder, err = awsrecorder.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	// Set these before the first request, because net/http reads them only once.
	for _, key := range []string{"HTTPS_PROXY", "HTTP_PROXY"} {
		_ = os.Setenv(key, recorder.URL())
	}
	_ = os.Setenv("NO_PROXY", "")
	code := m.Run()
	recorder.Close()
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
