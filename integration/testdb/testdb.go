// Package testdb gives database servers to tests: real servers in containers, and stand-ins
// in this process. It also returns what the servers themselves saw: which users logged in,
// which logins were rejected, and which sessions exist.
//
// The TestMain of a test binary calls [Main]. A program that is not a test calls [Run]. Tests
// call [Postgres], [MariaDB], [MySQL], [SQLServer] or [Oracle]. The stand-ins of
// [SQLServerStandIn] and [OracleStandIn] are always available. Tests that ask for the same
// [Options] share one server. It starts with the first of these tests and ends with the
// binary. [PgBouncer] puts a PgBouncer in front of a PostgreSQL server.
//
// # How it is built
//
// A kind of server has two parts. An engine is what an administrator does to the server: by
// SQL to a real server, and by methods to a stand-in, which takes logins and knows no SQL. A
// process runs the server, starts it again and ends it. It is a container or a part of this
// program. A stand-in is both.
//
// # What was run
//
// PostgreSQL, MariaDB, MySQL, PgBouncer and the stand-ins were run, with the images that
// .ci/images builds. SQL Server and Oracle were never run, because there was neither a
// registry nor a package. [SQLServer] and [Oracle] follow the documentation of the images and
// of the databases, and no server has ever parsed their statements. The least certain part is
// how these servers count logins: SQL Server in a server audit with synchronous delivery,
// Oracle in the unified audit trail.
//
// # Environment
//
// SQLSECRETS_POSTGRES_IMAGE, SQLSECRETS_MARIADB_IMAGE, SQLSECRETS_MYSQL_IMAGE,
// SQLSECRETS_SQLSERVER_IMAGE and SQLSECRETS_ORACLE_IMAGE name the images. The defaults are the
// official images, and gvenzl/oracle-free for Oracle. Any image with the environment variables
// and the entrypoint of the default works. "none" means that no such server is run.
// SQLSECRETS_PGBOUNCER_IMAGE names the image of PgBouncer. It has to run PgBouncer with
// /etc/pgbouncer/pgbouncer.ini and to print its log.
//
// If Docker or an image is missing, the tests that need it are skipped. SQLSECRETS_REQUIRE is
// a comma-separated list of engines ("postgres,pgbouncer,sqlserver") for which these tests
// fail instead. A user who sets SQLSECRETS_SQLSERVER_IMAGE=mcr.microsoft.com/mssql/server…
// accepts Microsoft's license for it. A user who can pull the default image accepts it, too.
//
// Containers are published on a loopback port of this machine, so the Docker daemon must be
// on this machine, too. If the binary is killed or reaches the timeout of go test, the helper
// of testcontainers removes the containers. The helper is an image of its own. If that image
// is missing, TESTCONTAINERS_RYUK_DISABLED=true runs without it.
package testdb

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	startTimeout = 3 * time.Minute  // for one start or restart of a server
	callTimeout  = 30 * time.Second // for one request to a running server
)

// Options choose a server. The zero value is a server without TLS.
type Options struct {
	// TLS makes the server take TLS, with a certificate of the authority in [Server.CA]. The server
	// accepts plaintext in either case. A real SQL Server always takes TLS; without this option it
	// makes a certificate of its own. A test that asks for TLS from a real Oracle is skipped.
	TLS bool

	// Names are the host names and IP addresses in the certificate. Nil means localhost and
	// 127.0.0.1.
	Names []string

	// Args are added to the server's command line. SQL Server, Oracle and the
	// stand-ins have none.
	Args []string

	// SocketDir is a directory of this machine in which the server also has its Unix socket:
	// .s.PGSQL.5432 of PostgreSQL, mysqld.sock of MariaDB and MySQL. Every user must be allowed to
	// write to it. The other servers have no socket.
	SocketDir string

	// Private asks for a server that only this test uses and that ends with the test. A test that
	// restarts its server while others run in parallel needs it.
	Private bool
}

// Postgres returns a PostgreSQL server, or skips the test if there is none.
// All roles log in by SCRAM-SHA-256.
func Postgres(tb testing.TB, o Options) *Server {
	tb.Helper()
	return get(tb, &postgresKind, o)
}

// MariaDB returns a MariaDB server, or skips the test if there is none.
func MariaDB(tb testing.TB, o Options) *Server {
	tb.Helper()
	return get(tb, &mariadbKind, o)
}

// MySQL returns a MySQL server, or skips the test if there is none.
func MySQL(tb testing.TB, o Options) *Server {
	tb.Helper()
	return get(tb, &mysqlKind, o)
}

