package all_test

import (
	"context"
	"crypto/tls"
	"database/sql"
	sqldriver "database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	gomysql "github.com/go-sql-driver/mysql"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/db2"
	"github.com/sqlsecrets/sqlsecrets/engines/mysql/gosqldriver"
	"github.com/sqlsecrets/sqlsecrets/engines/oracle/goora"
	"github.com/sqlsecrets/sqlsecrets/engines/postgres/pgxv5"
	"github.com/sqlsecrets/sqlsecrets/engines/redshift"
	"github.com/sqlsecrets/sqlsecrets/engines/sqlserver/mssqldb"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/db2cli"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/mysqlserver"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/pgserver"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/tdsserver"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/tnsserver"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/testca"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

const tlsPage = "../../docs/tls.md"

// The certificate authorities of docs/tls.md: one that is in files and in Options.TLS, and one that
// the operating system knows.
var ours, systems = testca.New("127.0.0.1"), testca.New("127.0.0.1")

// runWithSystems runs the tests with systems as the certificate authority of the operating system.
func runWithSystems(m *testing.M) (code int) {
	dir, err := os.MkdirTemp("", "sqlsecrets-")
	if err != nil {
		panic(err)
	}
	// crypto/x509 reads the files when it first verifies with the system's authorities.
	file := filepath.Join(dir, "system.pem")
	if err := os.WriteFile(file, testca.PEM(systems.Authority.Raw), 0o600); err != nil {
		panic(err)
	}
	_ = os.Setenv("SSL_CERT_FILE", file)
	_ = os.Setenv("SSL_CERT_DIR", dir)
	sql.Register("cli", cli{})
	defer os.RemoveAll(dir)
	return m.Run()
}

// An outcome is the result of a connection attempt.
type outcome string

const (
	encrypted outcome = "TLS"
	plain     outcome = "plaintext"
	fails     outcome = "an error"
)

// A kind is a kind of server. A certificate is for 127.0.0.1 or for db.example.com, and is signed
// by our authority or by that of the operating system.
type kind struct {
	name  string
	names []string // in the certificate; nil: no TLS
	by    *testca.Certificates
}

var kinds = []kind{
	{"the system's authority", []string{"127.0.0.1"}, &systems},
	{"the system's authority, another name", []string{"db.example.com"}, &systems},
	{"our authority", []string{"127.0.0.1"}, &ours},
	{"our authority, another name", []string{"db.example.com"}, &ours},
	{"no TLS", nil, nil},
}

// wanted are the outcomes of each row of the table, with each kind of server.
var wanted = map[string][]outcome{
	"if available":                               {encrypted, encrypted, encrypted, encrypted, plain},
	"required, not verified":                     {encrypted, encrypted, encrypted, encrypted, fails},
	"verified, the system's authorities":         {encrypted, fails, fails, fails, fails},
	"the system's authorities, but not the name": {encrypted, encrypted, fails, fails, fails},
	"authorities of a file, but not the name":    {fails, fails, encrypted, encrypted, fails},
	"verified, authorities of a file":            {fails, fails, encrypted, fails, fails},
	"verified, authorities of the program":       {fails, fails, encrypted, fails, fails},
	clientRow:                                    {fails, fails, encrypted, fails, fails},
	"another name than the host's":               {fails, fails, fails, encrypted, fails},
	"off":                                        {plain, plain, plain, plain, plain},
}

// A column is one column of the table: an engine.
type column struct {
	engines  []driver.Engine
	database string
	ownPort  bool // a server with TLS has nothing else
	// start starts a server with the user u, whose password is p.
	start func(t *testing.T, config *tls.Config, params string) (port int)
	// url writes a JDBC URL for an address, in the form of the table.
	url func(engine, form, address string) string
}

var columns = map[string]column{
	"PostgreSQL": {
		engines: []driver.Engine{pgxv5.Engine{}}, database: "app", start: startPostgres,
		url: func(_, form, address string) string {
			return "postgresql:" + queried(strings.Replace(form, "…", address+"/app", 1))
		},
	},
	"Redshift": {
		engines: []driver.Engine{redshift.Engine{}}, database: "app", start: startPostgres,
		url: func(_, form, address string) string {
			url := "redshift:" + strings.Replace(form, "…", address+"/app", 1)
			if strings.Contains(url, ";") {
				return url + ";user=s"
			}
			return queried(url)
		},
	},
	"MySQL, MariaDB": {
		engines: []driver.Engine{gosqldriver.Engine{}, gosqldriver.Engine{MariaDB: true}}, database: "app",
		start: func(t *testing.T, config *tls.Config, _ string) int {
			s := (&mysqlserver.Server{TLS: config}).Start(t)
			s.SetPassword(t, "u", "p")
			return s.Port
		},
		url: func(engine, form, address string) string {
			return engine + ":" + queried(strings.Replace(form, "…", address+"/app", 1))
		},
	},
	"SQL Server": {
		engines: []driver.Engine{mssqldb.Engine{}}, database: "master",
		start: func(t *testing.T, config *tls.Config, params string) int {
			s, err := tdsserver.Start(tdsserver.Options{TLS: config, Strict: config != nil && strings.Contains(params, "strict")})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = s.Close() })
			s.SetPassword("u", "p")
			return s.Port
		},
		url: func(_, form, address string) string {
			return "sqlserver:" + strings.Replace(form, "…", address, 1) + ";user=s"
		},
	},
	"Oracle": {
		engines: []driver.Engine{goora.Engine{}}, database: "ORCL", ownPort: true,
		start: func(t *testing.T, config *tls.Config, _ string) int {
			s := tnsserver.New(t, &tnsserver.Options{TLS: config})
			s.SetPassword("u", "p")
			return s.Port
		},
		url: func(_, form, address string) string {
			return "oracle:thin:" + queried(strings.Replace(form, "…", address+"/ORCL", 1))
		},
	},
	"Db2": {
		engines: []driver.Engine{db2.Engine{Driver: "cli"}}, database: "SAMPLE", ownPort: true,
		start: func(t *testing.T, config *tls.Config, _ string) int {
			s := (&db2cli.Server{TLS: config, Databases: []string{"SAMPLE"}}).Start(t)
			s.SetPassword(t, "u", "p")
			return s.Port
		},
		url: func(_, form, address string) string {
			before, list, _ := strings.Cut(form, "…")
			return "db2:" + before + address + "/SAMPLE:" + strings.TrimPrefix(list, ":") + "user=s;"
		},
	},
}

