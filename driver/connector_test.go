package driver_test

import (
	"bytes"
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

func TestContextEndsConnect(t *testing.T) {
	hangs := func(ctx context.Context, _ string) error { <-ctx.Done(); return ctx.Err() }
	for _, test := range []struct {
		name  string
		setup func(b *bench, dsn *string)
	}{
		{"the source hangs", func(b *bench, _ *string) { b.store.fault = hangs }},
		{"the login hangs", func(b *bench, _ *string) { b.db.fault = hang }},
		{"the refresh hangs", func(b *bench, _ *string) {
			b.db.users["app"] = "other"
			first := true
			b.store.fault = func(ctx context.Context, _ string) error {
				if first {
					first = false
					return nil
				}
				return hangs(ctx, "")
			}
		}},
		{"the refresh of a fallback stage hangs", func(b *bench, _ *string) {
			b.db.users["app"] = "other"
			b.store.fault = func(ctx context.Context, stage string) error {
				if stage != "AWSCURRENT" {
					return hangs(ctx, "")
				}
				return nil
			}
		}},
		{"waiting for another login", func(b *bench, _ *string) {
			b.db.fault = hang
			b.opts.MaxLogins = 1
		}},
		{"waiting for the rotation", func(b *bench, dsn *string) {
			*dsn = "prod/app?rotationWindow=1h"
			b.db.users["app"] = "other"
		}},
	} {
		inBubble(t, test.name, func(t *testing.T) {
			b := newBench(t, test.setup)
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			start := time.Now()
			for _, err := range b.together(ctx, 3) {
				if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, driver.ErrAuthFailed) {
					t.Errorf("got %v, want the context's error", err)
				}
			}
			wantBetween(t, "time", time.Since(start), 0, 200*time.Millisecond)
			// The error of a context is not remembered.
			b.store.setFault(nil)
			b.db.setFault(nil)
			b.db.set("app", "pw1")
			time.Sleep(2 * time.Second)
			b.wantPing(t) // afterwards
		})
	}
}

func TestContextThatHasEndedSendsNoLogin(t *testing.T) {
	b := newBench(t)
	b.mustPing(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.ping(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	wantEqual(t, "logins", b.logins(), 1)
}

func TestConnectTimeout(t *testing.T) {
	for _, test := range []struct {
		option, want time.Duration
	}{
		{0, 30 * time.Second}, {5 * time.Second, 5 * time.Second}, {-1, time.Hour},
	} {
		inBubble(t, fmt.Sprint(test.option), func(t *testing.T) {
			b := newBench(t, func(b *bench, _ *string) {
				b.opts.ConnectTimeout = test.option
				b.db.fault = hang
			})
			start := time.Now()
			err := b.pingFor(t, time.Hour)
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v, want %v", err, context.DeadlineExceeded)
			}
			wantEqual(t, "time", time.Since(start), test.want)
			if ours := strings.Contains(err.Error(), fmt.Sprintf("not connected within %v", test.want)); ours != (test.want < time.Hour) {
				t.Errorf("error %q, says whose timeout it was: %t", err, ours)
			}
		})
	}
}

// ConnectTimeout bounds the secret, the login and the second login together.
func TestConnectTimeoutCoversTheRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(b *bench, _ *string) {
			b.opts.ConnectTimeout = 10 * time.Second
			b.store.latency = 4 * time.Second
			b.db.latency = func(int) time.Duration { return 4 * time.Second }
			b.db.users["app"] = "other"
		})
		start := time.Now()
		isAuthFailed(t, b.ping(t.Context()), "v1")
		wantEqual(t, "time", time.Since(start), 10*time.Second)
	})
}

