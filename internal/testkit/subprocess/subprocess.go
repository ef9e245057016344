// Package subprocess runs a part of a test in a process of its own.
package subprocess

import (
	"bytes"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

const (
	env = "SQLSECRETS_TEST_SUBPROCESS"
	end = "\nend of the subprocess's output\n"
)

// Run runs f in a process of its own and returns what f wrote to that process's standard streams.
// If f fails the test there, Run fails it here.
//
// A test that replaces os.Stderr in its own process has a data race with every goroutine that
// reads os.Stderr, for example one that an earlier test left behind.
//
// Run starts the test binary again for this test only. What stands before Run in the test runs in
// both processes, and what stands after it only in the first. A test calls Run once; subtests
// may each call it once.
func Run(t *testing.T, f func()) (stdout, stderr string) {
	t.Helper()
	if os.Getenv(env) == t.Name() {
		f()
		_, _ = os.Stdout.WriteString(end)
		_, _ = os.Stderr.WriteString(end)
		t.SkipNow() // the first process goes on
	}
	levels := strings.Split(t.Name(), "/")
	for i, name := range levels {
		levels[i] = "^" + regexp.QuoteMeta(name) + "$"
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run="+strings.Join(levels, "/"))
	cmd.Env = append(os.Environ(), env+"="+t.Name(), "GORACE=atexit_sleep_ms=0") // without it, each process waits a second at its end
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	stdout, _, ended := strings.Cut(out.String(), end)
	stderr, _, _ = strings.Cut(errOut.String(), end)
	if err != nil || !ended {
		t.Fatalf("the test fails in a process of its own (%v):\n%s%s", err, out.String(), errOut.String())
	}
	return stdout, stderr
}