func startPostgres(t *testing.T, config *tls.Config, _ string) int {
	return (&pgserver.Server{TLS: config}).Start(t).Port
}

// queried adds the id of the secret to a URL that may have a query.
func queried(url string) string {
	if strings.Contains(url, "?") {
		return url + "&user=s"
	}
	return url + "?user=s"
}

// cli is the Db2 driver. It cannot read a key database of a client, as only IBM's driver can. It
// reports that it got one.
type cli struct{ db2cli.Driver }

var errKeyDatabase = errors.New("got a key database")

func (c cli) Open(s string) (sqldriver.Conn, error) {
	k := db2cli.Parse(s)
	if k["SSLCLIENTKEYSTOREDB"] == "/client.kdb" && k["SSLCLIENTKEYSTASH"] == "/client.sth" && k["SECURITY"] == "SSL" {
		return nil, errKeyDatabase
	}
	return c.Driver.Open(s)
}

// Each way to ask for TLS in docs/tls.md has the effect that the page says, with each kind of
// server.
func TestTLSPage(t *testing.T) {
	header, rows := readTable(t)
	for name := range columns {
		if !slices.Contains(header, name) {
			t.Errorf("the table has no column %q", name)
		}
	}
	for name := range wanted {
		if _, ok := rows[name]; !ok {
			t.Errorf("the table has no row %q", name)
		}
	}
	if err := gomysql.RegisterTLSConfig("name", &tls.Config{RootCAs: ours.Pool}); err != nil {
		t.Fatal(err)
	}
	defer gomysql.DeregisterTLSConfig("name")
	files := tableFiles(t)
	for title, cells := range rows {
		for i, cell := range cells {
			column, ok := columns[header[i]]
			if !ok {
				t.Fatalf("the table has the unknown column %q", header[i])
			}
			t.Run(title+"/"+header[i], func(t *testing.T) {
				if title == "nothing said" {
					column.nothingSaid(t, cell)
					return
				}
				spellings := codeSpan.FindAllStringSubmatch(cell, -1)
				if len(spellings) == 0 && cell != "—" {
					t.Fatalf("the cell %q has no spelling", cell)
				}
				for _, s := range spellings {
					if s[1] == "mysql.RegisterTLSConfig" {
						continue
					}
					column.try(t, title, s[1], files.Replace(s[1]))
				}
			})
		}
	}
}

