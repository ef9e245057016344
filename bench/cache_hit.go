package main

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"time"

	"github.com/sqlsecrets/sqlsecrets/bench/internal/report"
	"github.com/sqlsecrets/sqlsecrets/bench/internal/turns"
)

const hitText = `A Get of a secret that is cached and fresh. Each cache is called through one func value.

| cache | what it promises |
|---|---|
| sqlsecrets | TTL by a clock. A limit on the number of secrets; the least recently used one is evicted first. One fetch for all callers. A secret past its TTL is served while one fetch renews it, and while the source fails. Pauses after failures. An id, a name and an ARN of one secret share an entry. Hits are counted |
| copy-on-write map | TTL by one time.Now. The map is copied at each write, has no limit and fetches nothing |
| otter (same promises) | Get with a loader: TTL by a clock, a limit (by frequency and recency), one load for all callers, renewal in the background, counts. No pauses after failures. Each id is a secret of its own |
| otter (expiry only) | Get with a loader, TTL and limit. At the TTL all callers wait |
| golang-lru expirable | TTL and limit. One lock, also for reads. Each caller that finds nothing fetches |
| awscaching (sqlsecrets) | the cache of sqlsecrets behind the API of AWS's client |
| AWS's caching client | TTL and limit, two calls for each secret, one lock for all secrets and one for each secret. At the TTL all callers wait |
`

// A way is a number of goroutines and cores.
type way struct {
	name              string
	cores, goroutines int
}

var ways = []way{
	{"1 goroutine", 1, 0},
	{"1 core, 64 goroutines", 1, 64},
	{"2 cores, 2 goroutines", 2, 1},
	{"2 cores, 128 goroutines", 2, 64},
}

// A hitRun is a comparison of hits.
type hitRun struct {
	keys int
	way  way
	by   map[string]turns.Result
}

func (r *hitRun) name() string { return fmt.Sprintf("%s, %s", plural(r.keys, "key"), r.way.name) }

// ratio returns the time of cache a divided by the time of cache b.
func (r *hitRun) ratio(a, b string) float64 { return r.by[a].Low / r.by[b].Low }

func cacheHit(_ context.Context, quick bool) (*report.Section, error) {
	s := &report.Section{Name: "cache-hit", Title: "Cache hit", Text: hitText}
	var runs []hitRun
	for _, keys := range []int{1, 1000} {
		ids := names(keys) // the caches get the same strings again, as with a connector's id
		peers, err := hitPeers(ids)
		if err != nil {
			return nil, err
		}
		subjects := make([]turns.Subject, len(peers))
		for i, p := range peers {
			subjects[i] = turns.Subject{Name: p.name, Op: p.hits(ids)}
		}
		for _, w := range ways {
			if w.cores > runtime.NumCPU() {
				s.Absent = append(s.Absent, fmt.Sprintf("%d cores: this machine has %d", w.cores, runtime.NumCPU()))
				continue
			}
			r := hitRun{keys: keys, way: w}
			r.by = compare(quick, r.name(), subjects, turns.Options{MaxRounds: 120, Cores: w.cores, Goroutines: w.goroutines})
			runs = append(runs, r)
			s.Tables = append(s.Tables, hitTable(&r, peers))
		}
		for _, p := range peers {
			p.drop()
		}
		s.Plots = append(s.Plots, hitPlot(runs, keys, peers))
	}
	s.Targets = hitTargets(runs)
	return s, nil
}

