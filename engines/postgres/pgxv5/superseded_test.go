package pgxv5_test

import (
	"context"
	sqldriver "database/sql/driver"
	"errors"
	"net"
	"reflect"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/postgres/pgxv5"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/pgserver"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/logintest"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/testca"
)

func newConnector(tb testing.TB, e pgxv5.Engine, ep driver.Endpoint, superseded func() bool) logintest.Connector {
	tb.Helper()
	return logintest.NewConnector(tb, e, ep, "app_user", goodPassword, superseded)
}

// vendors returns pgx's own connector.
func vendors(tb testing.TB, s *pgserver.Server) sqldriver.Connector {
	tb.Helper()
	config, err := pgx.ParseConfig("host=" + s.Host + " user=u password=p database=app sslmode=disable")
	if err != nil {
		tb.Fatal(err)
	}
	config.Port = uint16(s.Port)
	return stdlib.GetConnector(*config)
}

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
		{"dialer, TLS", &pgserver.Server{TLS: certs.Server}, nil, dialer},
		{"not preferred", &pgserver.Server{}, pairsOf("sslmode", "disable", "target_session_attrs", "prefer-standby"), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := c.server.Start(t)
			dialled = 0
			logintest.ClosesSuperseded(t, func(superseded func() bool) logintest.Connector {
				return newConnector(t, pgxv5.Engine{Configure: c.configure}, endpoint(s, c.params...), superseded)
			}, "SELECT 1", func() int { return len(s.Seen()) })
			for _, l := range s.Seen() {
				if l.TLS != (s.TLS != nil) {
					t.Errorf("the server saw %+v", l)
				}
			}
			if c.configure != nil && dialled != 3 {
				t.Errorf("Configure's dialer dialled %d times, want 3", dialled)
			}
			s.WaitClosed(t)
		})
	}
}

// Without Superseded a connection has pgx's own func, and handing it out costs as many allocations
// as with pgx alone.
func TestWithoutSupersededResetSessionIsThatOfPgx(t *testing.T) {
	s := (&pgserver.Server{}).Start(t)
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
	want, wantAllocations := open(vendors(t, s))
	for _, superseded := range []func() bool{nil, logintest.NotSuperseded} {
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

// Superseded is called each time that the pool hands the connection out, and not before.
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
