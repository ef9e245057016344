package driver_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/internal/clock"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// lockAfter sets a fault that locks an account after n wrong passwords in a row, as servers do.
func (b *bench) lockAfter(n int) (locked func() bool) {
	wrong := 0
	b.db.early = true
	b.db.setFault(func(_ context.Context, l *login) error {
		b.db.mu.Lock()
		defer b.db.mu.Unlock()
		switch {
		case wrong >= n:
			return &vendorError{codeLocked, "account is locked"}
		case l.password == b.db.users[l.user]:
			wrong = 0
		default:
			wrong++
		}
		return nil
	})
	return func() bool { return wrong >= n }
}

// A burst after a rotation sends the old password at most three times. So a server that locks accounts
// after five wrong passwords does not lock this one.
func TestBurstAfterARotationDoesNotLockTheAccount(t *testing.T) {
	for _, quiet := range []time.Duration{1100 * time.Millisecond, 10 * time.Minute} {
		inBubble(t, quiet.String(), func(t *testing.T) {
			b := newBench(t, withLatency(100*time.Millisecond))
			b.mustPing(t)
			locked := b.lockAfter(5)
			time.Sleep(quiet)
			b.rotate("v2", "pw2")
			start := time.Now()
			b.mustPingTogether(t, 20)
			if n := b.rejections(); n > 3 || locked() {
				t.Errorf("%d rejected logins, locked: %v; want 3 at most", n, locked())
			}
			wantEqual(t, "time", time.Since(start), 300*time.Millisecond) // logins with the old version, the first login with the new one, all others
		})
	}
}

// Two connectors with the same cache send as few wrong passwords as one, because the server counts them
// for the account.
func TestConnectorsOfOneSecretAreCarefulTogether(t *testing.T) {
	for _, late := range []bool{false, true} { // whether the cache is known only at the first Connect call
		name := "Secrets"
		if late {
			name = "SecretsAt"
		}
		inBubble(t, name, func(t *testing.T) {
			b := newBench(t, withLatency(100*time.Millisecond))
			options := driver.Options{Secrets: b.cache}
			if late {
				options = driver.Options{SecretsAt: func(driver.Location) (driver.Secrets, error) { return b.cache, nil }}
			}
			other, err := driver.NewConnector(b.engine, "prod/app", &options)
			if err != nil {
				t.Fatal(err)
			}
			second := *b
			second.Connector = other
			b.mustPing(t)
			second.mustPing(t)
			locked := b.lockAfter(5)
			time.Sleep(time.Minute)
			b.rotate("v2", "pw2")
			done := make(chan []error, 1)
			go func() { done <- second.together(t.Context(), 20) }()
			b.mustPingTogether(t, 20)
			for _, err := range <-done {
				if err != nil {
					t.Error(err)
				}
			}
			if n := b.rejections(); n > 3 || locked() {
				t.Errorf("%d rejected logins, locked: %v; want 3 at most", n, locked())
			}
		})
	}
}

// Connectors with different credentials do not share verdicts.
func TestConnectorsOfOtherCredentialsShareNothing(t *testing.T) {
	token := func(context.Context, driver.TokenRequest) (driver.Token, error) {
		return driver.Token{Password: driver.NewPassword("pw1")}, nil
	}
	for _, tt := range []struct {
		name, dsn string
		options   driver.Options
	}{
		{"other keys", "prod/app?passwordKey=other", driver.Options{}},
		{"other secret", "prod/other", driver.Options{}},
		{"other stage", "prod/app?stage=AWSPENDING", driver.Options{}},
		{"tokens", "prod/app", driver.Options{Token: token}},
	} {
		inBubble(t, tt.name, func(t *testing.T) {
			b := newBench(t)
			b.store.put("v1", `{"host":"db.example.com","username":"app","password":"wrong","other":"pw1"}`, "AWSCURRENT")
			b.store.move("AWSPENDING", "v1")
			isAuthFailed(t, b.pingFor(t, 10*time.Millisecond), "v1")
			tt.options.Secrets = b.cache
			other, err := driver.NewConnector(b.engine, tt.dsn, &tt.options)
			if err != nil {
				t.Fatal(err)
			}
			before := b.logins()
			_, err = other.Connect(t.Context())
			if n := b.logins() - before; n != 1 {
				t.Errorf("%d logins, want 1 (%v)", n, err)
			}
		})
	}
}

