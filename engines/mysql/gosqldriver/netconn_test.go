package gosqldriver_test

import (
	"context"
	sqldriver "database/sql/driver"
	"errors"
	"net"
	"reflect"
	"runtime"
	"strings"
	"testing"

	gomysql "github.com/go-sql-driver/mysql"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/mysql/gosqldriver"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/mysqlserver"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/logintest"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/testca"
)

func newConnector(tb testing.TB, e gosqldriver.Engine, ep driver.Endpoint, superseded func() bool) logintest.Connector {
	tb.Helper()
	return logintest.NewConnector(tb, e, ep, "app_user", goodPassword, superseded)
}

// vendors returns the driver's own connector.
func vendors(tb testing.TB, s *mysqlserver.Server) sqldriver.Connector {
	tb.Helper()
	config := gomysql.NewConfig()
	config.Net, config.Addr = "tcp", s.Addr()
	config.User, config.Passwd, config.DBName = "app_user", goodPassword, "app"
	theirs, err := gomysql.NewConnector(config)
	if err != nil {
		tb.Fatal(err)
	}
	return theirs
}

// needsConnCheck skips the test on systems where the driver does not check idle connections.
func needsConnCheck(tb testing.TB) {
	tb.Helper()
	if (gosqldriver.Engine{}).Info().ClosesSuperseded {
		return
	}
	switch runtime.GOOS {
	case "linux", "darwin", "freebsd":
		tb.Fatalf("Info.ClosesSuperseded is false on %s", runtime.GOOS)
	}
	tb.Skipf("go-sql-driver/mysql has no connCheck on %s", runtime.GOOS)
}

func TestSuperseded(t *testing.T) {
	needsConnCheck(t)
	certs := testca.New("localhost", "127.0.0.1")
	dialled := 0
	dial := func(change func(net.Conn) net.Conn) func(*gomysql.Config) error {
		return func(c *gomysql.Config) error {
			c.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
				dialled++
				conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
				if err != nil {
					return nil, err
				}
				return change(conn), nil
			}
			return nil
		}
	}
	for _, c := range []struct {
		name      string
		server    *mysqlserver.Server
		params    []string
		configure func(*gomysql.Config) error
	}{
		{"TLS, time limits", &mysqlserver.Server{TLS: certs.Server}, pairsOf("readTimeout", "20s", "writeTimeout", "20s", "timeout", "20s"), nil},
		{"tcp4", &mysqlserver.Server{}, nil, func(c *gomysql.Config) error { c.Net = "tcp4"; return nil }},
		{"dialer", &mysqlserver.Server{}, nil, dial(func(c net.Conn) net.Conn { return c })},
		{"dialer, TLS", &mysqlserver.Server{TLS: certs.Server}, nil, dial(func(c net.Conn) net.Conn { return c })},
		// A connection such as that of an SSH tunnel.
		{"dialer without sockets", &mysqlserver.Server{}, nil, dial(func(c net.Conn) net.Conn { return struct{ net.Conn }{c} })},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := start(t, c.server)
			dialled = 0
			logintest.ClosesSuperseded(t, func(superseded func() bool) logintest.Connector {
				return newConnector(t, gosqldriver.Engine{Configure: c.configure}, endpoint(s, c.params...), superseded)
			}, "SELECT 1", func() int { return len(s.Seen()) })
			for _, l := range s.Seen() {
				if l.TLS != (s.TLS != nil) {
					t.Errorf("the server saw %+v", l)
				}
			}
			if c.configure != nil && !strings.HasPrefix(c.name, "tcp") && dialled != 3 {
				t.Errorf("Configure's dialer dialled %d times, want 3", dialled)
			}
			s.WaitClosed(t)
		})
	}
}

