package gosqldriver_test

import (
	"testing"

	sqldriver "database/sql/driver"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/mysql/gosqldriver"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/mysqlserver"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/configtest"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/logintest"
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

var pairs = configtest.Pairs

func pairsOf(kv ...string) []string { return kv }

func connect(tb testing.TB, e gosqldriver.Engine, ep driver.Endpoint, password string) (sqldriver.Conn, error) {
	tb.Helper()
	return logintest.Connect(tb, e, ep, "app_user", password)
}
