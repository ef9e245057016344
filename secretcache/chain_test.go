package secretcache_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// A link is a source of a chain. It notes each call, and how much time the call had.
type link struct {
	name  string
	err   error // the error of Fetch
	hang  bool  // Fetch ends only with its context
	fresh error // the error of FetchFresh, for a freshLink
	log   *callLog
}

type callLog struct {
	calls  []string
	shares []time.Duration
}

func (l *link) call(ctx context.Context, method string, err error) (*secretcache.Secret, error) {
	l.log.calls = append(l.log.calls, l.name+"."+method)
	if deadline, ok := ctx.Deadline(); ok {
		l.log.shares = append(l.log.shares, time.Until(deadline))
	}
	if l.hang {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", l.name, err)
	}
	return secretcache.NewSecret(secretcache.Value{ID: "a", VersionID: "of " + l.name}), nil
}

func (l *link) Fetch(ctx context.Context, _, _ string) (*secretcache.Secret, error) {
	return l.call(ctx, "Fetch", l.err)
}

// A freshLink has a cache of its own.
type freshLink struct{ *link }

func (l freshLink) FetchFresh(ctx context.Context, _, _ string) (*secretcache.Secret, error) {
	return l.call(ctx, "FetchFresh", l.fresh)
}

func TestChain(t *testing.T) {
	const cached = true // the source is a freshLink
	type source struct {
		err    error
		cached bool
		fresh  error
	}
	is := func(err error) source { return source{err: err} }
	for _, tt := range []struct {
		name    string
		fresh   bool
		also    []error
		sources []source // named a, b, c
		calls   string
		version string // or err
		errs    []error
	}{
		{name: "the first answer wins", sources: []source{is(nil), is(nil)}, calls: "a.Fetch", version: "of a"},
		{name: "after a source that is down the next one is asked", sources: []source{is(errDown), is(nil), is(nil)}, calls: "a.Fetch b.Fetch", version: "of b"},
		{name: "after a source that throttles the next one is asked", sources: []source{is(secretcache.ErrThrottled), is(nil)}, calls: "a.Fetch b.Fetch", version: "of b"},
		{name: "not found is an answer", sources: []source{is(secretcache.ErrNotFound), is(nil)}, calls: "a.Fetch", errs: []error{secretcache.ErrNotFound}},
		{name: "no version is an answer", sources: []source{is(secretcache.ErrNoVersion), is(nil)}, calls: "a.Fetch", errs: []error{secretcache.ErrNoVersion}},
		{name: "access denied is an answer", sources: []source{is(secretcache.ErrAccessDenied), is(nil)}, calls: "a.Fetch", errs: []error{secretcache.ErrAccessDenied}},
		{name: "also on not found", also: []error{secretcache.ErrNotFound}, sources: []source{is(secretcache.ErrNotFound), is(nil)}, calls: "a.Fetch b.Fetch", version: "of b"},
		{name: "also on not found, but denied", also: []error{secretcache.ErrNotFound}, sources: []source{is(secretcache.ErrAccessDenied), is(nil)}, calls: "a.Fetch", errs: []error{secretcache.ErrAccessDenied}},
		{name: "an answer in the middle ends the chain", sources: []source{is(errDown), is(secretcache.ErrNotFound), is(nil)}, calls: "a.Fetch b.Fetch", errs: []error{errDown, secretcache.ErrNotFound}},
		{name: "all fail", sources: []source{is(errDown), is(secretcache.ErrThrottled)}, calls: "a.Fetch b.Fetch", errs: []error{errDown, secretcache.ErrThrottled}},
		{name: "fresh, the source has no cache", fresh: true, sources: []source{is(nil)}, calls: "a.Fetch", version: "of a"},
		{name: "fresh, the source has a cache", fresh: true, sources: []source{{cached: cached}, is(nil)}, calls: "a.FetchFresh", version: "of a"},
		{name: "a source that cannot bypass its cache is asked last", fresh: true,
			sources: []source{{cached: cached, fresh: errors.ErrUnsupported}, is(errDown), is(nil)},
			calls:   "a.FetchFresh b.Fetch c.Fetch", version: "of c"},
		{name: "a source that cannot bypass its cache is better than none", fresh: true,
			sources: []source{{cached: cached, fresh: errors.ErrUnsupported}, is(errDown)},
			calls:   "a.FetchFresh b.Fetch a.Fetch", version: "of a"},
		{name: "fresh, the first source is down", fresh: true, sources: []source{{cached: cached, fresh: errDown}, is(nil)}, calls: "a.FetchFresh b.Fetch", version: "of b"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			log := &callLog{}
			var sources []secretcache.Source
			for i, s := range tt.sources {
				l := &link{name: string(rune('a' + i)), err: s.err, fresh: s.fresh, log: log}
				if s.cached {
					sources = append(sources, freshLink{l})
				} else {
					sources = append(sources, l)
				}
			}
			chain := secretcache.Chain(sources...).AlsoOn(tt.also...)
			fetch := chain.Fetch
			if tt.fresh {
				fetch = chain.FetchFresh
			}
			s, err := fetch(t.Context(), "a", current)
			if got := strings.Join(log.calls, " "); got != tt.calls {
				t.Errorf("calls: %s, want %s", got, tt.calls)
			}
			if tt.errs == nil && (err != nil || s.VersionID() != tt.version) {
				t.Fatalf("got %v, %v, want version %q", s, err, tt.version)
			}
			if tt.errs != nil && (err == nil || s != nil) {
				t.Fatalf("got %v, %v, want an error", s, err)
			}
			for i, want := range tt.errs {
				if name := string(rune('a' + i)); !errors.Is(err, want) || !strings.Contains(err.Error(), name+": "+want.Error()) {
					t.Errorf("got %q, want it to wrap and to show %q of %s", err, want, name)
				}
			}
		})
	}
}

