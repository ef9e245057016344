package integration_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/integration/internal/testdb"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm/awssmtest"
)

// TestSecretsManagerHangs: a caller leaves at its own deadline, the next one is
// answered although the first request still hangs, and no goroutine stays.
func TestSecretsManagerHangs(t *testing.T) {
	forEach(t, func(t *testing.T, e *engine) {
		v := newEnv(t, e, testdb.Options{})
		for _, c := range []struct {
			name         string
			fetchTimeout time.Duration
		}{
			{"default timeout", 0},
			{"timeout of 1 s", time.Second},
		} {
			t.Run(c.name, func(t *testing.T) {
				source := v.sm.Source()
				cache := secretcache.New(source, &secretcache.Options{FetchTimeout: c.fetchTimeout})
				db := v.open(t, "", &driver.Options{Secrets: cache})
				v.sm.Fail(awssmtest.Hang.Times(1))
				defer v.sm.Heal()

				ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
				defer cancel()
				start := time.Now()
				err := db.PingContext(ctx)
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Ping = %v, want the context's error", err)
				}
				if d := time.Since(start); d > 300*time.Millisecond {
					t.Errorf("Ping with a deadline of 200ms took %v, want at most 300ms", d)
				}
				if n := v.sm.Hanging(); n != 1 {
					t.Fatalf("%d requests hang, want 1", n)
				}

				start = time.Now()
				if err := db.PingContext(t.Context()); err != nil {
					t.Errorf("the next Ping: %v", err)
				}
				if d := time.Since(start); d > 3*time.Second {
					t.Errorf("the next Ping took %v, want at most 3s", d)
				}
				t.Logf("the next Ping took %v", time.Since(start).Round(time.Millisecond))
			})
		}
	})
}

// TestNoGoroutineOutlivesAHungFetch: after FetchTimeout nothing is left of it.
func TestNoGoroutineOutlivesAHungFetch(t *testing.T) {
	forEach(t, func(t *testing.T, e *engine) {
		v := newEnv(t, e, testdb.Options{})
		mustPing(t, v.open(t, "", nil)) // everything that starts once has started
		before := goleak.IgnoreCurrent()

		cache := secretcache.New(v.sm.Source(), &secretcache.Options{FetchTimeout: time.Second})
		db := v.open(t, "", &driver.Options{Secrets: cache})
		v.sm.Fail(awssmtest.Hang)
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		if err := db.PingContext(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Ping = %v, want the context's error", err)
		}
		_ = db.Close()
		time.Sleep(time.Second) // FetchTimeout
		if err := goleak.Find(before); err != nil {
			t.Error(err)
		}
		v.sm.Heal()
	})
}
