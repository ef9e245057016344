package secretcache

import (
	"context"
	"errors"
	"slices"
	"time"
)

// A ChainSource asks other sources, one after the other; [Chain] makes it. It is
// immutable, and may be used from several goroutines at once.
type ChainSource struct {
	sources []Source
	final   []error // after which the next source is not asked
}

var _ FreshSource = (*ChainSource)(nil)

// Chain returns a [Source] that asks sources in their order, as first the Secrets
// Manager Agent and then the API, until one has the secret. What says something of the
// secret is an answer too, and ends it: [ErrNotFound], [ErrNoVersion] and
// [ErrAccessDenied]. After any other error the next source is asked, if ctx has not
// ended. Chain panics without sources, and if one is nil.
//
// Each source has its share of the time that is left until ctx's deadline: of three,
// the first a third, the second half of what is left then, the last the rest.
//
// The sources have to give a version the same id, as all do that read Secrets
// Manager. A file does not: a secret that comes from one and then from the other
// looks like one that was rotated.
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

// AlsoOn returns a chain that asks the next source after these errors as well: after
// ErrNotFound and ErrAccessDenied for example, if the agent's role may read some of
// the secrets only.
func (c *ChainSource) AlsoOn(errs ...error) *ChainSource {
	final := slices.DeleteFunc(slices.Clone(c.final), func(err error) bool { return slices.Contains(errs, err) })
	return &ChainSource{c.sources, final}
}

// Fetch asks the sources. If none has the secret, its error wraps those of all that
// were asked, in their order.
func (c *ChainSource) Fetch(ctx context.Context, id, stage string) (*Secret, error) {
	return c.fetch(ctx, id, stage, false)
}

// FetchFresh does as Fetch, past the caches that sources have. Those that have one and
// do not let it be passed, as the Lambda extension, are asked last.
func (c *ChainSource) FetchFresh(ctx context.Context, id, stage string) (*Secret, error) {
	return c.fetch(ctx, id, stage, true)
}

func (c *ChainSource) fetch(ctx context.Context, id, stage string, fresh bool) (*Secret, error) {
	var turns []turn
	for _, src := range c.sources {
		turns = append(turns, turn{src, fresh && caches(src)})
	}
	var failed error
	asked := ctx // and what the sources have said so far
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

// A turn is one source's of a chain.
type turn struct {
	src   Source
	fresh bool // past its cache
}

// fetch asks the source within its share of ctx's time, which is for n calls.
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