// SQLServer returns a SQL Server, or skips the test if there is none.
func SQLServer(tb testing.TB, o Options) *Server {
	tb.Helper()
	return get(tb, &sqlserverKind, o)
}

// SQLServerStandIn returns a stand-in for SQL Server, package internal/standin/tdsserver.
func SQLServerStandIn(tb testing.TB, o Options) *Server {
	tb.Helper()
	return get(tb, &sqlserverStandInKind, o)
}

// Oracle returns an Oracle database, or skips the test if there is none.
func Oracle(tb testing.TB, o Options) *Server {
	tb.Helper()
	return get(tb, &oracleKind, o)
}

// OracleStandIn returns a stand-in for Oracle, package internal/standin/tnsserver.
func OracleStandIn(tb testing.TB, o Options) *Server {
	tb.Helper()
	return get(tb, &oracleStandInKind, o)
}

// Main runs the tests of a binary and then ends the servers that they started.
// It returns the exit code, for os.Exit.
func Main(m *testing.M) int {
	for _, name := range required() {
		if !slices.ContainsFunc(kinds, func(k *kind) bool { return k.name == name }) {
			fmt.Fprintf(os.Stderr, "testdb: SQLSECRETS_REQUIRE names the unknown engine %q\n", name)
			return 2
		}
	}
	fleet.open.Store(true)
	code := m.Run()
	if err := fleet.end(); err != nil {
		fmt.Fprintf(os.Stderr, "testdb: %v\n", err)
		return max(code, 1)
	}
	return code
}

// A kind is a product: everything about a server that Options do not say. It runs in a container
// that request describes, or is a stand-in.
type kind struct {
	name   string // as in SQLSECRETS_REQUIRE; empty for a stand-in
	title  string // as in messages
	engine engine // nil for pgbouncerKind

	standIn func(pair *keyPair) (process, error) // without TLS if that is nil

	imageEnv     string
	defaultImage string
	request      func(o Options) request // nil for pgbouncerKind
	setup        setup
	noArgs       bool   // the server has no command line
	noTLS        string // why there is no server with TLS, if so
	rsa          bool   // its documentation names no other keys

	once    sync.Once
	missing string // why there is no such server; set by once
	said    atomic.Bool
}

// A setup is done once to a new server, for everything that the image has no variable for.
type setup struct {
	user, database string
	statements     []string
}

var (
	postgresKind = kind{
		name: "postgres", title: "PostgreSQL", engine: postgres{}, request: postgresRequest,
		imageEnv: "SQLSECRETS_POSTGRES_IMAGE", defaultImage: "postgres:17",
	}
	mariadbKind = kind{
		name: "mariadb", title: "MariaDB", engine: mysql{}, request: mariadbRequest,
		imageEnv: "SQLSECRETS_MARIADB_IMAGE", defaultImage: "mariadb:11.4",
	}
	mysqlKind = kind{
		name: "mysql", title: "MySQL", engine: mysql{}, request: mysqlRequest,
		imageEnv: "SQLSECRETS_MYSQL_IMAGE", defaultImage: "mysql:8.4",
	}
	sqlserverKind = kind{
		name: "sqlserver", title: "SQL Server", engine: sqlserver{}, request: sqlserverRequest, setup: sqlserverSetup, noArgs: true, rsa: true,
		imageEnv: "SQLSECRETS_SQLSERVER_IMAGE", defaultImage: "mcr.microsoft.com/mssql/server:2022-latest",
	}
	oracleKind = kind{
		name: "oracle", title: "Oracle", engine: oracle{}, request: oracleRequest, setup: oracleSetup, noArgs: true,
		imageEnv: "SQLSECRETS_ORACLE_IMAGE", defaultImage: "gvenzl/oracle-free:23-slim-faststart",
		noTLS: "the image has no orapki, which would put a certificate into a wallet",
	}
	pgbouncerKind = kind{
		name: "pgbouncer", title: "PgBouncer",
		imageEnv: "SQLSECRETS_PGBOUNCER_IMAGE", defaultImage: "edoburu/pgbouncer:v1.24.1-p1",
	}

	sqlserverStandInKind = kind{title: "stand-in for SQL Server", engine: sqlserver{}, standIn: startTDS, noArgs: true}
	oracleStandInKind    = kind{title: "stand-in for Oracle", engine: oracle{}, standIn: startTNS, noArgs: true}

	// Servers that may be missing.
	kinds = []*kind{&postgresKind, &mariadbKind, &mysqlKind, &sqlserverKind, &oracleKind, &pgbouncerKind}
)

