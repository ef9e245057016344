package pgxv5_test

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/driver/drivertest"
	"github.com/sqlsecrets/sqlsecrets/engines/postgres/pgxv5"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/pgserver"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/logintest"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/loopback"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/testca"
)

// onSocket starts a server, and returns the directory of its Unix socket.
func onSocket(t *testing.T, s *pgserver.Server) (dir string) {
	t.Helper()
	dir = loopback.SocketDir(t)
	s.Start(t).ListenUnix(t, filepath.Join(dir, fmt.Sprintf(".s.PGSQL.%d", s.Port)))
	return dir
}

// secretOf returns a secret of app_user with a host.
func secretOf(host string, port int, more ...string) string {
	value := map[string]any{"engine": "postgres", "host": host, "port": port, "dbname": "app", "username": "app_user", "password": goodPassword}
	for i := 0; i < len(more); i += 2 {
		value[more[i]] = more[i+1]
	}
	b, err := json.Marshal(value)
	if err != nil {
		panic(err) // it is strings and a number
	}
	return string(b)
}

func TestUnixSocket(t *testing.T) {
	s := &pgserver.Server{Check: wrongPassword, TLS: testca.New("localhost").Server}
	dir := onSocket(t, s)
	for _, c := range []struct{ dsn, secret string }{
		{"prod/app", secretOf(dir, s.Port)},
		{"prod/app?sslmode=prefer", secretOf(dir, s.Port)},
		{"prod/app?sslmode=disable", secretOf(dir, s.Port, "ssl", "true")},
		{"prod/app?host=" + dir, secretOf("h.example.com", s.Port)},
		{"prod/app?host=" + dir + fmt.Sprint("&port=", s.Port), secretOf("h.example.com", 1)},
		{"jdbc-secretsmanager:postgresql:app?user=prod/app", secretOf(dir, s.Port)},
	} {
		before := len(s.Seen())
		if err := drivertest.Connect(t.Context(), pgxv5.Engine{}, c.dsn, c.secret); err != nil {
			t.Errorf("%s: %v", c.dsn, err)
			continue
		}
		if seen := s.Seen(); len(seen) != before+1 || seen[before].TLS || seen[before].User != "app_user" {
			t.Errorf("%s: the server saw %+v, want one login without TLS", c.dsn, seen[before:])
		}
	}
	_, err := connect(t, pgxv5.Engine{}, driver.Endpoint{Host: dir, Port: s.Port, Database: "app"}, canary)
	if !(pgxv5.Engine{}).Rejected(err) || !strings.Contains(err.Error(), dir) {
		t.Errorf("another password: got %v, want a rejection that names the socket", err)
	}
	err = drivertest.Connect(t.Context(), pgxv5.Engine{}, "prod/app", secretOf(dir, s.Port+1))
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%s/.s.PGSQL.%d", dir, s.Port+1)) {
		t.Errorf("no server: got %v, want an error that names the socket", err)
	}
	s.WaitClosed(t)
}

// Everything that requires TLS is an error before anything is sent.
func TestUnixSocketHasNoTLS(t *testing.T) {
	s := &pgserver.Server{TLS: testca.New("localhost").Server}
	dir := onSocket(t, s)
	ca := testca.New("localhost").File(t)
	for _, c := range []struct {
		params []string
		ep     driver.Endpoint
		by     string
	}{
		{params: pairsOf("sslmode", "require"), by: "sslmode=require"},
		{params: pairsOf("sslmode", "verify-full", "sslrootcert", ca), by: "sslmode=verify-full"},
		{params: pairsOf("sslrootcert", "system", "sslmode", "verify-full"), by: "sslmode=verify-full"},
		{params: pairsOf("sslrootcert", "system"), by: "sslrootcert=system"},
		{params: pairsOf("channel_binding", "require"), by: "channel_binding=require"},
		{ep: driver.Endpoint{TLS: &tls.Config{}}, by: "driver.Options.TLS"},
		{ep: driver.Endpoint{Encrypt: true}, by: `the secret's "ssl"`},
	} {
		c.ep.Host, c.ep.Port, c.ep.Params = dir, s.Port, pairs(c.params...)
		_, err := pgxv5.Engine{}.Prepare(c.ep)
		if err == nil || !strings.Contains(err.Error(), c.by+" requires TLS") || !strings.Contains(err.Error(), "Unix socket") {
			t.Errorf("%s: got %v, want an error that names it", c.by, err)
		}
	}
	err := drivertest.Connect(t.Context(), pgxv5.Engine{}, "prod/app?sslmode=require", secretOf(dir, s.Port))
	if e := (*driver.Error)(nil); !errors.As(err, &e) || errors.Is(err, driver.ErrAuthFailed) || !strings.Contains(err.Error(), "Unix socket") {
		t.Errorf("Connect = %v", err)
	}
	if n := s.Dialled(); n != 0 {
		t.Errorf("%d connections, want none", n)
	}
}

// A pool opens connections through a Unix socket, and cancels queries there.
func TestPoolOnUnixSocket(t *testing.T) {
	s := &pgserver.Server{Hang: pgserver.AtQuery}
	host := onSocket(t, s)
	o := fixed(t, s, goodPassword)
	conn, err := newPool(t, "prod/app?host="+host, o, nil).Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := conn.Conn().PgConn().Conn().RemoteAddr().Network(); got != "unix" {
		t.Errorf("the connection is by %s", got)
	}
	if err := conn.Conn().PgConn().CancelRequest(t.Context()); err != nil {
		t.Error(err)
	}
	if got := s.Cancels(); len(got) != 1 {
		t.Errorf("%d requests to cancel, want 1", len(got))
	}
	if n := len(s.Seen()); n != 1 {
		t.Errorf("%d logins, want 1", n)
	}
	_ = conn.Conn().PgConn().Conn().Close() // else the pool waits for the server
	conn.Release()
}

func TestSupersededOnUnixSocket(t *testing.T) {
	s := &pgserver.Server{}
	dir := onSocket(t, s)
	logintest.ClosesSuperseded(t, func(superseded func() bool) logintest.Connector {
		return newConnector(t, pgxv5.Engine{}, driver.Endpoint{Host: dir, Port: s.Port, Database: "app"}, superseded)
	}, "SELECT 1", func() int { return len(s.Seen()) })
}

// A list of hosts in the secret or in "host" is tried in its order, as in a JDBC URL.
func TestListOfHosts(t *testing.T) {
	s := (&pgserver.Server{Check: wrongPassword}).Start(t)
	closed := loopback.ClosedPort(t)
	list := fmt.Sprintf("127.0.0.1:%d,127.0.0.1", closed)
	for _, c := range []struct{ dsn, secret string }{
		{"prod/app", secretOf(list, s.Port)},
		{"prod/app?host=" + list, secretOf("h.example.com", s.Port)},
		{fmt.Sprintf("prod/app?host=%s&port=%d", list, s.Port), secretOf("h.example.com", 1)},
		{fmt.Sprintf("prod/app?host=127.0.0.1,127.0.0.1:%d&port=%d", s.Port, closed), secretOf("h.example.com", 1)},
	} {
		if err := drivertest.Connect(t.Context(), pgxv5.Engine{}, c.dsn, c.secret); err != nil {
			t.Errorf("%s: %v", c.dsn, err)
		}
	}
	if n := len(s.Seen()); n != 4 {
		t.Errorf("the server saw %d logins of 4", n)
	}
	s.WaitClosed(t)
}
