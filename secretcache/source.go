package secretcache

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// StageCurrent is the version stage that an empty stage means.
const StageCurrent = "AWSCURRENT"

// Conditions that a [Source] reports and callers match with [errors.Is]. A
// source wraps them together with its own error.
var (
	// ErrNotFound says that the source has no secret of that id.
	ErrNotFound = errors.New("secret not found")
	// ErrNoVersion says that the secret exists, but no version of it bears the stage.
	ErrNoVersion = errors.New("secret has no version with this stage")
	// ErrAccessDenied says that the caller may not read the secret, or not decrypt it.
	ErrAccessDenied = errors.New("access to the secret denied")
	// ErrThrottled says that the source refused the call for its rate.
	ErrThrottled = errors.New("too many requests for secrets")
	// ErrClosed is returned by every method of a [Cache] after [Cache.Close].
	ErrClosed = errors.New("secret cache is closed")
)

// A Source fetches secrets from where they are kept. It is called from several
// goroutines at once, but not for one id and stage unless a call was given up. If
// it panics, the fetch fails.
type Source interface {
	// Fetch returns the version of the secret that bears the stage; stage is
	// never empty. It returns soon after ctx ends. Its errors wrap [ErrNotFound],
	// [ErrNoVersion], [ErrAccessDenied] and [ErrThrottled] where they apply, and
	// hold nothing of a secret's value. If it makes several attempts, it calls
	// [AttemptFailed] for each that failed.
	Fetch(ctx context.Context, id, stage string) (*Secret, error)
}

// SourceFunc makes a [Source] of a func.
type SourceFunc func(ctx context.Context, id, stage string) (*Secret, error)

// Fetch calls f.
func (f SourceFunc) Fetch(ctx context.Context, id, stage string) (*Secret, error) {
	return f(ctx, id, stage)
}

var _ Source = SourceFunc(nil)

// A BatchSource is a [Source] that can fetch several secrets in one call.
// [Cache.Prefetch] uses it.
type BatchSource interface {
	Source
	// FetchBatch fetches the current versions of ids, at most BatchSize of them,
	// and returns one result for each, in their order. An id's error is its own.
	FetchBatch(ctx context.Context, ids []string) []Result
	// BatchSize is the largest number of ids in one FetchBatch, at least 1.
	BatchSize() int
}

// A Result is what a [BatchSource] found for one id: a secret or an error.
type Result struct {
	Secret *Secret
	Err    error
}

// A FreshSource is a [Source] with a cache of its own between it and where secrets
// are kept, as the Secrets Manager Agent has one.
type FreshSource interface {
	Source
	// FetchFresh is Fetch past that cache. A [Cache] calls it in place of Fetch when
	// it knows or suspects that there is a newer version: for [Cache.Refresh] and
	// [Cache.Recheck], and after [Cache.Invalidate]; and after a Fetch that returned an
	// older version than is cached. An error that matches [errors.ErrUnsupported] says
	// that there is no way past; Fetch is called then, and an older version is believed
	// once Fetch has returned one for three TTLs and at least 5 minutes.
	FetchFresh(ctx context.Context, id, stage string) (*Secret, error)
}

// caches reports whether src has a cache of its own: a Chain does if one of its
// sources has.
func caches(src Source) bool {
	if chain, ok := src.(*ChainSource); ok {
		return slices.ContainsFunc(chain.sources, caches)
	}
	_, ok := src.(FreshSource)
	return ok
}

// A report is where a source's failed attempts go; the context of a fetch carries it.
type report struct {
	job    *job
	before error // what the sources of a Chain said that were asked before, or nil
}

type reportKey struct{}

// AttemptFailed notes why one attempt of a fetch failed, for a [Source] that makes
// several. ctx is the context that Fetch was called with, or one made of it. A caller
// that gives up before the fetch ends is told the last err, and [Cache.LastFailure]
// returns it; err must hold nothing of a secret's value. AttemptFailed does nothing if
// err is nil or ctx is not that of a fetch by a [Cache].
func AttemptFailed(ctx context.Context, err error) {
	r, ok := ctx.Value(reportKey{}).(*report)
	if !ok || err == nil {
		return
	}
	err = then(r.before, err)
	r.job.attempt.Store(&err)
}

// afterFailure returns a context whose failed attempts are told after err.
func afterFailure(ctx context.Context, err error) context.Context {
	r, ok := ctx.Value(reportKey{}).(*report)
	if !ok {
		return ctx
	}
	return context.WithValue(ctx, reportKey{}, &report{job: r.job, before: then(r.before, err)})
}

// then joins the errors of two sources of a Chain; the first may be nil.
func then(before, err error) error {
	if before == nil {
		return err
	}
	return fmt.Errorf("%w; then %w", before, err)
}

// answeredFromCache notes that a Chain found no way past its sources' caches.
func answeredFromCache(ctx context.Context) {
	if r, ok := ctx.Value(reportKey{}).(*report); ok {
		r.job.kept.Store(true)
	}
}