func TestErrors(t *testing.T) {
	network := &net.OpError{Op: "read", Net: "tcp", Err: io.ErrUnexpectedEOF}
	for _, test := range []struct {
		name  string
		setup func(b *bench, dsn *string)
		is    []error
		text  string
	}{
		{"bad connection", func(b *bench, _ *string) { b.db.fault = always(sqldriver.ErrBadConn) }, nil,
			`connect with secret "prod/app" (version v1): driver: bad connection`},
		{"bad connection, wrapped", func(b *bench, _ *string) {
			b.db.fault = always(errors.Join(fmt.Errorf("handshake: %w", sqldriver.ErrBadConn), network))
		}, []error{network, io.ErrUnexpectedEOF}, ""},
		{"bad connection and rejected", func(b *bench, _ *string) {
			b.db.fault = always(fmt.Errorf("%w: %w", sqldriver.ErrBadConn, &vendorError{codeRejected, "access denied"}))
		}, []error{driver.ErrAuthFailed}, ""},
		{"bad connection from the source", func(b *bench, _ *string) {
			b.store.fault = func(context.Context, string) error {
				return fmt.Errorf("%w: %w", sqldriver.ErrBadConn, io.ErrClosedPipe)
			}
		}, []error{io.ErrClosedPipe}, ""},
		{"bad connection from Prepare", func(b *bench, _ *string) {
			b.engine.prepare = func(driver.Endpoint) error { return sqldriver.ErrBadConn }
		}, nil, ""},
		{"bad connection from SecretsAt", func(b *bench, _ *string) {
			b.opts.Secrets = noSecrets{sqldriver.ErrBadConn}
		}, nil, ""},
		{"bad connection with the fallback version", func(b *bench, _ *string) {
			b.store.put("v2", credentials("app", "pw2"), "AWSPENDING")
			b.db.fault = func(_ context.Context, l *login) error {
				if l.password == "pw2" {
					return sqldriver.ErrBadConn
				}
				return &vendorError{codeRejected, "access denied"}
			}
		}, nil, `db.example.com:3306 rejected AWSCURRENT version v1: vendor: access denied (1045); the secret has no other AWSCURRENT version; AWSPENDING version v2: driver: bad connection`},
		{"not found", func(b *bench, _ *string) {
			b.store.fault = func(context.Context, string) error { return secretcache.ErrNotFound }
		}, []error{secretcache.ErrNotFound}, `get secret "prod/app": secret not found`},
		{"malformed", func(b *bench, _ *string) { b.store.put("v1", `{"host":"h"}`, "AWSCURRENT") },
			[]error{driver.ErrMalformedSecret}, `read secret "prod/app" (version v1): malformed secret: key "username" is missing`},
		{"network", func(b *bench, _ *string) { b.db.fault = always(network) }, []error{network, io.ErrUnexpectedEOF},
			`connect with secret "prod/app" (version v1): read tcp: unexpected EOF`},
		{"rejected", func(b *bench, _ *string) { b.db.users["app"] = "other" }, []error{driver.ErrAuthFailed},
			`connect with secret "prod/app": credentials rejected: db.example.com:3306 rejected AWSCURRENT version v1: vendor: access denied for user app (1045); ` +
				`the secret has no other AWSCURRENT version; the secret has no AWSPENDING version; check that the user and the password in the secret match the database (1 login in `},
		{"no connection and no error", func(b *bench, _ *string) { b.opts.Secrets = nil }, nil, "neither"},
	} {
		inBubble(t, test.name, func(t *testing.T) {
			b := newBench(t, test.setup)
			if test.text == "neither" {
				c := must(driver.NewConnector(silentEngine{b.engine}, "prod/app", &b.opts))
				b.Connector = c
			}
			err := b.ping(t.Context())
			var e *driver.Error
			if !errors.As(err, &e) || e != err || e.SecretID != "prod/app" {
				t.Fatalf("got %#v, want a *driver.Error for the secret", err)
			}
			if inner := (*driver.Error)(nil); errors.As(e.Err, &inner) {
				t.Errorf("%v has a second *driver.Error in its tree", err)
			}
			for _, want := range test.is {
				if !errors.Is(err, want) {
					t.Errorf("%v does not match %v", err, want)
				}
			}
			if errors.Is(err, sqldriver.ErrBadConn) {
				t.Errorf("%v matches driver.ErrBadConn", err)
			}
			for e := range tree(err) {
				if e == sqldriver.ErrBadConn {
					t.Errorf("%v has driver.ErrBadConn in its tree", err)
				}
			}
			if !strings.Contains(err.Error(), test.text) {
				t.Errorf("got %q, want %q", err, test.text)
			}
			// database/sql would call Connect three times after ErrBadConn.
			all, _ := b.db.count()
			db := sql.OpenDB(b.Connector)
			defer db.Close()
			if err := db.PingContext(t.Context()); err == nil {
				t.Error("Ping succeeds")
			}
			if n, _ := b.db.count(); n > all+2 {
				t.Errorf("database/sql sent %d logins", n-all)
			}
		})
	}
}

