package mssqldb_test

import (
	"context"
	sqldriver "database/sql/driver"
	"encoding/json"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/microsoft/go-mssqldb/msdsn"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/driver/drivertest"
	"github.com/sqlsecrets/sqlsecrets/engines/sqlserver/mssqldb"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/tdsserver"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/configtest"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/logintest"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/loopback"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/testca"
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

var pairs = configtest.Pairs

func pairsOf(kv ...string) []string { return kv }

func connect(t *testing.T, e mssqldb.Engine, ep driver.Endpoint, password string) (sqldriver.Conn, error) {
	t.Helper()
	return logintest.Connect(t, e, ep, "app_user", password)
}

// wantOpen checks how many connections are open at a server in the end.
func wantOpen(t *testing.T, s *tdsserver.Server, want int) {
	t.Helper()
	if n := s.WaitOpen(want, 5*time.Second); n != want {
		t.Errorf("%d connections are open, want %d", n, want)
	}
}

// certificates are those of an authority and of a server, with files.
type certificates struct {
	testca.Certificates
	CA, Leaf  string
	LeafAsDER string
}

func newCertificates(t *testing.T, names ...string) certificates {
	t.Helper()
	c := certificates{Certificates: testca.New(names...)}
	leaf := c.Server.Certificates[0].Certificate[0]
	dir := testca.WriteFiles(t, map[string][]byte{
		"CANARY-ca.pem": testca.PEM(c.Authority.Raw), "CANARY-leaf.pem": testca.PEM(leaf), "CANARY-leaf.der": leaf,
	})
	c.CA, c.Leaf, c.LeafAsDER = filepath.Join(dir, "CANARY-ca.pem"), filepath.Join(dir, "CANARY-leaf.pem"), filepath.Join(dir, "CANARY-leaf.der")
	return c
}

// secretOf returns the secret of app_user.
func secretOf(s *tdsserver.Server) driver.Secrets {
	value, err := json.Marshal(map[string]any{"engine": "sqlserver-ex", "host": s.Host, "port": s.Port, "dbname": "app", "username": "app_user", "password": goodPassword})
	if err != nil {
		panic(err) // it is strings and a number
	}
	return secretcache.New(secretcache.SourceFunc(func(context.Context, string, string) (*secretcache.Secret, error) {
		return secretcache.NewSecret(secretcache.Value{ID: "prod/app", VersionID: "v1", String: string(value)}), nil
	}), nil)
}

// capture prepares an endpoint and returns the configuration of a connection attempt.
func capture(t *testing.T, ep driver.Endpoint) (*msdsn.Config, error) {
	t.Helper()
	return configtest.Capture(t, func(configure func(*msdsn.Config) error) (driver.Login, error) {
		return mssqldb.Engine{Configure: configure}.Prepare(ep)
	})
}

func TestConformance(t *testing.T) {
	for _, c := range []struct {
		name    string
		names   []string // in the certificate; none: the server has no TLS
		force   bool
		address string
	}{
		{"encryption available", []string{"127.0.0.1"}, false, ""},
		{"encryption available, other names", []string{"localhost", "::1"}, false, ""},
		{"encryption required", []string{"127.0.0.1"}, true, ""},
		{"encryption not supported", nil, false, ""},
		{"IPv6", []string{"::1"}, false, "[::1]:0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.address != "" && !loopback.HasIPv6() {
				t.Skip("no IPv6 here")
			}
			certs := newCertificates(t, c.names...)
			o := tdsserver.Options{Force: c.force, Addr: c.address}
			if c.names != nil {
				o.TLS = certs.Server
			}
			s := start(t, o)
			d := drivertest.Server{
				Engine: mssqldb.Engine{SessionInitSQL: "SET NOCOUNT ON"}, Host: s.Host, Port: s.Port, Database: "app", Query: "SELECT SUSER_SNAME()", ConnType: "*mssql.Conn",
				SetPassword: func(_ testing.TB, user, password string) { s.SetPassword(user, password) },
				Logins:      func(_ testing.TB, user string) (accepted, rejected int) { return s.Logins(user) },
				Refuse:      func(_ testing.TB, user string) { s.SetState(user, tdsserver.Locked) },
				TLS: &drivertest.TLS{
					Names: c.names, Roots: certs.Pool, Verified: "encrypt=true&certificate=" + certs.CA, Unknown: "encrypt=true", IfAvailable: "encrypt=optional&trustservercertificate=true", Off: "encrypt=disable",
					URL: func(address, id string) string {
						return "sqlserver://" + address + ";databaseName=app;user=" + id + ";certificate=" + certs.CA
					},
				},
			}
			if c.force {
				d.TLS.Off = ""
			}
			if c.address != "" {
				d.HostIPv6 = s.Host
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
