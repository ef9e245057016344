package goora_test

import (
	sqldriver "database/sql/driver"
	"reflect"
	"testing"
	"time"

	"github.com/sijms/go-ora/v2/configurations"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/oracle/goora"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/tnsserver"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/configtest"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/logintest"
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

var pairs = configtest.Pairs

func connect(tb testing.TB, e goora.Engine, ep driver.Endpoint, password string) (sqldriver.Conn, error) {
	tb.Helper()
	return logintest.Connect(tb, e, ep, "app_user", password)
}

// wantLogins checks how many logins of app_user were accepted, rejected and failed.
func wantLogins(tb testing.TB, s *tnsserver.Server, accepted, rejected int) {
	tb.Helper()
	if ok, bad := s.Logins("app_user"); ok != accepted || bad != rejected {
		tb.Errorf("the server accepted %d logins and rejected %d, want %d and %d", ok, bad, accepted, rejected)
	}
}

// wantClosed checks that in the end no connection is open.
func wantClosed(tb testing.TB, s *tnsserver.Server) {
	tb.Helper()
	for late := time.Now().Add(5 * time.Second); s.Open() != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(late) {
			tb.Errorf("%d connections are still open", s.Open())
			return
		}
	}
}

func noPassword(t *testing.T, err error, password string) {
	t.Helper()
	logintest.NoPassword(t, err, password, reflect.TypeFor[configurations.ConnectionConfig]())
}
