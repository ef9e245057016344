package secretcache

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// StageCurrent is the version stage of the version to use. An empty stage means this one.
const StageCurrent = "AWSCURRENT"

// Errors that callers match with [errors.Is]. A [Source] returns the first four wrapped
// together with its own error.
var (
	// ErrNotFound says that the source has no secret with that id.
	ErrNotFound = errors.New("secret not found")
	// ErrNoVersion says that the secret exists, but no version of it has the stage.
	ErrNoVersion = errors.New("secret has no version with this stage")
	// ErrAccessDenied says that the program may not read the secret, or may not decrypt it.
	ErrAccessDenied = errors.New("access to the secret denied")
	// ErrThrottled says that the source got too many requests and did not answer this one.
	ErrThrottled = errors.New("too many requests for secrets")
	// ErrClosed is returned after [Cache.Close] by the methods of a [Cache] that may fetch.
	ErrClosed = errors.New("secret cache is closed")
)

// A Source fetches secrets from the place that stores them. A [Cache] calls it from several
// goroutines at once. For one id and stage the cache has one call under way, unless it gave
// an earlier call up. If the source panics, the fetch fails. The cache does not close a source.
type Source interface {
	// Fetch returns the version of the secret that has the stage. The cache never passes an
	// empty stage. Fetch must return soon after ctx ends. Its errors wrap [ErrNotFound],
	// [ErrNoVersion], [ErrAccessDenied] and [ErrThrottled] where they apply, and must not
	// hold any part of a secret's value. A Fetch that makes several attempts calls
	// [AttemptFailed] for each one that failed. If Fetch returns neither a secret nor an
	// error, the fetch fails. A secret without an ID gets id; one without a VersionID gets
	// a version id from the cache.
	Fetch(ctx context.Context, id, stage string) (*Secret, error)
}

// A SourceFunc is a func that is a [Source].
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
	// FetchBatch fetches the AWSCURRENT versions of ids. It gets at most BatchSize ids, and
	// returns one result for each, in the same order. The error of one id does not fail
	// the others. An id without a result fails.
	FetchBatch(ctx context.Context, ids []string) []Result
	// BatchSize is the largest number of ids in one FetchBatch. A cache takes values below
	// 1 as 1.
	BatchSize() int
}

// A Result is the answer of a [BatchSource] for one id: a secret or an error.
type Result struct {
	Secret *Secret
	Err    error
}

// A FreshSource is a [Source] that has a cache of its own, such as the Secrets Manager
// Agent. That cache may still have the old version after a rotation.
type FreshSource interface {
	Source
	// FetchFresh is Fetch, but bypasses the source's own cache. A [Cache] calls it in place
	// of Fetch when there may be a newer version: for [Cache.Refresh] and [Cache.Recheck],
	// after [Cache.Invalidate], and after a Fetch that returned an older version than the
	// cached one. A version is older if its CreatedAt is earlier.
	//
	// An error that matches [errors.ErrUnsupported] says that the source cannot bypass its
	// cache. The cache then calls Fetch. If Fetch returns an older version than the cached
	// one, the cache keeps its own. It takes the older version only when Fetch has
	// returned an older one for three times Options.TTL, and for at least 5 minutes.
	FetchFresh(ctx context.Context, id, stage string) (*Secret, error)
}

// caches reports whether src has a cache of its own. A Chain has one if one of its
// sources has one.
func caches(src Source) bool {
	if chain, ok := src.(*ChainSource); ok {
		return slices.ContainsFunc(chain.sources, caches)
	}
	_, ok := src.(FreshSource)
	return ok
}

// A report collects the failed attempts of a source. The context of a fetch carries it.
type report struct {
	job    *job
	before error // of the sources of a Chain that were asked earlier; nil if there are none
}

type reportKey struct{}

// AttemptFailed notes why one attempt of a fetch failed. A [Source] that makes several
// attempts calls it. ctx is the context that Fetch was called with, or is derived from it. If
// a caller gives up before the fetch ends, its error carries the last err;
// [Cache.LastFailure] returns that too. err must not hold any part of a secret's value.
// AttemptFailed does nothing if err is nil, or if ctx is not from a fetch by a [Cache].
func AttemptFailed(ctx context.Context, err error) {
	r, ok := ctx.Value(reportKey{}).(*report)
	if !ok || err == nil {
		return
	}
	err = then(r.before, err)
	r.job.attempt.Store(&err)
}

// afterFailure returns a context in which AttemptFailed puts err before each new error.
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

// answeredFromCache notes that a Chain had to answer from the own cache of a source.
func answeredFromCache(ctx context.Context) {
	if r, ok := ctx.Value(reportKey{}).(*report); ok {
		r.job.kept.Store(true)
	}
}
