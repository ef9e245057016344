package driver_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// A modelFetch is a call of the source by the cache.
type modelFetch struct {
	begin, end time.Time
	stage      string
	fresh      bool // it bypasses the source's own cache
	version    string
	err        error
	fault      faultKind // of the source; empty if there is none
}

// fetchKey and agentKey are keys of a context. The value of fetchKey is a *modelFetch. The value of agentKey is
// true if the agent fetches.
type fetchKey struct{}
type agentKey struct{}

// faultyFetch is the store's fault.
func (m *model) faultyFetch(ctx context.Context) error {
	f, _ := ctx.Value(fetchKey{}).(*modelFetch)
	asks := apiOnly
	if ctx.Value(agentKey{}) != nil {
		asks = agentOnly
	}
	now := time.Now()
	m.mu.Lock()
	i := slices.IndexFunc(m.harm.windows, func(w sourceFault) bool {
		return !now.Before(w.begin) && now.Before(w.end) && (w.of == allSources || w.of == asks)
	})
	if i < 0 || m.harm.windows[i].half && m.faults.choice.upTo(2) == 0 {
		m.mu.Unlock()
		return nil
	}
	kind := m.harm.windows[i].kind
	if kind == sourceMixed {
		kind = kinds[m.faults.choice.upTo(time.Duration(len(kinds)-1))]
	}
	f.fault = kind
	m.mu.Unlock()
	switch kind {
	case sourceThrottles:
		return fmt.Errorf("get secret: %w", secretcache.ErrThrottled)
	case sourceFails:
		return errors.New("get secret: HTTP status 500")
	case sourcePanics:
		panic("the source panics")
	case sourceHangsOn:
		<-ctx.Done()
		time.Sleep(5 * time.Second)
	}
	<-ctx.Done()
	return ctx.Err()
}

// source returns the source of the cache.
func (m *model) source() secretcache.Source {
	api := secretcache.SourceFunc(m.fetchVersion)
	if m.faults.chain == noChain {
		return watched{m, api}
	}
	chain := secretcache.Chain(&agent{
		src: api, keeps: 1 + upTo(m.faults.random, 10*time.Second), passable: m.faults.chain == withFresh, kept: map[string]keptSecret{}}, api)
	return watchedFresh{watched{m, chain}, chain}
}

// fetchVersion calls the store's Fetch. It adds the time of creation, and may remove the id.
func (m *model) fetchVersion(ctx context.Context, id, stage string) (*secretcache.Secret, error) {
	s, err := m.store.Fetch(ctx, id, stage)
	if err != nil {
		return nil, err
	}
	v := secretcache.Value{ID: id, Name: id, VersionID: s.VersionID(), String: s.Reveal()}
	m.store.mu.Lock()
	v.CreatedAt = m.store.moved[v.VersionID][0]
	m.store.mu.Unlock()
	if m.faults.ids == sourceWithout {
		v.VersionID = ""
	}
	return secretcache.NewSecret(v), nil
}

// A watched source records its fetches and their results.
type watched struct {
	m   *model
	src secretcache.Source
}

// A watchedFresh source has its own cache.
type watchedFresh struct {
	watched
	fresh secretcache.FreshSource
}

var _ secretcache.FreshSource = watchedFresh{}

func (w watched) Fetch(ctx context.Context, id, stage string) (*secretcache.Secret, error) {
	return w.watch(ctx, id, stage, false, w.src.Fetch)
}

func (w watchedFresh) FetchFresh(ctx context.Context, id, stage string) (*secretcache.Secret, error) {
	return w.watch(ctx, id, stage, true, w.fresh.FetchFresh)
}

func (w watched) watch(ctx context.Context, id, stage string, fresh bool, ask func(context.Context, string, string) (*secretcache.Secret, error)) (s *secretcache.Secret, err error) {
	f := &modelFetch{begin: time.Now(), stage: stage, fresh: fresh, err: errors.New("panic")}
	w.m.mu.Lock()
	w.m.harm.fetches = append(w.m.harm.fetches, f)
	w.m.mu.Unlock()
	defer func() {
		w.m.mu.Lock()
		defer w.m.mu.Unlock()
		f.end = time.Now()
	}()
	s, err = ask(context.WithValue(ctx, fetchKey{}, f), id, stage)
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	if f.err = err; err == nil {
		f.version = s.Reveal()
	}
	return s, err
}

// An agent is a source with its own cache, such as the Secrets Manager Agent.
type agent struct {
	src      secretcache.Source
	keeps    time.Duration // how long it keeps a secret
	passable bool          // FetchFresh bypasses the cache

	mu   sync.Mutex
	kept map[string]keptSecret // by stage
}

type keptSecret struct {
	secret *secretcache.Secret
	until  time.Time
}

var _ secretcache.FreshSource = (*agent)(nil)

func (a *agent) Fetch(ctx context.Context, id, stage string) (*secretcache.Secret, error) {
	a.mu.Lock()
	k, ok := a.kept[stage]
	a.mu.Unlock()
	if ok && time.Now().Before(k.until) {
		return k.secret, nil
	}
	return a.fetch(ctx, id, stage)
}

func (a *agent) FetchFresh(ctx context.Context, id, stage string) (*secretcache.Secret, error) {
	if !a.passable {
		return nil, fmt.Errorf("the cache cannot be bypassed: %w", errors.ErrUnsupported)
	}
	return a.fetch(ctx, id, stage)
}

func (a *agent) fetch(ctx context.Context, id, stage string) (*secretcache.Secret, error) {
	s, err := a.src.Fetch(context.WithValue(ctx, agentKey{}, true), id, stage)
	if err == nil {
		a.mu.Lock()
		a.kept[stage] = keptSecret{s, time.Now().Add(a.keeps)}
		a.mu.Unlock()
	}
	return s, err
}

// An idless cache returns versions without ids, as a program's own Secrets may.
type idless struct {
	cache  *secretcache.Cache
	copies bool // each call returns another *Secret

	mu        sync.Mutex
	originals map[*secretcache.Secret]*secretcache.Secret // by the secret that was returned for it
	returned  map[*secretcache.Secret]*secretcache.Secret // by original, the secret that was returned last
}

func (a *idless) Get(ctx context.Context, id, stage string) (*secretcache.Secret, error) {
	return a.hide(a.cache.Get(ctx, id, stage))
}

func (a *idless) Refresh(ctx context.Context, id, stage string, rejected *secretcache.Secret) (*secretcache.Secret, error) {
	a.mu.Lock()
	original := a.originals[rejected]
	a.mu.Unlock()
	return a.hide(a.cache.Refresh(ctx, id, stage, original))
}

func (a *idless) hide(s *secretcache.Secret, err error) (*secretcache.Secret, error) {
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if r := a.returned[s]; r != nil && !a.copies {
		return r, nil
	}
	r := secretcache.NewSecret(secretcache.Value{ID: s.ID(), Name: s.Name(), String: s.Reveal()})
	a.originals[r], a.returned[s] = s, r
	return r, nil
}

func newIDless(cache *secretcache.Cache, copies bool) *idless {
	return &idless{cache: cache, copies: copies,
		originals: map[*secretcache.Secret]*secretcache.Secret{}, returned: map[*secretcache.Secret]*secretcache.Secret{}}
}
