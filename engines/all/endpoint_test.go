package all_test

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/all"
	"github.com/sqlsecrets/sqlsecrets/engines/db2"
)

// An observed engine lets the vendor prepare an endpoint, and then accepts every login.
type observed struct {
	driver.Engine
	endpoint *driver.Endpoint // of the last login
	logins   *int
	name     *string // of the engine of the last login
}

func (o observed) Prepare(ep driver.Endpoint) (driver.Login, error) {
	if _, err := o.Engine.Prepare(ep); err != nil {
		return nil, err
	}
	return observedLogin{o, ep}, nil
}

type observedLogin struct {
	o        observed
	endpoint driver.Endpoint
}

func (l observedLogin) Connect(context.Context, driver.Credentials) (sqldriver.Conn, error) {
	*l.o.endpoint = l.endpoint
	*l.o.logins++
	*l.o.name = l.o.Info().Name
	return fakeConn{}, nil
}

func init() { sql.Register("driver of Db2", noDriver{}) }

// noDriver stands in for the Db2 driver.
type noDriver struct{}

func (noDriver) Open(string) (sqldriver.Conn, error) { return nil, errors.New("it is none") }

// prepared are the engines. Each has a vendor's driver here.
func prepared() []driver.Engine {
	list := slices.Clone(all.Known)
	for i, e := range list {
		if _, ok := e.(db2.Engine); ok {
			list[i] = db2.Engine{Driver: "driver of Db2"}
		}
	}
	return list
}

// connectOnce connects once with an engine of the package. It returns the address, the number of
// logins and the error.
func connectOnce(t *testing.T, engine driver.Engine, dsn string, secret map[string]any) (where string, logins int, err error) {
	t.Helper()
	fields := map[string]any{"username": "u", "password": "p"}
	maps.Copy(fields, secret)
	value, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	o := observed{engine, &driver.Endpoint{}, &logins, new(string)}
	c, err := driver.NewConnector(o, dsn, optionsFor(t, string(value)))
	if err == nil {
		_, err = c.Connect(t.Context())
	}
	return fmt.Sprintf("%s|%d|%s", o.endpoint.Host, o.endpoint.Port, o.endpoint.Database), logins, err
}

// urls are JDBC URLs: one without host, port and database, and one with places for "host:port" and
// the database.
var urls = map[string]struct{ bare, full string }{
	"postgres":  {"jdbc-secretsmanager:postgresql:///?user=app", "jdbc-secretsmanager:postgresql://%[1]s/%[2]s?user=app"},
	"redshift":  {"jdbc-secretsmanager:redshift:///?user=app", "jdbc-secretsmanager:redshift://%[1]s/%[2]s?user=app"},
	"mysql":     {"jdbc-secretsmanager:mysql:///?user=app", "jdbc-secretsmanager:mysql://%[1]s/%[2]s?user=app"},
	"mariadb":   {"jdbc-secretsmanager:mariadb:///?user=app", "jdbc-secretsmanager:mariadb://%[1]s/%[2]s?user=app"},
	"oracle":    {"jdbc-secretsmanager:oracle:thin:@?user=app", "jdbc-secretsmanager:oracle:thin:@//%[1]s/%[2]s?user=app"},
	"sqlserver": {"jdbc-secretsmanager:sqlserver://;user=app", "jdbc-secretsmanager:sqlserver://%[1]s;databaseName=%[2]s;user=app"},
	"db2":       {"jdbc-secretsmanager:db2::user=app;", "jdbc-secretsmanager:db2://%[1]s/%[2]s:user=app;"},
}

