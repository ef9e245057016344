package awssm_test

import (
	"context"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm"
)

// These tests show a failover to another region from a cache and from connectors.

const roundTrip = 40 * time.Millisecond

// away delays an answer by a round trip.
func away(a answer) answer {
	return func(op, id, stage string) (int, string) {
		time.Sleep(roundTrip) // by the bubble's clock
		return a(op, id, stage)
	}
}

// credentialsAnswer answers with a secret for a database, for every id.
func credentialsAnswer(version string) answer {
	return func(_, id, stage string) (int, string) {
		name := id
		if i := strings.LastIndex(id, ":secret:"); i >= 0 {
			name = strings.TrimSuffix(id[i+len(":secret:"):], "-a1b2c3")
		}
		return 200, fmt.Sprintf(`{"ARN":"arn:aws:secretsmanager:us-east-1:123456789012:secret:%s-a1b2c3","Name":%[1]q,"VersionId":%q,"VersionStages":[%q],"CreatedDate":1,`+
			`"SecretString":"{\"host\":\"h\",\"username\":\"u\",\"password\":\"p\"}"}`, name, version, stage)
	}
}

// This engine's logins succeed.
type engine struct{ logins atomic.Int64 }

func (e *engine) Info() driver.Info {
	return driver.Info{Name: "fake", Schemes: []string{"fake"}, Accepts: func(string) bool { return true }, Port: 1}
}

func (e *engine) ParseURL(string, func(string) bool) (driver.URL, error) {
	return driver.URL{}, errors.New("no URLs")
}
func (e *engine) CheckParams(map[string]string) error           { return nil }
func (e *engine) Prepare(driver.Endpoint) (driver.Login, error) { return e, nil }
func (e *engine) Rejected(error) bool                           { return false }
func (e *engine) NoDatabase(error) bool                         { return false }
func (e *engine) Connect(context.Context, driver.Credentials) (sqldriver.Conn, error) {
	e.logins.Add(1)
	return struct{ sqldriver.Conn }{}, nil
}

func (e *engine) connector(t *testing.T, cache *secretcache.Cache, dsn string) *driver.Connector {
	t.Helper()
	c, err := driver.NewConnector(e, dsn, &driver.Options{Secrets: cache})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (f *fakeService) cache(t *testing.T, opts *secretcache.Options, optFns ...func(*awssm.Options)) *secretcache.Cache {
	c := secretcache.New(f.source(optFns...), opts)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// If the first region hangs, the second region answers within the first one's share of FetchTimeout
// plus a round trip.
func TestTheSecondRegionAnswersWithinTheShareOfTheFirst(t *testing.T) {
	for _, tt := range []struct {
		name         string
		fetchTimeout time.Duration
		regions      []string
		share        time.Duration
	}{
		{"two regions, 10 s by default", 0, []string{east}, 5 * time.Second},
		{"two regions, 6 s", 6 * time.Second, []string{east}, 3 * time.Second},
		{"two regions, 4 s: the least that two shares take", 4 * time.Second, []string{east}, 2 * time.Second},
		{"three regions, 12 s", 12 * time.Second, []string{east, south}, 4 * time.Second},
		{"three regions, 5 s: two shares", 5 * time.Second, []string{east, south}, 2500 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				f.set(west, hang)
				f.set(east, away(credentialsAnswer("v")))
				f.set(south, away(credentialsAnswer("v")))
				cache := f.cache(t, &secretcache.Options{FetchTimeout: tt.fetchTimeout}, fallback(tt.regions...))
				e := &engine{}
				start := time.Now()
				if _, err := e.connector(t, cache, "prod/app").Connect(t.Context()); err != nil {
					t.Fatal(err)
				}
				took := time.Since(start)
				if took > tt.share+roundTrip {
					t.Errorf("connected after %v, want %v and %v at most", took, tt.share, roundTrip)
				}
				t.Logf("connected after %v: the share is %v, a round trip %v; calls: %d and %d", took, tt.share, roundTrip, f.count(west), f.count(east))

				// The fetch of the next secret does not wait for the first region.
				start = time.Now()
				if _, err := cache.Get(t.Context(), "prod/other", ""); err != nil || time.Since(start) > roundTrip {
					t.Errorf("the next secret: %v after %v, want %v", err, time.Since(start), roundTrip)
				}
			})
		})
	}
}

