package agent_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/agent"
	"github.com/sqlsecrets/sqlsecrets/secretcache/agent/agenttest"
)

// took checks how long f took: at least want, and at most pauses more.
func took(t *testing.T, want, pauses time.Duration, f func()) {
	t.Helper()
	start := time.Now()
	f()
	if d := time.Since(start); d < want || d > want+pauses {
		t.Errorf("took %v, want %v, and %v more at most", d, want, pauses)
	}
}

// longest is the longest pause between two attempts to find a server that is not there.
const longest = 500 * time.Millisecond

// A server that starts with the first invocation of a function is not there yet.
func TestWaitsForTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := agenttest.NewServer(t, &store{version: "v1"}, inMemory)
		server.Stop()
		time.AfterFunc(3*time.Second, server.Start)
		took(t, 3*time.Second, longest, func() {
			s, err := server.Source().Fetch(within(t, 10*time.Second), "a", "")
			wantVersion(t, s, err, "v1")
		})
	})
}

// Fetches at the same time wait as long as one fetch would. Later fetches do not wait. If the
// server was there in between, or no fetch came for long, fetches wait again.
func TestWaitsOnceForAServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := agenttest.NewServer(t, &store{version: "v1"}, inMemory)
		src := server.Source()
		fails := func(want, more time.Duration) {
			t.Helper()
			took(t, want, more, func() {
				s, err := src.Fetch(within(t, 10*time.Second), "a", "")
				asError(t, s, err)
			})
		}
		server.Stop()
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() { fails(agent.DefaultStartTimeout-10*time.Millisecond, longest+10*time.Millisecond) })
			time.Sleep(time.Millisecond)
		}
		wg.Wait()
		fails(0, 0)
		time.Sleep(time.Minute)
		fails(0, 0)
		server.Start()
		s, err := src.Fetch(t.Context(), "a", "")
		wantVersion(t, s, err, "v1")
		server.Stop()
		fails(agent.DefaultStartTimeout, longest)
		time.Sleep(2*time.Minute + time.Second)
		fails(agent.DefaultStartTimeout, longest)

		src = server.Source(func(o *agent.Options) { o.StartTimeout = -1 })
		fails(0, 0)
		src = server.Source(func(o *agent.Options) { o.StartTimeout = time.Second })
		fails(time.Second, longest)
	})
}

// A fetch that waits gives up before its deadline and says what it waited for, so that the next
// source of a chain has its share of the time.
func TestWaitLeavesTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := agenttest.NewServer(t, &store{version: "v1"}, inMemory)
		server.Stop()
		start := time.Now()
		s, err := server.Source().Fetch(within(t, 2*time.Second), "a", "")
		asError(t, s, err)
		if errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "is it running? (") {
			t.Errorf("got %v", err)
		}
		if d := time.Since(start); d < time.Second || d >= 2*time.Second {
			t.Errorf("took %v of 2 s", d)
		}
	})
}

// Without an agent, the API is asked after the agent's share of the time. If fetches have waited
// long enough for the agent, or must not wait, the API is asked at once.
func TestChainWithoutAnAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := agenttest.NewServer(t, &store{version: "v1"}, inMemory)
		server.Stop()
		api := &store{version: "api's"}
		fetch := func(chain *secretcache.ChainSource, want, more time.Duration) {
			t.Helper()
			took(t, want, more, func() {
				s, err := chain.FetchFresh(within(t, 10*time.Second), "a", "")
				wantVersion(t, s, err, "api's")
			})
		}
		chain := secretcache.Chain(server.Source(), api)
		fetch(chain, agent.DefaultStartTimeout-longest-50*time.Millisecond, longest+50*time.Millisecond)
		fetch(chain, 0, 2*longest+50*time.Millisecond) // the rest of the wait
		fetch(chain, 0, 0)
		chain = secretcache.Chain(server.Source(func(o *agent.Options) { o.StartTimeout = -1 }), api)
		fetch(chain, 0, 0)
	})
}

