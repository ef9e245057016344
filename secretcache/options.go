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
	// MaxSize is how many secrets are kept; a name and an ARN of one secret count
	// once, two stages of it twice. The least recently used goes first: to the second,
	// and in a cache of over 64 secrets about. What only Refresh asked for takes no
	// other secret's place. The pauses of as many other secrets, and of 64 at least, are
	// remembered. Zero or negative means DefaultMaxSize (1024).
	MaxSize int

	// TTL is how long a secret is served before it is fetched again; the real age
	// is drawn from [TTL/2, TTL] at each fetch, so that a fleet does not refresh
	// together. An older secret is served while one fetch renews it; one older than
	// twice TTL only after that fetch had up to a second to bring a new one. Zero
	// means DefaultTTL (1 h); negative fetches every time.
	TTL time.Duration

	// MaxStale is how long past TTL a secret is served while the source fails,
	// with whatever error. Zero means DefaultMaxStale (24 h); negative never.
	MaxStale time.Duration

	// FetchTimeout bounds one Fetch of the source, with Hook.Put, not counting the
	// wait for one of MaxFetches. Zero or negative means DefaultFetchTimeout (10 s).
	FetchTimeout time.Duration

	// MaxFetches is how many fetches may be under way at once; others wait for
	// their turn, unless nobody waits for them any more. Zero or negative means
	// DefaultMaxFetches (32).
	MaxFetches int

	// StopOn reports whether an error of the source ends serving the cached secret
	// at once, for example ErrAccessDenied where access is revoked by policy. It is
	// called without locks held. If it panics, the secret is served on. Nil: none does.
	StopOn func(error) bool

	// Hook sees every secret before it is stored and after it is read. Nil: none.
	Hook Hook

	// Trace has funcs that are called at events. Nil: none.
	Trace *Trace
}

// A Hook transforms secrets on their way into the cache and out of it, for
// example to keep them encrypted in memory. It changes the value with
// [Secret.WithString] or [Secret.WithBinary], or puts something else in its place
// with [Secret.WithHeld]; ids and stages stay the source's.
// It is called from several goroutines at once, without locks held. A panic is an error.
type Hook interface {
	// Put is called once for each secret before it is stored. Its error fails the
	// fetch and must not hold the value.
	Put(s *Secret) (*Secret, error)
	// Get is called once for each secret before it is returned. Its error fails
	// the call and must not hold the value.
	Get(s *Secret) (*Secret, error)
}

// A Trace is a set of funcs that a [Cache] calls as it works; each may be nil.
// They are called without locks held, possibly from several goroutines at once. A panic
// fails no fetch. Their context has the values of the first call that wanted the fetch, such as a
// tracing span, and is not cancelled with it: the fetch may go on when that call has ended.
// Logins and refreshes are events of package driver's Trace, and what lies in
// a directory of secrets is one of package file's.
type Trace struct {
	// FetchStart is called before a call of the source.
	FetchStart func(ctx context.Context, info FetchInfo)
	// FetchDone is called after it, also when it was given up.
	FetchDone func(ctx context.Context, info FetchInfo)
}

// FetchInfo describes one fetch of one secret.
type FetchInfo struct {
	ID    string // as the source was asked; empty if it is neither a name nor an ARN
	Stage string
	// The rest is set in FetchDone only.
	VersionID string        // of what was fetched; empty on an error
	Changed   bool          // it is another version than was cached, or the first
	Duration  time.Duration // including the wait for one of Options.MaxFetches
	Err       error
	// StaleUntil is when the cached secret will have been served for as long as
	// MaxStale allows, if Err keeps coming. Zero without an error and where nothing
	// is cached.
	StaleUntil time.Time
}

// Stats are a [Cache]'s counts since it was made.
type Stats struct {
	Hits      uint64 // Gets answered by a secret within its TTL
	StaleHits uint64 // Gets answered by an older one
	Misses    uint64 // Gets that had to wait for the source, or failed for what it had said
	Fetches   uint64 // secrets asked of the source, one by one or in a batch
	Errors    uint64 // of these, how many failed
	Entries   int    // secrets kept now
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