// A status from 400 to 499 is an answer, even if a server on the way gave it.
func TestA4xxNeverFailsOver(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer answer
	}{
		{"not found", errorAnswer(400, "ResourceNotFoundException", "Secrets Manager can't find the specified secret.")},
		{"no such stage", errorAnswer(400, "ResourceNotFoundException", "Secrets Manager can't find the specified secret value for staging label: AWSCURRENT")},
		{"denied", errorAnswer(400, "AccessDeniedException", "no")},
		{"key denied", errorAnswer(400, "DecryptionFailure", "no")},
		{"throttled", errorAnswer(400, "ThrottlingException", "slow")},
		{"throttled by status", errorAnswer(429, "TooManyRequestsException", "slow")},
		{"expired token", errorAnswer(400, "ExpiredTokenException", "expired")},
		{"signature", errorAnswer(403, "InvalidSignatureException", "no")},
		{"request timeout", errorAnswer(408, "RequestTimeoutException", "slow")},
		{"page of a proxy", func(string, string, string) (int, string) { return 403, "<html>" }},
		{"proxy that wants a password", func(string, string, string) (int, string) { return 407, "" }},
		{"not found by a gateway", func(string, string, string) (int, string) { return 404, "<html>" }},
		{"teapot", func(string, string, string) (int, string) { return 418, "" }},
		{"the last of them", func(string, string, string) (int, string) { return 499, "" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				f.set(west, tt.answer)
				f.set(east, credentialsAnswer("v"))
				e := &engine{}
				c := e.connector(t, f.cache(t, nil, fallback(east)), "prod/app")
				for range 20 {
					if _, err := c.Connect(t.Context()); err == nil {
						t.Error("connected")
					}
					time.Sleep(time.Minute)
				}
				if f.count(east) != 0 || f.count(west) < 20 {
					t.Errorf("calls: %d and %d, want 20 or more and none", f.count(west), f.count(east))
				}
			})
		})
	}
}

// All Connect calls that wait for one secret wait for one failover.
func Test10000ConnectCallsCauseOneFailover(t *testing.T) {
	for _, tt := range []struct {
		name              string
		west              answer
		secrets           int
		westMost, eastMin int // numbers of calls
	}{
		{"one secret, the first region hangs", hang, 1, 3, 1},
		{"one secret, the first region answers 503", errorAnswer(503, "ServiceUnavailable", "down"), 1, 3, 1},
		// 32 fetches at once, with three attempts each, find the outage together.
		{"1,000 secrets, the first region hangs", hang, 1000, 3 * 32, 1000},
		{"1,000 secrets, the first region's connections break", broken, 1000, 3 * 32, 1000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const connects, each = 10_000, 2 // by each goroutine; the race detector allows 8,128 goroutines
				f := newFake()
				f.set(west, tt.west)
				f.set(east, away(credentialsAnswer("v")))
				cache := f.cache(t, nil, fallback(east))
				e := &engine{}
				var connectors []*driver.Connector
				for i := range tt.secrets {
					connectors = append(connectors, e.connector(t, cache, fmt.Sprint("prod/app-", i)))
				}
				var failed atomic.Int64
				start := time.Now()
				var wg sync.WaitGroup
				for i := range connects / each {
					wg.Go(func() {
						for range each {
							if _, err := connectors[i%len(connectors)].Connect(t.Context()); err != nil {
								failed.Add(1)
								t.Error(err)
							}
						}
					})
				}
				wg.Wait()
				t.Logf("%d Connect calls in %v: %d calls to the first region, %d to the second; %d logins, %d failed",
					connects, time.Since(start), f.count(west), f.count(east), e.logins.Load(), failed.Load())
				if f.count(west) > tt.westMost || f.count(east) != tt.eastMin || e.logins.Load() != connects {
					t.Errorf("calls: %d and %d, want at most %d and %d; %d logins, want %d",
						f.count(west), f.count(east), tt.westMost, tt.eastMin, e.logins.Load(), connects)
				}
			})
		})
	}
}

