package driver_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

func TestFirstLoginOfAVersionIsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, withLatency(100*time.Millisecond))
		start := time.Now()
		b.mustPingTogether(t, 50)
		log := b.db.log()
		for _, l := range log[1:] {
			if l.begin.Before(log[0].end) {
				t.Fatalf("login %d began before the first login ended", l.n)
			}
		}
		wantEqual(t, "time", time.Since(start), 200*time.Millisecond) // the first login, then all others together
	})
}

func TestFirstLoginHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.db.setFault(hang)
		start := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := b.ping(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("first login: got %v", err)
			}
			wantEqual(t, "time", time.Since(start), driver.DefaultConnectTimeout)
		})
		synctest.Wait()
		for i := range 100 {
			limit := time.Duration(1+i) * 50 * time.Millisecond
			wg.Go(func() {
				err := b.pingFor(t, limit)
				if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, driver.ErrAuthFailed) {
					t.Errorf("got %v, want the context's error", err)
				}
				wantEqual(t, "time", time.Since(start), limit) // its own deadline
			})
		}
		wg.Wait()
		wantEqual(t, "logins", b.logins(), 1)
	})
}

func TestFirstLoginIsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(b *bench, _ *string) {
			b.db.latency = func(n int) time.Duration {
				if n == 0 {
					return time.Hour
				}
				return 10 * time.Millisecond
			}
		})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := b.ping(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("first login: got %v, want %v", err, context.Canceled)
			}
		})
		synctest.Wait()
		for range 20 {
			wg.Go(func() { b.wantPing(t) }) // waits for the first login
		}
		time.Sleep(time.Second)
		cancel()
		wg.Wait()
		log := b.db.log()
		if len(log) != 21 {
			t.Fatalf("%d logins, want 21", len(log))
		}
		// The second login is the first login now, because the verdict is still unknown.
		for _, l := range log[2:] {
			if l.begin.Before(log[1].end) {
				t.Fatalf("login %d began before the second ended", l.n)
			}
		}
	})
}

// A lateContext is past its deadline, but has not ended yet.
type lateContext struct {
	context.Context
	deadline time.Time
}

func (c lateContext) Deadline() (time.Time, bool) { return c.deadline, true }

// A dialer may give up at the caller's deadline a moment before the context ends. That is no network
// failure, so the other calls still wait for the outcome of one login.
func TestFirstLoginReachesItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, wrongPassword, withLatency(20*time.Millisecond))
		timeout := &net.OpError{Op: "dial", Net: "tcp", Err: os.ErrDeadlineExceeded}
		b.db.setFault(forLogin(0, always(timeout)))
		var wg sync.WaitGroup
		wg.Go(func() {
			err := b.ping(lateContext{t.Context(), time.Now().Add(10 * time.Millisecond)})
			if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, timeout) {
				t.Errorf("got %v, want the deadline's error with the dialer's", err)
			}
		})
		synctest.Wait()
		for range 10 {
			wg.Go(func() { isAuthFailed(t, b.ping(t.Context()), "v1") })
		}
		wg.Wait()
		b.wantLogins(t, 2, 1)
	})
}

func TestNetworkFailureOfTheFirstLoginReleasesOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("connection reset")
		b := newBench(t, withLatency(10*time.Millisecond))
		b.db.setFault(forLogin(0, always(broken)))
		failed := 0
		for _, err := range b.together(t.Context(), 50) {
			if err != nil {
				failed++
				if !errors.Is(err, broken) {
					t.Errorf("got %v", err)
				}
			}
		}
		if failed != 1 {
			t.Errorf("%d failed, want the first login only", failed)
		}
		log := b.db.log()
		for i, l := range log[1:] {
			want := log[0].end
			if i >= 3 { // until the server accepts one, three are in flight
				want = log[1].end
			}
			if !l.begin.Equal(want) {
				t.Fatalf("login %d began at %v, want %v", l.n, l.begin, want)
			}
		}
	})
}

func TestPanickingEngineReleasesOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, withLatency(10*time.Millisecond), func(b *bench, _ *string) { b.opts.MaxLogins = 1 })
		b.db.setFault(forLogin(0, func(context.Context, *login) error { panic("vendor bug") }))
		var wg sync.WaitGroup
		wg.Go(func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic was swallowed")
				}
			}()
			_ = b.ping(t.Context())
		})
		synctest.Wait()
		b.mustPingTogether(t, 5)
		wg.Wait()
	})
}

