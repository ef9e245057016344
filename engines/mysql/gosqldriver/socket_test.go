package gosqldriver_test

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/driver/drivertest"
	"github.com/sqlsecrets/sqlsecrets/engines/mysql/gosqldriver"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/mysqlserver"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/logintest"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/loopback"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/testca"
)

// onSocket starts a server, and returns the path of its Unix socket.
func onSocket(t *testing.T, s *mysqlserver.Server) string {
	t.Helper()
	path := filepath.Join(loopback.SocketDir(t), "mysqld.sock")
	start(t, s).ListenUnix(t, path)
	return path
}

func secretOf(host string, more ...string) string {
	value := map[string]any{"engine": "mysql", "host": host, "port": 3306, "dbname": "app", "username": "app_user", "password": goodPassword}
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
	certs := testca.New("localhost")
	for name, s := range map[string]*mysqlserver.Server{
		"native":                       {TLS: certs.Server},
		"sha2":                         {Method: mysqlserver.CachingSHA2, TLS: certs.Server},
		"sha2, whole password":         {Method: mysqlserver.CachingSHA2, Full: true, TLS: certs.Server},
		"sha2, whole password, no TLS": {Method: mysqlserver.CachingSHA2, Full: true},
	} {
		path := onSocket(t, s)
		for _, c := range []struct{ dsn, secret string }{
			{"prod/app", secretOf(path)},
			{"prod/app?tls=preferred", secretOf(path)},
			{"prod/app?tls=false", secretOf(path, "ssl", "true")},
			{"prod/app?host=" + path, secretOf("h.example.com")},
			{"jdbc-secretsmanager:mysql:///app?user=prod/app", secretOf(path)},
		} {
			before := len(s.Seen())
			if err := drivertest.Connect(t.Context(), gosqldriver.Engine{}, c.dsn, c.secret); err != nil {
				t.Errorf("%s, %s: %v", name, c.dsn, err)
				continue
			}
			if seen := s.Seen(); len(seen) != before+1 || seen[before].TLS || !seen[before].Good {
				t.Errorf("%s, %s: the server saw %+v, want one login without TLS", name, c.dsn, seen[before:])
			}
		}
		_, err := connect(t, gosqldriver.Engine{}, driver.Endpoint{Host: path, Port: 1, Database: "app"}, canary)
		if !(gosqldriver.Engine{}).Rejected(err) {
			t.Errorf("%s, another password: got %v, want a rejection", name, err)
		}
		noPassword(t, err, canary)
		s.WaitClosed(t)
	}
	nobody := filepath.Join(loopback.SocketDir(t), "none.sock")
	if err := drivertest.Connect(t.Context(), gosqldriver.Engine{}, "prod/app?host="+nobody, secretOf("h")); err == nil || !strings.Contains(err.Error(), nobody) {
		t.Errorf("no server: got %v, want an error that names the socket", err)
	}
}

// Everything that requires TLS is an error before anything is sent.
func TestUnixSocketHasNoTLS(t *testing.T) {
	certs := testca.New("localhost")
	s := &mysqlserver.Server{TLS: certs.Server}
	path := onSocket(t, s)
	cert, key := testca.KeyPair(t, certs.Issue("client"))
	for _, c := range []struct {
		params []string
		ep     driver.Endpoint
		by     string
	}{
		{params: pairsOf("tls", "true"), by: `parameter "tls"`},
		{params: pairsOf("tls", "skip-verify"), by: `parameter "tls"`},
		{params: pairsOf("ssl-ca", certs.File(t)), by: `"ssl-ca"`},
		{params: pairsOf("ssl-cert", cert, "ssl-key", key), by: `"ssl-cert"`},
		{params: pairsOf("tls", "true"), ep: driver.Endpoint{IAM: true}, by: "auth=iam"}, // as Info.IAM has it
		{ep: driver.Endpoint{TLS: &tls.Config{}}, by: "driver.Options.TLS"},
		{ep: driver.Endpoint{Encrypt: true}, by: `the secret's "ssl"`},
	} {
		c.ep.Host, c.ep.Port, c.ep.Params = path, 3306, pairs(c.params...)
		_, err := gosqldriver.Engine{}.Prepare(c.ep)
		if err == nil || !strings.Contains(err.Error(), c.by) || !strings.Contains(err.Error(), "requires TLS, and a connection by a Unix socket has none") {
			t.Errorf("%s: got %v, want an error that names it", c.by, err)
		}
	}
	if err := drivertest.Connect(t.Context(), gosqldriver.Engine{}, "prod/app?tls=true", secretOf(path)); err == nil || !strings.Contains(err.Error(), "Unix socket") {
		t.Errorf("Connect = %v", err)
	}
	if n := s.Dialled(); n != 0 {
		t.Errorf("%d connections, want none", n)
	}
}

func TestSupersededOnUnixSocket(t *testing.T) {
	if !(gosqldriver.Engine{}).Info().ClosesSuperseded {
		t.Skip("not on this system")
	}
	s := &mysqlserver.Server{}
	path := onSocket(t, s)
	logintest.ClosesSuperseded(t, func(superseded func() bool) logintest.Connector {
		return logintest.NewConnector(t, gosqldriver.Engine{}, driver.Endpoint{Host: path, Port: 3306, Database: "app"}, "app_user", goodPassword, superseded)
	}, "SELECT 1", func() int { return len(s.Seen()) })
}

// The driver gets only the path as the address.
func TestUnixSocketPaths(t *testing.T) {
	for _, path := range []string{"/a", "/cloudsql/project:us-central1:app_db", "/run/my.sql-d/+~.sock"} {
		c, err := capture(t, driver.Endpoint{Host: path, Port: 3306, Database: "a/b"})
		if err != nil || c.Net != "unix" || c.Addr != path || c.DBName != "a/b" || c.TLS != nil {
			t.Errorf("%s: got %s, %v", path, fmt.Sprint(c.Net, " ", c.Addr), err)
		}
	}
	for _, path := range []string{"/a b", "/a)/x?tls=false", "/a@b", "/a,/b", "/ä", "/a\x00"} {
		if _, err := capture(t, driver.Endpoint{Host: path, Port: 3306}); err == nil || strings.Contains(err.Error(), path) {
			t.Errorf("%q: got %v", path, err)
		}
	}
}