// The address comes from the data source name, or else from the secret, or else from the engine. A
// host without a port in a URL has the engine's port, as in JDBC, and not the secret's.
func TestEndpoint(t *testing.T) {
	ports := map[string]int{"postgres": 5432, "redshift": 5439, "mysql": 3306, "mariadb": 3306, "oracle": 1521, "sqlserver": 1433, "db2": 50000}
	databases := map[string]string{"postgres": "postgres", "sqlserver": "master"} // the others have no default
	for _, engine := range prepared() {
		info := engine.Info()
		port, url := ports[info.Name], urls[info.Name]
		full := map[string]any{"host": "secret.test", "port": 1111, "dbname": "secretdb"}
		for _, c := range []struct {
			dsn    string
			secret map[string]any
			want   string
		}{
			{"app", full, "secret.test|1111|secretdb"},
			{"app", map[string]any{"host": "secret.test", "port": "1111", "dbname": "secretdb"}, "secret.test|1111|secretdb"},
			{"app", map[string]any{"host": "secret.test", "dbname": "secretdb"}, fmt.Sprintf("secret.test|%d|secretdb", port)},
			{"app", map[string]any{"host": "secret.test", "port": "", "dbname": "secretdb"}, fmt.Sprintf("secret.test|%d|secretdb", port)},
			{"app", map[string]any{"host": "secret.test", "port": nil, "dbname": "secretdb"}, fmt.Sprintf("secret.test|%d|secretdb", port)},
			{"app?host=dsn.test&port=2222&dbname=dsndb", full, "dsn.test|2222|dsndb"},
			{"app?host=dsn.test", full, "dsn.test|1111|secretdb"},
			{"app?host=[2001:DB8::1]", full, "2001:db8::1|1111|secretdb"},
			{"app?hostKey=readerHost", map[string]any{"host": "secret.test", "readerHost": "reader.test", "dbname": "d"}, fmt.Sprintf("reader.test|%d|d", port)},
			{url.bare, full, "secret.test|1111|secretdb"},
			{fmt.Sprintf(url.full, "url.test:3333", "urldb"), full, "url.test|3333|urldb"},
			{fmt.Sprintf(url.full, "url.test", "urldb"), full, fmt.Sprintf("url.test|%d|urldb", port)},
			{fmt.Sprintf(url.full, "[::1]:3333", "urldb"), full, "::1|3333|urldb"},
			{fmt.Sprintf(url.full, "[::1]", "urldb"), full, fmt.Sprintf("::1|%d|urldb", port)},
		} {
			if where, logins, err := connectOnce(t, engine, c.dsn, c.secret); err != nil || where != c.want || logins != 1 {
				t.Errorf("%s: %s with a secret of %v: %d logins to %s, %v, want one to %s", info.Name, c.dsn, c.secret, logins, where, err, c.want)
			}
		}
		// Without a database.
		for _, empty := range []map[string]any{{"host": "secret.test"}, {"host": "secret.test", "port": "", "dbname": ""}} {
			where, logins, err := connectOnce(t, engine, "app", empty)
			if info.DatabaseRequired {
				if !errors.Is(err, driver.ErrMalformedSecret) || !strings.Contains(err.Error(), `"dbname"`) || logins != 0 {
					t.Errorf("%s: without a database %d logins, %v, want none and an error that names dbname", info.Name, logins, err)
				}
			} else if want := fmt.Sprintf("secret.test|%d|%s", port, databases[info.Name]); err != nil || where != want || logins != 1 {
				t.Errorf("%s: without a database %d logins to %s, %v, want one to %s", info.Name, logins, where, err, want)
			}
		}
	}
}

