package main

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/sqlsecrets/sqlsecrets/bench/internal/report"
	"github.com/sqlsecrets/sqlsecrets/bench/internal/turns"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm/awssmtest"
)

const memoryText = `The heap that each of 10,000 cached secrets takes, without its value, which was in memory before. Everything
else counts: ids, names, ARNs, versions, the tables of the cache. otter and golang-lru keep the same
secretcache.Secret as this library. The map has no limit and no order.

AWS's client keeps what two calls of the SDK return. So it is measured with the SDK's real client and a
Secrets Manager in the same process, with name, ARN and value.
`

func cacheMemory(_ context.Context, quick bool) (*report.Section, error) {
	n := 10_000
	if quick {
		n = 100
	}
	table := report.Table{Columns: []string{"cache", "with an id", "with id, name and ARN"}}
	plot := report.Plot{Title: "Memory per secret without its value", Unit: "bytes", Labels: table.Columns[1:]}
	s := &report.Section{Name: "cache-memory", Title: "Memory per secret", Text: memoryText}
	for _, newPeer := range []newPeerFunc{newOurs, newOtter, newOtterExpiry, newLRU, newMapOf(n)} {
		series, row := report.Series{}, []string{""}
		for _, bare := range []bool{true, false} {
			name, bytes, err := memory(newPeer, n, bare)
			if err != nil {
				return nil, err
			}
			series.Name, row[0] = name, name
			series.Values, row = append(series.Values, bytes), append(row, fmt.Sprintf("%.0f bytes", bytes))
		}
		plot.Series, table.Rows = append(plot.Series, series), append(table.Rows, row)
		if series.Name == ours {
			s.Targets = []report.Target{
				memoryTarget("memory per secret with an id", series.Values[0], 600),
				memoryTarget("memory per secret with id, name and ARN", series.Values[1], 800),
			}
		}
	}
	fetched, err := fetchedMemory(n / 10)
	if err != nil {
		return nil, err
	}
	s.Tables, s.Plots = []report.Table{table, fetched}, []report.Plot{plot}
	return s, nil
}

// fetchedMemory measures n secrets that the SDK's client has fetched.
func fetchedMemory(n int) (report.Table, error) {
	table := report.Table{Title: "From the SDK's client, with the value", Columns: []string{"cache", "with id, name, ARN and value"}}
	for _, newCaller := range []newCaller{ourCaller, dropInCaller, awsCaller} {
		sm := awssmtest.NewServer(nil)
		defer sm.Close()
		for _, id := range append(names(n), inTurn...) {
			sm.Put(id, newValue(id))
		}
		c := newCaller(sm, n)
		if _, err := c.get(inTurn[0]); err != nil { // the client's own memory does not count
			return table, err
		}
		sm.ResetCalls() // the server's record of requests does not count
		before := heap()
		for _, id := range names(n) {
			if _, err := c.get(id); err != nil {
				return table, err
			}
		}
		sm.ResetCalls()
		table.Rows = append(table.Rows, []string{c.name, fmt.Sprintf("%.0f bytes", float64(heap()-before)/float64(n))})
		runtime.KeepAlive(c)
	}
	return table, nil
}

func memoryTarget(what string, got, most float64) report.Target {
	return report.Target{What: what, Want: fmt.Sprintf("at most %.0f bytes without the value", most), Got: fmt.Sprintf("%.0f bytes", got),
		Met: got <= most, Missed: over(got, most, fmt.Sprintf("%.0f bytes more", got-most))}
}

// newMapOf returns a func that makes a map of n secrets.
func newMapOf(n int) newPeerFunc {
	return func(b *backend, _ int, ttl time.Duration) *peer {
		m, err := newMap(b, names(n), ttl)
		if err != nil {
			panic(err) // this backend does not fail
		}
		return m
	}
}

// memory returns how many bytes of the heap each of n secrets takes, without its value. It is the
// median of several fills, because earlier garbage may be freed in the meantime.
func memory(newPeer newPeerFunc, n int, bare bool) (name string, bytes float64, err error) {
	values := make(map[string]string, n)
	for _, id := range names(n) {
		values[id] = newValue(id)
	}
	var fills []float64
	for range 5 {
		b := &backend{value: func(id string) string { return values[id] }, bare: bare}
		before := heap()
		p := newPeer(b, n, time.Hour)
		for i := range n {
			if err := p.fill(nameOf(i)); err != nil {
				return p.name, 0, fmt.Errorf("%s: %w", p.name, err)
			}
		}
		fills = append(fills, float64(heap()-before)/float64(n))
		p.drop()
		name = p.name
	}
	runtime.KeepAlive(values)
	return name, turns.Of(name, fills).Median, nil
}

// heap returns the bytes of the heap in use after garbage collections free no more.
func heap() int64 {
	for last := int64(-1); ; {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		now := int64(m.HeapAlloc)
		if last >= 0 && last-now < 1000 {
			return now
		}
		last = now
	}
}
