package secretcache

import (
	"context"
	"fmt"
)

// lastAttempt returns what the last attempt failed with, or nil.
func (j *job) lastAttempt() error {
	if err := j.attempt.Load(); err != nil {
		return *err
	}
	return nil
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
