package mssqldb_test

import (
	"context"
	sqldriver "database/sql/driver"
	"encoding/json"
	"errors"
	"net"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/microsoft/go-mssqldb/msdsn"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/driver/drivertest"
	"github.com/sqlsecrets/sqlsecrets/engines/sqlserver/mssqldb"
	"github.com/sqlsecrets/sqlsecrets/internal/loopback"
	"github.com/sqlsecrets/sqlsecrets/internal/tdsserver"
	"github.com/sqlsecrets/sqlsecrets/internal/testca"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

const (
	goodPassword = "pässwörd '\\ 1"
	canary       = "CANARY-3f9a-password"
)

// start starts a server with the database app and the login app_user.
func start(t *testing.T, o tdsserver.Options) *tdsserver.Server {
	t.Helper()
	o.Databases = append(slices.Clone(o.Databases), "app")
	s, err := tdsserver.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	s.SetPassword("app_user", goodPassword)
	return s
}

func endpoint(s *tdsserver.Server, params ...string) driver.Endpoint {
	return driver.Endpoint{Host: s.Host, Port: s.Port, Database: "app", Params: pairs(params...)}
}

func pairs(kv ...string) map[string]string {
	m := map[string]string{}
	for i := 0; i < len(kv); i += 2 {
		m[kv[i]] = kv[i+1]
	}
	return m
}

func pairsOf(kv ...string) []string { return kv }

// connect prepares and connects within a generous time.
func connect(t *testing.T, e mssqldb.Engine, ep driver.Endpoint, password string) (sqldriver.Conn, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	return connectContext(ctx, t, e, ep, "app_user", password)
}

func connectContext(ctx context.Context, t *testing.T, e mssqldb.Engine, ep driver.Endpoint, user, password string) (sqldriver.Conn, error) {
	t.Helper()
	l, err := e.Prepare(ep)
	if err != nil {
		t.Fatalf("Prepare(%+v): %v", ep, err)
	}
	c, err := l.Connect(ctx, driver.Credentials{User: user, Password: driver.NewPassword(password)})
	if err != nil && c != nil {
		t.Errorf("Connect returned a %T and an error", c)
	}
	if err == nil && c == nil {
		t.Fatal("Connect returned neither a connection nor an error")
	}
	return c, err
}

// wantOpen checks how many connections a server has in the end.
func wantOpen(t *testing.T, s *tdsserver.Server, want int) {
	t.Helper()
	if n := s.WaitOpen(want, 5*time.Second); n != want {
		t.Errorf("%d connections are open, want %d", n, want)
	}
}

// certificates are an authority's, and a server's by it, with files.
type certificates struct {
	testca.Certificates
	CA, Leaf  string
	LeafAsDER string
}

func newCertificates(t *testing.T, names ...string) certificates {
	t.Helper()
	c := certificates{Certificates: testca.New(names...)}
	leaf := c.Server.Certificates[0].Certificate[0]
	c.CA = testca.WriteFile(t, "CANARY-ca.pem", testca.PEM(c.Authority.Raw))
	c.Leaf = testca.WriteFile(t, "CANARY-leaf.pem", testca.PEM(leaf))
	c.LeafAsDER = testca.WriteFile(t, "CANARY-leaf.der", leaf)
	return c
}

// secretOf is the secret of app_user.
func secretOf(s *tdsserver.Server) driver.Secrets {
	value, err := json.Marshal(map[string]any{"engine": "sqlserver-ex", "host": s.Host, "port": s.Port, "dbname": "app", "username": "app_user", "password": goodPassword})
	if err != nil {
		panic(err) // it is strings and a number
	}
	return secretcache.New(secretcache.SourceFunc(func(context.Context, string, string) (*secretcache.Secret, error) {
		return secretcache.NewSecret(secretcache.Value{ID: "prod/app", VersionID: "v1", String: string(value)}), nil
	}), nil)
}

// capture prepares an endpoint and returns the configuration that a connect gets.
func capture(t *testing.T, ep driver.Endpoint) (config *msdsn.Config, err error) {
	t.Helper()
	stop := errors.New("stop")
	l, err := mssqldb.Engine{Configure: func(c *msdsn.Config) error {
		config = c
		return stop
	}}.Prepare(ep)
	if err != nil {
		return nil, err
	}
	if _, err := l.Connect(t.Context(), driver.Credentials{User: "u", Password: driver.NewPassword("p")}); !errors.Is(err, stop) {
		t.Fatalf("Connect = %v", err)
	}
	return config, nil
}

func TestDriver(t *testing.T) {
	certs := newCertificates(t, "127.0.0.1")
	others := newCertificates(t, "127.0.0.1")
	for _, c := range []struct {
		name    string
		options tdsserver.Options
	}{
		{"encryption available", tdsserver.Options{TLS: certs.Server}},
		{"encryption required", tdsserver.Options{TLS: certs.Server, Force: true}},
		{"encryption not supported", tdsserver.Options{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := start(t, c.options)
			o := c.options
			o.Databases = []string{"app"}
			o.Addr = net.JoinHostPort("::1", strconv.Itoa(s.Port))
			six, err := tdsserver.Start(o) // no IPv6 is no reason not to run the rest
			if err == nil {
				defer six.Close()
			}
			d := drivertest.Server{
				Engine:   mssqldb.Engine{},
				Host:     s.Host,
				Port:     s.Port,
				Database: "app",
				Query:    "SELECT SUSER_SNAME()",
				ConnType: "*mssql.Conn",
				SetPassword: func(_ testing.TB, user, password string) {
					s.SetPassword(user, password)
					if six != nil {
						six.SetPassword(user, password)
					}
				},
				Logins: func(_ testing.TB, user string) (accepted, rejected int) { return s.Logins(user) },
			}
			if c.options.TLS != nil {
				d.TLSVerified = "encrypt=true&certificate=" + certs.CA
				d.TLSWrongName = "encrypt=true&hostnameincertificate=other.test&certificate=" + certs.CA
				d.TLSUnknownAuthority = "encrypt=true&certificate=" + others.CA
			}
			if six != nil {
				d.HostIPv6 = "::1"
			}
			drivertest.Run(t, d)
		})
	}
}

func TestDriverIPv6(t *testing.T) {
	if !loopback.HasIPv6() {
		t.Skip("no IPv6 here")
	}
	certs := newCertificates(t, "::1")
	s := start(t, tdsserver.Options{Addr: "[::1]:0", TLS: certs.Server})
	for _, params := range [][]string{
		nil,
		pairsOf("encrypt", "true", "certificate", certs.CA),
		pairsOf("encrypt", "true", "certificate", certs.CA, "multisubnetfailover", "no"),
	} {
		conn, err := connect(t, mssqldb.Engine{}, endpoint(s, params...), goodPassword)
		if err != nil {
			t.Errorf("%s: %v", params, err)
			continue
		}
		_ = conn.Close()
	}
}