type noSecrets struct{ err error }

func (s noSecrets) Get(context.Context, string, string) (*secretcache.Secret, error) {
	return nil, s.err
}

func (s noSecrets) Refresh(context.Context, string, string, *secretcache.Secret) (*secretcache.Secret, error) {
	return nil, s.err
}

// The logins of a silentEngine return neither a connection nor an error.
type silentEngine struct{ driver.Engine }

func (silentEngine) Prepare(driver.Endpoint) (driver.Login, error) { return silentLogin{}, nil }

type silentLogin struct{}

func (silentLogin) Connect(context.Context, driver.Credentials) (sqldriver.Conn, error) {
	return nil, nil
}

func TestErrorText(t *testing.T) {
	for _, test := range []struct {
		err  driver.Error
		want string
	}{
		{driver.Error{Op: "x"}, `x`},
		{driver.Error{Op: "x", SecretID: "s"}, `x "s"`},
		{driver.Error{Op: "x", SecretID: "s", Version: "v", Kind: driver.ErrAuthFailed, Err: io.EOF}, `x "s" (version v): credentials rejected: EOF`},
		{driver.Error{Op: "x", Kind: driver.ErrBadDSN}, `x: bad data source name`},
	} {
		if got := test.err.Error(); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
		for e := range tree(&test.err) {
			if e == nil {
				t.Errorf("%+v: nil in the tree", test.err)
			}
		}
	}
}

// The trace and the log have the events in order.
func TestTraceAndLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var events []string
		add := func(format string, args ...any) { events = append(events, fmt.Sprintf(format, args...)) }
		var log bytes.Buffer
		b := newBench(t, func(b *bench, _ *string) {
			b.db.latency = func(int) time.Duration { return 2 * time.Millisecond }
			b.opts.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
				if a.Key == slog.TimeKey {
					return slog.Attr{}
				}
				return a
			}}))
			b.opts.Trace = &driver.Trace{
				SecretDone: func(_ context.Context, i driver.SecretInfo) { add("secret %s %s %v", i.Stage, i.Version, i.Err) },
				RefreshDone: func(_ context.Context, i driver.RefreshInfo) {
					add("refresh %s %q to %q %t", i.Stage, i.Rejected, i.Version, i.Err == nil)
				},
				LoginStart: func(_ context.Context, i driver.LoginInfo) { add("start %s %s %s", i.Stage, i.Version, i.Address) },
				LoginDone: func(_ context.Context, i driver.LoginInfo) {
					add("done %s %s %v %t %t", i.Stage, i.Version, i.Duration, i.Rejected, i.Err == nil)
				},
				ConnectDone: func(_ context.Context, i driver.ConnectInfo) {
					add("connect %s %s %d %v %t", i.SecretID, i.Version, i.Logins, i.Duration, i.Err == nil)
				},
			}
			b.db.users["app"] = "pw2"
			b.store.put("v2", credentials("app", "pw2"), "AWSPENDING")
		})
		b.mustPing(t)
		want := []string{
			`secret AWSCURRENT v1 <nil>`,
			`start AWSCURRENT v1 db.example.com:3306`,
			`done AWSCURRENT v1 2ms true false`,
			`refresh AWSCURRENT "v1" to "v1" true`,
			`refresh AWSPENDING "v1" to "v2" true`,
			`start AWSPENDING v2 db.example.com:3306`,
			`done AWSPENDING v2 2ms false true`,
			`connect prod/app v2 2 4ms true`,
		}
		if got := strings.Join(events, "\n"); got != strings.Join(want, "\n") {
			t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
		}
		for _, want := range []string{
			`level=INFO msg="the server rejected the credentials" secret=prod/app stage=AWSCURRENT version=v1 address=db.example.com:3306 duration=2ms error="vendor: access denied`,
			`level=INFO msg="the secret has no other version than the rejected one" secret=prod/app`,
			`level=INFO msg="the server accepted a fallback version" secret=prod/app stage=AWSPENDING version=v2`,
		} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("the log has no %s:\n%s", want, log.String())
			}
		}
		// During the pause of a version, no login is sent or traced.
		b.db.set("app", "other")
		if err := b.ping(t.Context()); err == nil {
			t.Fatal("connected")
		}
		events = nil
		if err := b.pingFor(t, time.Millisecond); err == nil {
			t.Fatal("connected")
		}
		for _, e := range events {
			if strings.HasPrefix(e, "start") {
				t.Errorf("a login was sent within the pause: %q", events)
			}
		}
	})
}

