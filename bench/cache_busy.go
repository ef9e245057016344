package main

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/sqlsecrets/sqlsecrets/bench/internal/report"
	"github.com/sqlsecrets/sqlsecrets/bench/internal/turns"
)

const busyText = `One goroutine gets a cached secret while a fetch hangs. The fetch is for another secret, or for this one,
which is past its TTL. AWS's client, and otter without a renewal, do not serve a secret that is past its TTL:
their callers wait for the source.
`

// The states of a cache when a secret is read.
const (
	idle    = "a hit"
	another = "while another secret is fetched"
	renewed = "while this one is renewed"
)

// A newPeerFunc makes a cache for size secrets.
type newPeerFunc func(b *backend, size int, ttl time.Duration) *peer

// A busyCache is a cache that has the secret "app", in one of the states.
type busyCache struct {
	*peer
	state   string
	backend backend
	release chan struct{} // closing it ends the fetch that is under way
}

// newBusy returns a cache in a state. In the state renewed the secret is older than ttl and younger
// than twice ttl, so its callers need not wait.
func newBusy(newPeer newPeerFunc, state string, ttl time.Duration) (*busyCache, error) {
	c := &busyCache{state: state, release: make(chan struct{})}
	limit := 2 * ttl
	if state != renewed {
		ttl = time.Hour
	}
	c.peer = newPeer(&c.backend, 64, ttl)
	if err := c.fill("app"); err != nil {
		return nil, err
	}
	cached := c.backend.calls.Load()
	c.backend.before = c.hang
	if state == another {
		go func() { _ = c.get(context.Background(), "other") }()
	}
	for deadline := time.Now().Add(limit); state != idle && c.backend.calls.Load() == cached; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("%s: no fetch is under way after %v", c.name, limit)
		}
		if state == renewed {
			if err := c.fill("app"); err != nil {
				return nil, err
			}
		}
	}
	return c, nil
}

func (c *busyCache) hang(ctx context.Context, _ string) error {
	select {
	case <-c.release:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *busyCache) close() {
	close(c.release)
	c.drop()
}

func cacheBusy(_ context.Context, quick bool) (*report.Section, error) {
	ttl := 10 * time.Second // the comparison takes about half of it
	if quick {
		ttl = 300 * time.Millisecond
	}
	var caches []*busyCache
	defer func() {
		for _, c := range caches {
			c.close()
		}
	}()
	var subjects []turns.Subject
	for _, one := range []struct {
		new    newPeerFunc
		states []string
	}{
		{newAWS, []string{idle, another}},
		{newOtter, []string{idle, another, renewed}},
		{newOurs, []string{idle, another, renewed}},
	} {
		for _, state := range one.states {
			c, err := newBusy(one.new, state, ttl)
			if err != nil {
				return nil, err
			}
			caches = append(caches, c)
			subjects = append(subjects, turns.Subject{Name: c.name + ": " + state, Op: c.hits([]string{"app"})})
		}
	}
	by := compare(quick, "hits", subjects, turns.Options{MaxRounds: 80})
	return busySection(by), nil
}

func busySection(by map[string]turns.Result) *report.Section {
	plot := report.Plot{Title: "Hit, while something is fetched", Unit: "ns", Labels: []string{idle, another, renewed}}
	table := report.Table{Columns: []string{"cache", idle, another, renewed}}
	for _, name := range []string{ours, otterName, awsName} {
		series, row := report.Series{Name: name}, []string{name}
		for _, state := range plot.Labels {
			if r, ok := by[name+": "+state]; ok {
				series.Values, row = append(series.Values, r.Low), append(row, figure(r.Low))
			} else {
				series.Values, row = append(series.Values, math.NaN()), append(row, "waits for the source")
			}
		}
		plot.Series, table.Rows = append(plot.Series, series), append(table.Rows, row)
	}
	s := &report.Section{Name: "cache-busy", Title: "Hit while something is fetched", Text: busyText, Plots: []report.Plot{plot}, Tables: []report.Table{table}}
	hit := by[ours+": "+idle].Low
	for _, state := range []string{another, renewed} {
		got := by[ours+": "+state].Low
		s.Targets = append(s.Targets, report.Target{What: "hit " + state, Want: "as a hit, " + figure(hit) + ", plus 5 % for noise", Got: figure(got),
			Met: got <= 1.05*hit, Missed: fmt.Sprintf("%s, %s more. No lock is taken. What is left is the second check of the time, or noise", times(got/hit), figure(got-hit))})
	}
	return s
}
