package secretcache

import (
	"context"
	"errors"
	"slices"
	"time"
)

// A ChainSource asks other sources one after the other. [Chain] makes it. It is immutable,
// and may be used from several goroutines at once.
type ChainSource struct {
	sources []Source
	final   []error // after these errors the next source is not asked
}

var _ FreshSource = (*ChainSource)(nil)

// Chain returns a [Source] that asks sources in order until one has the secret: for example,
// the Secrets Manager Agent first, and then the API. [ErrNotFound], [ErrNoVersion] and
// [ErrAccessDenied] are answers about the secret, so they end the chain. After any other error
// the chain asks the next source, unless ctx has ended. Chain panics if there are no sources,
// or if one is nil.
//
// Each source gets a share of the time until ctx's deadline. With three sources the first
// gets a third of it, the second gets half of the rest, and the last gets all that is left.
// A [Cache] always sets a deadline. A chain is not a [BatchSource], even if its sources are.
//
// All sources must give the same id to the same version. The sources that read
// Secrets Manager do. A file does not: if a secret comes first from a file and then from the API,
// the cache sees two versions, as if the secret had been rotated.
func Chain(sources ...Source) *ChainSource {
	if len(sources) == 0 {
		panic("secretcache: Chain without sources")
	}
	if slices.Contains(sources, nil) {
		panic("secretcache: Chain with a nil Source")
	}
	return &ChainSource{
		sources: slices.Clone(sources),
		final:   []error{ErrNotFound, ErrNoVersion, ErrAccessDenied},
	}
}

// AlsoOn returns a copy of c that asks the next source after the errors errs as well. For
// example, pass ErrNotFound and ErrAccessDenied if the agent's role may read only some
// of the secrets. errs has no effect on errors other than those three that end a chain.
func (c *ChainSource) AlsoOn(errs ...error) *ChainSource {
	final := slices.DeleteFunc(slices.Clone(c.final), func(err error) bool { return slices.Contains(errs, err) })
	return &ChainSource{c.sources, final}
}

// Fetch asks the sources. If none has the secret, the error wraps the errors of all sources
// that were asked, in order.
func (c *ChainSource) Fetch(ctx context.Context, id, stage string) (*Secret, error) {
	return c.fetch(ctx, id, stage, false)
}

// FetchFresh is Fetch, but bypasses the own caches of the sources. A source that cannot
// bypass its cache, such as the Lambda extension, is asked last.
func (c *ChainSource) FetchFresh(ctx context.Context, id, stage string) (*Secret, error) {
	return c.fetch(ctx, id, stage, true)
}

func (c *ChainSource) fetch(ctx context.Context, id, stage string, fresh bool) (*Secret, error) {
	var turns []turn
	for _, src := range c.sources {
		turns = append(turns, turn{src, fresh && caches(src)})
	}
	var failed error
	asked := ctx // carries what the sources have said so far
	for i := 0; i < len(turns); i++ {
		t := turns[i]
		s, err := t.fetch(asked, len(turns)-i, id, stage)
		switch {
		case err == nil:
			if fresh && !t.fresh && caches(t.src) {
				answeredFromCache(ctx)
			}
			return s, nil
		case t.fresh && errors.Is(err, errors.ErrUnsupported):
			turns = append(turns, turn{t.src, false})
			continue
		}
		failed = then(failed, err)
		AttemptFailed(ctx, failed)
		if ctx.Err() != nil || slices.ContainsFunc(c.final, func(final error) bool { return errors.Is(err, final) }) {
			break
		}
		asked = afterFailure(ctx, failed)
	}
	return nil, failed
}

// A turn is one call of a source of a chain.
type turn struct {
	src   Source
	fresh bool // bypass the source's own cache
}

// fetch asks the source. n is the number of calls that share the time until ctx's deadline,
// this one included.
func (t turn) fetch(ctx context.Context, n int, id, stage string) (*Secret, error) {
	if deadline, ok := ctx.Deadline(); ok && n > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/time.Duration(n))
		defer cancel()
	}
	if t.fresh {
		return t.src.(FreshSource).FetchFresh(ctx, id, stage)
	}
	return t.src.Fetch(ctx, id, stage)
}
