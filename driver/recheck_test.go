package driver_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

var (
	errRefusedConn = &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
	errNoHost      = &net.DNSError{Err: "no such host", Name: "db.example.com", IsNotFound: true}
	errNoDatabase  = &vendorError{codeNoDatabase, "unknown database"}
)

const movedSecret = `{"host":"new.example.com","username":"app","password":"pw1"}`

// gone returns a fault of all hosts but the new one.
func gone(err error) func(context.Context, *login) error {
	return func(_ context.Context, l *login) error {
		if strings.HasPrefix(l.addr, "new.") {
			return nil
		}
		return err
	}
}

// A login may fail for another reason than its password, because the secret has changed. If the error
// surely means that, the secret is read again in the same call.
func TestChangedSecretIsFoundAfterAnotherFailure(t *testing.T) {
	for _, test := range []struct {
		name  string
		value string // of the cached secret; empty: the default
		err   error
	}{
		{"the host has no address", "", errNoHost},
		{"the database is called otherwise", "", errNoDatabase},
		{"malformed", `{"username":"app"}`, nil},
		{"of another engine", `{"engine":"oracle","host":"old","username":"app","password":"pw1"}`, nil},
	} {
		inBubble(t, test.name, func(t *testing.T) {
			var found []driver.RefreshInfo
			b := newBench(t, withRefreshDone(func(i driver.RefreshInfo) { found = append(found, i) }), func(b *bench, _ *string) {
				if test.value != "" {
					b.store = newStore(test.value)
				}
			})
			b.db.setFault(gone(test.err))
			must(b.cache.Get(t.Context(), "prod/app", ""))
			b.store.put("v2", movedSecret, "AWSCURRENT")

			// A copy that is less than a minute old is not read again.
			time.Sleep(time.Minute)
			if err := b.ping(t.Context()); err == nil || errors.Is(err, driver.ErrAuthFailed) {
				t.Fatalf("got %v", err)
			}
			b.wantFetches(t, "", 1)
			before := b.logins()
			time.Sleep(time.Second)
			b.mustPing(t)
			wantEqual(t, "logins", b.logins()-before, map[bool]int{true: 1, false: 2}[test.err == nil])
			b.wantFetches(t, "", 2)
			if len(found) != 1 || found[0].Version != "v2" || found[0].Rejected != "" {
				t.Errorf("traced %+v, want one reading that found v2", found)
			}
		})
	}
}

// A name server that does not answer says nothing about the host. The secret is read again as in an
// outage, not in the same call.
func TestNameServerThatFailsIsAnOutage(t *testing.T) {
	for _, err := range []error{
		&net.DNSError{Err: "server misbehaving", Name: "db.example.com", IsTemporary: true},
		&net.DNSError{Err: "i/o timeout", Name: "db.example.com", IsTimeout: true, IsTemporary: true},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			must(b.cache.Get(t.Context(), "prod/app", ""))
			b.db.setFault(gone(err))
			b.store.put("v2", movedSecret, "AWSCURRENT")
			time.Sleep(2 * time.Minute) // the copy is old enough
			if got := b.ping(t.Context()); !errors.Is(got, err) || b.store.calls("") != 1 {
				t.Errorf("got %v after %d fetches, want %v after 1", got, b.store.calls(""), err)
			}
			time.Sleep(5 * time.Minute)
			if got := b.ping(t.Context()); got != nil || b.store.calls("") != 2 {
				t.Errorf("in the outage: got %v after %d fetches, want success after 2", got, b.store.calls(""))
			}
		})
	}
}

// If the secret has not changed, the login is not repeated, and the secret is not read again for five
// minutes.
func TestUnchangedSecretIsReadAgainSeldom(t *testing.T) {
	for _, err := range []error{errNoHost, errNoDatabase, errRefusedConn, &vendorError{codeLocked, "locked"}} {
		inBubble(t, err.Error(), func(t *testing.T) {
			b := newBench(t, withTTL(24*time.Hour))
			b.mustPing(t)
			b.db.setFault(always(err))
			start, pings := time.Now(), 0
			for ; time.Since(start) < time.Hour; time.Sleep(time.Second) {
				if got := b.ping(t.Context()); !errors.Is(got, err) {
					t.Fatalf("got %v, want %v", got, err)
				}
				pings++
			}
			wantEqual(t, "logins", b.logins(), pings+1) // none was repeated
			if n := b.store.calls("") - 1; n < 7 || n > 12 {
				t.Errorf("the secret was read %d times in an hour, want once in 5 to 7.5 minutes", n)
			}
		})
	}
}

