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
	// It begins at pauseBase and doubles up to pauseMax. A program that asks again within
	// seconds therefore works within a minute after a fault ends.
	pauseBase, pauseMax = time.Second, 55 * time.Second
	// The time from the start of one Recheck's fetch of a secret to the start of the next. It
	// is drawn from this range, so that the programs of a fleet do not ask together.
	recheckMin, recheckMax = 5 * time.Minute, 7*time.Minute + 30*time.Second

	expired = time.Duration(math.MinInt64) // before any time of the clock
)

// An entry is what the cache knows about one secret and stage: a value, and the pauses
// between fetches. Eviction removes the value and leaves the pauses.
type entry struct {
	stage       string
	value       atomic.Pointer[value] // nil if there is none; stored under Cache.mu
	used        atomic.Int64          // stamp of the last use; see index.stamp
	servedUntil atomic.Int64          // Gets serve the value without Cache.mu until then, because a fetch renews it; stored under Cache.mu

	// Guarded by Cache.mu:
	ids    []string // callers find the entry by each of these
	arn    string   // the secret's ARN; empty while unknown
	name   string   // only Invalidate finds the entry by this; empty for none
	flight *flight  // the fetch under way, or nil

	in         *lru   // the list that holds the entry, or nil
	prev, next *entry // in that list
	rank       int64  // its order when it was put there, or when victim saw it last

	err       error            // why the last fetch brought no value; nil if it brought one
	version   string           // the id of the version that was fetched last
	rejected  string           // the id of the cached version that a Refresh named last
	fails     *backoff.Backoff // after fetches that failed
	unchanged *backoff.Backoff // after refreshes that found no newer version
	recheck   time.Duration    // when the next Recheck may fetch
	after     uint64           // Invalidate came after the fetches up to this number began
}

// A value is a secret and its age by the cache's clock. It is immutable.
type value struct {
	secret  *Secret
	fetched time.Duration
	expires time.Duration // end of the TTL; the constant expired if there is none
	doubted time.Duration // when the source's own cache first returned an older version; 0 if it never did
}

// moment returns a time of the cache's clock in the form that a Backoff takes.
func moment(d time.Duration) time.Time { return time.Time{}.Add(d) }

// pausedUntil returns when the entry's last pause ends.
func (e *entry) pausedUntil() time.Duration {
	start := moment(0) // of the clock
	return max(e.fails.Wait(start), e.unchanged.Wait(start))
}

// remembers reports whether the entry must be kept without its value: a pause is not over,
// a pause ended so recently that the next one must be longer, or Invalidate came.
func (e *entry) remembers(now time.Duration) bool {
	paused := e.fails != nil || e.unchanged != nil
	return paused && e.pausedUntil()+pauseMax > now || e.recheck > now || e.invalidated(e.value.Load())
}

// foundNothing notes that a refresh found no newer version.
func (e *entry) foundNothing(now time.Duration) {
	if e.unchanged.Wait(moment(now-pauseMax)) == 0 {
		e.unchanged = nil // it ended longer ago than any pause lasts: this is a new rejection
	}
	e.unchanged = e.unchanged.Next(moment(now), pauseBase, pauseMax)
}

// noteRejection notes it if a Refresh says that the cached version v was rejected. v and
// rejected may be nil.
func (e *entry) noteRejection(v *value, rejected *Secret) {
	if v != nil && rejected != nil && v.secret.versionID == rejected.versionID {
		e.rejected = rejected.versionID
	}
}

// refreshDue returns the time until a refresh may fetch. It returns 0 if the last fetch
// does not tell whether there is another version than rejected.
func (e *entry) refreshDue(rejected *Secret, now time.Duration) time.Duration {
	switch {
	case rejected == nil || e.err == nil && e.version != rejected.versionID:
		return 0
	case e.err == nil || errors.Is(e.err, ErrNoVersion):
		return e.unchanged.Wait(moment(now))
	}
	return e.fails.Wait(moment(now))
}

// stillValid reports whether v may still be the answer of a Refresh: after v came no Invalidate,
// and no fetch that found the stage without a version.
func (e *entry) stillValid(v *value) bool {
	return !e.invalidated(v) && !errors.Is(e.err, ErrNoVersion)
}

// lastAnswer returns the result of the last fetch, for a Refresh that may not fetch yet.
func (e *entry) lastAnswer(rejected *Secret) (*Secret, error) {
	v := e.value.Load()
	switch {
	case e.err != nil:
		return nil, e.err
	case v == nil: // the value was evicted, the pause was not
		return rejected, nil
	}
	return v.secret, nil
}

// endFlight notes that no fetch renews the value any more.
func (e *entry) endFlight() {
	e.flight = nil
	e.servedUntil.Store(0)
}

// outdate marks the value and all fetches up to number as older than an Invalidate.
func (e *entry) outdate(number uint64) {
	if v := e.value.Load(); v != nil {
		old := *v
		old.expires = expired
		e.value.Store(&old)
	}
	e.servedUntil.Store(0)
	e.after = max(e.after, number)
	e.err, e.fails, e.unchanged, e.recheck = nil, nil, nil, 0
}

// invalidated reports whether Invalidate came after v, the entry's value, was fetched. If v
// is nil, it reports whether Invalidate came at all.
func (e *entry) invalidated(v *value) bool {
	return e.after > 0 && (v == nil || v.secret.origin.fetch <= e.after)
}

// awaits reports whether v is invalidated and no fetch has failed after that.
func (e *entry) awaits(v *value) bool { return e.invalidated(v) && e.err == nil }

// countRecheck makes the fetch f, which is under way, count as a Recheck's fetch, unless
// Invalidate came after f began.
func (e *entry) countRecheck(f *flight) {
	if f.number == 0 || f.number > e.after {
		f.recheck = true
		e.recheck = f.start + recheckMin + chance.UpTo(recheckMax-recheckMin)
	}
}

// An origin says which cache and which fetch a secret came from.
type origin struct {
	cache *Cache
	first uint64 // number of the fetch that brought the secret first
	fetch uint64 // number of the last fetch that brought this version; guarded by cache.mu
}

// newerThan reports whether v is another version than old, and was first fetched after the
// last fetch of old. A version that a later fetch only confirms is not newer: during a
// rotation it is the old one, and old may be the version that AWSPENDING is on. newerThan
// returns false if old came from another cache. The mu of v's cache is held. v and old may
// be nil.
func (v *value) newerThan(old *Secret) bool {
	if v == nil || old == nil || old.origin == nil || v.secret.versionID == old.versionID {
		return false
	}
	return old.origin.cache == v.secret.origin.cache && v.secret.origin.first > old.origin.fetch
}

// olderThan reports whether s was created before the secret of v. It returns false if that
// is not known. s and v may be nil.
func (s *Secret) olderThan(v *value) bool {
	return s != nil && v != nil && s.createdAt != 0 && s.createdAt < v.secret.createdAt
}
