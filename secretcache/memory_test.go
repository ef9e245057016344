package secretcache_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqlsecrets/sqlsecrets/internal/testkit/memory"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// A value stays in memory until another version or another secret takes its place, or until Close.
// Time alone does not remove it. SECURITY.md says so.
func TestHowLongAValueStaysInMemory(t *testing.T) {
	tests := []struct {
		name string
		opts secretcache.Options
		do   func(c *secretcache.Cache, get func(id string), version func(n int))
		want []int // numbers of the passwords; the first is 0
	}{
		{"fetched", secretcache.Options{}, func(*secretcache.Cache, func(string), func(int)) {}, []int{0}},
		{"older than TTL and MaxStale", secretcache.Options{TTL: time.Second, MaxStale: time.Second},
			func(*secretcache.Cache, func(string), func(int)) { time.Sleep(24 * time.Hour) }, []int{0}},
		{"too old to be served", secretcache.Options{TTL: time.Second, MaxStale: time.Second},
			func(_ *secretcache.Cache, get func(string), version func(int)) {
				version(-1) // the source fails
				time.Sleep(24 * time.Hour)
				get("a")
			}, []int{0}},
		{"invalidated", secretcache.Options{},
			func(c *secretcache.Cache, _ func(string), _ func(int)) { c.Invalidate("a") }, []int{0}},
		{"invalidated, replaced by another version", secretcache.Options{},
			func(c *secretcache.Cache, get func(string), version func(int)) {
				c.Invalidate("a")
				version(1)
				get("a")
			}, []int{1}},
		{"evicted", secretcache.Options{MaxSize: 1},
			func(_ *secretcache.Cache, get func(string), version func(int)) {
				version(1)
				get("b")
			}, []int{1}},
		{"closed", secretcache.Options{},
			func(c *secretcache.Cache, _ func(string), _ func(int)) { _ = c.Close() }, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := 0
				source := secretcache.SourceFunc(func(_ context.Context, id, stage string) (*secretcache.Secret, error) {
					if n < 0 {
						return nil, errors.New("down")
					}
					return secretcache.NewSecret(secretcache.Value{ID: id, Name: id, VersionID: string(rune('A' + n)), Stages: []string{stage},
						String: `{"password":"` + string(memory.Password(n)) + `"}`}), nil
				})
				c := secretcache.New(source, &test.opts)
				get := func(id string) { _, _ = c.Get(t.Context(), id, "") }
				done := make(chan struct{})
				go func() { // in a goroutine, so that no stack keeps the value
					defer close(done)
					get("a")
					test.do(c, get, func(version int) { n = version })
				}()
				<-done
				time.Sleep(time.Minute) // until all fetches and timers have ended
				if got := memory.Holds(t, 2); !slices.Equal(got, test.want) {
					t.Errorf("passwords in memory: %v, want %v", got, test.want)
				}
				runtime.KeepAlive(c)
				_ = c.Close()
			})
		})
	}
}