// The data source names for production on the page verify the server, with every kind of server.
func TestTLSPageProduction(t *testing.T) {
	page, err := os.ReadFile(tlsPage)
	if err != nil {
		t.Fatal(err)
	}
	files := strings.NewReplacer("/etc/rds/global-bundle.pem", ours.File(t),
		"/etc/rds/wallet", testca.Wallet(t, nil, ours.Authority.Raw),
		"port=2484&", "") // the stand-in has another
	rows := productionRow.FindAllStringSubmatch(string(page), -1)
	if len(rows) != len(columns) {
		t.Errorf("the page has %d data source names for production, want %d", len(rows), len(columns))
	}
	for _, row := range rows {
		c, ok := columns[row[1]]
		if !ok {
			t.Fatalf("the page has the unknown engine %q", row[1])
		}
		want, params := "verified, the system's authorities", row[2]
		if strings.Contains(params, "/etc/rds/") {
			want = "verified, authorities of a file"
		}
		c.try(t, want, params, files.Replace(params))
	}
}

var productionRow = regexp.MustCompile("(?m)^\\| ([^|]+) \\| `prod/app/db\\??([^`]*)`.*\\|$")

// nothingSaid tries a cell of the first row. The cell names another row, or one row for data source names and
// one for JDBC URLs.
func (c column) nothingSaid(t *testing.T, cell string) {
	row, jdbc, ok := strings.Cut(cell, "; in a JDBC URL: ")
	if !ok {
		jdbc = row
	}
	form := "//…"
	if c.engines[0].Info().Name == "oracle" {
		form = "@//…"
	}
	c.try(t, row, "data source name", "")
	c.try(t, jdbc, "JDBC URL", form)
}

// try connects to a server of each kind with one spelling, and checks the outcomes of the row.
func (c column) try(t *testing.T, row, name, spelling string) {
	if wanted[row] == nil {
		t.Fatalf("there is no row %q", row)
	}
	for i, k := range kinds {
		want := wanted[row][i]
		if k.by == &systems && want == encrypted && row != "if available" && runtime.GOOS != "linux" {
			continue // elsewhere the system's authorities are not in a file
		}
		if c.ownPort && want == plain && k.names != nil {
			want = fails
		}
		for _, e := range c.engines {
			t.Run(fmt.Sprintf("%s %s, %s", e.Info().Name, name, k.name), func(t *testing.T) {
				clients := make(chan string, 1) // the name in the certificate of each that shook hands
				config := k.config(clients)
				if config != nil && row == clientRow {
					config.ClientAuth = tls.RequireAnyClientCert
				}
				err := c.connect(t, e, spelling, c.start(t, config, spelling))
				if errors.Is(err, errKeyDatabase) && row == clientRow {
					return // as far as it goes
				}
				got, client := plain, ""
				select {
				case client = <-clients:
					got = encrypted
				default:
				}
				if err != nil {
					got = fails
				}
				if got != want {
					t.Errorf("got %s, want %s (%v)", got, want, err)
				}
				if row == clientRow && want == encrypted && client != "client" {
					t.Errorf("the server saw a certificate of %q, want the client's", client)
				}
			})
		}
	}
}

const clientRow = "a certificate for the client"