// A database that does not answer may have moved, or be in a failover.
func TestSecretOfADatabaseThatDoesNotAnswer(t *testing.T) {
	hang := func(ctx context.Context, l *login) error {
		if strings.HasPrefix(l.addr, "new.") {
			return nil
		}
		return hang(ctx, l)
	}
	for _, test := range []struct {
		name    string
		fault   func(context.Context, *login) error
		timeout time.Duration // of the caller
	}{
		{"refuses", gone(errRefusedConn), time.Hour},
		{"hangs until ConnectTimeout", hang, time.Hour},
		{"hangs until the caller's deadline", hang, 2 * time.Second},
	} {
		inBubble(t, test.name+", and has moved", func(t *testing.T) {
			b := newBench(t, func(b *bench, _ *string) { b.opts.ConnectTimeout = 5 * time.Second })
			b.mustPing(t)
			b.db.setFault(test.fault)
			b.store.put("v2", movedSecret, "AWSCURRENT")
			time.Sleep(time.Minute)
			start := time.Now()
			for b.pingFor(t, test.timeout) != nil {
				time.Sleep(time.Second)
			}
			wantBetween(t, "time", time.Since(start), time.Minute, 5*time.Minute+10*time.Second)
			b.wantFetches(t, "", 2)
		})
	}
	fleet := func(t *testing.T, failover time.Duration) (looks int) {
		synctest.Test(t, func(t *testing.T) {
			const size = 100
			store := newStore(credentials("app", "pw1"))
			var fleet []*bench
			for range size {
				fleet = append(fleet, newBench(t, func(b *bench, _ *string) { b.store = store }))
			}
			ping := func() (failed int) {
				for _, b := range fleet {
					if b.ping(t.Context()) != nil {
						failed++
					}
				}
				return failed
			}
			ping()
			time.Sleep(5 * time.Minute)
			before := store.calls("")
			for _, b := range fleet {
				b.db.setFault(always(errRefusedConn))
			}
			for start := time.Now(); time.Since(start) < failover; time.Sleep(time.Second) {
				if n := ping(); n != size {
					t.Fatalf("%d Connect calls failed, want %d", n, size)
				}
			}
			for _, b := range fleet {
				b.db.setFault(nil)
			}
			// The outage is over with the first login that succeeds.
			for range 600 {
				if n := ping(); n > 0 {
					t.Fatalf("%d Connect calls failed", n)
				}
				time.Sleep(time.Second)
			}
			looks = store.calls("") - before
		})
		return looks
	}
	t.Run("in a failover of a minute no process reads the secret again", func(t *testing.T) {
		if n := fleet(t, time.Minute); n != 0 {
			t.Errorf("%d of 100 processes read the secret again", n)
		}
	})
	t.Run("in a failover of two minutes a quarter of the processes does", func(t *testing.T) {
		if n := fleet(t, 2*time.Minute); n < 5 || n > 50 {
			t.Errorf("%d of 100 processes read the secret again, want about 25", n)
		}
	})
	inBubble(t, "a caller that gives up is no outage", func(t *testing.T) {
		b := newBench(t)
		b.mustPing(t)
		b.db.setFault(hang)
		for range 600 {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			_ = b.ping(ctx)
		}
		b.wantFetches(t, "", 1)
	})
}

func TestReadingTheSecretAgainFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var traced atomic.Int32
		b := newBench(t, withRefreshDone(func(i driver.RefreshInfo) {
			if errors.Is(i.Err, secretcache.ErrThrottled) {
				traced.Add(1)
			}
		}))
		b.mustPing(t)
		b.db.setFault(always(errNoHost))
		b.store.setFault(func(context.Context, string) error { return secretcache.ErrThrottled })
		time.Sleep(2 * time.Minute)
		if err := b.ping(t.Context()); !errors.Is(err, errNoHost) || errors.Is(err, secretcache.ErrThrottled) {
			t.Errorf("got %v, want the login's error", err)
		}
		if n := traced.Load(); n != 1 {
			t.Errorf("%d refreshes traced with their error, want 1", n)
		}
	})
}

// failingRecheck are secrets whose Recheck always fails.
type failingRecheck struct{ driver.Secrets }

var errRecheck = errors.New("no route to Secrets Manager")

func (failingRecheck) Recheck(context.Context, string, string, *secretcache.Secret) (*secretcache.Secret, error) {
	return nil, errRecheck
}

// If the secret cannot be read again, one log record a minute says so, however often it fails.
func TestFailedRechecksAreReportedOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		traced := 0
		b := newBench(t, withSecrets(func(s driver.Secrets) driver.Secrets { return failingRecheck{s} }), withRefreshDone(func(i driver.RefreshInfo) {
			if errors.Is(i.Err, errRecheck) {
				traced++
			}
		}), func(b *bench, _ *string) { b.opts.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		b.db.setFault(always(errNoHost))
		for start := time.Now(); time.Since(start) < 10*time.Minute; time.Sleep(time.Second) {
			if err := b.ping(t.Context()); !errors.Is(err, errNoHost) {
				t.Fatalf("got %v, want %v", err, errNoHost)
			}
		}
		records := strings.Count(log.String(), "the secret could not be read again")
		if records != 10 || traced != records {
			t.Errorf("%d records and %d traces in ten minutes, want 10 of each", records, traced)
		}
	})
}

// Connectors that share a cache read the secret again once for all of them.
func TestReaderAndWriterReadTheSecretAgainOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		other := must(driver.NewConnector(b.engine, "prod/app?hostKey=host", &b.opts))
		b.mustPing(t)
		b.db.setFault(always(errNoHost))
		time.Sleep(2 * time.Minute)
		for range 10 {
			_ = b.ping(t.Context())
			_, _ = other.Connect(t.Context())
		}
		b.wantFetches(t, "", 2)
	})
}

// A caller's own Secrets need not have Recheck.
func TestSecretsWithoutRecheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, withSecrets(func(s driver.Secrets) driver.Secrets { return struct{ driver.Secrets }{s} }))
		b.mustPing(t)
		b.db.setFault(always(errNoHost))
		time.Sleep(2 * time.Minute)
		if err := b.ping(t.Context()); !errors.Is(err, errNoHost) {
			t.Errorf("got %v", err)
		}
		b.wantFetches(t, "", 1)
	})
}