// hitPeers returns all caches, filled.
func hitPeers(ids []string) ([]*peer, error) {
	b, size := &backend{}, 2*len(ids)
	m, err := newMap(b, ids, time.Hour)
	if err != nil {
		return nil, err
	}
	peers := []*peer{newOurs(b, size, time.Hour), m, newOtter(b, size, time.Hour), newOtterExpiry(b, size, time.Hour),
		newLRU(b, size, time.Hour), newDropIn(b, size, time.Hour), newAWS(b, size, time.Hour)}
	for _, p := range peers {
		if err := p.fill(ids...); err != nil {
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return peers, nil
}

func hitTable(r *hitRun, peers []*peer) report.Table {
	t := report.Table{Title: r.name(), Columns: []string{"cache", "low", "median", "allocs", "times sqlsecrets"}}
	for _, p := range peers {
		t.Rows = append(t.Rows, []string{p.name, figure(r.by[p.name].Low), figure(r.by[p.name].Median), allocs(r.by[p.name]), times(r.ratio(p.name, ours))})
	}
	return t
}

func hitPlot(runs []hitRun, keys int, peers []*peer) report.Plot {
	p := report.Plot{Title: "Cache hit, " + plural(keys, "key"), Unit: "ns"}
	for _, peer := range peers {
		p.Series = append(p.Series, report.Series{Name: peer.name})
	}
	for _, r := range runs {
		if r.keys != keys {
			continue
		}
		p.Labels = append(p.Labels, r.way.name)
		for i := range p.Series {
			p.Series[i].Values = append(p.Series[i].Values, r.by[p.Series[i].Name].Low)
		}
	}
	return p
}

func hitTargets(runs []hitRun) []report.Target {
	targets := []report.Target{
		ratioTarget(runs, "cache hit, compared with a copy-on-write map with one time.Now", ours, cowName, 0.95),
		ratioTarget(runs, "cache hit, compared with otter with the same promises", ours, otterName, 1),
		ratioTarget(runs, "cache hit, compared with AWS's client", ours, awsName, 1/2.5),
	}
	most := 0.0
	for _, r := range runs {
		most = max(most, r.by[ours].Allocs)
	}
	targets = append(targets, report.Target{What: "cache hit: allocations", Want: "0", Got: allocs(turns.Result{Allocs: most}),
		Met: most < 0.005, Missed: "a hit allocates"})
	return append(targets, scalingTargets(runs)...)
}

// ratioTarget says that cache a may take at most so many times as long as cache b, in all runs.
func ratioTarget(runs []hitRun, what, a, b string, most float64) report.Target {
	worst, best := runs[0], runs[0]
	var misses []string
	for _, r := range runs {
		if r.ratio(a, b) > worst.ratio(a, b) {
			worst = r
		}
		if r.ratio(a, b) < best.ratio(a, b) {
			best = r
		}
		if round2(r.ratio(a, b)) > most {
			misses = append(misses, fmt.Sprintf("%s with %s (%s to %s)", times(r.ratio(a, b)), r.name(), figure(r.by[a].Low), figure(r.by[b].Low)))
		}
	}
	return report.Target{What: what, Want: "at most " + times(most),
		Got: fmt.Sprintf("%s to %s (%s)", times(best.ratio(a, b)), times(worst.ratio(a, b)), worst.name()),
		Met: len(misses) == 0, Missed: fmt.Sprintf("in %d of %d comparisons, by up to %.1f %%: %s", len(misses), len(runs), 100*(worst.ratio(a, b)/most-1), list(misses))}
}

// scalingTargets say that the library's speedup by a second core has to be that of the map.
func scalingTargets(runs []hitRun) (targets []report.Target) {
	for _, keys := range []int{1, 1000} {
		byCores := map[int]hitRun{}
		for _, r := range runs {
			if r.keys == keys && r.way.goroutines == 64 {
				byCores[r.way.cores] = r
			}
		}
		if len(byCores) < 2 {
			continue
		}
		scaling := func(name string) float64 { return byCores[1].by[name].Low / byCores[2].by[name].Low }
		got, want := scaling(ours), scaling(cowName)
		targets = append(targets, report.Target{What: "cache hit: speedup by a second core, " + plural(keys, "key"),
			Want: fmt.Sprintf("as with the map: %s, less 5 %%", times(want)), Got: times(got),
			Met: got >= 0.95*want, Missed: fmt.Sprintf("%.1f %% less than the map", 100*(1-got/want))})
	}
	return targets
}

func round2(v float64) float64 { return math.Round(100*v) / 100 }
