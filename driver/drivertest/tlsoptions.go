package drivertest

import (
	"context"
	"crypto/tls"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
)

// tlsNoOptions checks that Options.TLS is an error, and not ignored, if the engine cannot use it.
func (s Server) tlsNoOptions(t *testing.T) {
	l := s.login(t, s.newProxy(t), s.right(), asking{params: s.TLS.Verified, options: &tls.Config{RootCAs: s.TLS.Roots}}, Passwords[0])
	if err := l.query(); err == nil {
		t.Error("a login with Options.TLS succeeded")
	} else {
		l.noPassword(t, err)
	}
	s.wantLogins(t, l.client, 0, 0)
}

// tlsServerName checks that a ServerName in Options.TLS is verified instead of the host.
func (s Server) tlsServerName(t *testing.T) {
	named := func(name string) asking {
		return asking{options: &tls.Config{RootCAs: s.TLS.Roots, ServerName: name}}
	}
	s.login(t, s.newProxy(t), s.wrong(), named(s.right()), Passwords[0]).wantTLS()
	s.login(t, s.newProxy(t), s.right(), named(s.wrong()), Passwords[0]).wantRefused()
}

// tlsCloned checks that connections to two hosts can share one configuration at the same time. Each verifies
// its own host, and the configuration does not change.
func (s Server) tlsCloned(t *testing.T) {
	p := s.newProxy(t)
	user := s.newUser(t, Passwords[0])
	config := &tls.Config{RootCAs: s.TLS.Roots}
	before := config.Clone()
	var logins []driver.Login
	for _, host := range []string{s.right(), s.wrong()} {
		l, err := s.Engine.Prepare(driver.Endpoint{Host: host, Port: p.Port, Database: s.Database, TLS: config})
		if err != nil {
			t.Fatalf("Prepare: %v", err)
		}
		logins = append(logins, l)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			conn, err := logins[i%2].Connect(ctx, driver.Credentials{User: user, Password: driver.NewPassword(Passwords[0])})
			if err == nil {
				_ = conn.Close()
			}
			if right := i%2 == 0; right != (err == nil) {
				t.Errorf("Connect to a host that is in the certificate (%t) = %v", right, err)
			}
		})
	}
	wg.Wait()
	if field := changedField(before, config); field != "" {
		t.Errorf("%s of the caller's configuration is changed", field)
	}
}

// changedField returns the name of a field in which two configurations differ, or "".
func changedField(a, b *tls.Config) string {
	x, y := reflect.ValueOf(a).Elem(), reflect.ValueOf(b).Elem()
	for i := range x.NumField() {
		f := x.Type().Field(i)
		if !f.IsExported() {
			continue
		}
		same := false
		if f.Type.Kind() == reflect.Func {
			same = x.Field(i).IsNil() == y.Field(i).IsNil()
		} else {
			same = reflect.DeepEqual(x.Field(i).Interface(), y.Field(i).Interface())
		}
		if !same {
			return f.Name
		}
	}
	return ""
}

// tlsWithout checks logins to a server that has no TLS.
func (s Server) tlsWithout(t *testing.T) {
	plain := []asking{{name: "nothing said"}, {name: "off", params: s.TLS.Off}}
	if !s.TLS.NoOptions && s.TLS.Off != "" {
		plain = append(plain, asking{name: "off, with Options.TLS", params: s.TLS.Off, options: &tls.Config{RootCAs: s.TLS.Roots}})
	}
	if s.TLS.IfAvailable != "" {
		plain = append(plain, asking{name: "if available", params: s.TLS.IfAvailable})
	}
	if s.supportsSSL() && s.TLS.Off != "" {
		plain = append(plain, asking{name: "off, and asked by the secret", params: s.TLS.Off, ssl: true})
	}
	for _, how := range plain {
		t.Run(how.name, func(t *testing.T) { s.login(t, s.newProxy(t), s.right(), how, Passwords[0]).wantPlain() })
	}
	t.Run("nothing said, rejected password", func(t *testing.T) {
		l := s.login(t, s.newProxy(t), s.right(), asking{}, "not-"+Passwords[0])
		s.wantRejected(t, l.client, l.query())
		s.wantLogins(t, l.client, 0, 1)
		l.wantShown(1)
	})
	asked := append(s.askings(), asking{name: "parameters, other authorities", params: s.TLS.Unknown})
	if !s.TLS.NoOptions {
		if s.TLS.IfAvailable != "" {
			asked = append(asked, s.insisting())
		}
		asked = append(asked, asking{name: "Options.TLS without verification", options: &tls.Config{InsecureSkipVerify: true}})
	}
	if s.supportsSSL() {
		asked = append(asked, s.askingBySecret()...)
	}
	for _, how := range asked {
		t.Run("asked by "+how.name, func(t *testing.T) { s.login(t, s.newProxy(t), s.right(), how, Passwords[0]).wantRefused() })
	}
}
