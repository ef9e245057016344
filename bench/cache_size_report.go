package main

import (
	"fmt"
	"math"

	"github.com/sqlsecrets/sqlsecrets/bench/internal/report"
	"github.com/sqlsecrets/sqlsecrets/bench/internal/turns"
)

// sizePeers are the caches of the comparison by size, in the order of the report.
var sizePeers = []string{ours, otterName, lruName, awsName}

func sizePlot(op string, sizes []int, by map[string]map[string]turns.Result) report.Plot {
	p := report.Plot{Title: upper(op), Unit: "µs", XUnit: "secrets", Log: true}
	for _, size := range sizes {
		p.X = append(p.X, float64(size))
	}
	for _, name := range sizePeers {
		series, found := report.Series{Name: name}, false
		for _, size := range sizes {
			r, ok := by[name][sizeName(op, size)]
			if !ok {
				series.Values = append(series.Values, math.NaN())
				continue
			}
			series.Values, found = append(series.Values, r.Low/1e3), true
		}
		if found {
			p.Series = append(p.Series, series)
		}
	}
	return p
}

func sizeTable(op string, sizes []int, by map[string]map[string]turns.Result) report.Table {
	t := report.Table{Title: upper(op), Columns: []string{"cache"}}
	for _, size := range sizes {
		t.Columns = append(t.Columns, report.Number(size))
	}
	t.Columns = append(t.Columns, "largest / smallest", sourceAlone)
	for _, name := range sizePeers {
		var first, last turns.Result
		row := []string{name}
		for _, size := range sizes {
			r, ok := by[name][sizeName(op, size)]
			if !ok {
				row = append(row, "–")
				continue
			}
			row, last = append(row, figure(r.Low)), r
			if first.Low == 0 {
				first = r
			}
		}
		if first.Low > 0 {
			t.Rows = append(t.Rows, append(row, times(last.Low/first.Low), figure(by[name][sourceAlone].Low)))
		}
	}
	return t
}

// sizeTarget says that the largest cache may take at most three times as long as the smallest one.
func sizeTarget(op string, sizes []int, by map[string]turns.Result) report.Target {
	small, large := sizes[0], sizes[len(sizes)-1]
	a, b := by[sizeName(op, small)].Low, by[sizeName(op, large)].Low
	return report.Target{What: fmt.Sprintf("%s with %s", op, plural(large, "secret")), Want: "at most 3 × that of " + plural(small, "secret"),
		Got: fmt.Sprintf("%s (%s and %s)", times(b/a), figure(b), figure(a)), Met: b <= 3*a, Missed: over(b, 3*a, "the work is the same, but the memory of 1,000 secrets fits into the processor's caches, and that of a million does not")}
}