// A server that requires TLS for a user rejects a login without TLS with the same error as a wrong
// password. That says nothing about connectors with TLS.
func TestRejectionWithoutTLSHoldsNoOtherConnectorBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.mustPing(t)
		plain := newEngine("mysql", newDatabase()) // it rejects all logins
		plain.info.TurnsTLSOff = func(params map[string]string) bool { return params["tls"] == "false" }
		other, err := driver.NewConnector(plain, "prod/app?tls=false", &driver.Options{Secrets: b.cache})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := other.Connect(t.Context()); !errors.Is(err, driver.ErrAuthFailed) {
			t.Errorf("without TLS: %v, want ErrAuthFailed", err)
		}
		b.mustPing(t)
		b.wantLogins(t, 2, 0)
	})
}

// Instances on one host are different servers, even if a parameter names them.
func TestRejectionByOneInstanceHoldsNoOtherBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		instance := func(params map[string]string) string { return params["instance"] }
		address := ""
		b := newBench(t, withDSN("prod/app?instance=A"), func(b *bench, _ *string) {
			b.engine.info.HostInstance, b.engine.info.Instance = true, instance
			b.opts.Trace = &driver.Trace{LoginDone: func(_ context.Context, i driver.LoginInfo) { address = i.Address }}
		})
		b.mustPing(t)
		wantEqual(t, "address", address, `db.example.com\A`)
		second := newEngine("mysql", newDatabase()) // it rejects all logins
		second.info.HostInstance, second.info.Instance = true, instance
		other, err := driver.NewConnector(second, "prod/app?instance=B", &driver.Options{Secrets: b.cache})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := other.Connect(t.Context()); !errors.Is(err, driver.ErrAuthFailed) || !strings.Contains(err.Error(), `db.example.com\B rejected`) {
			t.Errorf("instance B: %v, want ErrAuthFailed with its address", err)
		}
		b.mustPing(t)
		b.wantLogins(t, 2, 0)
	})
}

// One host may accept a version that another one rejects, for example a replica that lags behind.
// Connections to the second host must not be closed then.
func TestConnectionsStayWhereOnlyAnotherHostAcceptsTheNewerVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, 2, withDSN("prod/app?host=replica.example.com"))
		primary, err := driver.NewConnector(newEngine("mysql", newDatabase("app", "pw2")), "prod/app?host=primary.example.com", &driver.Options{Secrets: p.cache})
		if err != nil {
			t.Fatal(err)
		}
		p.store.put("v2", credentials("app", "pw2"), "AWSCURRENT")
		p.cache.Invalidate("prod/app")
		if _, err := primary.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		for range 100 {
			p.use(2)
			time.Sleep(100 * time.Millisecond)
		}
	})
}

// A gate is freed with the connectors that share it. This holds even if their Secrets refer to one of
// them, for example a cache whose trace refers to the program's pool.
func TestGateEndsWithItsConnectors(t *testing.T) {
	var c weak.Pointer[driver.Connector]
	gates := driver.Gates()
	func() {
		s := &ownedSecrets{Secrets: secretcache.New(newStore(credentials("app", "pw1")), nil)}
		owner, err := driver.NewConnector(newEngine("mysql", newDatabase("app", "pw1")), "prod/app", &driver.Options{Secrets: s})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := owner.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.owner, c = owner, weak.Make(owner)
	}()
	for range 100 {
		runtime.GC()
		if c.Value() == nil && driver.Gates() <= gates {
			return
		}
		runtime.Gosched()
	}
	t.Errorf("the connector is kept: %v; %d gates, want %d", c.Value() != nil, driver.Gates(), gates)
}

type ownedSecrets struct {
	driver.Secrets
	owner *driver.Connector
}