// A host, a port or a database that would mean something else in a URL or a connection string is an
// error before a login, wherever it comes from. The cases include what aws-secretsmanager-jdbc
// validates since its pull request 334.
func TestInjection(t *testing.T) {
	hosts := []string{"evil.com:3306/x?allowLoadLocalInfile=true#", "h?sslmode=disable", "h/x", "u:p@h", "u@h", "h#x", "h&x=y", "h;encrypt=disable",
		"h,evil.com/x?tls=false", "h,u@evil.com", "h,", ",h", "h,1433", "/x?tls=false", "/x)/y", "/x y", "/x,/y", "/x@y", `/x\y`, `h\x;encrypt=disable`, `h\`, `\x`, `h,g\x`,
		"h:3306", "h ", " h", "h x", "h'x", `h"x`, "h)(PORT=1", "(h", "{h}", "tcp(h", "h\nx", "h\x00x", "-h", "[h]", "[::1", "::1]", "::1:x", "fe80::1%eth0/x", "%68", "hä", strings.Repeat("h", 256)}
	ports := []any{"3306;inject", "3306/x", "3306?x=y", "3306 ", " 3306", "+3306", "-1", "0", "65536", "0x50", "1e3", 0, 65536, -1, 3306.5, true, []int{3306}}
	databases := []string{"db#fragment", "db?sslmode=disable", "db&x=y", "db;encrypt=disable", "db/x", "db\nx", "db\x00"}
	for _, engine := range prepared() {
		name := engine.Info().Name
		refused := func(dsn string, secret map[string]any, kind error, text string) {
			t.Helper()
			full := map[string]any{"host": "secret.test", "port": 1111, "dbname": "secretdb"}
			maps.Copy(full, secret)
			if where, logins, err := connectOnce(t, engine, dsn, full); !errors.Is(err, kind) || !strings.Contains(err.Error(), text) || logins != 0 {
				t.Errorf("%s: %q with %q: %d logins to %s, %v, want %v with %s", name, dsn, secret, logins, where, err, kind, text)
			}
		}
		for _, host := range hosts {
			refused("app", map[string]any{"host": host}, driver.ErrMalformedSecret, `key "host"`)
			refused("app?host="+escaped(host), nil, driver.ErrBadDSN, `"host"`)
		}
		refused("app", map[string]any{"host": ""}, driver.ErrMalformedSecret, `key "host" is missing`)
		refused("app", map[string]any{"host": nil}, driver.ErrMalformedSecret, `key "host" is missing`)
		refused("app", map[string]any{"host": 1}, driver.ErrMalformedSecret, `key "host" is not a string`)
		refused("app?host=", nil, driver.ErrBadDSN, `"host" is empty`)
		for _, port := range ports {
			refused("app", map[string]any{"port": port}, driver.ErrMalformedSecret, `key "port"`)
			if s, ok := port.(string); ok {
				refused("app?port="+escaped(s), nil, driver.ErrBadDSN, `"port"`)
			}
		}
		for _, database := range databases {
			refused("app", map[string]any{"dbname": database}, driver.ErrMalformedSecret, `key "dbname"`)
		}
		for _, host := range []string{"u:p@h", "u@h", "h x", "h'x", `h"x`, "(h", "{h}", "h\x00x", "-h", "[h]", "[::1", "::1", "%68", "hä", "h:0", "h:65536", "h:", "h:x", "h:+1", "h:1:2", strings.Repeat("h", 256)} {
			if name == "oracle" && host == "h:1:2" || name == "oracle" && strings.HasPrefix(host, "(") {
				continue // other forms of a URL
			}
			refused(fmt.Sprintf(urls[name].full, host, "db"), nil, driver.ErrBadDSN, "")
		}
	}
}

// A list of hosts, a Unix socket and an instance work with the engines that have them, in the data
// source name and in the secret. For the other engines they are a clear error.
func TestHostForms(t *testing.T) {
	takes := map[string]string{
		"postgres list": "h1,h2:5433|1111|secretdb", "postgres socket": "/run/x|1111|secretdb",
		"mysql socket": "/run/x|1111|secretdb", "mariadb socket": "/run/x|1111|secretdb",
		"sqlserver instance": `h\I|1111|secretdb`,
	}
	for _, engine := range prepared() {
		for form, c := range map[string]struct{ host, says string }{
			"list": {"h1,h2:5433", "list of hosts"}, "socket": {"/run/x", "Unix socket"}, "instance": {`h\I`, "instance"},
		} {
			name := engine.Info().Name
			want, taken := takes[name+" "+form]
			full := map[string]any{"host": "secret.test", "port": 1111, "dbname": "secretdb"}
			for dsn, kind := range map[string]error{"app?host=" + c.host: driver.ErrBadDSN, "app": driver.ErrMalformedSecret} {
				if kind == driver.ErrMalformedSecret {
					full["host"] = c.host
				}
				where, logins, err := connectOnce(t, engine, dsn, full)
				switch {
				case taken && (err != nil || where != want || logins != 1):
					t.Errorf("%s: %s with host %v: %d logins to %s, %v, want one to %s", name, dsn, full["host"], logins, where, err, want)
				case !taken && (!errors.Is(err, kind) || logins != 0 || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "the driver for "+name)):
					t.Errorf("%s: %s with host %v: %d logins, %v, want %v about %s", name, dsn, full["host"], logins, err, kind, c.says)
				}
			}
		}
	}
}

// escaped writes a value for a data source name.
func escaped(s string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, "%%%02x", s[i])
	}
	return b.String()
}