func (k *kind) image() string {
	if image := os.Getenv(k.imageEnv); image != "" {
		return image
	}
	return k.defaultImage
}

// need skips the test if no server of the kind is available, or fails it if the server is required.
// The first test that is skipped says why.
func (k *kind) need(tb testing.TB) {
	tb.Helper()
	if k.standIn != nil {
		return
	}
	k.once.Do(func() {
		if k.image() == "none" {
			k.missing = fmt.Sprintf("no %s: %s=none", k.title, k.imageEnv)
		} else if err := haveImage(k.image()); err != nil {
			k.missing = fmt.Sprintf("no %s: %s (%s=%s)", k.title, oneLine(err.Error()), k.imageEnv, k.image())
		}
	})
	switch {
	case k.missing == "":
	case slices.Contains(required(), k.name):
		tb.Fatalf("SQLSECRETS_REQUIRE: %s", k.missing)
	case k.said.Swap(true) && !isProgram(tb):
		tb.SkipNow()
	default:
		tb.Skip(k.missing)
	}
}

// required returns the engines whose absence makes tests fail.
func required() []string {
	var names []string
	for name := range strings.SplitSeq(os.Getenv("SQLSECRETS_REQUIRE"), ",") {
		if name = strings.TrimSpace(name); name != "" {
			names = append(names, name)
		}
	}
	return names
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// fleet has the servers that the tests of the binary share.
var fleet servers

type servers struct {
	open atomic.Bool // Main runs, and will end them

	mu     sync.Mutex // guards shared
	shared map[string]func() (*instance, error)
}

// get returns a server with these options for the test.
func get(tb testing.TB, k *kind, o Options) *Server {
	tb.Helper()
	if !fleet.open.Load() {
		tb.Fatal("testdb: TestMain must call testdb.Main, or a program testdb.Run")
	}
	k.need(tb)
	if len(o.Args) > 0 && k.noArgs {
		tb.Fatalf("%s has no command line", k.title)
	}
	if o.TLS && k.noTLS != "" {
		tb.Skipf("no %s with TLS: %s", k.title, k.noTLS)
	}

	o.Names, o.Args = slices.Clone(o.Names), slices.Clone(o.Args)
	if o.Names == nil {
		o.Names = []string{"localhost", "127.0.0.1"}
	}
	var in *instance
	var err error
	if o.Private {
		in, err = startInstance(k, o)
		tb.Cleanup(func() {
			if err := in.end(); err != nil {
				tb.Errorf("end %s: %v", k.title, err)
			}
		})
	} else {
		in, err = fleet.start(k, o)
	}
	if err != nil {
		tb.Fatalf("start %s: %v", k.title, err)
	}

	s := &Server{
		Host:     loopback,
		Port:     in.port,
		TLSPort:  in.tlsPort,
		User:     in.engine.admin(),
		Password: adminPassword,
		Database: in.engine.database(),
		CA:       in.ca,
		tb:       tb,
		in:       in,
	}
	s.base = s.tallies("")
	return s
}

// start returns the shared server with these options. The first caller starts it, and other callers
// wait.
func (f *servers) start(k *kind, o Options) (*instance, error) {
	key := fmt.Sprintf("%s %+v", k.title, o)
	f.mu.Lock()
	start, ok := f.shared[key]
	if !ok {
		start = sync.OnceValues(func() (*instance, error) { return startInstance(k, o) })
		if f.shared == nil {
			f.shared = make(map[string]func() (*instance, error))
		}
		f.shared[key] = start
	}
	f.mu.Unlock()
	return start()
}

// end ends all shared servers, and removes the certificates.
func (f *servers) end() error {
	f.open.Store(false)
	f.mu.Lock()
	shared := f.shared
	f.shared = nil
	f.mu.Unlock()

	errs := make(chan error)
	for _, start := range shared {
		go func() {
			in, _ := start() // an error has failed the tests
			errs <- in.end()
		}()
	}
	var first error
	for range shared {
		if err := <-errs; err != nil && first == nil {
			first = fmt.Errorf("end server: %w", err)
		}
	}
	if err := removeCertificates(); err != nil && first == nil {
		first = err
	}
	return first
}

// poll calls f every interval until it reports true or fails, or ctx ends. It is for events that
// the server does not signal.
func poll(ctx context.Context, interval time.Duration, f func() (bool, error)) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		if ok, err := f(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func joinHostPort(port int) string { return net.JoinHostPort(loopback, fmt.Sprint(port)) }
