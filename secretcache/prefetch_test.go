package secretcache_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// batchFake is a fake that answers several ids in one call.
type batchFake struct {
	*fake
	size    int
	batches []string
	results func([]secretcache.Result) []secretcache.Result // may change the results
}

func (f *batchFake) BatchSize() int { return f.size }

func (f *batchFake) FetchBatch(ctx context.Context, ids []string) []secretcache.Result {
	if len(ids) < 2 || len(ids) > f.size {
		f.tb.Errorf("a batch of %d ids, want 2 to %d", len(ids), f.size)
	}
	f.change(func(*fake) { f.batches = append(f.batches, strings.Join(ids, " ")) })
	results := make([]secretcache.Result, len(ids))
	together(len(ids), func(i int) { results[i].Secret, results[i].Err = f.Fetch(ctx, ids[i], current) })
	if f.results != nil {
		results = f.results(results)
	}
	return results
}

func TestPrefetchUsesBatches(t *testing.T) {
	for _, tt := range []struct {
		name  string
		size  int
		calls int // for 45 ids
	}{{"batches of 20", 20, 3}, {"batches of 44", 44, 2}, {"no batches", 0, 45}} {
		inBubble(t, tt.name, func(t *testing.T) {
			one := newFake(t)
			ids := names(45)
			for _, id := range ids {
				one.put(id, current, "v1")
			}
			one.delay(second)
			var src secretcache.Source = one
			if tt.size > 0 {
				src = &batchFake{fake: one, size: tt.size}
			}
			starts := 0
			c := newCache(t, src, &secretcache.Options{MaxFetches: 1, Trace: &secretcache.Trace{
				FetchStart: func(context.Context, secretcache.FetchInfo) { starts++ },
			}})
			took(t, time.Duration(tt.calls)*second, func() {
				wantPrefetch(t, c, append(ids, ids...)...)
			})
			wantCalls(t, one, 45)
			if starts != 45 {
				t.Errorf("%d fetches traced, want 45", starts)
			}
			took(t, 0, func() {
				wantPrefetch(t, c, ids...)
			})
			for _, id := range ids {
				want(t, c, id, "", "v1")
				want(t, c, arn(id), "", "v1")
			}
			wantCalls(t, one, 45)
		})
	}
}

func TestPrefetchReturnsTheErrorOfEachID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one := newFake(t)
		one.put("a", current, "v1")
		c := newCache(t, &batchFake{fake: one, size: 20}, nil)
		for range 2 { // the second time in the pause
			err := c.Prefetch(t.Context(), "a", "no1", "no2", "no1")
			if !errors.Is(err, secretcache.ErrNotFound) || strings.Count(err.Error(), `prefetch secret "no1"`) != 1 ||
				!strings.Contains(err.Error(), `"no2"`) || strings.Contains(err.Error(), `"a"`) {
				t.Errorf("Prefetch: %v, want not-found of no1 and no2", err)
			}
			want(t, c, "a", "", "v1")
		}
		wantErr(t, c, "no1", "", secretcache.ErrNotFound)
		wantCalls(t, one, 3)
	})
}

func TestPrefetchJoinsFetchesUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one := newFake(t)
		one.put("a", current, "v1")
		one.put("b", current, "v1")
		one.delay(2 * second)
		c := newCache(t, &batchFake{fake: one, size: 20}, nil)
		go want(t, c, "a", "", "v1")
		time.Sleep(second)
		go want(t, c, "b", "", "v1")
		took(t, 2*second, func() {
			wantPrefetch(t, c, "a", "b")
		})
		wantCalls(t, one, 2)
	})
}

func TestPrefetchWithoutIDs(t *testing.T) {
	c := secretcache.New(fresh, nil)
	if err := c.Prefetch(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestBadBatchIsAnError(t *testing.T) {
	for name, spoil := range map[string]func([]secretcache.Result) []secretcache.Result{
		"too few":  func(r []secretcache.Result) []secretcache.Result { return r[:1] },
		"empty":    func(r []secretcache.Result) []secretcache.Result { r[1] = secretcache.Result{}; return r },
		"too many": func(r []secretcache.Result) []secretcache.Result { return append(r[:1], r[1], r[0], r[0]) },
		"panic":    func([]secretcache.Result) []secretcache.Result { panic("hunter2") },
	} {
		inBubble(t, name, func(t *testing.T) {
			one := newFake(t)
			one.put("a", current, "v1")
			one.put("b", current, "v1")
			c := newCache(t, &batchFake{fake: one, size: 20, results: spoil}, nil)
			err := c.Prefetch(t.Context(), "a", "b")
			if good := name == "too many"; good != (err == nil) {
				t.Errorf("Prefetch: %v", err)
			}
			if name != "panic" {
				want(t, c, "a", "", "v1")
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("Prefetch: %v", err)
			}
			time.Sleep(2 * second)
			want(t, c, "b", "", "v1")
		})
	}
}