func TestAlsoOnChangesACopy(t *testing.T) {
	log := &callLog{}
	chain := secretcache.Chain(&link{name: "a", err: secretcache.ErrNotFound, log: log}, &link{name: "b", log: log})
	chain.AlsoOn(secretcache.ErrNotFound)
	if _, err := chain.Fetch(t.Context(), "a", current); !errors.Is(err, secretcache.ErrNotFound) {
		t.Errorf("got %v, want the first one's ErrNotFound", err)
	}
}

func TestChainSharesTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &callLog{}
		chain := secretcache.Chain(
			&link{name: "a", hang: true, log: log}, &link{name: "b", err: errDown, log: log}, &link{name: "c", hang: true, log: log})
		ctx, cancel := context.WithTimeout(t.Context(), 9*time.Second)
		defer cancel()
		took(t, 9*time.Second, func() {
			_, err := chain.Fetch(ctx, "a", current)
			if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, errDown) {
				t.Errorf("got %v, want all errors", err)
			}
		})
		if want := []time.Duration{3 * time.Second, 3 * time.Second, 6 * time.Second}; !slices.Equal(log.shares, want) {
			t.Errorf("shares: %v, want %v", log.shares, want)
		}
	})
}

func TestChainEndsWithItsContext(t *testing.T) {
	log := &callLog{}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	chain := secretcache.Chain(&link{name: "a", hang: true, log: log}, &link{name: "b", log: log})
	if _, err := chain.Fetch(ctx, "a", current); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
	if len(log.calls) != 1 {
		t.Errorf("calls: %v, want one", log.calls)
	}
}

func TestChainPanicsWithoutASource(t *testing.T) {
	for _, sources := range [][]secretcache.Source{nil, {nil}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("Chain(%v) did not panic", sources)
				}
			}()
			secretcache.Chain(sources...)
		}()
	}
}

func TestDeadlineCarriesTheErrorsOfAllSourcesOfAChain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &callLog{}
		c := newCache(t, secretcache.Chain(&link{name: "agent", err: errDown, log: log}, secretcache.SourceFunc(attempts)), nil)
		for _, tt := range []struct {
			after time.Duration
			want  string
		}{
			{second / 2, `wait for secret "a": context deadline exceeded; the last attempt failed: agent: source is down`},
			{second, `wait for secret "a": context deadline exceeded; the last attempt failed: ` +
				`agent: source is down; then attempt 1 for a: source is down`},
		} {
			if err := getFor(t, c, "a", tt.after); err == nil || err.Error() != tt.want || !errors.Is(err, errDown) {
				t.Errorf("Get() = %v, want %s", err, tt.want)
			}
		}
	})
}
