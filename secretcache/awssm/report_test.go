package awssm_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm/awssmtest"
)

// If a caller's deadline comes before the end of the fetch, its error says why the attempts
// until then failed.
func TestFailedAttemptsAreReported(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fault awssmtest.Fault
		want  []string
		is    error // nil means any error
	}{
		{"throttled", awssmtest.Throttle, []string{"GetSecretValue", `"prod/app"`}, secretcache.ErrThrottled},
		{"hangs", awssmtest.Hang, []string{"no answer within 50ms"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sm := awssmtest.NewServer(t)
			sm.Put("prod/app", "value")
			sm.Fail(tt.fault)
			c := secretcache.New(sm.Source(func(o *awssm.Options) {
				o.AttemptTimeout, o.MaxAttempts = 50*time.Millisecond, 1000
			}), nil)
			t.Cleanup(func() { _ = c.Close() })
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			_, err := c.Get(ctx, "prod/app", "")
			var e *awssm.Error
			if !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &e) || tt.is != nil && !errors.Is(err, tt.is) {
				t.Fatalf("Get() = %v, want the deadline and the last attempt's error", err)
			}
			for _, want := range append(tt.want, "context deadline exceeded; the last attempt failed: ") {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("Get() = %v, want %q in it", err, want)
				}
			}
			if err := c.LastFailure("prod/app", ""); !errors.As(err, &e) {
				t.Errorf("LastFailure() = %v, want the attempt's error", err)
			}
		})
	}
}