// A version without an id has the same verdict for all connectors.
func TestConnectorsOfVersionsWithoutIDsAreCarefulTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, wrongPassword, withSecrets(func(s driver.Secrets) driver.Secrets { return newIDless(s.(*secretcache.Cache), true) }))
		other, err := driver.NewConnector(b.engine, "prod/app", &b.opts)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []*driver.Connector{b.Connector, other} {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			if _, err := c.Connect(ctx); !errors.Is(err, driver.ErrAuthFailed) {
				t.Errorf("Connect = %v, want ErrAuthFailed", err)
			}
			cancel()
		}
		b.wantLogins(t, 1, 1)
	})
}

// If the engine panics, the login no longer counts as in flight, and the rejection is not lost.
func TestPanicOfCheckedElsewhereKeepsNoPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, wrongPassword)
		c, err := driver.NewConnector(panicsElsewhere{b.engine}, "prod/app", &driver.Options{Secrets: b.cache})
		if err != nil {
			t.Fatal(err)
		}
		for range 4 {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			func() {
				defer func() { _ = recover() }()
				_, err = c.Connect(ctx)
			}()
			cancel()
		}
		if !errors.Is(err, driver.ErrAuthFailed) {
			t.Errorf("the last Connect call = %v, want ErrAuthFailed", err)
		}
		b.wantLogins(t, 1, 1)
	})
}

type panicsElsewhere struct{ *engine }

func (panicsElsewhere) CheckedElsewhere(error) bool { panic("bug in an engine") }

// A machine may have been frozen since the server accepted a version. The acceptance is then long ago.
func TestBurstAfterAFreezeDoesNotLockTheAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, withLatency(100*time.Millisecond))
		b.mustPing(t)
		locked := b.lockAfter(5)
		clock.Step(10 * time.Minute)
		defer clock.Step(-10 * time.Minute)
		b.rotate("v2", "pw2")
		b.mustPingTogether(t, 20)
		if n := b.rejections(); n > 3 || locked() {
			t.Errorf("%d rejected logins, locked: %v; want 3 at most", n, locked())
		}
	})
}

// If the server has accepted a version within the last second, a pool gets as many connections at once as
// it asks for. After a quiet second, all but three Connect calls wait for one of the first logins.
func TestBurstsOfAProvenVersion(t *testing.T) {
	for _, tt := range []struct {
		quiet time.Duration
		n     int
		want  time.Duration
	}{
		{0, 200, 100 * time.Millisecond},
		{900 * time.Millisecond, 200, 100 * time.Millisecond},
		{1100 * time.Millisecond, 3, 100 * time.Millisecond},
		{1100 * time.Millisecond, 200, 200 * time.Millisecond},
	} {
		inBubble(t, tt.quiet.String(), func(t *testing.T) {
			b := newBench(t, withLatency(100*time.Millisecond))
			b.mustPing(t)
			time.Sleep(tt.quiet)
			start := time.Now()
			b.mustPingTogether(t, tt.n)
			wantEqual(t, "time", time.Since(start), tt.want)
		})
	}
}

// MaxLogins is a bound by itself, also if the data source name sets it.
func TestMaxLoginsByTheDataSourceName(t *testing.T) {
	for _, tt := range []struct {
		dsn      string
		options  int
		mostSeen int
	}{
		{"prod/app?maxLogins=2", 0, 2},
		{"prod/app?maxLogins=7", 2, 7},
		{"prod/app?maxLogins=none", 2, 50},
		{"prod/app", 5, 5},
	} {
		inBubble(t, tt.dsn, func(t *testing.T) {
			b := newBench(t, withDSN(tt.dsn), withLatency(10*time.Millisecond), func(b *bench, _ *string) { b.opts.MaxLogins = tt.options })
			b.mustPing(t)
			b.mustPingTogether(t, 50)
			wantEqual(t, "logins in flight", b.db.most, tt.mostSeen)
		})
	}
}

