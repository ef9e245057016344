package pgxv5_test

import (
	"context"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/stdlib"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/postgres/pgxv5"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/pgserver"
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

func pairs(kv ...string) map[string]string {
	m := map[string]string{}
	for i := 0; i < len(kv); i += 2 {
		m[kv[i]] = kv[i+1]
	}
	return m
}

// connect prepares and connects within a generous time.
func connect(tb testing.TB, e pgxv5.Engine, ep driver.Endpoint, password string) (*stdlib.Conn, error) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 20*time.Second)
	defer cancel()
	return connectContext(ctx, tb, e, ep, password)
}

func connectContext(ctx context.Context, tb testing.TB, e pgxv5.Engine, ep driver.Endpoint, password string) (*stdlib.Conn, error) {
	tb.Helper()
	l, err := e.Prepare(ep)
	if err != nil {
		tb.Fatalf("Prepare(%+v): %v", ep, err)
	}
	c, err := l.Connect(ctx, driver.Credentials{User: "app_user", Password: driver.NewPassword(password)})
	if err != nil {
		if c != nil {
			tb.Errorf("Connect returned %T and an error", c)
		}
		return nil, err
	}
	return c.(*stdlib.Conn), nil
}

func needsIPv6(tb testing.TB) {
	tb.Helper()
	if !loopback.HasIPv6() {
		tb.Skip("no IPv6 here")
	}
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