func TestMaxLogins(t *testing.T) {
	for _, test := range []struct {
		engine string
		option int
		want   int
	}{
		{"mysql", 0, 40}, {"oracle", 0, 3}, {"sqlserver", 0, 3}, {"db2", 0, 3},
		{"oracle", 7, 7}, {"oracle", -1, 40}, {"mysql", 1, 1},
	} {
		inBubble(t, fmt.Sprintf("%s %d", test.engine, test.option), func(t *testing.T) {
			b := newBench(t, withDSN("prod/app?dbname=x"), withLatency(100*time.Millisecond), func(b *bench, _ *string) {
				b.engine = newEngine(test.engine, b.db)
				b.opts.MaxLogins = test.option
			})
			b.mustPing(t)
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			var wg sync.WaitGroup
			wg.Go(func() { // this call ends at its own deadline
				if err := b.ping(ctx); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("got %v", err)
				}
			})
			b.mustPingTogether(t, 40)
			wg.Wait()
			if b.db.most < test.want || b.db.most > test.want+1 || test.want < 10 && b.db.most != test.want {
				t.Errorf("%d logins in flight, want %d", b.db.most, test.want)
			}
		})
	}
}

// If the password changes during a burst, at most MaxLogins logins have the old password.
func TestMaxLoginsBoundsRejections(t *testing.T) {
	for _, test := range []struct {
		name    string
		change  func(*bench)
		latency func(n int) time.Duration
		check   func(*bench, *testing.T)
	}{
		{"the secret stays as it is", func(b *bench) { b.db.set("app", "other") },
			func(int) time.Duration { return 10 * time.Millisecond },
			func(b *bench, t *testing.T) { b.mustBeRejectedTogether(t, 100, "v1") }},
		{"a rotation", func(b *bench) { b.rotate("v2", "pw2") },
			func(n int) time.Duration { return time.Duration(10+n) * time.Millisecond },
			func(b *bench, t *testing.T) { b.mustPingTogether(t, 100) }},
	} {
		inBubble(t, test.name, func(t *testing.T) {
			b := newBench(t, withDSN("prod/app?dbname=x"), func(b *bench, _ *string) {
				b.engine = newEngine("oracle", b.db)
				b.db.latency = test.latency
			})
			b.mustPing(t)
			test.change(b)
			test.check(b, t)
			wantBetween(t, "rejected logins", b.rejections(), 0, 3)
		})
	}
}

// Many rejections at once cause one pause, not several.
func TestBurstOfRejectionsPausesForASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(b *bench, _ *string) {
			b.db.latency = func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
		})
		b.mustPing(t)
		b.db.set("app", "other")
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		for _, err := range b.together(ctx, 50) {
			isAuthFailed(t, err, "v1")
		}
		if _, rejected := b.db.count(); rejected != 50 {
			t.Fatalf("%d rejected logins, want 50: the server had accepted the version before", rejected)
		}
		b.db.set("app", "pw1")
		time.Sleep(time.Second)
		b.wantPing(t) // works after a second
	})
}

func TestRetrySchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, wrongPassword)
		start := time.Now()
		for time.Since(start) < time.Hour {
			isAuthFailed(t, b.pingFor(t, time.Millisecond), "v1")
			time.Sleep(200 * time.Millisecond)
		}
		log := b.db.log()
		want := time.Second
		for i := 1; i < len(log); i++ {
			got := log[i].begin.Sub(log[i-1].end)
			if got < want*3/4 || got > want+250*time.Millisecond {
				t.Errorf("pause %d is %v, want within [%v, %v]", i, got, want*3/4, want)
			}
			want = min(2*want, 5*time.Minute)
		}
		if len(log) < 18 || len(log) > 26 {
			t.Errorf("%d logins in an hour", len(log))
		}
		// After the server has accepted the version, the next rejection causes a short pause again.
		b.db.set("app", "pw1")
		time.Sleep(5 * time.Minute)
		for _, err := range b.together(t.Context(), 3) {
			if err != nil && !errors.Is(err, driver.ErrAuthFailed) {
				t.Error(err)
			}
		}
		b.mustPingTogether(t, 20)
		b.db.set("app", "other")
		isAuthFailed(t, b.ping(t.Context()), "v1")
		time.Sleep(time.Second)
		all := b.logins()
		isAuthFailed(t, b.ping(t.Context()), "v1")
		wantEqual(t, "logins a second after the first rejection", b.logins()-all, 1)
	})
}

func TestOneRetryAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, wrongPassword)
		isAuthFailed(t, b.ping(t.Context()), "v1")
		b.db.latency = func(int) time.Duration { return 100 * time.Millisecond }
		time.Sleep(time.Second)
		b.mustBeRejectedTogether(t, 50, "v1")
		// One retry; and after its pause one of the calls that waited for a refresh may send another.
		wantEqual(t, "logins", b.logins(), 2)
	})
}

// The outcome of a login that was sent before the verdict became rejected comes late. It must neither
// change the verdict nor undo the result of a retry.
func TestLateOutcomesAreIgnored(t *testing.T) {
	setup := func(t *testing.T, late, retry bool) *bench {
		b := newBench(t, withDSN("prod/app?fallback=none"))
		b.mustPing(t)
		verdict := func(ok bool) error {
			if ok {
				return nil
			}
			return &vendorError{codeRejected, "access denied for user app"}
		}
		b.db.setFault(func(ctx context.Context, l *login) error {
			switch l.n {
			case 1: // in flight when the next is rejected
				_ = wait(ctx, 1050*time.Millisecond)
				return verdict(late)
			case 3: // the retry, which takes longer than the late login
				_ = wait(ctx, 300*time.Millisecond)
				return verdict(retry)
			}
			_ = wait(ctx, time.Duration(max(0, l.n-2))*time.Millisecond)
			return verdict(l.n != 2)
		})
		return b
	}
	run := func(t *testing.T, b *bench) {
		var wg sync.WaitGroup
		wg.Go(func() { _ = b.ping(t.Context()) })
		synctest.Wait()
		isAuthFailed(t, b.pingFor(t, time.Millisecond), "v1")
		time.Sleep(time.Second)
		wg.Go(func() { _ = b.ping(t.Context()) })
		wg.Wait()
	}
	inBubble(t, "late acceptance", func(t *testing.T) {
		b := setup(t, true, false)
		run(t, b)
		all := b.logins()
		isAuthFailed(t, b.pingFor(t, time.Millisecond), "v1")
		if n, _ := b.db.count(); n != all {
			t.Error("a login was sent in the pause after the retry was rejected")
		}
	})
	inBubble(t, "late rejection", func(t *testing.T) {
		b := setup(t, false, true)
		run(t, b)
		for range 3 {
			b.mustPingTogether(t, 10)
		}
		// The call of the late login logs in once more, because the retry was accepted.
		wantEqual(t, "logins", b.logins(), 5+30)
	})
}

func TestReaderAndWriterDoNotBlockEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, withDSN("prod/app?fallback=none&host=writer"))
		b.db.setFault(forAddress("reader:3306", always(&vendorError{codeRejected, "access denied: the replica lags"})))
		reader := must(driver.NewConnector(b.engine, "prod/app?fallback=none&host=reader", &b.opts))
		for range 5 {
			_, err := reader.Connect(t.Context())
			isAuthFailed(t, err, "v1")
			b.wantPing(t) // writer
		}
	})
}

// A source without version ids gives the secret another host.
func TestEachAddressHasItsOwnVerdict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := "one"
		b := newBench(t, func(b *bench, _ *string) {
			b.opts.Secrets = secretsFunc(func(id, stage string) (*secretcache.Secret, error) {
				return secretcache.NewSecret(secretcache.Value{ID: id, String: `{"host":"` + host + `","username":"app","password":"pw1"}`}), nil
			})
		})
		b.db.setFault(forAddress("one:3306", always(&vendorError{codeRejected, "access denied"})))
		isAuthFailed(t, b.ping(t.Context()), "")
		host = "two"
		b.wantPing(t)
	})
}

func TestGateForgetsOldVerdicts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		for i := range 200 {
			b.rotate(fmt.Sprintf("v%d", i+2), fmt.Sprintf("pw%d", i+2))
			b.mustPing(t)
		}
		if n := driver.Verdicts(b.Connector); n > 32 {
			t.Errorf("%d verdicts, want 32 at most", n)
		}
	})
}

