package secretcache_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

const (
	current  = secretcache.StageCurrent
	previous = "AWSPREVIOUS"
	pending  = "AWSPENDING"
)

// arn returns the ARN that a fake gives a secret with this name.
func arn(name string) string {
	return "arn:aws:secretsmanager:eu-central-1:123456789012:secret:" + name + "-a1b2c3"
}

// A call is one fetch from a fake.
type call struct{ id, stage string }

// A fake is a Source that keeps secrets by name. The result of a fetch is decided when the fetch
// begins, as with a server whose answer is slow. The fake fails the test if it is never called,
// or if a call breaks the contract of a Source.
type fake struct {
	tb testing.TB

	mu      sync.Mutex
	secrets map[string]map[string]secretcache.Value // by name and stage
	err     error                                   // the error of every fetch
	wait    time.Duration                           // how long a fetch takes
	hang    bool                                    // a fetch ends only with its context
	deaf    chan struct{}                           // if not nil, a fetch ignores its context and ends when this is closed
	calls   []call
	times   []time.Time
	busy    map[call]bool
	given   bool // a fetch was given up by the cache; two of one secret may overlap
}

func newFake(tb testing.TB) *fake {
	tb.Helper()
	f := &fake{tb: tb, secrets: map[string]map[string]secretcache.Value{}, busy: map[call]bool{}}
	tb.Cleanup(func() {
		if f.count() == 0 {
			tb.Error("the source was never called")
		}
	})
	return f
}

// put puts the stage on a version of the secret. The value is "value of version".
func (f *fake) put(name, stage, version string) {
	f.set(name, stage, secretcache.Value{
		ARN: arn(name), Name: name, VersionID: version, Stages: []string{stage}, String: "value of " + version,
	})
}

func (f *fake) set(name, stage string, v secretcache.Value) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.secrets[name] == nil {
		f.secrets[name] = map[string]secretcache.Value{}
	}
	f.secrets[name][stage] = v
}

// change changes the behavior of fetches that begin later.
func (f *fake) change(how func(*fake)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	how(f)
}

func (f *fake) fail(err error) { f.change(func(f *fake) { f.err = err }) }

func (f *fake) delay(d time.Duration) { f.change(func(f *fake) { f.wait = d }) }

// count returns how many fetches began.
func (f *fake) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.calls)
}

