package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/sqlsecrets/sqlsecrets/bench/internal/report"
)

const slowText = `The source takes 500 ms for each slow secret, and 1 ms for the fast one. Five goroutines want each slow
secret. 10 ms later the fast secret is asked for. AWS's client makes two calls for each secret. sqlsecrets
has at most 32 fetches under way (Options.MaxFetches), so that a starting program does not throttle itself.
With more slow secrets than that, a fast one waits for its turn. The others have no such limit.
`

// A meeting has the times of a fast secret beside slow ones.
type meeting struct {
	first time.Duration // its first Get
	hits  time.Duration // the longest of 1,000 hits after that
	slow  int64         // API calls for slow secrets
}

func cacheSlow(_ context.Context, quick bool) (*report.Section, error) {
	slow := 500 * time.Millisecond
	if quick {
		slow = 50 * time.Millisecond
	}
	counts := []int{0, 1, 31, 100}
	plot := report.Plot{Title: "First Get of a fast secret", Unit: "ms", Log: true}
	tables := []report.Table{{Title: "First Get of the fast secret", Columns: []string{"cache"}}, {Title: "Longest of 1,000 hits on it after that", Columns: []string{"cache"}},
		{Title: "API calls for the slow secrets", Columns: []string{"cache"}}}
	for _, n := range counts {
		label := "beside " + plural(n, "slow secret")
		if n == 0 {
			label = "alone"
		}
		plot.Labels = append(plot.Labels, label)
		for i := range tables {
			tables[i].Columns = append(tables[i].Columns, label)
		}
	}
	for _, newPeer := range []newPeerFunc{newOurs, newOtter, newLRU, newAWS} {
		var name string
		series, rows := report.Series{}, make([][]string, 3)
		for _, n := range counts {
			var m meeting
			var err error
			if name, m, err = meet(newPeer, n, slow); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			series.Values = append(series.Values, m.first.Seconds()*1e3)
			for i, cell := range []string{figure(float64(m.first)), figure(float64(m.hits)), fmt.Sprint(m.slow)} {
				rows[i] = append(rows[i], cell)
			}
		}
		series.Name = name
		plot.Series = append(plot.Series, series)
		for i := range tables {
			tables[i].Rows = append(tables[i].Rows, append([]string{name}, rows[i]...))
		}
	}
	return &report.Section{Name: "cache-slow", Title: "A slow secret beside a fast one", Text: slowText, Tables: tables, Plots: []report.Plot{plot}}, nil
}

// meet gets a fast secret while n slow ones are fetched.
func meet(newPeer newPeerFunc, n int, slow time.Duration) (string, meeting, error) {
	b := &backend{before: func(_ context.Context, id string) error {
		time.Sleep(time.Millisecond)
		if strings.HasPrefix(id, "slow/") {
			time.Sleep(slow)
		}
		return nil
	}}
	p := newPeer(b, 1000, time.Hour)
	defer p.drop()
	ctx := context.Background()
	var wg sync.WaitGroup
	for i := range 5 * n {
		wg.Go(func() { _ = p.get(ctx, fmt.Sprintf("slow/%d", i/5)) })
	}
	time.Sleep(10 * time.Millisecond) // so that the slow fetches are under way
	m := meeting{}
	start := time.Now()
	if err := p.get(ctx, "fast"); err != nil {
		return p.name, m, err
	}
	m.first = time.Since(start)
	for range 1000 {
		start = time.Now()
		if err := p.get(ctx, "fast"); err != nil {
			return p.name, m, err
		}
		m.hits = max(m.hits, time.Since(start))
	}
	fast := int64(1)
	if p.name == awsName {
		fast = 2
	}
	wg.Wait()
	m.slow = b.calls.Load() - fast
	return p.name, m, nil
}
