package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
)

// What a reader would take for an error.
var looksLikeAnError = regexp.MustCompile(`(?i)error|fail|cancel|deadline|denied|refused|reject|panic`)

func TestQuickstartShowsRotationsWithoutAFailedQuery(t *testing.T) {
	var out strings.Builder
	s, err := run(t.Context(), &out, 2, 100*time.Millisecond)
	if err != nil {
		t.Fatalf("run: %v\n%s", err, out.String())
	}
	if s.failed != 0 || s.queries == 0 {
		t.Errorf("%d of %d queries failed, want 0 of many\n%s", s.failed, s.queries, out.String())
	}
	// The password changed twice. Each version but the last was rejected: once, or
	// more often by logins that were under way together.
	if s.rejected < 2 || s.rejected > 2*workers {
		t.Errorf("%d logins rejected, want 2 to %d\n%s", s.rejected, 2*workers, out.String())
	}
	if strings.Contains(out.String(), "password-") {
		t.Errorf("the output shows a password:\n%s", out.String())
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	want := fmt.Sprintf("Proved: the password changed 2 times under %d workers, and all %d queries succeeded.", workers, s.queries)
	if last := lines[len(lines)-1]; last != want {
		t.Errorf("the last line is %q, want %q", last, want)
	}
	for _, line := range lines {
		if looksLikeAnError.MatchString(line) {
			t.Errorf("all is well, and a line looks like an error: %s", line)
		}
	}
}

// A refresh that nobody waits for any more is no error; another failure is.
func TestQuickstartReportsErrorsOnly(t *testing.T) {
	var out strings.Builder
	var s summary
	trace := tracer(&timeline{out: &out, start: time.Now()}, &s)
	trace.RefreshDone(t.Context(), driver.RefreshInfo{Stage: "AWSPENDING", Err: fmt.Errorf("get secret: %w", context.Canceled)})
	if out.Len() > 0 {
		t.Errorf("a refresh that was given up prints: %s", out.String())
	}
	trace.RefreshDone(t.Context(), driver.RefreshInfo{Stage: "AWSPENDING", Err: errors.New("no network")})
	if !strings.HasSuffix(out.String(), "REFRESH FAILED: AWSPENDING: no network\n") {
		t.Errorf("a refresh that failed prints: %q", out.String())
	}
	out.Reset()
	s = summary{rotations: 3, queries: 9, failed: 1, rejected: 3}
	s.print(&out)
	if strings.Contains(out.String(), "Proved") {
		t.Errorf("a query failed, and the quickstart claims a proof:\n%s", out.String())
	}
}