func (f *fake) Fetch(ctx context.Context, id, stage string) (*secretcache.Secret, error) {
	this := call{id, stage}
	f.mu.Lock()
	f.calls = append(f.calls, this)
	f.times = append(f.times, time.Now())
	if stage == "" {
		f.tb.Error("fetch of an empty stage")
	}
	if _, ok := ctx.Deadline(); !ok {
		f.tb.Error("fetch without a deadline")
	}
	if f.busy[this] && !f.given {
		f.tb.Errorf("two fetches of %v at once", this)
	}
	f.busy[this] = true
	s, err := f.answer(id, stage)
	wait, hang, deaf := f.wait, f.hang, f.deaf
	f.mu.Unlock()

	defer f.change(func(f *fake) { delete(f.busy, this) })
	switch {
	case deaf != nil:
		<-deaf
	case hang:
		<-ctx.Done()
		return nil, ctx.Err()
	case wait > 0:
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return s, err
}

// answer returns the result of a fetch now. f.mu is held.
func (f *fake) answer(id, stage string) (*secretcache.Secret, error) {
	if f.err != nil {
		return nil, f.err
	}
	for name, stages := range f.secrets {
		// The ARN may be without its suffix, and a source may give no ARN.
		partial := strings.HasPrefix(id, "arn:") && strings.HasPrefix(arn(name), id)
		if id != name && !partial && id != stages[current].ARN {
			continue
		}
		v, ok := stages[stage]
		if !ok {
			return nil, fmt.Errorf("secret %q stage %q: %w", id, stage, secretcache.ErrNoVersion)
		}
		v.ID = id
		return secretcache.NewSecret(v), nil
	}
	return nil, fmt.Errorf("secret %q: %w", id, secretcache.ErrNotFound)
}

// errDown is the error of a source that is down.
var errDown = errors.New("source is down")

// newCache returns a cache that is closed at the end of the test.
func newCache(t *testing.T, src secretcache.Source, opts *secretcache.Options) *secretcache.Cache {
	c := secretcache.New(src, opts)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// sourceOfV1 returns a source with version v1 of the secrets ids, by default of "a", and a cache
// of it.
func sourceOfV1(t *testing.T, opts *secretcache.Options, ids ...string) (*fake, *secretcache.Cache) {
	t.Helper()
	src := newFake(t)
	if ids == nil {
		ids = []string{"a"}
	}
	for _, id := range ids {
		src.put(id, current, "v1")
	}
	return src, newCache(t, src, opts)
}

// cacheOfV1 is sourceOfV1 after the cache has fetched v1.
func cacheOfV1(t *testing.T, opts *secretcache.Options) (*fake, *secretcache.Cache, *secretcache.Secret) {
	t.Helper()
	src, c := sourceOfV1(t, opts)
	return src, c, want(t, c, "a", "", "v1")
}

// cacheOfOldV1 is cacheOfV1 two minutes later, so that a Recheck fetches.
func cacheOfOldV1(t *testing.T, opts *secretcache.Options) (*fake, *secretcache.Cache, *secretcache.Secret) {
	t.Helper()
	src, c, v1 := cacheOfV1(t, opts)
	time.Sleep(2 * time.Minute)
	return src, c, v1
}

// within returns a context that ends after d, or with the test if d is zero.
func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	if d > 0 {
		ctx, cancel = context.WithTimeout(ctx, d)
	}
	t.Cleanup(cancel)
	return ctx
}

// inBubble runs a subtest in a synctest bubble.
func inBubble(t *testing.T, name string, test func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
}

// want calls Get and checks the version.
func want(t *testing.T, c *secretcache.Cache, id, stage, version string) *secretcache.Secret {
	t.Helper()
	s, err := c.Get(t.Context(), id, stage)
	if err != nil {
		t.Errorf("Get(%q, %q): %v, want version %q", id, stage, err, version)
	} else if s.VersionID() != version {
		t.Errorf("Get(%q, %q) = version %q, want %q", id, stage, s.VersionID(), version)
	}
	return s
}

// wantErr calls Get and checks that it returns target.
func wantErr(t *testing.T, c *secretcache.Cache, id, stage string, target error) {
	t.Helper()
	if s, err := c.Get(t.Context(), id, stage); !errors.Is(err, target) || s != nil {
		t.Errorf("Get(%q, %q) = %v, %v, want %v", id, stage, s, err, target)
	}
}

// wantRefresh calls Refresh and checks the version.
func wantRefresh(t *testing.T, c *secretcache.Cache, id, stage string, rejected *secretcache.Secret, version string) *secretcache.Secret {
	t.Helper()
	s, err := c.Refresh(t.Context(), id, stage, rejected)
	if err != nil {
		t.Errorf("Refresh(%q, %q, %v): %v, want version %q", id, stage, rejected, err, version)
	} else if s.VersionID() != version {
		t.Errorf("Refresh(%q, %q, %v) = version %q, want %q", id, stage, rejected, s.VersionID(), version)
	}
	return s
}

// wantRefreshErr calls Refresh and checks that it returns target.
func wantRefreshErr(t *testing.T, c *secretcache.Cache, id string, rejected *secretcache.Secret, target error) {
	t.Helper()
	if s, err := c.Refresh(t.Context(), id, "", rejected); !errors.Is(err, target) || s != nil {
		t.Errorf("Refresh(%q, %v) = %v, %v, want %v", id, rejected, s, err, target)
	}
}

// wantPrefetch calls Prefetch, which must succeed.
func wantPrefetch(t *testing.T, c *secretcache.Cache, ids ...string) {
	t.Helper()
	if err := c.Prefetch(t.Context(), ids...); err != nil {
		t.Error(err)
	}
}

// wantEntries checks how many secrets the cache holds.
func wantEntries(t *testing.T, c *secretcache.Cache, n int) {
	t.Helper()
	if got := c.Stats().Entries; got != n {
		t.Errorf("%d entries, want %d", got, n)
	}
}

// wantCalls checks how many fetches began, in a synctest bubble.
func wantCalls(t *testing.T, f *fake, n int) {
	t.Helper()
	synctest.Wait() // a renewal begins in the background
	if got := f.count(); got != n {
		t.Errorf("the source was called %d times, want %d", got, n)
	}
}

// took checks how long f takes.
func took(t *testing.T, want time.Duration, f func()) {
	t.Helper()
	start := time.Now()
	f()
	if got := time.Since(start); got != want {
		t.Errorf("it took %v, want %v", got, want)
	}
}

// together calls f n times at once and waits for all calls.
func together(n int, f func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}
