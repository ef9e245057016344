package vendordb_test

import (
	"context"
	"crypto/tls"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/integration/internal/vendordb"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/tdsserver"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/tnsserver"
)

// A server is a stand-in.
type server struct {
	account   vendordb.Account // that may log in
	connector func(vendordb.Account) sqldriver.Connector
	query     string
	open      func() int // connections
}

func servers(t *testing.T) map[string]server {
	t.Helper()
	tds, err := tdsserver.Start(tdsserver.Options{Databases: []string{"app"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tds.Close() })
	tns := tnsserver.New(t, nil)
	tds.SetPassword("u", "right")
	tns.SetPassword("u", "right")
	account := vendordb.Account{Host: "127.0.0.1", Database: "app", User: "u", Password: "right"}
	sqlserver, oracle := account, account
	sqlserver.Port, oracle.Port, oracle.Database = tds.Port, tns.Port, "ORCL"
	return map[string]server{
		"SQL Server": {sqlserver, vendordb.SQLServer, "SELECT 1", func() int { return tds.WaitOpen(0, 5*time.Second) }},
		"Oracle": {oracle, vendordb.Oracle, "SELECT 1 FROM DUAL", func() int {
			n := tns.Open()
			for late := time.Now().Add(5 * time.Second); n > 0 && time.Now().Before(late); {
				n = tns.Open() // it dials
			}
			return n
		}},
	}
}

func ping(ctx context.Context, c sqldriver.Connector, query string) error {
	db := sql.OpenDB(c)
	var n int
	err := db.QueryRowContext(ctx, query).Scan(&n)
	return errors.Join(err, db.Close())
}

func TestFailedLoginsLeaveNoConnectionOpen(t *testing.T) {
	for name, s := range servers(t) {
		t.Run(name, func(t *testing.T) {
			if err := ping(t.Context(), s.connector(s.account), s.query); err != nil {
				t.Error(err)
			}
			wrong := s.account
			wrong.Password = "wrong"
			if err := ping(t.Context(), s.connector(wrong), s.query); err == nil {
				t.Error("a wrong password is accepted")
			}
			secure := s.account
			secure.TLS = &tls.Config{ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12}
			if err := ping(t.Context(), s.connector(secure), s.query); err == nil {
				t.Error("a server without TLS is accepted")
			}
			if n := s.open(); n != 0 {
				t.Errorf("%d connections are open", n)
			}
		})
	}
}

// A server that does not answer delays a caller at most until its context ends.
func TestLoginEndsWithItsContext(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for name, s := range servers(t) {
		t.Run(name, func(t *testing.T) {
			s.account.Port = l.Addr().(*net.TCPAddr).Port
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			if err := ping(ctx, s.connector(s.account), s.query); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v, want the context's error", err)
			}
		})
	}
}

func TestQuoting(t *testing.T) {
	for got, want := range map[string]string{
		vendordb.SQLServerName("a]b'"):        "[a]]b']",
		vendordb.SQLServerString("it's ]"):    "N'it''s ]'",
		vendordb.OracleString("it's"):         "'it''s'",
		vendordb.OracleName("app"):            "APP",
		vendordb.OracleName(`"App"`):          "App",
		vendordb.OracleName(`"`):              `"`,
		must(vendordb.OracleQuote("a'b [ x")): `"a'b [ x"`,
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	for _, s := range []string{`a"b`, "a\x00"} {
		if got, err := vendordb.OracleQuote(s); !errors.Is(err, vendordb.ErrOracleQuote) || got != "" || strings.Contains(err.Error(), s) {
			t.Errorf("OracleQuote(%q) = %q, %v", s, got, err)
		}
	}
}

func must(s string, err error) string {
	if err != nil {
		panic(err)
	}
	return s
}
