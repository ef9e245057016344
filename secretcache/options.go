package secretcache

import (
	"cmp"
	"context"
	"time"
)

// Defaults of [Options].
const (
	DefaultMaxSize      = 1024
	DefaultTTL          = time.Hour
	DefaultMaxStale     = 24 * time.Hour
	DefaultFetchTimeout = 10 * time.Second
	DefaultMaxFetches   = 32
)

// Options change what a [Cache] does. A nil *Options and every zero field mean
// the defaults.
type Options struct {
	// MaxSize is the largest number of secrets that the cache keeps. A name and an ARN of one
	// secret count once; two stages of one secret count twice. When the cache is full, the
	// least recently used secret is dropped. The cache knows the time of use to the second, and
	// with more than 64 secrets the choice is approximate. A secret that only Refresh fetched
	// takes no other secret's place. The cache also remembers the pauses (see [Cache.Get]) of
	// as many secrets without a value, and of at least 64. Zero or negative means
	// DefaultMaxSize (1024).
	MaxSize int

	// TTL is how long the cache serves a secret before it fetches the secret again. The real
	// time is drawn from [TTL/2, TTL] at each fetch, so that the programs of a fleet do not all
	// fetch together. After that time the cache still serves the secret while one fetch renews
	// it. If the secret is older than 2*TTL, Get first waits for that fetch for up to 1 s, but
	// for at most half of the time until its deadline. Zero means DefaultTTL (1 h). Negative
	// fetches at every Get.
	TTL time.Duration

	// MaxStale is how long after TTL the cache serves a secret while the source fails, with
	// any error. Zero means DefaultMaxStale (24 h). Negative never serves a secret after its
	// TTL: Get then waits for the fetch.
	MaxStale time.Duration

	// FetchTimeout bounds one Fetch of the source together with Hook.Put. It does not
	// include the wait for MaxFetches. Zero or negative means DefaultFetchTimeout (10 s).
	FetchTimeout time.Duration

	// MaxFetches is the largest number of fetches under way at once. Other fetches wait for
	// their turn; one that no caller wants any more is dropped. Zero or negative means
	// DefaultMaxFetches (32).
	MaxFetches int

	// StopOn reports whether the cache must stop serving its copy of a secret at once because
	// the source returned this error. An example is ErrAccessDenied where a policy revokes
	// access. If StopOn returns true, the cache drops the copy and Get returns the error, until
	// a fetch brings a value again. StopOn is called without locks held. If it panics, the
	// cache goes on serving the copy. Nil means that no error does this.
	StopOn func(error) bool

	// Hook changes every secret before it is stored and after it is read. Nil means no change.
	Hook Hook

	// Trace has funcs that the cache calls at events. New copies it. Nil means none.
	Trace *Trace
}

// A Hook changes secrets on their way into the cache and out of it, for example to keep
// them encrypted in memory. It replaces the value with [Secret.WithString] or
// [Secret.WithBinary], or stores something else in its place with [Secret.WithHeld]. The
// hook cannot change ids and stages: the cache keeps those of the source. The cache calls
// a hook from several goroutines at once, without locks held. A panic counts as an error, and
// so does a nil secret with a nil error.
type Hook interface {
	// Put is called once for each secret before it is stored. Its error fails the
	// fetch, and must not hold the value.
	Put(s *Secret) (*Secret, error)
	// Get is called each time before Get, Read, Refresh or Recheck of the cache returns a
	// secret, except when Refresh returns the rejected secret that it was given. The caller
	// waits for Get. Its error fails the call, and must not hold the value.
	Get(s *Secret) (*Secret, error)
}

// A Trace is a set of funcs that a [Cache] calls as it works. Each may be nil. The cache
// calls them without locks held, possibly from several goroutines at once. A panic in one
// fails no fetch. Their context has the values, such as a tracing span, of the first call that
// wanted the fetch. It is not cancelled with that call, because the fetch may go on after it.
// Logins and refreshes are events of package driver's Trace. Permissions of files and skipped
// files are events of package file's Trace.
type Trace struct {
	// FetchStart is called before the cache asks the source.
	FetchStart func(ctx context.Context, info FetchInfo)
	// FetchDone is called after the fetch, also when the cache gave it up.
	FetchDone func(ctx context.Context, info FetchInfo)
}

// FetchInfo describes one fetch of one secret.
type FetchInfo struct {
	ID    string // as the source was asked; empty if it is neither a name nor an ARN
	Stage string
	// The other fields are set in FetchDone only.
	VersionID string        // of the fetched version; empty on an error
	Changed   bool          // the fetched version is not the cached one, or is the first
	Duration  time.Duration // includes the wait for Options.MaxFetches
	Err       error         // why the fetch failed; nil if it did not
	// StaleUntil is when the cache will stop serving its copy (see Options.MaxStale) if
	// fetches keep failing. Zero if Err is nil, if the cache has no copy, or if MaxStale is
	// negative.
	StaleUntil time.Time
}

// Stats are a [Cache]'s counts since it was made. Calls of [Cache.Read] count as Gets. A
// Refresh or a Prefetch counts only in Fetches and Errors.
type Stats struct {
	Hits      uint64 // Gets answered with a secret within its TTL
	StaleHits uint64 // Gets answered with an older secret
	Misses    uint64 // Gets that waited for a fetch, or returned the error of an earlier one
	Fetches   uint64 // secrets that the source was asked for, one by one or in a batch
	Errors    uint64 // fetches that failed
	Entries   int    // secrets in the cache now
}

func withDefaults(opts *Options) Options {
	o := *cmp.Or(opts, &Options{})
	o.MaxSize = positive(o.MaxSize, DefaultMaxSize)
	o.TTL = cmp.Or(o.TTL, DefaultTTL)
	o.MaxStale = cmp.Or(o.MaxStale, DefaultMaxStale)
	o.FetchTimeout = positive(o.FetchTimeout, DefaultFetchTimeout)
	o.MaxFetches = positive(o.MaxFetches, DefaultMaxFetches)
	trace := *cmp.Or(o.Trace, &Trace{})
	o.Trace = &trace
	return o
}

// positive returns n, or def if n is not positive.
func positive[N int | time.Duration](n, def N) N {
	if n <= 0 {
		return def
	}
	return n
}
