package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
)

// looksLikeAnError matches words that a reader would take for an error.
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
	// The password changed twice. The server rejected each version but the last at least once, and
	// once more for each login that was sent at the same time.
	if s.rejected < 2 || s.rejected > 2*workers {
		t.Errorf("%d logins rejected, want 2 to %d\n%s", s.rejected, 2*workers, out.String())
	}
	if strings.Contains(out.String(), "password-") {
		t.Errorf("the output shows a password:\n%s", out.String())
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if first := lines[0]; !strings.HasPrefix(first, "This program opens a MySQL database by the name of a secret") {
		t.Errorf("the first line does not say what will happen: %q", first)
	}
	// The words that are AWS's own are explained before they are used.
	for _, word := range []string{"AWSCURRENT", "AWSPENDING"} {
		i := slices.IndexFunc(lines, func(line string) bool { return strings.Contains(line, word) })
		if i < 0 || !strings.HasPrefix(lines[i], "  "+word+"  the ") {
			t.Errorf("%s is not explained where it first occurs:\n%s", word, out.String())
		}
	}
	want := fmt.Sprintf("Proved: the password changed 2 times under %d workers, and all %d queries succeeded.", workers, s.queries)
	if last := lines[len(lines)-1]; last != want {
		t.Errorf("the last line is %q, want %q", last, want)
	}
	for _, line := range lines {
		if looksLikeAnError.MatchString(line) {
			t.Errorf("no query failed, but a line looks like an error: %s", line)
		}
	}
}

// A refresh that was canceled, because no Connect call waited for it any more, prints nothing. Any
// other failure is printed.
func TestQuickstartReportsErrorsOnly(t *testing.T) {
	var out strings.Builder
	var s summary
	trace := tracer(&timeline{out: &out, start: time.Now()}, &s)
	trace.RefreshDone(t.Context(), driver.RefreshInfo{Stage: "AWSPENDING", Err: fmt.Errorf("get secret: %w", context.Canceled)})
	if out.Len() > 0 {
		t.Errorf("a canceled refresh prints: %s", out.String())
	}
	trace.RefreshDone(t.Context(), driver.RefreshInfo{Stage: "AWSPENDING", Err: errors.New("no network")})
	if !strings.HasSuffix(out.String(), "REFRESH FAILED: AWSPENDING: no network\n") {
		t.Errorf("a failed refresh prints: %q", out.String())
	}
	out.Reset()
	s = summary{rotations: 3, queries: 9, failed: 1, rejected: 3}
	s.print(&out)
	if strings.Contains(out.String(), "Proved") {
		t.Errorf("a query failed, but the quickstart claims a proof:\n%s", out.String())
	}
}