// While the first region is down, it gets one call in 30 s, and no Connect call waits for that.
// When it works again, all fetches go there.
func Test10000ConnectCallsInAnHourWithoutTheFirstRegion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const connects, secrets = 10_000, 50
		f := newFake()
		f.set(west, away(credentialsAnswer("v")))
		f.set(east, away(credentialsAnswer("v")))
		cache := f.cache(t, &secretcache.Options{TTL: time.Minute}, fallback(east))
		e := &engine{}
		var connectors []*driver.Connector
		for i := range secrets {
			connectors = append(connectors, e.connector(t, cache, fmt.Sprint("prod/app-", i)))
		}
		var slowest time.Duration
		connect := func(n int, pause time.Duration) {
			for i := range n {
				start := time.Now()
				if _, err := connectors[i%secrets].Connect(t.Context()); err != nil {
					t.Fatal(err)
				}
				slowest = max(slowest, time.Since(start))
				time.Sleep(pause)
			}
		}
		connect(secrets, 0)
		if f.count(west) != secrets || f.count(east) != 0 {
			t.Fatalf("calls: %d and %d", f.count(west), f.count(east))
		}

		f.set(west, hang)
		slowest = 0
		connect(connects, time.Hour/connects)
		down := f.count(west) - secrets
		t.Logf("%d Connect calls in an hour: %d calls to the first region, which hangs, %d to the second; the slowest Connect call took %v",
			connects, down, f.count(east), slowest)
		// Renewals of the 50 secrets are under way when the outage is first noticed, at most 32
		// at once.
		if most := 3*32 + int(time.Hour/(30*time.Second)); down > most {
			t.Errorf("%d calls to the first region, want %d at most", down, most)
		}
		if slowest > time.Second {
			t.Errorf("a call of Connect took %v, with secrets in the cache", slowest)
		}
		if f.count(east) < connects/100 {
			t.Errorf("%d calls to the second region: nothing was renewed", f.count(east))
		}

		f.set(west, away(credentialsAnswer("v")))
		connect(connects/60, time.Hour/connects) // a minute
		before := [2]int{f.count(west), f.count(east)}
		connect(connects/60*5, time.Hour/connects)
		if w, e := f.count(west)-before[0], f.count(east)-before[1]; w == 0 || e != 0 {
			t.Errorf("a minute after the first region is back it got %d calls and the second %d", w, e)
		}
	})
}

// The answer of a replica is the same secret, by name and by ARN, and from either region.
func TestAReplicasSecretKeepsOneEntryInTheCache(t *testing.T) {
	const arn = "arn:aws:secretsmanager:us-west-2:123456789012:secret:prod/app-a1b2c3"
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		cache := f.cache(t, nil, fallback(east))
		e := &engine{}
		connectors := []*driver.Connector{e.connector(t, cache, "prod/app"), e.connector(t, cache, arn)}
		check := func(when string, fetches int) {
			t.Helper()
			for _, c := range connectors {
				if _, err := c.Connect(t.Context()); err != nil {
					t.Errorf("%s: %v", when, err)
				}
			}
			for _, id := range []string{"prod/app", arn} {
				if s, err := cache.Get(t.Context(), id, ""); err != nil || s.ARN() != arn {
					t.Errorf("%s: %v, %v, want ARN %s", when, s, err, arn)
				}
			}
			if s := cache.Stats(); s.Entries != 1 || s.Fetches != uint64(fetches) {
				t.Errorf("%s: %d entries after %d fetches, want 1 and %d", when, s.Entries, s.Fetches, fetches)
			}
		}
		// The answer for the name has the ARN of the secret in the first region.
		f.set(west, broken)
		f.set(east, credentialsAnswer("v"))
		check("from the replica", 1)

		// A fetch by one id counts for the other id too, from each region.
		f.set(west, away(func(op, id, stage string) (int, string) {
			status, body := credentialsAnswer("v")(op, id, stage)
			return status, strings.Replace(body, east, west, 1)
		}))
		time.Sleep(time.Minute)
		cache.Invalidate(arn)
		check("from the first region", 2)
		f.set(west, hang)
		cache.Invalidate("prod/app")
		check("from the replica again", 3)
	})
}