// If the stage names a version again, its verdict is unknown. The password may have changed since the
// server accepted it, and a burst would lock the account.
func TestRollbackBeginsWithOneLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, withDSN("prod/app?fallback=none"), withTTL(-1), withLatency(10*time.Millisecond))
		b.mustPing(t)
		b.db.set("app2", "pw2")
		b.store.put("v2", credentials("app2", "pw2"), "AWSCURRENT")
		b.mustPing(t)
		b.db.set("app", "other")
		b.store.move("AWSCURRENT", "v1")
		b.mustBeRejectedTogether(t, 50, "v1")
		wantEqual(t, "rejected logins", b.rejections(), 1)
	})
}

// Before a retry, the secret is refreshed.
func TestRefreshComesBeforeARetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.db.set("app", "pw2")
		isAuthFailed(t, b.ping(t.Context()), "v1")
		b.store.put("v2", credentials("app", "pw2"), "AWSCURRENT")
		time.Sleep(10 * time.Second) // a retry has been due for a long time
		for range 3 {
			b.mustPing(t)
		}
		b.wantLogins(t, 4, 1)
	})
}

// The server accepted a fallback version and then rejected it. Later the connector sees that the stage
// names this version. Its verdict stays rejected.
func TestWithdrawnFallbackVersionStaysRejected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.startRotation("v2", "pw2")
		b.mustPing(t)
		b.store.move("AWSCURRENT", "v2") // no call reads the stage
		b.mustPing(t)
		time.Sleep(time.Minute)
		b.db.set("app", "pw3")
		isAuthFailed(t, b.ping(t.Context()), "v2")
		_, rejected := b.db.count()
		for range 5 {
			isAuthFailed(t, b.pingFor(t, time.Millisecond), "v2")
		}
		if _, n := b.db.count(); n != rejected {
			t.Errorf("%d logins in the pause", n-rejected)
		}
		b.store.put("v3", credentials("app", "pw3"), "AWSCURRENT")
		time.Sleep(2 * time.Second) // the next refresh is due
		b.wantPing(t)
	})
}

// If the stage moves while a retry hangs, one login with the version may be sent, not two, and it does not
// wait for the old one.
func TestNewVersionWhileARetryHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, wrongPassword, withDSN("prod/app?fallback=none"), withTTL(-1), func(b *bench, _ *string) { b.opts.ConnectTimeout = -1 })
		isAuthFailed(t, b.ping(t.Context()), "v1")
		time.Sleep(time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		b.db.setFault(hang)
		var wg sync.WaitGroup
		wg.Go(func() { _ = b.ping(ctx) }) // the retry, which hangs
		synctest.Wait()
		b.db.setFault(nil)
		b.store.put("v2", credentials("app", "pw2"), "AWSCURRENT")
		b.db.set("app", "pw2")
		b.mustPing(t)
		b.store.move("AWSCURRENT", "v1")
		isAuthFailed(t, b.ping(t.Context()), "v1") // the move of the stage allows one login
		all := b.logins()
		time.Sleep(2 * time.Second)
		isAuthFailed(t, b.ping(t.Context()), "v1")
		wantEqual(t, "logins after the pause", b.logins()-all, 1)
		cancel()
		wg.Wait()
	})
}

// If the stage moves during a reading, the reading is repeated. Otherwise its result would look like a
// move of the stage, and would clear the verdict on a version that the server has just rejected.
func TestStageMovesDuringAReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b *bench
		b = newBench(t, func(n *bench, dsn *string) {
			*dsn = "prod/app?fallback=none"
			n.db.users["app"] = "pw2"
			n.opts.Secrets = &slowGet{Secrets: secretcache.New(n.store, nil), then: func() {
				n.store.put("v2", credentials("app", "pw2"), "AWSCURRENT")
				b.wantPing(t)
			}}
		})
		b.mustPing(t)
		b.wantLogins(t, 3, 1)
	})
}

// A slowGet calls then after its first reading, before it returns.
type slowGet struct {
	driver.Secrets
	then func()
}

func (s *slowGet) Get(ctx context.Context, id, stage string) (*secretcache.Secret, error) {
	secret, err := s.Secrets.Get(ctx, id, stage)
	if then := s.then; then != nil {
		s.then = nil
		then()
	}
	return secret, err
}

