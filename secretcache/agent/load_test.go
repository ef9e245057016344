package agent_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/agent/agenttest"
)

// TestFaultsUnderLoad: workers go on opening connections while the agent, or the
// extension, is killed, restarted, throttled, slowed and broken under them. No query
// fails, since there is a cached password that works. It prints the numbers (-v).
func TestFaultsUnderLoad(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds of real time")
	}
	tables := make(chan string, 2)
	t.Cleanup(func() { // one after the other
		for range len(tables) {
			t.Log(<-tables)
		}
	})
	t.Run("agent", func(t *testing.T) {
		t.Parallel()
		tables <- "agent: " + faultsUnderLoad(t, agenttest.NewServer, false)
	})
	t.Run("extension", func(t *testing.T) {
		t.Parallel()
		tables <- "extension: " + faultsUnderLoad(t, agenttest.NewExtension, true)
	})
}

const (
	workers = 12
	// A secret is kept so long, here and there, that each phase has fetches, and a fetch
	// may take so long that those of a phase fail in it.
	loadTTL     = 40 * time.Millisecond
	loadTimeout = 300 * time.Millisecond
	phaseTime   = 400 * time.Millisecond
	patience    = 10 * time.Second // for what a phase waits for
)

// A phase is what the server is like for a time, and what was counted.
type phase struct {
	name            string
	begin, end      func()
	fails           bool // fetches do
	queries, failed atomic.Int64
	slowest         atomic.Int64
	fetches, errors uint64
	requests        int
}

func (p *phase) count(took time.Duration, err error) (first bool) {
	p.queries.Add(1)
	for old := p.slowest.Load(); int64(took) > old && !p.slowest.CompareAndSwap(old, int64(took)); old = p.slowest.Load() {
	}
	return err != nil && p.failed.Add(1) == 1
}

func faultsUnderLoad(t *testing.T, start startFunc, extension bool) (table string) {
	s := newStack(t, start, func(o *agenttest.Options) { o.TTL = loadTTL })
	db, cache := s.open(s.server.Source(), "", &secretcache.Options{TTL: loadTTL, FetchTimeout: loadTimeout})
	db.SetMaxOpenConns(workers)
	rotations := 0
	rotate := func() {
		rotations++
		s.rotate(fmt.Sprintf("password %d", rotations))
	}
	fault := func(name string, fails bool, f agenttest.Fault) *phase {
		return &phase{name: name, fails: fails, begin: func() { s.server.Fail(f) }, end: s.server.Heal}
	}
	crowded := &phase{name: "too many connections", fails: true, begin: func() { s.server.SetMaxConn(0) },
		end: func() { s.server.SetMaxConn(agenttest.DefaultMaxConn) }}
	throttled := fault("throttled", true, agenttest.Exception(http.StatusBadRequest, "ThrottlingException", "Rate exceeded"))
	if extension { // which has no limit of connections, and one text for all
		crowded = fault("not ready", true, agenttest.NotReady)
		throttled = fault("failing", true, agenttest.Answer(http.StatusBadRequest, "an unexpected error occurred while executing request"))
	}
	phases := []*phase{
		{name: "well"},
		{name: "rotated", begin: rotate},
		{name: "killed", begin: s.server.Stop, fails: true, end: s.server.Start},
		crowded,
		throttled,
		fault("slow, 100 ms", false, agenttest.Delay(100*time.Millisecond)),
		fault("hanging", true, agenttest.Hang),
		fault("at status 500", true, agenttest.Answer(http.StatusInternalServerError, "")),
		fault("closing connections", true, agenttest.CloseConn),
		fault("answering nonsense", true, agenttest.Answer(http.StatusOK, "nonsense")),
		{name: "of another token", begin: func() { s.server.SetToken("another token") }},
		{name: "restarted, rotated", begin: func() { s.server.Stop(); s.server.Start(); rotate() }},
		{name: "well"},
	}

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var now atomic.Pointer[phase]
	now.Store(phases[0])
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for ctx.Err() == nil {
				begun, in := time.Now(), now.Load()
				err := query(ctx, db)
				if ctx.Err() != nil {
					return // the end of the test, not of a query
				}
				if in.count(time.Since(begun), err) {
					t.Errorf("%s: a query failed: %v", in.name, err)
				}
			}
		})
	}
	for _, p := range phases {
		now.Store(p)
		before, requests := cache.Stats(), len(s.server.Requests())
		if p.begin != nil {
			p.begin()
		}
		<-time.After(phaseTime)
		if p.fails {
			eventually(t, p.name+": a fetch fails", func() bool { return cache.Stats().Errors > before.Errors })
		}
		after := cache.Stats()
		p.fetches, p.errors, p.requests = after.Fetches-before.Fetches, after.Errors-before.Errors, len(s.server.Requests())-requests
		if p.end != nil {
			p.end()
		}
		// Without its pause after a failure the cache asks at once.
		cache.Invalidate(secretID)
		eventually(t, p.name+": a fetch brings the secret afterwards", func() bool {
			n := cache.Stats()
			return n.Fetches-n.Errors > after.Fetches-after.Errors
		})
	}
	stop()
	wg.Wait()

	var b strings.Builder
	fmt.Fprintf(&b, "%-22s %8s %7s %8s %8s %9s %9s\n", "the server is", "queries", "failed", "fetches", "failed", "requests", "slowest")
	for _, p := range phases {
		fmt.Fprintf(&b, "%-22s %8d %7d %8d %8d %9d %9v\n", p.name, p.queries.Load(), p.failed.Load(), p.fetches, p.errors, p.requests,
			time.Duration(p.slowest.Load()).Round(time.Millisecond))
		if p.queries.Load() == 0 || p.failed.Load() > 0 {
			t.Errorf("%s: %d of %d queries failed, want none of many", p.name, p.failed.Load(), p.queries.Load())
		}
	}
	accepted, rejected := s.db.Logins(user)
	if rejected == 0 || rejected > rotations*workers {
		t.Errorf("%d logins rejected in %d rotations by %d workers", rejected, rotations, workers)
	}
	return fmt.Sprintf("%d workers, a connection for each query, TTL %v here and there, FetchTimeout %v\n%slogins: %d accepted, %d rejected",
		workers, loadTTL, loadTimeout, b.String(), accepted, rejected)
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for late := time.After(patience); !is(); {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}
