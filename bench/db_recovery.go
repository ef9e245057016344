package main

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	awscache "github.com/aws/aws-secretsmanager-caching-go/v2/secretcache"

	"github.com/sqlsecrets/sqlsecrets/bench/internal/report"
	"github.com/sqlsecrets/sqlsecrets/bench/internal/turns"
)

// recovery measures the first connection after a rotation.
func recovery(ctx context.Context, quick bool) (*report.Section, error) {
	s := &report.Section{Name: "recovery", Title: "Recovery from a rotation on real servers",
		Text: "The first Connect call after a rotation, while the cache has the former version: one rejected login, one fetch of the " +
			"secret, and one more login. It is compared with the same by hand: the vendor's driver and AWS's caching client, whose " +
			"`RefreshNow` sleeps for 2.5 to 5 s before it calls. The Secrets Manager is a stand-in on this machine. The servers " +
			"count calls and logins.",
		Absent: []string{noRefresh, noWrapper}}
	var labels []string
	var ours, byHand []float64
	err := onServers(ctx, s, products, func(tb testing.TB, p *product) {
		first := newRecovery(tb, p, "sqlsecrets", connectOurs).measure(oneByOne(quick, 60))
		second := newRecovery(tb, p, "AWS's caching client by hand", connectByHand).measure(&turns.Options{One: true, Once: quick, Rounds: 8, MaxRounds: 8})
		s.Tables = append(s.Tables, report.Table{Title: p.name,
			Columns: []string{"", "median", "10th percentile", "90th percentile", "API calls", "rejected logins", "accepted logins"},
			Rows:    [][]string{first.row(), second.row()}})
		s.Targets = append(s.Targets, first.target(p))
		labels = append(labels, p.name)
		ours, byHand = append(ours, first.Median/1e6), append(byHand, second.Median/1e6)
	})
	if len(labels) > 0 {
		s.Plots = []report.Plot{{Title: "First Connect call after a rotation", Unit: "ms", Labels: labels, Log: true,
			Series: []report.Series{{Name: "sqlsecrets", Values: ours}, {Name: "AWS's caching client by hand", Values: byHand}}}}
	}
	return s, err
}

// A rotated is a database whose user is rotated before each connection.
type rotated struct {
	tb      testing.TB
	name    string
	d       *database
	connect func() error
	before  int // API calls before the first rotation
}

// newRecovery opens one connection, which fills the cache.
func newRecovery(tb testing.TB, p *product, name string, with func(testing.TB, *database) func() error) *rotated {
	d := newDatabase(tb, p)
	r := &rotated{tb: tb, name: name, d: d, connect: with(tb, d)}
	if err := r.connect(); err != nil {
		tb.Fatal(err)
	}
	r.before = d.calls()
	return r
}

// A recovered is the result of connections after a rotation. All values except the times are means.
type recovered struct {
	turns.Result
	calls, rejected, accepted float64
}

func (r *rotated) measure(o *turns.Options) recovered {
	result := inTurns(r.d.name+", "+r.name, []turns.Subject{{Name: r.name, Before: func() { r.d.rotate(r.tb) }, Op: func(n int) {
		for range n {
			if err := r.connect(); err != nil {
				r.tb.Fatal(err)
			}
		}
	}}}, o)[0]
	n := float64(r.d.rotations)
	return recovered{result, float64(r.d.calls()-r.before) / n, float64(r.d.RejectedLogins(r.d.user)) / n, float64(r.d.Logins(r.d.user)-1) / n}
}

func (r recovered) row() []string {
	return []string{r.Name, took(r.Median), took(r.Low), took(r.High),
		fmt.Sprintf("%.2g", r.calls), fmt.Sprintf("%.2g", r.rejected), fmt.Sprintf("%.2g", r.accepted)}
}

// target is the target of a forced refresh: a library that sleeps takes longer.
func (r recovered) target(p *product) report.Target {
	const noSleep = 500 * time.Millisecond
	t := report.Target{What: "forced refresh after a rotation, " + p.name, Want: "1 API call, no sleep",
		Got: fmt.Sprintf("%s, API calls: %.2g", took(r.Median), r.calls), Met: r.calls == 1 && r.Median < float64(noSleep)}
	if !t.Met {
		t.Missed = fmt.Sprintf("%+.2g API calls; half of the Connect calls took %s or more", r.calls-1, took(r.Median))
	}
	return t
}

func connectOurs(tb testing.TB, d *database) func() error {
	c := d.connector(tb, false)
	return func() error { return connectOnce(tb.Context(), c) }
}

// connectByHand logs in with the value of AWS's caching client, and once more after its RefreshNow.
func connectByHand(tb testing.TB, d *database) func() error {
	cache, err := awscache.New(func(c *awscache.Cache) { c.Client = secretsmanager.NewFromConfig(d.sm.Config()) })
	if err != nil {
		tb.Fatal(err)
	}
	try := func() error {
		value, err := cache.GetSecretStringWithContext(tb.Context(), d.id)
		if err != nil {
			return err
		}
		var s struct{ Username, Password string }
		if err := json.Unmarshal([]byte(value), &s); err != nil {
			return err
		}
		c, err := d.vendor(d.Server, s.Username, s.Password)
		if err != nil {
			return err
		}
		return connectOnce(tb.Context(), c)
	}
	return func() error {
		err := try()
		if err != nil && d.rejected(err) {
			cache.RefreshNowWithContext(tb.Context(), d.id)
			err = try()
		}
		return err
	}
}