// Rotations under load change the database first. No Connect call that begins after the end of a rotation
// fails, and the gate holds logins back as it should.
func TestRotationsUnderLoad(t *testing.T) {
	const rotations, workers = 50, 16
	for _, test := range []struct {
		name        string
		dsn         string
		gap         time.Duration // between the change of the database and the move of AWSCURRENT
		alternating bool
		ttl         time.Duration
	}{
		{"single user", "prod/app", 0, false, time.Hour},
		{"single user, gap", "prod/app", 500 * time.Millisecond, false, time.Hour},
		{"single user, gap, no fallback", "prod/app?fallback=none", 500 * time.Millisecond, false, time.Hour},
		{"single user, gap, short TTL", "prod/app", 500 * time.Millisecond, false, 3 * time.Second},
		{"alternating users", "prod/app", 500 * time.Millisecond, true, time.Hour},
		{"alternating users, short TTL", "prod/app?fallback=AWSPENDING,AWSPREVIOUS", 500 * time.Millisecond, true, 3 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			synctest.Test(t, func(t *testing.T) {
				random := rand.New(rand.NewPCG(seed, 0))
				latencies := make([]time.Duration, 997)
				for i := range latencies {
					latencies[i] = time.Millisecond + time.Duration(random.Int64N(int64(20*time.Millisecond)))
				}
				b := newBench(t, func(b *bench, dsn *string) {
					*dsn = test.dsn
					b.db.latency = func(n int) time.Duration { return latencies[n%len(latencies)] }
					b.store.latency = 7 * time.Millisecond
					b.cache = secretcache.New(b.store, &secretcache.Options{TTL: test.ttl})
				})
				b.mustPing(t)
				var mu sync.Mutex
				var underway, stopped bool // a rotation is under way; the workers must end
				var steps int              // begins and ends of rotations so far
				var failures []error
				late := 0 // failures of Connect calls during which there was no rotation
				attempts := 0
				var wg sync.WaitGroup
				for i := range workers {
					wg.Go(func() {
						random := rand.New(rand.NewPCG(seed, uint64(i)+1))
						for {
							time.Sleep(time.Duration(random.Int64N(int64(100 * time.Millisecond))))
							mu.Lock()
							settled, step, stop := !underway, steps, stopped
							mu.Unlock()
							if stop {
								return
							}
							err := b.ping(t.Context())
							mu.Lock()
							attempts++
							if err != nil {
								failures = append(failures, err)
								if settled && step == steps {
									late++
								}
							}
							mu.Unlock()
						}
					})
				}
				versions := map[string]string{"pw1": "v1"} // by password
				for i := range rotations {
					time.Sleep(time.Second + time.Duration(random.Int64N(int64(2*time.Second))))
					version, password := fmt.Sprintf("v%d", i+2), fmt.Sprintf("pw%d", i+2)
					versions[password] = version
					user := "app"
					if test.alternating && i%2 == 0 {
						user = "app_clone"
					}
					mu.Lock()
					underway, steps = true, steps+1
					mu.Unlock()
					b.store.put(version, credentials(user, password), "AWSPENDING")
					time.Sleep(time.Duration(random.Int64N(int64(50 * time.Millisecond))))
					b.db.set(user, password)
					if test.gap > 0 {
						time.Sleep(test.gap)
					}
					b.store.move("AWSCURRENT", version)
					mu.Lock()
					underway, steps = false, steps+1
					mu.Unlock()
				}
				time.Sleep(2 * time.Second)
				mu.Lock()
				stopped = true
				mu.Unlock()
				wg.Wait()

				if late > 0 {
					t.Errorf("%d of %d Connect calls that began between rotations failed", late, attempts)
				}
				if len(failures) > 0 && test.gap > 0 && test.dsn == "prod/app" {
					t.Errorf("%d of %d Connect calls failed, want none with a pending version: %v", len(failures), attempts, failures[0])
				}
				calls := b.store.calls("")
				if n := float64(calls) / rotations; test.ttl == time.Hour && n > 4 {
					t.Errorf("%.1f fetches a rotation, want 4 at most", n)
				}
				all, rejected := b.db.count()
				t.Logf("%d Connect calls, %d failed; %d logins, %d rejected; %d fetches", attempts, len(failures), all, rejected, calls)
				checkLog(t, b, versions, test.dsn == "prod/app?fallback=none")
			})
		})
	}
}

