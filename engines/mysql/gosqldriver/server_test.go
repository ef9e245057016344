package gosqldriver_test

import (
	"context"
	"testing"
	"time"

	sqldriver "database/sql/driver"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/mysql/gosqldriver"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/mysqlserver"
)

const (
	goodPassword = "pässwörd '\\ 1"
	canary       = "CANARY-3f9a-password"
)

// start starts a server with the user app_user.
func start(tb testing.TB, s *mysqlserver.Server, hosts ...string) *mysqlserver.Server {
	tb.Helper()
	s.SetPassword(tb, "app_user", goodPassword)
	return s.Start(tb, hosts...)
}

func endpoint(s *mysqlserver.Server, params ...string) driver.Endpoint {
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
func connect(tb testing.TB, e gosqldriver.Engine, ep driver.Endpoint, password string) (sqldriver.Conn, error) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 20*time.Second)
	defer cancel()
	return connectContext(ctx, tb, e, ep, password)
}

func connectContext(ctx context.Context, tb testing.TB, e gosqldriver.Engine, ep driver.Endpoint, password string) (sqldriver.Conn, error) {
	tb.Helper()
	l, err := e.Prepare(ep)
	if err != nil {
		tb.Fatalf("Prepare(%+v): %v", ep, err)
	}
	c, err := l.Connect(ctx, driver.Credentials{User: "app_user", Password: driver.NewPassword(password)})
	if err != nil && c != nil {
		tb.Errorf("Connect returned %T and an error", c)
	}
	return c, err
}