// Status 429 is about the connection, so the next attempt makes another one.
func TestTooManyConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := agenttest.NewServer(t, &store{version: "v1"}, inMemory)
		server.SetMaxConn(0)
		time.AfterFunc(250*time.Millisecond, func() { server.SetMaxConn(1) })
		took(t, 250*time.Millisecond, 350*time.Millisecond, func() { // pauses of 200 ms and 400 ms, less up to half
			s, err := server.Source().Fetch(within(t, 10*time.Second), "a", "")
			wantVersion(t, s, err, "v1")
		})
		for i, r := range server.Requests() {
			if last := i == len(server.Requests())-1; last != (r.Status == http.StatusOK) || !last && r.Status != http.StatusTooManyRequests {
				t.Errorf("request %d got status %d", i+1, r.Status)
			}
		}
		if n, conns := len(server.Requests()), server.Accepted(); n < 2 || conns != n {
			t.Errorf("%d requests on %d connections", n, conns)
		}
	})
}

// The number of attempts, and the time between them.
func TestAttempts(t *testing.T) {
	const ms, s = time.Millisecond, time.Second
	failing := agenttest.Answer(500, "")
	for _, tt := range []struct {
		name   string
		fault  agenttest.Fault
		times  int           // 0 means until the end
		within time.Duration // 0 means without a deadline
		with   func(*agent.Options)
		took   time.Duration
		pauses time.Duration
		made   int // number of requests
		err    error
		text   string
	}{
		{name: "an attempt that hangs is given up after 2 s", fault: agenttest.Hang, times: 1, within: 10 * s, took: 2 * s, made: 2},
		{name: "the last attempt has the rest of the time", fault: agenttest.Hang, within: 10 * s, took: 10 * s, made: 3,
			err: context.DeadlineExceeded, text: "context deadline exceeded; before that: no answer within 2s"},
		{name: "a fetch waits for a slow service", fault: agenttest.Delay(3 * s), within: 10 * s, took: 7 * s, made: 3},
		{name: "without a deadline the last attempt has 2 s too", fault: agenttest.Hang, took: 6 * s, made: 3, text: "no answer within 2s (3 attempts)"},
		{name: "with little time the first attempt gets half", fault: agenttest.Hang, times: 1, within: 1 * s, took: 500 * ms, made: 2},
		{name: "but 250 ms", fault: agenttest.Hang, times: 1, within: 300 * ms, took: 250 * ms, made: 2},
		{name: "not more attempts than there is time for", fault: agenttest.Hang, within: 200 * ms, took: 200 * ms, made: 1, err: context.DeadlineExceeded},
		{name: "another time", fault: agenttest.Hang, times: 1, within: 10 * s, with: func(o *agent.Options) { o.AttemptTimeout = 3 * s }, took: 3 * s, made: 2},
		{name: "no time", fault: agenttest.Hang, within: 10 * s, with: func(o *agent.Options) { o.AttemptTimeout = -1 }, took: 10 * s, made: 1, err: context.DeadlineExceeded},
		{name: "one attempt", fault: failing, within: 10 * s, with: func(o *agent.Options) { o.MaxAttempts = -1 }, made: 1, text: "status 500"},
		{name: "one attempt that hangs", fault: agenttest.Hang, within: 10 * s, with: func(o *agent.Options) { o.MaxAttempts = 1 }, took: 10 * s, made: 1, err: context.DeadlineExceeded},
		{name: "five attempts", fault: failing, within: 10 * s, with: func(o *agent.Options) { o.MaxAttempts = 5 },
			took: (50 + 100 + 200 + 400) / 2 * ms, pauses: (50 + 100 + 200 + 400) / 2 * ms, made: 5, text: "status 500 (5 attempts)"},
		{name: "pauses grow", fault: failing, times: 2, within: 10 * s, took: (50 + 100) / 2 * ms, pauses: (50 + 100) / 2 * ms, made: 3},
		{name: "no attempt without time for it", fault: agenttest.CloseConn, within: 60 * ms, made: 1, text: "connection closed before the answer: EOF"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := agenttest.NewServer(t, &store{version: "v1"}, inMemory)
				server.FailTimes(tt.times, tt.fault)
				ctx := t.Context()
				if tt.within > 0 {
					ctx = within(t, tt.within)
				}
				took(t, tt.took, tt.pauses, func() {
					got, err := server.Source(tt.with).Fetch(ctx, "a", "")
					if tt.err == nil && tt.text == "" {
						wantVersion(t, got, err, "v1")
						return
					}
					asError(t, got, err)
					checkKind(t, err, nil)
					if !strings.HasSuffix(err.Error(), tt.text) || tt.err != nil && !errors.Is(err, tt.err) {
						t.Errorf("got %v, want …%s", err, tt.text)
					}
					var late net.Error
					if hung := strings.Contains(tt.text, "no answer within"); hung && (!errors.As(err, &late) || !late.Timeout()) {
						t.Errorf("%v is no net.Error for a timeout", err)
					}
					if tt.err == nil && errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("%v matches the end of a context that has not ended", err)
					}
				})
				synctest.Wait() // until the server has seen that the client closed the connection
				if n := len(server.Requests()); n != tt.made {
					t.Errorf("%d requests, want %d", n, tt.made)
				}
				if n := server.Accepted(); n != tt.made {
					t.Errorf("%d connections, want one for each of %d requests", n, tt.made)
				}
			})
		})
	}
}

