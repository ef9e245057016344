package secretcache

import (
	"errors"
	"math"
	"sync/atomic"
	"time"

	"github.com/sqlsecrets/sqlsecrets/internal/backoff"
	"github.com/sqlsecrets/sqlsecrets/internal/chance"
)

const (
	// The pause after a fetch that failed, and after a refresh that found no newer version.
	// It begins at pauseBase and doubles up to pauseMax. So a program that asks again within
	// seconds is healthy within a minute of the end of a fault.
	pauseBase, pauseMax = time.Second, 55 * time.Second
	// The next Recheck's fetch of a secret begins so long after the last one began:
	// drawn from the first to the second, so that a fleet does not ask together.
	recheckMin, recheckMax = 5 * time.Minute, 7*time.Minute + 30*time.Second

	expired = time.Duration(math.MinInt64) // before any time of the clock
)

// An entry is what the cache knows of one secret and stage: a value, and the pauses
// between fetches. Eviction takes the value and leaves the pauses.
type entry struct {
	stage string
	value atomic.Pointer[value] // nil without one; stored under Cache.mu
	used  atomic.Int64          // stamp of the last use; see index.stamp
	calm  atomic.Int64          // until when Gets serve the value without Cache.mu, because a fetch renews it; stored under Cache.mu

	// Guarded by Cache.mu:
	ids    []string // by which callers find it
	arn    string   // the ARN that ids stand for; empty while unknown
	name   string   // by which only Invalidate finds it; empty for none
	flight *flight  // the fetch under way, or nil

	in         *lru   // the list that it is in, or nil
	prev, next *entry // there
	rank       int64  // its order when it was put there, or when victim saw it last

	err       error            // why the last fetch brought no value; nil if it did
	version   string           // the id of the version that was fetched last
	rejected  string           // the id of the version that a Refresh named last while it was cached
	fails     *backoff.Backoff // after fetches that failed
	unchanged *backoff.Backoff // after refreshes that found no newer version
	recheck   time.Duration    // when the next Recheck may fetch
	after     uint64           // fetches up to this number are outdated by Invalidate
}

// A value is a secret and its age, by the cache's clock. It is immutable.
type value struct {
	secret  *Secret
	fetched time.Duration
	expires time.Duration // or expired
	doubted time.Duration // when the source's own cache first had an older version; 0: it has not
}

// moment is a time of the cache's clock as a Backoff counts it.
func moment(d time.Duration) time.Time { return time.Time{}.Add(d) }

// pausedUntil returns when the entry's last pause ends.
func (e *entry) pausedUntil() time.Duration {
	start := moment(0) // of the clock
	return max(e.fails.Wait(start), e.unchanged.Wait(start))
}

// remembers reports whether the entry is worth keeping without its value: a pause is not
// over, or so recently that the next one would be longer, or Invalidate came.
func (e *entry) remembers(now time.Duration) bool {
	paused := e.fails != nil || e.unchanged != nil
	return paused && e.pausedUntil()+pauseMax > now || e.recheck > now || e.invalidated(e.value.Load())
}

// foundNothing notes that a refresh found no newer version.
func (e *entry) foundNothing(now time.Duration) {
	if e.unchanged.Wait(moment(now-pauseMax)) == 0 {
		e.unchanged = nil // longer ago than any pause: that was another rejection's
	}
	e.unchanged = e.unchanged.Next(moment(now), pauseBase, pauseMax)
}

// noteRejection notes that a Refresh names the cached version, v, as rejected; both may be nil.
func (e *entry) noteRejection(v *value, rejected *Secret) {
	if v != nil && rejected != nil && v.secret.versionID == rejected.versionID {
		e.rejected = rejected.versionID
	}
}

// refreshDue returns how long it is until a refresh is due: no time if the last fetch does
// not tell whether there is another version than rejected.
func (e *entry) refreshDue(rejected *Secret, now time.Duration) time.Duration {
	switch {
	case rejected == nil || e.err == nil && e.version != rejected.versionID:
		return 0
	case e.err == nil || errors.Is(e.err, ErrNoVersion):
		return e.unchanged.Wait(moment(now))
	}
	return e.fails.Wait(moment(now))
}

// stands reports whether no Invalidate, and no fetch that found no version, came after v.
func (e *entry) stands(v *value) bool { return !e.invalidated(v) && !errors.Is(e.err, ErrNoVersion) }

// lastAnswer returns what the last fetch said to a Refresh that may not ask again yet.
func (e *entry) lastAnswer(rejected *Secret) (*Secret, error) {
	v := e.value.Load()
	switch {
	case e.err != nil:
		return nil, e.err
	case v == nil: // it is evicted, the pause is not
		return rejected, nil
	}
	return v.secret, nil
}

// endFlight says that no fetch renews the value any more.
func (e *entry) endFlight() {
	e.flight = nil
	e.calm.Store(0)
}

// outdate makes fetches up to number not count.
func (e *entry) outdate(number uint64) {
	if v := e.value.Load(); v != nil {
		old := *v
		old.expires = expired
		e.value.Store(&old)
	}
	e.calm.Store(0)
	e.after = max(e.after, number)
	e.err, e.fails, e.unchanged, e.recheck = nil, nil, nil, 0
}

// invalidated reports whether Invalidate asked for something newer than v, the
// entry's value, or for anything if that is nil.
func (e *entry) invalidated(v *value) bool {
	return e.after > 0 && (v == nil || v.secret.origin.fetch <= e.after)
}

// awaits reports whether v is invalidated, and no fetch since has failed.
func (e *entry) awaits(v *value) bool { return e.invalidated(v) && e.err == nil }

// countRecheck makes f, which is under way, a Recheck's fetch, unless Invalidate outdated it.
func (e *entry) countRecheck(f *flight) {
	if f.number == 0 || f.number > e.after {
		f.recheck = true
		e.recheck = f.start + recheckMin + chance.UpTo(recheckMax-recheckMin)
	}
}

// An origin is where a secret comes from.
type origin struct {
	cache *Cache
	first uint64 // number of the fetch that brought it
	fetch uint64 // number of the fetch that last brought or confirmed it; guarded by cache.mu
}

// newerThan reports whether v, of a cache whose mu is held, is another version than old
// and came after that: one that is confirmed while a rotation is under way is not newer
// than what AWSPENDING named by then. It cannot tell of what another cache fetched. v
// and old may be nil.
func (v *value) newerThan(old *Secret) bool {
	if v == nil || old == nil || old.origin == nil || v.secret.versionID == old.versionID {
		return false
	}
	return old.origin.cache == v.secret.origin.cache && v.secret.origin.first > old.origin.fetch
}

// olderThan reports whether s is known to be created before the secret of v; both may be nil.
func (s *Secret) olderThan(v *value) bool {
	return s != nil && v != nil && s.createdAt != 0 && s.createdAt < v.secret.createdAt
}
