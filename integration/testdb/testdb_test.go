package testdb_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gomysql "github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/sqlsecrets/sqlsecrets/integration/internal/vendordb"
	"github.com/sqlsecrets/sqlsecrets/integration/testdb"
)

// inFull skips a test with -short if the suites test the same.
func inFull(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: only in the full tier")
	}
}

func TestMain(m *testing.M) { os.Exit(testdb.Main(m)) }

// product is a database and the vendor's driver for it.
type product struct {
	name   string
	server func(testing.TB, testdb.Options) *testdb.Server

	// open does not connect. A nil TLS configuration means plaintext.
	open func(s *testdb.Server, database, user, password string, tlsConfig *tls.Config) *sql.DB

	user, password string // with characters that break wrong quoting and wrong parsing of logs
	session        string // a query for the session's id
	decoy          string // a query that looks like a rejected login in the log; empty: none
	empty          bool   // it knows logins, and no tables
	noTLS          string // the driver's error for a server without TLS
}

const sqlserverSession, oracleSession = "SELECT @@SPID", "SELECT SYS_CONTEXT('USERENV', 'SESSIONID') FROM DUAL"

var products = []product{
	{
		name: "postgres", server: testdb.Postgres, open: openPostgres, session: "SELECT pg_backend_pid()",
		user: `o'hara "x" as\on @h`, password: `p'%s"w\ d;`, decoy: decoy, noTLS: "server refused TLS connection",
	},
	{
		name: "mariadb", server: testdb.MariaDB, open: openMySQL, session: "SELECT CONNECTION_ID()",
		user: `o'hara "x" as\on @h`, password: `p'%s"w\ d;`, decoy: decoy, noTLS: gomysql.ErrNoTLS.Error(),
	},
	{
		name: "mysql", server: testdb.MySQL, open: openMySQL, session: "SELECT CONNECTION_ID()",
		user: `o'hara "x" as\on @h`, password: `p'%s"w\ d;`, decoy: decoy, noTLS: gomysql.ErrNoTLS.Error(),
	},
	{
		name: "sqlserver", server: testdb.SQLServer, open: openSQLServer, session: sqlserverSession,
		// SQL Server has no backslash in the names of its own logins.
		user: `o'hara "x" as/on [@h]`, password: `p'%s"w\ d;`,
		noTLS: "signed by unknown authority", // without a certificate it makes its own
	},
	{
		name: "sqlserver stand-in", server: testdb.SQLServerStandIn, open: openSQLServer, session: sqlserverSession,
		user: `o'hara "x" as/on [@h]`, password: `p'%s"w\ d;`,
		noTLS: "server does not support encryption", empty: true,
	},
	{
		name: "oracle", server: testdb.Oracle, open: openOracle, session: oracleSession,
		// Oracle has no double quote in a name or a password.
		user: `"o'hara x as\on @h"`, password: `p'%s w\ d;`,
	},
	{
		name: "oracle stand-in", server: testdb.OracleStandIn, open: openOracle, session: oracleSession,
		user: `"o'hara x as\on @h"`, password: `p'%s w\ d;`, empty: true,
	},
}

const decoy = `SELECT 'Access denied for user ''x''@''h'' (using password: YES)', 'FATAL: password authentication failed for user "x"'`

// account is the address of a login. Oracle has another port for TLS.
func account(s *testdb.Server, database, user, password string, tlsConfig *tls.Config) vendordb.Account {
	a := vendordb.Account{Host: s.Host, Port: s.Port, Database: database, User: user, Password: password, TLS: tlsConfig}
	if tlsConfig != nil {
		a.Port = s.TLSPort
	}
	return a
}

func openSQLServer(s *testdb.Server, database, user, password string, tlsConfig *tls.Config) *sql.DB {
	return sql.OpenDB(vendordb.SQLServer(account(s, database, user, password, tlsConfig)))
}

func openOracle(s *testdb.Server, database, user, password string, tlsConfig *tls.Config) *sql.DB {
	return sql.OpenDB(vendordb.Oracle(account(s, database, user, password, tlsConfig)))
}

func openPostgres(s *testdb.Server, database, user, password string, tlsConfig *tls.Config) *sql.DB {
	cfg, err := pgx.ParseConfig(fmt.Sprintf("host=%s port=%d user=u password=p dbname=d sslmode=disable", s.Host, s.Port))
	if err != nil {
		panic(err)
	}
	cfg.Database, cfg.User, cfg.Password, cfg.TLSConfig = database, user, password, tlsConfig
	return stdlib.OpenDB(*cfg)
}

