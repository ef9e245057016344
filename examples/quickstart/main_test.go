package main

import (
	"strings"
	"testing"
	"time"
)

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
}
