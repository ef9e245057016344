package goora_test

import (
	"context"
	sqldriver "database/sql/driver"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sijms/go-ora/v2/configurations"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/oracle/goora"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/tnsserver"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/leak"
)

const (
	goodPassword = "pässwörd ';{}€"
	canary       = "CANARY-3f9a-password"
)

// start starts a server with the user app_user.
func start(tb testing.TB, opts *tnsserver.Options) *tnsserver.Server {
	tb.Helper()
	s := tnsserver.New(tb, opts)
	s.SetPassword("app_user", goodPassword)
	return s
}

func endpoint(s *tnsserver.Server, params ...string) driver.Endpoint {
	return driver.Endpoint{Host: s.Host, Port: s.Port, Database: "ORCL", Params: pairs(params...)}
}

func pairs(kv ...string) map[string]string {
	m := map[string]string{}
	for i := 0; i < len(kv); i += 2 {
		m[kv[i]] = kv[i+1]
	}
	return m
}

// connect prepares and connects within a generous time.
func connect(tb testing.TB, e goora.Engine, ep driver.Endpoint, password string) (sqldriver.Conn, error) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 20*time.Second)
	defer cancel()
	return connectContext(ctx, tb, e, ep, password)
}

func connectContext(ctx context.Context, tb testing.TB, e goora.Engine, ep driver.Endpoint, password string) (sqldriver.Conn, error) {
	tb.Helper()
	l, err := e.Prepare(ep)
	if err != nil {
		tb.Fatalf("Prepare(%+v): %v", ep, err)
	}
	c, err := l.Connect(ctx, driver.Credentials{User: "app_user", Password: driver.NewPassword(password)})
	if err != nil && c != nil {
		tb.Errorf("Connect returned a %T and an error", c)
	}
	return c, err
}

// wantLogins checks what app_user's logins came to.
func wantLogins(tb testing.TB, s *tnsserver.Server, accepted, rejected int) {
	tb.Helper()
	if ok, bad := s.Logins("app_user"); ok != accepted || bad != rejected {
		tb.Errorf("the server accepted %d logins and rejected %d, want %d and %d", ok, bad, accepted, rejected)
	}
}

// wantClosed checks that no connection is open, in the end.
func wantClosed(tb testing.TB, s *tnsserver.Server) {
	tb.Helper()
	for late := time.Now().Add(5 * time.Second); s.Open() != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(late) {
			tb.Errorf("%d connections are still open", s.Open())
			return
		}
	}
}

// noPassword searches an error's texts and everything reachable from it.
func noPassword(t *testing.T, err error, password string) {
	t.Helper()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		if strings.Contains(fmt.Sprintf(verb, err), password) {
			t.Errorf("%s of the error shows the password", verb)
		}
	}
	leak.Walk(err, func(path string, v reflect.Value) {
		if v.Kind() == reflect.String && strings.Contains(v.String(), password) {
			t.Errorf("the password is in %s", path)
		}
		switch v.Type() {
		case reflect.TypeFor[configurations.ConnectionConfig](), reflect.TypeFor[driver.Password]():
			t.Errorf("%s is a %v", path, v.Type())
		}
	})
}