// The server calls Secrets Manager for each attempt, so more attempts of a fleet would make an
// outage of Secrets Manager worse.
func TestOneAttemptWhileFetchesFail(t *testing.T) {
	broken, refused := agenttest.Answer(500, ""), agenttest.Answer(404, "Not found")
	for name, bad := range map[string]agenttest.Fault{
		"500": broken, "429": agenttest.Answer(429, ""), "connection breaks": agenttest.CloseConn,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := agenttest.NewServer(t, &store{version: "v1"}, inMemory)
				src, made := server.Source(), 0
				fetches := func(f agenttest.Fault, times, want int) {
					t.Helper()
					server.FailTimes(times, f)
					_, err := src.Fetch(t.Context(), "a", "")
					server.Heal()
					synctest.Wait()
					made, want = len(server.Requests()), made+want
					if made != want || (err == nil) != (times > 0) {
						t.Errorf("%d requests, want %d, and %v", made, want, err)
					}
				}
				fetches(bad, 0, 3)
				fetches(bad, 0, 1)
				fetches(agenttest.Hang, 0, 3) // each one may be one bad connection
				fetches(agenttest.Hang, 1, 2)
				fetches(bad, 2, 3) // the server has answered in between
				fetches(bad, 0, 3)
				fetches(refused, 0, 1) // an answer
				fetches(bad, 0, 3)
			})
		})
	}
}

// The end of the caller's context ends a fetch in each of its steps.
func TestCancel(t *testing.T) {
	for name, prepare := range map[string]func(*agenttest.Server){
		"while an attempt hangs":        func(s *agenttest.Server) { s.Fail(agenttest.Hang) },
		"while it waits for the server": func(s *agenttest.Server) { s.Stop() },
		"in a pause":                    func(s *agenttest.Server) { s.SetMaxConn(0) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := agenttest.NewServer(t, &store{version: "v1"}, inMemory)
				prepare(server)
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(90*time.Millisecond, cancel) // 429: the pause is 100 ms at least
				took(t, 90*time.Millisecond, 0, func() {
					s, err := server.Source().Fetch(ctx, "a", "")
					asError(t, s, err)
					if !errors.Is(err, context.Canceled) {
						t.Errorf("got %v", err)
					}
				})
				s, err := server.Source().Fetch(ctx, "a", "")
				asError(t, s, err)
				if !errors.Is(err, context.Canceled) {
					t.Errorf("with a context that has ended: %v", err)
				}
			})
		})
	}
}

// The agent is killed during an answer and started again. The fetch asks it again.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := agenttest.NewServer(t, &store{version: "v1"}, inMemory)
		server.FailTimes(1, agenttest.Hang)
		time.AfterFunc(time.Second, server.Stop)
		time.AfterFunc(3*time.Second, server.Start)
		took(t, 3*time.Second, longest, func() {
			s, err := server.Source().Fetch(within(t, 10*time.Second), "a", "")
			wantVersion(t, s, err, "v1")
		})
	})
}

// A function that was frozen does not use a connection from before.
func TestFrozenFunctionMakesANewConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := agenttest.NewServer(t, &store{version: "v1"}, inMemory)
		src := server.Source()
		for i := range 5 {
			s, err := src.Fetch(t.Context(), "a", "")
			wantVersion(t, s, err, "v1")
			synctest.Wait()
			if n := server.Accepted(); n != i+1 {
				t.Errorf("%d connections after %d fetches", n, i+1)
			}
			time.Sleep(61*time.Second - time.Duration(i)*time.Millisecond)
		}
	})
}
