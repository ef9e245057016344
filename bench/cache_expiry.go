package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/sqlsecrets/sqlsecrets/bench/internal/report"
)

const expiryText = `50 goroutines each get one secret every 2 ms while it expires. The source takes 200 ms for each call.
A caller has waited if its longest Get took half of that time or more. At the TTL, AWS's client calls
DescribeSecret, and then GetSecretValue if there is another version; here there is none. otter and golang-lru
do not randomize the TTL, so in a fleet that started together all processes fetch together.
`

// An expiry is the result of one cache.
type expiry struct {
	name    string
	waited  int // callers
	longest time.Duration
	calls   int64
}

const expiryCallers = 50

func cacheExpiry(_ context.Context, quick bool) (*report.Section, error) {
	ttl, slow := 2*time.Second, 200*time.Millisecond
	if quick {
		ttl, slow = 200*time.Millisecond, 40*time.Millisecond
	}
	table := report.Table{Columns: []string{"cache", "callers that waited, of 50", "longest Get", "API calls"}}
	plot := report.Plot{Title: "Longest Get of 50 callers at the expiry of a secret", Unit: "ms", Labels: []string{"longest Get"}}
	s := &report.Section{Name: "cache-expiry", Title: "Expiry, with a source that takes 200 ms", Text: expiryText}
	for _, newPeer := range []newPeerFunc{newOurs, newOtter, newOtterExpiry, newLRU, newDropIn, newAWS} {
		e, err := expire(newPeer, ttl, slow)
		if err != nil {
			return nil, err
		}
		table.Rows = append(table.Rows, []string{e.name, fmt.Sprint(e.waited), figure(float64(e.longest)), fmt.Sprint(e.calls)})
		plot.Series = append(plot.Series, report.Series{Name: e.name, Values: report.Values{math.Round(10*e.longest.Seconds()*1e3) / 10}})
		if e.name == ours {
			s.Targets = []report.Target{{What: "expiry with a 200 ms source, 50 callers", Want: "no caller waits", Got: fmt.Sprintf("%d waited; longest Get %s", e.waited, figure(float64(e.longest))),
				Met: e.waited == 0, Missed: fmt.Sprintf("%d of 50 callers waited, up to %v", e.waited, e.longest)}}
		}
	}
	s.Tables, s.Plots = []report.Table{table}, []report.Plot{plot}
	return s, nil
}

// expire lets a secret expire while it is in use. The callers go on after the TTL for the time of
// two calls of the source. A cache that draws the real age from half the TTL to the whole TTL may
// renew the secret twice.
func expire(newPeer newPeerFunc, ttl, slow time.Duration) (*expiry, error) {
	b := &backend{}
	p := newPeer(b, 64, ttl)
	defer p.drop()
	if err := p.fill("app"); err != nil {
		return nil, fmt.Errorf("%s: %w", p.name, err)
	}
	b.before = func(context.Context, string) error {
		time.Sleep(slow)
		return nil
	}
	cached := b.calls.Load()
	longest := make([]time.Duration, expiryCallers)
	errs := make([]error, expiryCallers)
	var wg sync.WaitGroup
	end := time.Now().Add(ttl + 2*slow)
	for i := range longest {
		wg.Go(func() {
			for time.Now().Before(end) && errs[i] == nil {
				start := time.Now()
				errs[i] = p.get(context.Background(), "app")
				longest[i] = max(longest[i], time.Since(start))
				time.Sleep(2 * time.Millisecond)
			}
		})
	}
	wg.Wait()
	e := &expiry{name: p.name, longest: slices.Max(longest), calls: b.calls.Load() - cached}
	for i := range longest {
		if errs[i] != nil {
			return nil, fmt.Errorf("%s: %w", p.name, errs[i])
		}
		if longest[i] >= slow/2 {
			e.waited++
		}
	}
	if e.calls == 0 {
		return nil, fmt.Errorf("%s: the secret did not expire", p.name)
	}
	return e, nil
}
