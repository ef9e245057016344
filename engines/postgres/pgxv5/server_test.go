package pgxv5_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5/stdlib"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/postgres/pgxv5"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/pgserver"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/configtest"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/logintest"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/loopback"
)

const (
	goodPassword = "pässwörd '\\ 1"
	canary       = "CANARY-3f9a-password"
)

func wrongPassword(l pgserver.Login) *pgserver.Error {
	if l.Password == goodPassword {
		return nil
	}
	return pgserver.NewError("28P01", "auth_failed", `password authentication failed for user "`+l.User+`"`)
}

func endpoint(s *pgserver.Server, params ...string) driver.Endpoint {
	return driver.Endpoint{Host: s.Host, Port: s.Port, Database: "app", Params: pairs(params...)}
}

var pairs = configtest.Pairs

// connect prepares a login and connects, with a generous timeout.
func connect(tb testing.TB, e pgxv5.Engine, ep driver.Endpoint, password string) (*stdlib.Conn, error) {
	tb.Helper()
	c, err := logintest.Connect(tb, e, ep, "app_user", password)
	conn, _ := c.(*stdlib.Conn)
	return conn, err
}

func needsIPv6(tb testing.TB) {
	tb.Helper()
	if !loopback.HasIPv6() {
		tb.Skip("no IPv6 here")
	}
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