func openMySQL(s *testdb.Server, database, user, password string, tlsConfig *tls.Config) *sql.DB {
	cfg := gomysql.NewConfig()
	cfg.Net, cfg.Addr = "tcp", net.JoinHostPort(s.Host, fmt.Sprint(s.Port))
	cfg.DBName, cfg.User, cfg.Passwd, cfg.TLS = database, user, password, tlsConfig
	cfg.Logger = log.New(io.Discard, "", 0)
	c, err := gomysql.NewConnector(cfg)
	if err != nil {
		panic(err)
	}
	return sql.OpenDB(c)
}

// login logs in once and closes the connection.
func (p product) login(ctx context.Context, s *testdb.Server, database, user, password string, tlsConfig *tls.Config) error {
	db := p.open(s, database, user, password, tlsConfig)
	conn, err := db.Conn(ctx)
	if err == nil {
		err = conn.Close()
	}
	return errors.Join(err, db.Close())
}

// verify returns the configuration that sslmode=verify-full makes for an authority.
func verify(ca *testdb.CA, name string) *tls.Config {
	return &tls.Config{RootCAs: ca.Pool, ServerName: name}
}

// each runs a test against each product, without TLS and with it.
func each(t *testing.T, f func(t *testing.T, p product, s *testdb.Server, tlsConfig *tls.Config)) {
	for _, p := range products {
		t.Run(p.name, func(t *testing.T) {
			t.Run("plain", func(t *testing.T) { f(t, p, p.server(t, testdb.Options{}), nil) })
			t.Run("tls", func(t *testing.T) {
				s := p.server(t, testdb.Options{TLS: true})
				f(t, p, s, verify(s.CA, "localhost"))
			})
		})
	}
}

func wantLogins(t *testing.T, s *testdb.Server, user string, accepted, rejected int) {
	t.Helper()
	if got := s.Logins(user); got != accepted {
		t.Errorf("Logins(%q) = %d, want %d", user, got, accepted)
	}
	if got := s.RejectedLogins(user); got != rejected {
		t.Errorf("RejectedLogins(%q) = %d, want %d", user, got, rejected)
	}
}

func TestLoginsAreCounted(t *testing.T) {
	each(t, func(t *testing.T, p product, s *testdb.Server, tlsConfig *tls.Config) {
		ctx := t.Context()
		user, password := p.user, p.password
		s.CreateUser(user, password)
		wantLogins(t, s, user, 0, 0)

		const accepted, wrong, nobodies = 3, 2, 4
		for range accepted {
			if err := p.login(ctx, s, s.Database, user, password, tlsConfig); err != nil {
				t.Fatal(err)
			}
			if p.decoy != "" {
				if _, err := s.Admin().ExecContext(ctx, p.decoy); err != nil {
					t.Fatal(err)
				}
			}
		}
		for range wrong {
			if err := p.login(ctx, s, s.Database, user, "wrong", tlsConfig); err == nil {
				t.Fatal("a wrong password was accepted")
			}
		}
		for range nobodies {
			if err := p.login(ctx, s, s.Database, "nobody", password, tlsConfig); err == nil {
				t.Fatal("a user that does not exist was accepted")
			}
		}
		wantLogins(t, s, user, accepted, wrong)
		wantLogins(t, s, "nobody", 0, nobodies)
		wantLogins(t, s, "x", 0, 0)

		if err := s.SetPassword(ctx, user, "another"); err != nil {
			t.Fatal(err)
		}
		if err := p.login(ctx, s, s.Database, user, password, tlsConfig); err == nil {
			t.Fatal("the old password was accepted")
		}
		if err := p.login(ctx, s, s.Database, user, "another", tlsConfig); err != nil {
			t.Fatal(err)
		}
		wantLogins(t, s, user, accepted+1, wrong+1)

		if err := s.DropUser(ctx, user); err != nil {
			t.Fatal(err)
		}
		if err := p.login(ctx, s, s.Database, user, "another", tlsConfig); err == nil {
			t.Fatal("a dropped user was accepted")
		}
		wantLogins(t, s, user, accepted+1, wrong+2)
	})
}

