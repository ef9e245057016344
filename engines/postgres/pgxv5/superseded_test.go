package pgxv5_test

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"net"
	"reflect"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/postgres/pgxv5"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/pgserver"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/testca"
)

// A connector is for a pool whose connections are superseded at a test's word.
type connector struct {
	login      driver.Login
	superseded func() bool // of every connection
}

func (c connector) Connect(ctx context.Context) (sqldriver.Conn, error) {
	return c.login.Connect(ctx, driver.Credentials{User: "app_user", Password: driver.NewPassword(goodPassword), Superseded: c.superseded})
}

func (connector) Driver() sqldriver.Driver { return stdlib.GetDefaultDriver() }

func newConnector(tb testing.TB, e pgxv5.Engine, ep driver.Endpoint, superseded func() bool) connector {
	tb.Helper()
	l, err := e.Prepare(ep)
	if err != nil {
		tb.Fatal(err)
	}
	return connector{l, superseded}
}

func notSuperseded() bool { return false }

func TestSuperseded(t *testing.T) {
	if !(pgxv5.Engine{}).Info().ClosesSuperseded {
		t.Error("Info.ClosesSuperseded is false")
	}
	certs := testca.New("localhost", "127.0.0.1")
	dialled := 0
	dialer := func(c *pgx.ConnConfig) error {
		c.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
			dialled++
			return (&net.Dialer{}).DialContext(ctx, network, addr)
		}
		return nil
	}
	for _, c := range []struct {
		name      string
		server    *pgserver.Server
		params    []string
		configure func(*pgx.ConnConfig) error
	}{
		{"plain", &pgserver.Server{}, pairsOf("sslmode", "disable"), nil},
		{"TLS not available", &pgserver.Server{}, nil, nil},
		{"TLS", &pgserver.Server{TLS: certs.Server}, pairsOf("sslmode", "verify-full", "sslrootcert", certs.File(t)), nil},
		{"dialer, TLS", &pgserver.Server{TLS: certs.Server}, nil, dialer},
		{"not preferred", &pgserver.Server{}, pairsOf("sslmode", "disable", "target_session_attrs", "prefer-standby"), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := c.server.Start(t)
			dialled = 0
			ep := endpoint(s, c.params...)
			var now atomic.Bool
			db := sql.OpenDB(newConnector(t, pgxv5.Engine{Configure: c.configure}, ep, now.Load))
			defer db.Close()
			query := func(times, logins int) {
				t.Helper()
				for range times {
					var v string
					if err := db.QueryRowContext(t.Context(), "SELECT 1").Scan(&v); err != nil {
						t.Fatal(err)
					}
				}
				got := s.Seen()
				if len(got) != logins {
					t.Errorf("the server saw %d logins, want %d", len(got), logins)
				}
				for _, l := range got {
					if l.TLS != (s.TLS != nil) {
						t.Errorf("the server saw %+v", l)
					}
				}
			}
			query(3, 1)
			now.Store(true)
			query(1, 2)
			now.Store(false)
			query(3, 2)
			now.Store(true)
			query(1, 3)
			if c.configure != nil && dialled != 3 {
				t.Errorf("Configure's dialer dialled %d times, want 3", dialled)
			}
			_ = db.Close()
			s.WaitClosed(t)
		})
	}
}

// Without Superseded a connection has the function that pgx gives it without
// options, and a check-out costs as much as with pgx alone.
func TestSupersededNil(t *testing.T) {
	s := (&pgserver.Server{}).Start(t)
	config, err := pgx.ParseConfig("host=" + s.Host + " user=u password=p database=app sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	config.Port = uint16(s.Port)
	open := func(c sqldriver.Connector) (hook uintptr, allocations float64) {
		conn, err := c.Connect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		reset := conn.(*stdlib.Conn)
		return reflect.ValueOf(reset).Elem().FieldByName("resetSessionFunc").Pointer(), testing.AllocsPerRun(100, func() {
			if err := reset.ResetSession(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	want, wantAllocations := open(stdlib.GetConnector(*config))
	for _, superseded := range []func() bool{nil, notSuperseded} {
		got, allocations := open(newConnector(t, pgxv5.Engine{}, endpoint(s, "sslmode", "disable"), superseded))
		if (got == want) != (superseded == nil) {
			t.Errorf("Superseded is nil: %t; ResetSession calls pgx's own function: %t", superseded == nil, got == want)
		}
		if allocations != wantAllocations {
			t.Errorf("Superseded is nil: %t; ResetSession allocates %v times, want %v", superseded == nil, allocations, wantAllocations)
		}
	}
	s.WaitClosed(t)
}

// It is asked at each check-out, and not before.
func TestSupersededIsAskedAtCheckOut(t *testing.T) {
	s := (&pgserver.Server{}).Start(t)
	asked := 0
	conn, err := newConnector(t, pgxv5.Engine{}, endpoint(s), func() bool { asked++; return asked > 2 }).Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if asked != 0 {
		t.Errorf("Connect asked %d times, want 0", asked)
	}
	for i := 1; i <= 3; i++ {
		err := conn.(sqldriver.SessionResetter).ResetSession(t.Context())
		if got, want := errors.Is(err, sqldriver.ErrBadConn), i == 3; got != want || asked != i {
			t.Errorf("ResetSession %d = %v after %d questions, want ErrBadConn: %t", i, err, asked, want)
		}
	}
	_ = conn.Close()
	s.WaitClosed(t)
}
