package secretcache_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// A mill is a Source of secrets that change all the time. A version is "name/number", and the
// number only grows.
type mill struct {
	tb      testing.TB
	numbers []atomic.Int64 // number of the current version of each secret
	aliased bool           // callers use names and ARNs, so two fetches of one secret may overlap
	flaky   bool           // one of five fetches fails, and one of fifty does not answer
	under   atomic.Int64   // fetches under way
	limit   int64          // the largest number of fetches under way

	mu   sync.Mutex
	busy map[call]bool
}

func (m *mill) id(n int, byARN bool) string {
	name := fmt.Sprintf("secret-%03d", n)
	if byARN {
		return arn(name)
	}
	return name
}

func (m *mill) name(id string) (name string, n int) {
	i := strings.Index(id, "secret-")
	if _, err := fmt.Sscanf(id[i:], "secret-%03d", &n); err != nil {
		m.tb.Error(err)
	}
	return id[i : i+len("secret-000")], n
}

func (m *mill) number(s *secretcache.Secret, id string) int64 {
	name, _ := m.name(id)
	var number int64
	if _, err := fmt.Sscanf(s.VersionID(), name+"/%d", &number); err != nil {
		m.tb.Errorf("%q got version %q", id, s.VersionID())
	}
	return number
}

func (m *mill) Fetch(ctx context.Context, id, stage string) (*secretcache.Secret, error) {
	if n := m.under.Add(1); n > m.limit {
		m.tb.Errorf("%d fetches under way, want %d at most", n, m.limit)
	}
	defer m.under.Add(-1)
	this := call{id, stage}
	m.mu.Lock()
	if m.busy[this] && !m.aliased {
		m.tb.Errorf("two fetches of %v at once", this)
	}
	m.busy[this] = true
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		delete(m.busy, this)
		m.mu.Unlock()
	}()

	name, n := m.name(id)
	v := secretcache.Value{ID: id, ARN: arn(name), Name: name, VersionID: fmt.Sprintf("%s/%d", name, m.numbers[n].Load())}
	if m.flaky && rand.N(50) == 0 {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	select {
	case <-time.After(rand.N(50 * time.Millisecond)):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if m.flaky && rand.N(5) == 0 {
		return nil, errDown
	}
	return secretcache.NewSecret(v), nil
}

// All methods together, on more secrets than the cache keeps.
func TestAllMethodsTogether(t *testing.T) {
	const secrets, workers, rounds, size = 60, 16, 400, 8
	for _, tt := range []struct{ aliased, flaky bool }{{false, false}, {true, false}, {false, true}, {true, true}} {
		inBubble(t, fmt.Sprintf("aliased=%v,flaky=%v", tt.aliased, tt.flaky), func(t *testing.T) {
			src := &mill{
				tb: t, numbers: make([]atomic.Int64, secrets), busy: map[call]bool{},
				aliased: tt.aliased, flaky: tt.flaky, limit: 12,
			}
			c := newCache(t, src, &secretcache.Options{
				MaxSize: size, TTL: 200 * time.Millisecond, MaxStale: time.Hour, FetchTimeout: time.Second, MaxFetches: int(src.limit),
			})
			var gets, rechecks atomic.Uint64
			failed := func(method string, err error) bool {
				switch {
				case err == nil:
					return false
				case errors.Is(err, context.DeadlineExceeded):
				case !tt.flaky || !errors.Is(err, errDown):
					t.Errorf("%s: %v", method, err)
				}
				return true
			}
			together(workers, func(int) {
				last := map[string]*secretcache.Secret{}
				for range rounds {
					n := rand.N(rand.N(rand.N(secrets)+1) + 1) // a few secrets are used most
					id := src.id(n, tt.aliased && rand.N(2) == 0)
					name := src.id(n, false)
					before := src.numbers[n].Load()
					ctx, cancel := context.WithTimeout(t.Context(), rand.N(10*time.Second))
					switch op := rand.N(20); {
					case op < 10:
						gets.Add(1)
						s, err := c.Get(ctx, id, "")
						if !failed("Get", err) {
							src.number(s, id)
							last[name] = s
						}
					case op < 13:
						src.numbers[n].Add(1)
						rejected := last[name]
						s, err := c.Refresh(ctx, id, "", rejected)
						if failed("Refresh", err) {
							break
						}
						if got := src.number(s, id); rejected == nil && got <= before {
							t.Errorf("Refresh(%q, nil) = number %d, want more than %d", id, got, before)
						} else if rejected != nil && got < src.number(rejected, id) {
							t.Errorf("Refresh(%q, %v) = number %d", id, rejected, got)
						}
						last[name] = s
					case op < 15:
						src.numbers[n].Add(1)
						if rand.N(2) == 0 {
							c.Invalidate(src.id(n, false))
						} else {
							c.Invalidate(src.id(n, true))
						}
						gets.Add(1)
						s, err := c.Get(ctx, id, "")
						if failed("Get after Invalidate", err) {
							break
						}
						if got := src.number(s, id); got <= before && !tt.flaky {
							t.Errorf("Get(%q) after Invalidate = number %d, want more than %d", id, got, before)
						}
					case op < 16 && tt.aliased:
						rechecks.Add(1)
						s, err := c.Recheck(ctx, id, "", last[name])
						if !failed("Recheck", err) {
							src.number(s, id)
							last[name] = s
						}
					case op < 17:
						ids := make([]string, rand.N(5))
						for i := range ids {
							ids[i] = src.id(rand.N(secrets), tt.aliased && rand.N(2) == 0)
						}
						failed("Prefetch", c.Prefetch(ctx, ids...))
					case op < 19:
						c.Stats()
					default:
						time.Sleep(rand.N(5 * time.Second))
					}
					cancel()
				}
			})
			synctest.Wait()
			time.Sleep(time.Minute) // all fetches end
			got := c.Stats()
			if got.Entries > size {
				t.Errorf("%d entries, want %d at most", got.Entries, size)
			}
			// A Recheck of a secret that is not cached does the same as a Get.
			if sum := got.Hits + got.StaleHits + got.Misses; sum < gets.Load() || sum > gets.Load()+rechecks.Load() {
				t.Errorf("%+v count %d Gets of %d", got, sum, gets.Load())
			}
			if got.Hits == 0 || got.StaleHits == 0 || tt.flaky != (got.Errors > 0) {
				t.Errorf("the test does not test much: %+v", got)
			}
		})
	}
}

func TestCloseDuringEverything(t *testing.T) {
	for range 50 {
		synctest.Test(t, func(t *testing.T) {
			src := &mill{
				tb: t, numbers: make([]atomic.Int64, 10), busy: map[call]bool{}, aliased: true, flaky: true, limit: 3,
			}
			c := secretcache.New(src, &secretcache.Options{MaxSize: 3, TTL: time.Second, FetchTimeout: time.Second, MaxFetches: 3})
			time.AfterFunc(rand.N(2*time.Second), func() { _ = c.Close() })
			together(16, func(int) {
				var s *secretcache.Secret
				for i := 0; ; i++ {
					id := src.id(rand.N(10), rand.N(2) == 0)
					var err error
					switch i % 5 {
					case 0:
						s, err = c.Get(t.Context(), id, "")
					case 1:
						s, err = c.Refresh(t.Context(), id, "", s)
					case 2:
						err = c.Prefetch(t.Context(), id)
					case 3:
						s, err = c.Recheck(t.Context(), id, "", s)
					default:
						c.Invalidate(id)
						c.Stats()
						time.Sleep(time.Millisecond)
					}
					if errors.Is(err, secretcache.ErrClosed) {
						return
					}
				}
			})
			for n := range 10 {
				wantErr(t, c, src.id(n, n%2 == 0), "", secretcache.ErrClosed)
			}
			wantEntries(t, c, 0)
		}) // the bubble checks that no goroutine is left
	}
}

// Readers and writers at the same time, on real processors, without the bubble's clock.
func TestHitsRaceWithEverything(t *testing.T) {
	c := secretcache.New(fresh, &secretcache.Options{MaxSize: 4})
	ids := names(16)
	together(8, func(worker int) {
		for i := range 2000 {
			id := ids[(i*worker)%len(ids)]
			s, err := c.Get(t.Context(), id, "")
			if err != nil || s.ID() != id {
				t.Errorf("Get(%q) = %v, %v", id, s, err)
			}
			switch i % 50 {
			case 0:
				c.Invalidate(id)
			case 1:
				if _, err := c.Refresh(t.Context(), id, "", nil); err != nil {
					t.Error(err)
				}
			case 2:
				c.Stats()
			case 3:
				if _, err := c.Recheck(t.Context(), id, "", s); err != nil {
					t.Error(err)
				}
			}
		}
	})
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}