func TestLoginsAreCountedWhenTheClientHasTheAnswer(t *testing.T) {
	each(t, func(t *testing.T, p product, s *testdb.Server, tlsConfig *tls.Config) {
		s.CreateUser("swarm", "secret")
		const clients, each = 8, 6
		for round := 1; round <= 3; round++ {
			var wg sync.WaitGroup
			for range clients {
				wg.Go(func() {
					for i := range each {
						password := "secret"
						if i%3 == 0 {
							password = "wrong"
						}
						if err := p.login(t.Context(), s, s.Database, "swarm", password, tlsConfig); (err != nil) != (i%3 == 0) {
							t.Errorf("login with %q: %v", password, err)
						}
					}
				})
			}
			wg.Wait()
			wantLogins(t, s, "swarm", round*clients*each*2/3, round*clients*each/3)
		}

		// Count as soon as the client has the answer, and while the client is logged in.
		s.CreateUser("eager", "secret")
		db := p.open(s, s.Database, "eager", "secret", tlsConfig)
		defer db.Close()
		for i := range 30 {
			conn, err := db.Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			wantLogins(t, s, "eager", i+1, 0)
		}
	})
}

func TestOtherFailuresAreNeitherAcceptedNorRejected(t *testing.T) {
	each(t, func(t *testing.T, p product, s *testdb.Server, tlsConfig *tls.Config) {
		ctx := t.Context()
		s.CreateUser("outcast", "secret")

		if err := p.login(ctx, s, "no_such_database", "outcast", "secret", tlsConfig); err == nil {
			t.Error("a login to a database that does not exist was accepted")
		}
		if tlsConfig != nil {
			untrusting := verify(testdb.UnknownCA(t), "localhost")
			if err := p.login(ctx, s, s.Database, "outcast", "secret", untrusting); err == nil {
				t.Error("an unknown authority was trusted")
			}
		}
		if err := s.Lock(ctx, "outcast"); err != nil {
			t.Fatal(err)
		}
		if err := p.login(ctx, s, s.Database, "outcast", "secret", tlsConfig); err == nil {
			t.Error("a locked account was accepted")
		}
		conn, err := net.Dial("tcp", net.JoinHostPort(s.Host, fmt.Sprint(s.Port)))
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		wantLogins(t, s, "outcast", 0, 0)
	})
}

func TestRoleThatMayNotLogInIsRejected(t *testing.T) {
	s := testdb.Postgres(t, testdb.Options{})
	s.CreateUser("pensioner", "secret")
	if _, err := s.Admin().ExecContext(t.Context(), "ALTER ROLE pensioner NOLOGIN"); err != nil {
		t.Fatal(err)
	}
	if err := products[0].login(t.Context(), s, s.Database, "pensioner", "secret", nil); err == nil {
		t.Error("a role with NOLOGIN was accepted")
	}
	wantLogins(t, s, "pensioner", 0, 1)
}

func TestLoginsBeforeTheTestAreNotCounted(t *testing.T) {
	each(t, func(t *testing.T, p product, s *testdb.Server, tlsConfig *tls.Config) {
		s.CreateUser("again", "secret")
		if err := p.login(t.Context(), s, s.Database, "again", "secret", tlsConfig); err != nil {
			t.Fatal(err)
		}
		again := p.server(t, testdb.Options{TLS: tlsConfig != nil})
		if again.Port != s.Port {
			t.Errorf("the same options gave servers on ports %d and %d", s.Port, again.Port)
		}
		wantLogins(t, s, "again", 1, 0)
		wantLogins(t, again, "again", 0, 0)
	})
}

func TestRestartKeepsPortDataAndCount(t *testing.T) {
	inFull(t)
	each(t, func(t *testing.T, p product, s *testdb.Server, tlsConfig *tls.Config) {
		ctx := t.Context()
		s.CreateUser("survivor", "secret")
		db := p.open(s, s.Database, "survivor", "secret", tlsConfig)
		defer db.Close()
		p.keep(t, db)
		before := s.Sessions("survivor")
		if len(before) != 1 {
			t.Errorf("sessions before the restart: %v, want one", before)
		}

		start := time.Now()
		if err := s.Restart(ctx); err != nil {
			t.Fatal(err)
		}
		t.Logf("restart took %v", time.Since(start).Round(time.Millisecond))

		if ids := s.Sessions("survivor"); len(ids) != 0 {
			t.Errorf("sessions after the restart: %v, want none", ids)
		}
		if err := p.login(ctx, s, s.Database, "survivor", "wrong", tlsConfig); err == nil {
			t.Error("a wrong password was accepted")
		}
		fresh := p.open(s, s.Database, "survivor", "secret", tlsConfig)
		defer fresh.Close()
		p.wantKept(t, fresh)
		wantLogins(t, s, "survivor", 2, 1)
	})
}

