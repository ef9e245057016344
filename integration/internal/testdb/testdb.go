// Package testdb gives tests real database servers, in containers, and tells
// what the servers themselves saw: who logged in, who was rejected, which
// sessions there are.
//
// A test binary's TestMain calls [Main], and its tests call [Postgres],
// [MariaDB] or [MySQL]. Tests that ask for the same [Options] share one server,
// which starts with the first of them and ends with the binary. [PgBouncer] puts a
// PgBouncer in front of a PostgreSQL server.
//
// # Environment
//
// SQLSECRETS_POSTGRES_IMAGE, SQLSECRETS_MARIADB_IMAGE and SQLSECRETS_MYSQL_IMAGE
// name the images; the defaults are official ones, and any image with the
// environment variables and entrypoint of the official one will do.
// SQLSECRETS_PGBOUNCER_IMAGE names PgBouncer's, which has to run PgBouncer with
// /etc/pgbouncer/pgbouncer.ini and print its log; the tests were run with the one
// that .ci/images builds, never with the default, for want of a registry. A test
// whose server cannot be had, for want of Docker or of the image, is skipped;
// SQLSECRETS_REQUIRE is a comma-separated list of engines ("postgres,pgbouncer")
// for which it fails instead.
//
// Containers are published on a loopback port of this machine, so the Docker
// daemon must be here too. If the binary is killed or runs into the timeout of
// go test, testcontainers' helper removes the containers; it is an image of its
// own, and where that cannot be had TESTCONTAINERS_RYUK_DISABLED=true does
// without.
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
	callTimeout  = 30 * time.Second // for one question to a running server
)

// Options choose a server. The zero value is a server without TLS.
type Options struct {
	// TLS is whether the server takes TLS, with a certificate of the
	// authority in [Server.CA]. Plaintext is accepted in either case.
	TLS bool

	// Names are the host names and IP addresses that the certificate is for.
	// Nil means localhost and 127.0.0.1.
	Names []string

	// Args are added to the server's command line.
	Args []string

	// Private asks for a server of the test's own, which ends with the test.
	// A test that restarts its server next to parallel ones wants it.
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

// A kind is a product: what Options leave open about a server.
type kind struct {
	name         string // as in SQLSECRETS_REQUIRE
	title        string // as in messages
	imageEnv     string
	defaultImage string
	engine       engine // nil for pgbouncerKind

	once    sync.Once
	missing string // why there is no such server; set by once
	said    atomic.Bool
}

var (
	postgresKind = kind{name: "postgres", title: "PostgreSQL", imageEnv: "SQLSECRETS_POSTGRES_IMAGE", defaultImage: "postgres:17", engine: postgres{}}
	mariadbKind  = kind{name: "mariadb", title: "MariaDB", imageEnv: "SQLSECRETS_MARIADB_IMAGE", defaultImage: "mariadb:11.4", engine: mariadb{}}
	mysqlKind    = kind{name: "mysql", title: "MySQL", imageEnv: "SQLSECRETS_MYSQL_IMAGE", defaultImage: "mysql:8.4", engine: mysql{}}

	pgbouncerKind = kind{name: "pgbouncer", title: "PgBouncer", imageEnv: "SQLSECRETS_PGBOUNCER_IMAGE", defaultImage: "edoburu/pgbouncer:v1.24.1-p1"}

	kinds = []*kind{&postgresKind, &mariadbKind, &mysqlKind, &pgbouncerKind}
)

func (k *kind) image() string {
	if image := os.Getenv(k.imageEnv); image != "" {
		return image
	}
	return k.defaultImage
}

// need skips the test if there can be no server of the kind, or fails it if
// there has to be one. The first test to be skipped says why.
func (k *kind) need(tb testing.TB) {
	tb.Helper()
	k.once.Do(func() {
		if err := haveImage(k.image()); err != nil {
			k.missing = fmt.Sprintf("no %s: %s (%s=%s)", k.title, oneLine(err.Error()), k.imageEnv, k.image())
		}
	})
	switch {
	case k.missing == "":
	case slices.Contains(required(), k.name):
		tb.Fatalf("SQLSECRETS_REQUIRE: %s", k.missing)
	case k.said.Swap(true):
		tb.SkipNow()
	default:
		tb.Skip(k.missing)
	}
}

// required returns the engines whose absence is a failure.
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

// fleet holds the servers that the binary's tests share.
var fleet servers

type servers struct {
	open atomic.Bool // Main runs, and will end them

	mu     sync.Mutex // guards shared
	shared map[string]func() (*instance, error)
}

// get returns the test's view of a server with these options.
func get(tb testing.TB, k *kind, o Options) *Server {
	tb.Helper()
	if !fleet.open.Load() {
		tb.Fatal("testdb: TestMain must call testdb.Main")
	}
	k.need(tb)

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
				tb.Errorf("end %s server: %v", k.title, err)
			}
		})
	} else {
		in, err = fleet.start(k, o)
	}
	if err != nil {
		tb.Fatalf("start %s server: %v", k.title, err)
	}

	s := &Server{
		Host:     loopback,
		Port:     in.port,
		User:     in.engine.admin(),
		Password: adminPassword,
		Database: database,
		CA:       in.ca,
		tb:       tb,
		in:       in,
	}
	s.base = s.tallies("")
	return s
}

// start returns the shared server with these options, and starts it if it is
// the first to ask. Whoever else asks meanwhile waits.
func (f *servers) start(k *kind, o Options) (*instance, error) {
	key := fmt.Sprintf("%s %+v", k.name, o)
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
			in, _ := start() // its error failed the tests
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

// poll calls f every interval until it reports true or fails, or ctx ends. It is
// for what a server gives no signal of.
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
