package secretcache_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// During the renewal of a secret, Gets return the old version without a wait, until it is twice
// as old as its TTL, or until Invalidate.
func TestGetsWhileASecretIsRenewed(t *testing.T) {
	const ttl = time.Minute
	renewing := func(t *testing.T, o secretcache.Options) (*fake, *secretcache.Cache) {
		t.Helper()
		o.TTL, o.FetchTimeout = ttl, time.Hour
		src, c, _ := cacheOfV1(t, &o)
		src.put("a", current, "v2")
		src.delay(10 * time.Minute) // the renewal hangs
		time.Sleep(ttl + second)
		for range 3 {
			took(t, 0, func() { want(t, c, "a", "", "v1") })
		}
		wantCalls(t, src, 2)
		if s := c.Stats(); s.StaleHits != 3 || s.Hits != 0 || s.Misses != 1 {
			t.Errorf("Stats = %+v, want 3 stale hits, no hit and 1 miss", s)
		}
		return src, c
	}
	inBubble(t, "twice the TTL", func(t *testing.T) {
		_, c := renewing(t, secretcache.Options{})
		time.Sleep(ttl - 2*second)
		took(t, 0, func() { want(t, c, "a", "", "v1") })
		time.Sleep(2 * second)
		took(t, time.Second, func() { want(t, c, "a", "", "v1") })
	})
	inBubble(t, "MaxStale", func(t *testing.T) {
		_, c := renewing(t, secretcache.Options{MaxStale: 10 * second})
		time.Sleep(9 * second)
		took(t, 0, func() { want(t, c, "a", "", "v1") })
		time.Sleep(second)
		took(t, 10*time.Minute-10*second, func() { want(t, c, "a", "", "v2") })
	})
	inBubble(t, "Invalidate", func(t *testing.T) {
		src, c := renewing(t, secretcache.Options{})
		src.delay(5 * second)
		c.Invalidate("a")
		took(t, 10*time.Minute+5*second, func() { want(t, c, "a", "", "v2") }) // the renewal that hangs, and another one
	})
	inBubble(t, "Close", func(t *testing.T) {
		_, c := renewing(t, secretcache.Options{})
		_ = c.Close()
		wantErr(t, c, "a", "", secretcache.ErrClosed)
	})
	inBubble(t, "the renewal ends", func(t *testing.T) {
		_, c := renewing(t, secretcache.Options{MaxStale: time.Hour})
		time.Sleep(10 * time.Minute)
		took(t, 0, func() { want(t, c, "a", "", "v2") })
	})
}

// The first Get after a renewal that failed reports the failure, and does not serve a secret that
// StopOn forbids.
func TestGetsAfterARenewalThatFailed(t *testing.T) {
	for _, stops := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			src, c, _ := cacheOfV1(t, &secretcache.Options{TTL: time.Minute, FetchTimeout: 10 * second, StopOn: func(error) bool { return stops }})
			src.delay(time.Hour)
			time.Sleep(time.Minute + second)
			want(t, c, "a", "", "v1") // during the renewal
			time.Sleep(11 * second)
			r, err := c.Read(t.Context(), "a", "")
			if stops != (err != nil) || !stops && r.StaleCause == nil {
				t.Errorf("StopOn %t: Read = %+v, %v", stops, r, err)
			}
		})
	}
}