// When LoginDone is called, the gate knows the outcome. A Connect call inside of LoginDone, or after it,
// sends no rejected version.
func TestVerdictIsKnownBeforeLoginDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var inner error
		var b *bench
		b = newBench(t, func(b2 *bench, _ *string) {
			b2.db.users["app"] = "other"
			b2.opts.Trace = &driver.Trace{LoginDone: func(ctx context.Context, i driver.LoginInfo) {
				ctx, cancel := context.WithTimeout(ctx, time.Millisecond)
				defer cancel()
				inner = b.ping(ctx)
			}}
		})
		isAuthFailed(t, b.ping(t.Context()), "v1")
		isAuthFailed(t, inner, "v1")
		wantEqual(t, "logins", b.logins(), 1)
	})
}

// If the secret changes during a Connect call, the call begins again, but only a few times.
func TestSecretChangesDuringAConnectCall(t *testing.T) {
	for _, test := range []struct {
		changes int
		want    bool
	}{
		{1, true}, {2, true}, {3, true}, {1000, false},
	} {
		inBubble(t, fmt.Sprint(test.changes), func(t *testing.T) {
			b := newBench(t, withDSN("prod/app?fallback=none"))
			n := 1
			b.db.setFault(func(context.Context, *login) error {
				if n > test.changes {
					return nil
				}
				n++
				password := fmt.Sprint("pw", n)
				b.db.set("app", password)
				b.store.put(fmt.Sprint("v", n), credentials("app", password), "AWSCURRENT")
				return nil
			})
			if err := b.ping(t.Context()); (err == nil) != test.want {
				t.Errorf("got %v", err)
			}
			wantBetween(t, "logins", b.logins(), 0, 5)
		})
	}
}

// All fields of a new version take effect together.
func TestWholeTupleIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.mustPing(t)
		b.db.set("app", "closed")
		b.db.set("app2", "pw2")
		b.store.put("v2", `{"host":"new.example.com","port":"3307","dbname":"d2","username":"app2","password":"pw2"}`, "AWSCURRENT")
		c, err := b.Connect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := *c.(*conn); got.addr != "new.example.com:3307" || got.user != "app2" {
			t.Errorf("connected to %+v", got)
		}
		if ep := b.engine.endpoints[len(b.engine.endpoints)-1]; ep.Database != "d2" {
			t.Errorf("database %q", ep.Database)
		}
	})
}