// keep makes a table with a number, if the server has tables, and opens a session.
func (p product) keep(t *testing.T, db *sql.DB) {
	t.Helper()
	if p.empty {
		if err := db.PingContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		return
	}
	for _, statement := range []string{"CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (42)"} {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
}

// wantKept checks the data of keep, and that a login works.
func (p product) wantKept(t *testing.T, db *sql.DB) {
	t.Helper()
	if p.empty {
		if err := db.PingContext(t.Context()); err != nil {
			t.Errorf("after the restart: %v", err)
		}
		return
	}
	var n int
	if err := db.QueryRowContext(t.Context(), "SELECT n FROM kept").Scan(&n); err != nil || n != 42 {
		t.Errorf("after the restart: %d, %v, want 42", n, err)
	}
	if _, err := db.ExecContext(t.Context(), "DROP TABLE kept"); err != nil {
		t.Error(err)
	}
}

func TestSessionsListsTheIDsOfTheServer(t *testing.T) {
	inFull(t)
	each(t, func(t *testing.T, p product, s *testdb.Server, tlsConfig *tls.Config) {
		ctx := t.Context()
		s.CreateUser("guest", "secret")
		s.WaitSessions("guest", 0)
		db := p.open(s, s.Database, "guest", "secret", tlsConfig)
		defer db.Close()
		var want []int64
		for range 3 {
			conn, err := db.Conn(ctx)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			var id int64
			if err := conn.QueryRowContext(ctx, p.session).Scan(&id); err != nil {
				t.Fatal(err)
			}
			want = append(want, id)
		}
		slices.Sort(want)
		if got := s.Sessions("guest"); !slices.Equal(got, want) {
			t.Errorf("Sessions = %v, want %v", got, want)
		}
		if err := s.SetPassword(ctx, "guest", "another"); err != nil {
			t.Fatal(err)
		}
		if got := s.Sessions("guest"); !slices.Equal(got, want) {
			t.Errorf("Sessions after a change of password = %v, want %v", got, want)
		}
	})
}

func TestSessionsEndWithTheirConnections(t *testing.T) {
	each(t, func(t *testing.T, p product, s *testdb.Server, tlsConfig *tls.Config) {
		s.CreateUser("visitor", "secret")
		db := p.open(s, s.Database, "visitor", "secret", tlsConfig)
		if err := db.PingContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.WaitSessions("visitor", 1)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		s.WaitSessions("visitor", 0)
	})
}

func TestServersWithAndWithoutTLS(t *testing.T) {
	inFull(t)
	for _, p := range products {
		t.Run(p.name, func(t *testing.T) {
			trusted := p.server(t, testdb.Options{TLS: true})
			other := p.server(t, testdb.Options{TLS: true, Names: []string{"db.example.com"}})
			plain := p.server(t, testdb.Options{})
			if plain.CA != nil {
				t.Error("a server without TLS has an authority")
			}

			fromFile := x509.NewCertPool()
			pem, err := os.ReadFile(trusted.CA.File)
			if err != nil || !fromFile.AppendCertsFromPEM(pem) {
				t.Fatalf("read %s: %v", trusted.CA.File, err)
			}
			unknown := testdb.UnknownCA(t)

			// go-mssqldb has the text of the cause only.
			says := func(text string) func(error) bool {
				return func(err error) bool { return err != nil && strings.Contains(err.Error(), text) }
			}
			isUnknownAuthority, isWrongName := says("signed by unknown authority"), says("certificate is valid for")
			isNil := func(err error) bool { return err == nil }
			for _, test := range []struct {
				name      string
				server    *testdb.Server
				tlsConfig *tls.Config
				want      func(error) bool
			}{
				{"localhost", trusted, verify(trusted.CA, "localhost"), isNil},
				{"address", trusted, verify(trusted.CA, "127.0.0.1"), isNil},
				{"authority from its file", trusted, &tls.Config{RootCAs: fromFile, ServerName: "localhost"}, isNil},
				{"plaintext", trusted, nil, isNil},
				{"unknown authority", trusted, verify(unknown, "localhost"), isUnknownAuthority},
				{"other name", trusted, verify(trusted.CA, "db.example.com"), isWrongName},
				{"given name", other, verify(other.CA, "db.example.com"), isNil},
				{"not the given name", other, verify(other.CA, "localhost"), isWrongName},
				{"server without TLS", plain, verify(trusted.CA, "localhost"), says(p.noTLS)},
			} {
				t.Run(test.name, func(t *testing.T) {
					s := test.server
					err := p.login(t.Context(), s, s.Database, s.User, s.Password, test.tlsConfig)
					if !test.want(err) {
						t.Errorf("login: %v", err)
					}
				})
			}
		})
	}
}

func TestPrivateServer(t *testing.T) {
	inFull(t)
	for _, p := range products {
		t.Run(p.name, func(t *testing.T) {
			shared := p.server(t, testdb.Options{})
			var private *testdb.Server
			t.Run("in use", func(t *testing.T) {
				private = p.server(t, testdb.Options{Private: true})
				if private.Port == shared.Port {
					t.Error("a private server is the shared one")
				}
				if err := p.login(t.Context(), private, private.Database, private.User, private.Password, nil); err != nil {
					t.Error(err)
				}
			})
			if err := p.login(t.Context(), private, private.Database, private.User, private.Password, nil); err == nil {
				t.Error("a private server still runs after its test")
			}
		})
	}
}

// TestAsk is not a test of its own: TestMissingServerSkipsOrFails runs it in another process.
func TestAsk(t *testing.T) {
	if os.Getenv("TESTDB_ASK") == "" {
		t.Skip("run by TestMissingServerSkipsOrFails")
	}
	t.Run("one", func(t *testing.T) { testdb.Postgres(t, testdb.Options{}) })
	t.Run("two", func(t *testing.T) { testdb.Postgres(t, testdb.Options{TLS: true}) })
}

// TestAskForPgBouncer is the same for PgBouncer, without a server behind it.
func TestAskForPgBouncer(t *testing.T) {
	if os.Getenv("TESTDB_ASK") == "" {
		t.Skip("run by TestMissingServerSkipsOrFails")
	}
	t.Run("one", func(t *testing.T) { testdb.PgBouncer(t, nil, testdb.PgBouncerOptions{}) })
	t.Run("two", func(t *testing.T) { testdb.PgBouncer(t, nil, testdb.PgBouncerOptions{}) })
}

func TestMissingServerSkipsOrFails(t *testing.T) {
	const noImage = "SQLSECRETS_POSTGRES_IMAGE=127.0.0.1:1/no/such-image:0"
	const noDocker = "DOCKER_HOST=tcp://127.0.0.1:1"
	const noBouncer = "SQLSECRETS_PGBOUNCER_IMAGE=127.0.0.1:1/no/such-image:0"
	for _, test := range []struct {
		name string
		env  []string
		code int
		want string // the output has it once
	}{
		{"PgBouncer", []string{noBouncer, "SQLSECRETS_REQUIRE="}, 0, `no PgBouncer: `},
		{"PgBouncer that is required", []string{noBouncer, "SQLSECRETS_REQUIRE=pgbouncer"}, 1, ""},
		{"image", []string{noImage, "SQLSECRETS_REQUIRE="}, 0, `no PostgreSQL: `},
		{"image that is required", []string{noImage, "SQLSECRETS_REQUIRE=mariadb, postgres"}, 1, ""},
		{"image of another engine is required", []string{noImage, "SQLSECRETS_REQUIRE=mariadb"}, 0, `no PostgreSQL: `},
		{"images of other engines are required", []string{noImage, "SQLSECRETS_REQUIRE=sqlserver,oracle"}, 0, `no PostgreSQL: `},
		{"Docker", []string{noDocker, "SQLSECRETS_REQUIRE="}, 0, `no PostgreSQL: no Docker daemon`},
		{"Docker that is required", []string{noDocker, "SQLSECRETS_REQUIRE=postgres"}, 1, ""},
		{"engine", []string{noImage, "SQLSECRETS_REQUIRE=postgresql"}, 2, `unknown engine "postgresql"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			exe, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			ask := "^TestAsk$"
			if slices.Contains(test.env, noBouncer) {
				ask = "^TestAskForPgBouncer$"
			}
			cmd := exec.CommandContext(ctx, exe, "-test.run="+ask, "-test.v")
			cmd.Env = append(os.Environ(), append(test.env, "TESTDB_ASK=1")...)
			out, _ := cmd.CombinedOutput()
			if code := cmd.ProcessState.ExitCode(); code != test.code {
				t.Errorf("exit code %d, want %d", code, test.code)
			}
			if test.want != "" && strings.Count(string(out), test.want) != 1 {
				t.Errorf("the output has %q %d times, want once", test.want, strings.Count(string(out), test.want))
			}
			t.Logf("%s", out)
		})
	}
}