func TestMaxLoginsIsANumber(t *testing.T) {
	for _, value := range []string{"0", "-1", "CANARY", "1.5"} {
		_, err := driver.NewConnector(newEngine("mysql", nil), "prod/app?maxLogins="+value, &driver.Options{Secrets: secretcache.New(newStore(""), nil)})
		if want := `parameter "maxLogins": it has to be a whole number, 1 or more, or "none"`; !errors.Is(err, driver.ErrBadDSN) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", value, err)
		}
	}
}

// If a call gives up while it waits for its turn, its error says so.
func TestErrorSaysThatACallWaitedToLogIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.mustPing(t)
		time.Sleep(time.Minute)
		b.db.setFault(hang)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		named := 0
		for _, err := range b.together(ctx, 5) {
			if strings.Contains(err.Error(), "wait for 3 other logins with the same version: context deadline exceeded") {
				named++
			}
		}
		wantEqual(t, "errors that say so", named, 1) // the fifth call waited for 4 others
	})
}

// If the account is locked, the secret is read once more, and the error says whether there is a newer
// version.
func TestLockedAccountIsToldWithTheNewerVersion(t *testing.T) {
	const locked = "vendor: account is locked (3118); the server has locked the account, and "
	lockedOut := &vendorError{codeLocked, "account is locked"}
	for _, tt := range []struct {
		name    string
		set     func(b *bench)
		version string
		want    string
	}{
		{"nothing newer", func(b *bench) { b.db.setFault(always(lockedOut)) }, "v1", locked + "no newer version of the secret is known"},
		{"a newer version, whose account is locked too", func(b *bench) {
			b.rotate("v2", "pw2")
			b.db.setFault(always(lockedOut))
		}, "v2", locked + "no newer version of the secret is known"},
		{"a newer version, whose account is locked, after a version without a database", func(b *bench) {
			b.rotate("v2", "pw2")
			b.db.setFault(func(_ context.Context, l *login) error {
				if l.password == "pw2" {
					return lockedOut
				}
				return &vendorError{codeNoDatabase, "no such database"}
			})
		}, "v2", locked + "no newer version of the secret is known"},
		{"a newer version with another user", func(b *bench) {
			b.db.set("app_clone", "pw2")
			b.store.put("v2", credentials("app_clone", "pw2"), "AWSCURRENT")
			b.db.setFault(forPassword("pw1", always(lockedOut)))
		}, "", ""},
	} {
		inBubble(t, tt.name, func(t *testing.T) {
			b := newBench(t, withTTL(24*time.Hour))
			b.mustPing(t)
			time.Sleep(time.Hour)
			tt.set(b)
			for i := range 10 {
				err := b.ping(t.Context())
				e := (*driver.Error)(nil)
				switch {
				case tt.want == "":
					if err != nil {
						t.Errorf("Connect = %v", err)
					}
				case !errors.As(err, &e) || e.Version != tt.version || e.Kind != nil || !strings.Contains(err.Error(), locked):
					t.Errorf("Connect = %v, want version %s and %q", err, tt.version, locked)
				case i == 0 && !strings.HasSuffix(err.Error(), tt.want):
					t.Errorf("the first Connect call = %v, want %q", err, tt.want)
				}
			}
			b.wantFetches(t, "", 2)
		})
	}
}

// Logins to a host that is gone hang. Other logins, which may reach another host behind the same name, do
// not wait for long. But there are not many more logins at once.
func TestLoginsThatHangDoNotHoldOthersForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.mustPing(t)
		time.Sleep(time.Minute)
		b.db.setFault(hang)
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() { _ = b.ping(t.Context()) })
		}
		for i := range 5 {
			synctest.Wait()
			b.db.mu.Lock()
			wantEqual(t, fmt.Sprintf("logins in flight after %d s", 5*i), b.db.inFlight, 3+i)
			b.db.mu.Unlock()
			time.Sleep(5 * time.Second)
		}
		b.db.setFault(nil) // the name has the new host's address
		start := time.Now()
		b.mustPing(t)
		wantBetween(t, "wait of a new call", time.Since(start), 0, 5*time.Second)
		wg.Wait()
		wantBetween(t, "time until all calls are over", time.Since(start), 0, 10*time.Second)
	})
}