// The engine's configuration is for one endpoint, to which the database belongs.
func TestDatabaseChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, withTTL(-1))
		for i, database := range []string{"one", "two", "two", "one"} {
			b.store.put(fmt.Sprint("db", i), `{"host":"h","dbname":"`+database+`","username":"app","password":"pw1"}`, "AWSCURRENT")
			b.mustPing(t)
			if ep := b.engine.endpoints[len(b.engine.endpoints)-1]; ep.Database != database {
				t.Errorf("Connect call %d: database %q, want %q", i, ep.Database, database)
			}
		}
		if n := len(b.engine.endpoints); n != 3 {
			t.Errorf("Prepare was called %d times, want 3", n)
		}
	})
}

func TestCacheWithHook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(b *bench, _ *string) {
			b.cache = secretcache.New(b.store, &secretcache.Options{Hook: rot13{}})
		})
		for range 3 {
			b.mustPing(t)
		}
		b.rotate("v2", "pw2")
		b.mustPing(t)
		b.wantFetches(t, "", 2)
	})
}

// rot13 is a Hook whose Get returns a new *Secret each time, even for the same version.
type rot13 struct{}

func (rot13) Put(s *secretcache.Secret) (*secretcache.Secret, error) {
	return s.WithString(strings.Map(rot, s.Reveal())), nil
}

func (rot13) Get(s *secretcache.Secret) (*secretcache.Secret, error) {
	return s.WithString(strings.Map(rot, s.Reveal())), nil
}

func rot(r rune) rune {
	switch {
	case 'a' <= r && r <= 'z':
		return 'a' + (r-'a'+13)%26
	case 'A' <= r && r <= 'Z':
		return 'A' + (r-'A'+13)%26
	}
	return r
}

// A tracing span that ConnectStart begins is the parent of everything in the call. This includes the
// refresh, which runs in another goroutine, and the fetch of the cache.
func TestContextOfConnectStartReachesAllFuncs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type key struct{}
		var events []string
		see := func(ctx context.Context, event string) {
			events = append(events, fmt.Sprint(event, " ", ctx.Value(key{})))
		}
		b := newBench(t, func(b *bench, _ *string) {
			b.cache = secretcache.New(b.store, &secretcache.Options{Trace: &secretcache.Trace{
				FetchDone: func(ctx context.Context, _ secretcache.FetchInfo) { see(ctx, "fetch") }}})
			b.opts.Trace = &driver.Trace{
				ConnectStart: func(ctx context.Context, i driver.ConnectInfo) context.Context {
					return context.WithValue(ctx, key{}, i.SecretID)
				},
				SecretDone:  func(ctx context.Context, _ driver.SecretInfo) { see(ctx, "secret") },
				RefreshDone: func(ctx context.Context, _ driver.RefreshInfo) { see(ctx, "refresh") },
				LoginStart:  func(ctx context.Context, _ driver.LoginInfo) { see(ctx, "login") },
				LoginDone:   func(ctx context.Context, _ driver.LoginInfo) { see(ctx, "logged in") },
				ConnectDone: func(ctx context.Context, _ driver.ConnectInfo) { see(ctx, "connect") },
			}
			b.db.set("app", "pw2")
		})
		if err := b.ping(t.Context()); !errors.Is(err, driver.ErrAuthFailed) {
			t.Fatal(err)
		}
		// The resolution reads AWSCURRENT, AWSPENDING, which names no version, and AWSCURRENT again.
		want := []string{"fetch", "secret", "login", "logged in", "fetch", "refresh", "fetch", "refresh", "fetch", "refresh", "connect"}
		for i := range want {
			want[i] += " prod/app"
		}
		if !slices.Equal(events, want) {
			t.Errorf("events\n%q\nwant\n%q", events, want)
		}
	})
}

// If ConnectStart returns nil, the context of the call is used.
func TestConnectStartMayReturnNil(t *testing.T) {
	b := newBench(t, func(b *bench, _ *string) {
		b.opts.Trace = &driver.Trace{ConnectStart: func(context.Context, driver.ConnectInfo) context.Context { return nil }}
	})
	b.mustPing(t)
}
