package driver_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// An engine says which forms of a host it supports. They are the same in the data source name and in the
// secret.
func TestHostForms(t *testing.T) {
	list := func(i *driver.Info) { i.HostList = true }
	socket := func(i *driver.Info) { i.HostSocket = true }
	instance := func(i *driver.Info) { i.HostInstance = true }
	for _, test := range []struct {
		host  string
		takes func(*driver.Info)
		says  string // a part of the error of an engine that supports all other forms
	}{
		{"h1,h2:5433", list, "list of hosts"},
		{"[2001:db8::1]:5433,h2", list, "list of hosts"},
		{"/var/run/postgresql", socket, "Unix socket"},
		{"/cloudsql/project:us-central1:app_db/.s.PGSQL.5432", socket, "Unix socket"},
		{`h\INST_1$`, instance, "instance"},
	} {
		secret := fmt.Sprintf(`{"host":%q,"username":"u","password":"p"}`, test.host)
		for from, open := range map[string]func(*engine) (request, error){
			"the data source name": func(e *engine) (request, error) { return open(e, "s?host="+test.host, fullSecret) },
			"the secret":           func(e *engine) (request, error) { return open(e, "s", secret) },
		} {
			e := newEngine("postgres", nil)
			test.takes(&e.info)
			if r, err := open(e); err != nil || r.endpoint.Host != test.host {
				t.Errorf("%s of %s: got %q, %v", test.host, from, r.endpoint.Host, err)
			}
			e = newEngine("postgres", nil)
			e.info.HostList, e.info.HostSocket, e.info.HostInstance = true, true, true
			switch test.says {
			case "list of hosts":
				e.info.HostList = false
			case "Unix socket":
				e.info.HostSocket = false
			default:
				e.info.HostInstance = false
			}
			_, err := open(e)
			if kind := errors.Is(err, driver.ErrBadDSN) || errors.Is(err, driver.ErrMalformedSecret); !kind ||
				!strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), "the driver for postgres ") || strings.Contains(err.Error(), test.host) {
				t.Errorf("%s of %s, which the engine does not support: got %v, want %q", test.host, from, err, test.says)
			}
		}
	}
}

// Errors and traces show no port for a host whose login does not use the port.
func TestErrorsShowAHostAsItWasGiven(t *testing.T) {
	for host, want := range map[string]string{
		"h": "h:3306", "::1": "[::1]:3306", "h1,h2:5433": "h1,h2:5433", "/run/mysqld.sock": "/run/mysqld.sock", `h\INST`: `h\INST`,
	} {
		var address string
		b := newBench(t, withDSN("prod/app?fallback=none&host="+host), wrongPassword, func(b *bench, _ *string) {
			b.engine.info.HostList, b.engine.info.HostSocket, b.engine.info.HostInstance = true, true, true
			b.opts.Trace = &driver.Trace{LoginDone: func(_ context.Context, i driver.LoginInfo) { address = i.Address }}
		})
		if err := b.ping(t.Context()); err == nil || !strings.Contains(err.Error(), " "+want+" rejected ") || address != want {
			t.Errorf("host %s: got %v, and a trace of %q, want %q", host, err, address, want)
		}
	}
}

// If only the secret tells the engine, the forms of hosts are still those of that engine.
func TestHostFormsOfAnyEngine(t *testing.T) {
	pg, my := newEngine("postgres", newDatabase("u", "p")), newEngine("mysql", newDatabase("u", "p"))
	pg.info.HostList = true
	for engine, want := range map[string]error{"postgres": nil, "mysql": driver.ErrBadDSN} {
		secret := fmt.Sprintf(`{"engine":%q,"host":"h","username":"u","password":"p"}`, engine)
		c, err := driver.NewAnyDriver("any", []driver.Engine{pg, my}, &driver.Options{Secrets: secretsFunc(func(id, _ string) (*secretcache.Secret, error) {
			return secretcache.NewSecret(secretcache.Value{ID: id, VersionID: "v1", String: secret}), nil
		})}).NewConnector("s?host=h1,h2")
		if err != nil {
			t.Fatal(err)
		}
		if _, err = c.Connect(t.Context()); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", engine, err, want)
		}
	}
}