// config returns the TLS configuration of a server. The server reports each handshake, if the channel has
// room.
func (k kind) config(clients chan<- string) *tls.Config {
	if k.names == nil {
		return nil
	}
	return &tls.Config{
		Certificates: []tls.Certificate{k.by.Issue("server", k.names...)},
		VerifyConnection: func(s tls.ConnectionState) error {
			name := ""
			if len(s.PeerCertificates) > 0 {
				name = s.PeerCertificates[0].Subject.CommonName
			}
			select {
			case clients <- name:
			default:
			}
			return nil
		},
	}
}

// connect logs in with a spelling: parameters, a JDBC URL or Options.TLS.
func (c column) connect(t *testing.T, e driver.Engine, spelling string, port int) error {
	t.Helper()
	opts := &driver.Options{}
	dsn := "s"
	switch {
	case strings.HasPrefix(spelling, "Options.TLS."):
		opts.TLS = &tls.Config{RootCAs: ours.Pool}
		switch spelling {
		case "Options.TLS.RootCAs":
		case "Options.TLS.Certificates":
			opts.TLS.Certificates = []tls.Certificate{ours.Issue("client")}
		case "Options.TLS.ServerName":
			opts.TLS.ServerName = "db.example.com"
		default:
			t.Fatalf("unknown option %s", spelling)
		}
	case strings.Contains(spelling, "…"):
		dsn = "jdbc-secretsmanager:" + c.url(e.Info().Name, spelling, "127.0.0.1:"+strconv.Itoa(port))
	case spelling != "":
		dsn = "s?" + spelling
	}
	value, err := json.Marshal(map[string]any{"host": "127.0.0.1", "port": port, "dbname": c.database, "username": "u", "password": "p"})
	if err != nil {
		t.Fatal(err)
	}
	cache := secretcache.New(secretcache.SourceFunc(func(_ context.Context, id, stage string) (*secretcache.Secret, error) {
		return secretcache.NewSecret(secretcache.Value{ID: id, VersionID: "v1", Stages: []string{stage}, String: string(value)}), nil
	}), nil)
	defer cache.Close()
	opts.Secrets = cache
	connector, err := driver.NewConnector(e, dsn, opts)
	if err != nil {
		t.Fatalf("NewConnector(%q): %v", dsn, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	conn, err := connector.Connect(ctx)
	if err == nil {
		_ = conn.Close()
	}
	return err
}

// tableFiles replaces the files in the table by files of the test.
func tableFiles(t *testing.T) *strings.Replacer {
	certificate, key := testca.KeyPair(t, ours.Issue("client"))
	rsa, der := ours.IssueRSA("client")
	return strings.NewReplacer(
		"=/ca.pem", "="+ours.File(t), "=/client.pem", "="+certificate, "=/client.key", "="+key,
		"=/wallet", "="+testca.Wallet(t, rsa, der, ours.Authority.Raw))
}

var codeSpan = regexp.MustCompile("`([^`]+)`")

// readTable reads the first table of the page. It returns the titles of the columns, and the cells
// by row.
func readTable(t *testing.T) (header []string, rows map[string][]string) {
	t.Helper()
	page, err := os.ReadFile(tlsPage)
	if err != nil {
		t.Fatal(err)
	}
	rows = map[string][]string{}
	_, table, ok := strings.Cut(string(page), "\n| |")
	table, _, end := strings.Cut(table, "\n\n")
	if !ok || !end {
		t.Fatal("the page has no table")
	}
	cells := func(line string) []string {
		parts := strings.Split(strings.TrimSuffix(line, "|"), "|")
		for i := range parts {
			parts[i] = strings.TrimSpace(parts[i])
		}
		return parts
	}
	lines := strings.Split(table, "\n")
	header = cells(lines[0])
	for _, line := range lines[2:] {
		row := cells(strings.TrimPrefix(line, "|"))
		if _, twice := rows[row[0]]; twice || len(row) != len(header)+1 {
			t.Fatalf("row %q has %d cells, or is there twice", row[0], len(row)-1)
		}
		rows[row[0]] = row[1:]
	}
	return header, rows
}