// checkLog checks that the gate held logins back: in a pause no login was sent, and after it one retry at
// a time. versions has the version of each password. If alone is true, it also checks that the first
// login with a version was alone. That needs rotations in which no version is tried before the stage
// names it.
func checkLog(t *testing.T, b *bench, versions map[string]string, alone bool) {
	t.Helper()
	type event struct {
		at    time.Time
		order int // at the same time: ends come first, then moves of the stage, then begins
		login *login
		move  bool
	}
	log := b.db.log()
	for password, version := range versions {
		var events []event
		for i := range log {
			if l := &log[i]; l.password == password {
				events = append(events, event{at: l.begin, order: 2, login: l}, event{at: l.end, order: 0, login: l})
			}
		}
		for _, at := range b.store.moved[version] {
			events = append(events, event{at: at, order: 1, move: true})
		}
		slices.SortStableFunc(events, func(a, b event) int {
			if c := a.at.Compare(b.at); c != 0 {
				return c
			}
			return a.order - b.order
		})
		var rejectedAt time.Time
		var pause time.Duration
		var inFlight, retries int
		accepted := false
		for _, e := range events {
			switch {
			case e.move:
				// From some time after this, the verdict is unknown.
				rejectedAt, pause, accepted = time.Time{}, 0, false
			case e.order == 0:
				inFlight--
				if e.login.begin.After(rejectedAt) && !rejectedAt.IsZero() {
					retries = 0
				}
				if e.login.rejected() {
					if rejectedAt.IsZero() || e.login.begin.After(rejectedAt) {
						pause = max(time.Second*3/4, 3*pause/2)
						rejectedAt = e.at
					}
					accepted = false
				} else if rejectedAt.IsZero() || e.login.begin.After(rejectedAt) {
					rejectedAt, pause, accepted = time.Time{}, 0, true
				}
			default:
				inFlight++
				switch {
				case !rejectedAt.IsZero() && e.at.Before(rejectedAt.Add(min(pause, 3*time.Minute))) && e.at.After(rejectedAt):
					t.Errorf("version %s: a login began %v after the rejection", version, e.at.Sub(rejectedAt))
				case !rejectedAt.IsZero():
					if retries++; retries > 1 {
						t.Errorf("version %s: two retries at once", version)
					}
				case alone && !accepted && inFlight > 1:
					t.Errorf("version %s: %d logins at once before one was accepted", version, inFlight)
				}
			}
		}
	}
}

// Connect calls beyond MaxLogins go on in the order in which they came, even if some of them give up.
func TestMaxLoginsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, withLatency(100*time.Millisecond), func(b *bench, _ *string) { b.opts.MaxLogins = 2 })
		b.mustPing(t)
		var mu sync.Mutex
		var order []int
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				ctx := t.Context()
				if i%10 == 9 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, 150*time.Millisecond)
					defer cancel()
				}
				err := b.ping(ctx)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					order = append(order, i)
				} else if i%10 != 9 {
					t.Errorf("Connect call %d: %v", i, err)
				}
			})
			time.Sleep(time.Millisecond)
		}
		wg.Wait()
		for i := 1; i < len(order); i++ {
			if order[i] < order[i-1]-1 { // two end at the same time
				t.Fatalf("ended in the order %v", order)
			}
		}
		if b.db.most > 2 {
			t.Errorf("%d logins at once, want 2", b.db.most)
		}
	})
}

// A call gets an offer and has to wait for its turn. If the server rejects the version meanwhile, the call
// does not send it.
func TestVersionRejectedWhileACallWaitsForItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(b *bench, dsn *string) {
			*dsn = "prod/app?fallback=none"
			b.opts.MaxLogins = 1
			b.db.set("app", "other")
			b.db.latency = func(n int) time.Duration { return time.Duration(10+90*n) * time.Millisecond }
		})
		b.db.setFault(forLogin(0, always(errors.New("connection reset")))) // the verdict stays unknown: each call tries on its own
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { _ = b.ping(t.Context()) })
		}
		time.Sleep(20 * time.Millisecond)
		wg.Go(func() { isAuthFailed(t, b.ping(t.Context()), "v1") })
		wg.Wait()
		b.wantLogins(t, 2, 1)
	})
}