// The driver still does its own check of an idle connection.
func TestSupersededConnectionIsStillCheckedByTheDriver(t *testing.T) {
	needsConnCheck(t)
	for _, superseded := range []func() bool{nil, logintest.NotSuperseded} {
		var dialled net.Conn
		e := gosqldriver.Engine{Configure: func(c *gomysql.Config) error {
			c.DialFunc = func(ctx context.Context, network, addr string) (conn net.Conn, err error) {
				dialled, err = (&net.Dialer{}).DialContext(ctx, network, addr)
				return dialled, err
			}
			return nil
		}}
		s := start(t, &mysqlserver.Server{})
		conn, err := newConnector(t, e, endpoint(s), superseded).Connect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		reset := conn.(sqldriver.SessionResetter)
		if err := reset.ResetSession(t.Context()); err != nil {
			t.Errorf("ResetSession of an open connection = %v", err)
		}
		_ = dialled.Close()
		if err := reset.ResetSession(t.Context()); !errors.Is(err, sqldriver.ErrBadConn) {
			t.Errorf("ResetSession of a closed connection = %v, want ErrBadConn", err)
		}
		_ = conn.Close()
		s.WaitClosed(t)
	}
}

// Without Superseded the driver has the connection that it dialled itself.
func TestWithoutSupersededTheConnectionIsNotWrapped(t *testing.T) {
	s := start(t, &mysqlserver.Server{})
	for _, c := range []struct {
		superseded func() bool
		want       string
	}{{nil, "*net.TCPConn"}, {logintest.NotSuperseded, "*gosqldriver.netConn"}} {
		conn, err := newConnector(t, gosqldriver.Engine{}, endpoint(s), c.superseded).Connect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := reflect.TypeOf(conn).String(); got != "*mysql.mysqlConn" {
			t.Errorf("Connect returned a %s", got)
		}
		if got := reflect.ValueOf(conn).Elem().FieldByName("rawConn").Elem().Type().String(); got != c.want {
			t.Errorf("Superseded is nil: %t; the driver has a %s, want %s", c.superseded == nil, got, c.want)
		}
		_ = conn.Close()
	}
	s.WaitClosed(t)
}

// Handing a connection out costs as many allocations as with the driver alone.
func TestCheckOutAllocatesNoMoreThanTheDriver(t *testing.T) {
	s := start(t, &mysqlserver.Server{})
	allocations := func(c sqldriver.Connector) float64 {
		conn, err := c.Connect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		reset := conn.(sqldriver.SessionResetter)
		return testing.AllocsPerRun(100, func() {
			if err := reset.ResetSession(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	want := allocations(vendors(t, s))
	for _, superseded := range []func() bool{nil, logintest.NotSuperseded} {
		if got := allocations(newConnector(t, gosqldriver.Engine{}, endpoint(s, "tls", "false"), superseded)); got != want {
			t.Errorf("Superseded is nil: %t; ResetSession allocates %v times, want %v", superseded == nil, got, want)
		}
	}
	s.WaitClosed(t)
}

func TestSupersededNeedsTheCheckOfIdleConnections(t *testing.T) {
	s := start(t, &mysqlserver.Server{})
	gomysql.RegisterDialContext("tunnel", func(ctx context.Context, addr string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	})
	defer gomysql.DeregisterDialContext("tunnel")
	for _, c := range []struct {
		name      string
		params    []string
		configure func(*gomysql.Config) error
		want      string // part of the error; without Superseded there is none
	}{
		{"parameter", pairsOf("checkConnLiveness", "false"), nil, `parameter "checkConnLiveness"`},
		{"Configure", nil, func(c *gomysql.Config) error { c.CheckConnLiveness = false; return nil }, "Config.CheckConnLiveness"},
		{"registered dialer", nil, func(c *gomysql.Config) error { c.Net = "tunnel"; return nil }, `network "tunnel"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, superseded := range []func() bool{nil, logintest.NotSuperseded} {
				conn, err := newConnector(t, gosqldriver.Engine{Configure: c.configure}, endpoint(s, c.params...), superseded).Connect(t.Context())
				if conn != nil {
					_ = conn.Close()
				}
				if superseded == nil && err != nil {
					t.Errorf("Connect without Superseded = %v", err)
				}
				if superseded != nil && (err == nil || !strings.Contains(err.Error(), c.want)) {
					t.Errorf("Connect = %v, want an error with %q", err, c.want)
				}
			}
		})
	}
	s.WaitClosed(t)
	if got := len(s.Seen()); got != 3 {
		t.Errorf("the server saw %d logins, want 3", got)
	}
}
