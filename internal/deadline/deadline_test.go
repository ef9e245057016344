package deadline_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/internal/deadline"
)

// A late context has a deadline that has passed, and its Err does not show that yet.
type late struct{ context.Context }

func (late) Deadline() (time.Time, bool) { return time.Now().Add(-time.Nanosecond), true }

func TestErrKnowsThatTheDeadlineHasPassed(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	far, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	past, cancel := context.WithTimeout(t.Context(), -time.Hour)
	defer cancel()
	for name, test := range map[string]struct {
		ctx  context.Context
		want error
	}{
		"no deadline":           {t.Context(), nil},
		"deadline to come":      {far, nil},
		"deadline over":         {past, context.DeadlineExceeded},
		"cancelled":             {cancelled, context.Canceled},
		"deadline just over":    {late{t.Context()}, context.DeadlineExceeded},
		"cancelled before that": {late{cancelled}, context.Canceled},
	} {
		if got := deadline.Err(test.ctx); !errors.Is(got, test.want) {
			t.Errorf("%s: Err = %v, want %v", name, got, test.want)
		}
	}
}
