package integration_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/integration/testdb"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm/awssmtest"
)

// TestSecretsManagerHangs: a caller returns at its own deadline. The next one gets an answer
// although the first request still hangs. No goroutine is left.
func TestSecretsManagerHangs(t *testing.T) {
	forEachTogether(t, func(t *testing.T, e *engine) {
		v := newEnv(t, e, testdb.Options{})
		for _, c := range []struct {
			name         string
			fetchTimeout time.Duration
		}{
			{"default timeout", 0},
			{"timeout of 5 s", 5 * time.Second},
		} {
			t.Run(c.name, func(t *testing.T) { pingWhileHanging(t, v, c.fetchTimeout) })
		}
	})
}

// pingWhileHanging checks that a Ping with a deadline of 200 ms, and the next Ping, take less time
// than the timeout of the fetch that hangs. The bound leaves room for a busy machine.
func pingWhileHanging(t *testing.T, v *env, fetchTimeout time.Duration) {
	t.Helper()
	const bound = 3 * time.Second
	cache := secretcache.New(v.sm.Source(), &secretcache.Options{FetchTimeout: fetchTimeout})
	defer cache.Close()
	db := v.open(t, "", &driver.Options{Secrets: cache})
	v.sm.Fail(awssmtest.Hang.Times(1))
	defer v.sm.Heal()

	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	start := time.Now()
	err := db.PingContext(ctx)
	took := time.Since(start)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Ping = %v, want the context's error", err)
	}
	if n := v.sm.Hanging(); n != 1 {
		t.Fatalf("%d requests hang, want 1", n)
	}

	start = time.Now()
	if err := db.PingContext(t.Context()); err != nil {
		t.Errorf("the next Ping: %v", err)
	}
	next := time.Since(start)
	if took > bound || next > bound {
		t.Errorf("Ping with a deadline of 200ms took %v and the next one %v, want at most %v", took, next, bound)
	}
	t.Logf("Ping with a deadline of 200ms took %v, the next one %v", took.Round(time.Millisecond), next.Round(time.Millisecond))
}

// TestNoGoroutineOutlivesAHungFetch: after FetchTimeout no goroutine of the fetch is left.
func TestNoGoroutineOutlivesAHungFetch(t *testing.T) {
	forEach(t, func(t *testing.T, e *engine) {
		v := newEnv(t, e, testdb.Options{})
		mustPing(t, v.open(t, "", nil)) // so that everything that starts once has started
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
