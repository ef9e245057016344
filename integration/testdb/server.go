package testdb

import (
	"context"
	"crypto/tls"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// adminPassword is for servers on loopback that live for one test run. SQL Server wants characters
// of three kinds.
const adminPassword = "testdb-Admin"

// A Server is a database server as a test sees it. Other tests may share the database server.
// Methods that return no error end the test if they fail, so call them on the test's own goroutine.
// The other methods may be called from any goroutine.
type Server struct {
	Host    string // 127.0.0.1
	Port    int    // of loopback; it stays the same after a restart
	TLSPort int    // for TLS; differs from Port with Oracle only

	User, Password string // of the administrator
	Database       string // users of CreateUser have all rights in it; Oracle: a service

	// CA signed the server's certificate. Nil if the server has no TLS.
	CA *CA

	tb   testing.TB
	in   *instance
	base map[string]tally // the counts when the test got the server
}

// Admin returns a pool of the administrator's connections. It belongs to the server: the caller
// does not close it. It does not work with a stand-in, which takes no statements of an
// administrator.
func (s *Server) Admin() *sql.DB { return s.in.db }

// CreateUser creates a user that may log in from anywhere. The user has all rights in Database or,
// with Oracle, in a schema of its own there. When the test ends, the user is dropped with
// everything that it owns there. Oracle's names are in upper case unless they are in double quotes,
// here as everywhere.
func (s *Server) CreateUser(name, password string) {
	s.tb.Helper()
	if strings.ContainsFunc(name, func(r rune) bool { return r < ' ' }) {
		s.tb.Fatalf("create user %q: a name of control characters makes the log ambiguous", name)
	}
	ctx, cancel := context.WithTimeout(s.tb.Context(), callTimeout)
	defer cancel()
	if err := s.in.createUser(ctx, name, password); err != nil {
		s.tb.Fatalf("create user %q: %v", name, err)
	}
	s.tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
		defer cancel()
		if err := s.in.dropUser(ctx, name); err != nil {
			s.tb.Errorf("drop user %q: %v", name, err)
		}
	})
}

// SetPassword gives a user of CreateUser another password. Open sessions continue.
func (s *Server) SetPassword(ctx context.Context, name, password string) error {
	if err := s.in.engine.setPassword(ctx, s.in.db, name, password); err != nil {
		return fmt.Errorf("set password of user %q: %w", name, err)
	}
	return nil
}

// Lock makes all logins of a user of CreateUser fail, for another reason than the password. Open
// sessions continue.
func (s *Server) Lock(ctx context.Context, name string) error {
	if err := s.in.engine.lock(ctx, s.in.db, name); err != nil {
		return fmt.Errorf("lock user %q: %w", name, err)
	}
	return nil
}

// DropUser drops a user, if it exists, with everything that it owns in Database. Open sessions
// continue. Exception: a real SQL Server or Oracle does not drop a user that is logged in, so its
// sessions are ended first.
func (s *Server) DropUser(ctx context.Context, name string) error {
	if err := s.in.dropUser(ctx, name); err != nil {
		return fmt.Errorf("drop user %q: %w", name, err)
	}
	return nil
}

// Restart stops the server, which ends all sessions, and starts it again with its data and port. It
// returns when the server takes logins. Until then a client gets "connection refused", or its
// connection is cut off while Docker's proxy is up and the server is not.
func (s *Server) Restart(ctx context.Context) error {
	if err := s.in.restart(ctx); err != nil {
		return fmt.Errorf("restart server: %w", err)
	}
	return nil
}

// Logins returns how many logins of user the server has accepted since the test got the server, by
// the server's own log. Every login that had ended for the client when Logins was called is
// counted, if it got a session. A login with the right password to a database that does not exist
// is not counted. Logins cannot count a superuser of MySQL or MariaDB, such as the administrator.
func (s *Server) Logins(user string) int {
	s.tb.Helper()
	name := s.in.engine.canonical(user)
	return s.tallies(user)[name].accepted - s.base[name].accepted
}

// RejectedLogins returns how many logins of user the server has rejected because of the user's name
// or password since the test got the server, by the server's own log. Logins that failed for a
// locked account, for a database that does not exist, by pg_hba.conf or for too many connections
// are not counted.
func (s *Server) RejectedLogins(user string) int {
	s.tb.Helper()
	name := s.in.engine.canonical(user)
	return s.tallies(user)[name].rejected - s.base[name].rejected
}

func (s *Server) tallies(user string) map[string]tally {
	s.tb.Helper()
	ctx, cancel := context.WithTimeout(s.tb.Context(), callTimeout)
	defer cancel()
	t, err := s.in.engine.logins(ctx, s.in.db, user)
	if err != nil {
		s.tb.Fatalf("read the server's log: %v", err)
	}
	return t
}

// Sessions returns the server's ids of the user's sessions: pg_backend_pid() of PostgreSQL,
// CONNECTION_ID() of MySQL and MariaDB, @@SPID of SQL Server, SYS_CONTEXT('USERENV', 'SESSIONID')
// of Oracle. A session that its client closed may stay in the list for a moment.
func (s *Server) Sessions(user string) []int64 {
	s.tb.Helper()
	ctx, cancel := context.WithTimeout(s.tb.Context(), callTimeout)
	defer cancel()
	ids, err := s.in.engine.sessions(ctx, s.in.db, user)
	if err != nil {
		s.tb.Fatalf("list sessions of user %q: %v", user, err)
	}
	return ids
}

// WaitSessions waits until the server lists n sessions of the user. If that does not happen, it
// ends the test.
func (s *Server) WaitSessions(user string, n int) {
	s.tb.Helper()
	ctx, cancel := context.WithTimeout(s.tb.Context(), callTimeout)
	defer cancel()
	var got int
	err := poll(ctx, 10*time.Millisecond, func() (bool, error) {
		ids, err := s.in.engine.sessions(ctx, s.in.db, user)
		got = len(ids)
		return got == n, err
	})
	if err != nil {
		s.tb.Fatalf("user %q has %d sessions, want %d: %v", user, got, n, err)
	}
}

// tally counts a user's logins.
type tally struct{ accepted, rejected int }

// engine is what an administrator does to a server. db is the administrator's pool.
type engine interface {
	admin() string    // the administrator's name
	database() string // in which users have all rights

	// canonical returns a user's name as the log has it.
	canonical(user string) string

	// open returns a pool of an administrator, without connecting. A nil TLS configuration means
	// plaintext.
	open(port int, user, database string, tlsConfig *tls.Config) (*sql.DB, error)

	createUser(ctx context.Context, db *sql.DB, name, password string) error
	setPassword(ctx context.Context, db *sql.DB, name, password string) error
	lock(ctx context.Context, db *sql.DB, name string) error
	dropUser(ctx context.Context, db *sql.DB, name string) error
	sessions(ctx context.Context, db *sql.DB, user string) ([]int64, error)

	// logins reads the logins of all users from the server's log. It waits until the logins of user
	// that had ended when it was called are in the log. With user "" it does not wait.
	logins(ctx context.Context, db *sql.DB, user string) (map[string]tally, error)
}

// A process runs a server: in a container, or in this process.
type process interface {
	// ports returns the ports of loopback, as Server.Port and TLSPort.
	ports() (port, tlsPort int)
	// restart stops it and starts it again, with its data and ports.
	restart(ctx context.Context) error
	// problem returns why the server does not run, or nil if it does.
	problem(ctx context.Context) error
	// log returns the last lines that it printed.
	log() string
	end() error
}

// An instance is a running server.
type instance struct {
	engine        engine
	process       process
	port, tlsPort int
	ca            *CA
	db            *sql.DB

	users sync.Mutex // PostgreSQL fails a GRANT that changes a row together with another
}

func (in *instance) createUser(ctx context.Context, name, password string) error {
	in.users.Lock()
	defer in.users.Unlock()
	return in.engine.createUser(ctx, in.db, name, password)
}

func (in *instance) dropUser(ctx context.Context, name string) error {
	in.users.Lock()
	defer in.users.Unlock()
	return in.engine.dropUser(ctx, in.db, name)
}

// startInstance starts a server and returns when it takes logins. The instance is not nil even with
// an error. The caller ends it.
func startInstance(k *kind, o Options) (*instance, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()

	in := &instance{engine: k.engine}
	var pair *keyPair
	var tlsConfig *tls.Config
	if o.TLS {
		ca, err := serverCA()
		if err != nil {
			return in, err
		}
		if pair, err = ca.issue(o.Names, k.rsa); err != nil {
			return in, err
		}
		in.ca = ca
		tlsConfig = &tls.Config{RootCAs: ca.Pool, ServerName: o.Names[0]}
	}

	var err error
	if in.process, err = k.start(ctx, o, pair); err != nil {
		return in, err
	}
	if e, ok := in.process.(engine); ok {
		in.engine = e
	}
	in.port, in.tlsPort = in.process.ports()
	if err := in.setUp(ctx, k.setup); err != nil {
		return in, fmt.Errorf("set up: %w", err)
	}
	if in.db, err = in.open(in.engine.admin(), in.engine.database(), tlsConfig); err != nil {
		return in, err
	}
	return in, in.ready(ctx)
}

// start starts a server, with or without a certificate. The process may be not nil even with an
// error.
func (k *kind) start(ctx context.Context, o Options, pair *keyPair) (process, error) {
	if k.standIn != nil {
		return k.standIn(pair)
	}
	r := k.request(o)
	r.image = k.image()
	if o.SocketDir != "" {
		r.binds = append(r.binds, o.SocketDir+":"+socketDir)
	}
	if pair != nil {
		if r.files == nil {
			r.files = map[string][]byte{}
		}
		r.files[certFile], r.files[keyFile], r.files[caFile] = pair.cert, pair.key, pair.ca
	}
	c, err := startContainer(ctx, r)
	if c == nil {
		return nil, err
	}
	return c, err
}

// open opens a pool at the port for TLS if there is a TLS configuration, and at the other port
// otherwise.
func (in *instance) open(user, database string, tlsConfig *tls.Config) (*sql.DB, error) {
	port := in.port
	if tlsConfig != nil {
		port = in.tlsPort
	}
	return in.engine.open(port, user, database, tlsConfig)
}

// setUp makes the settings of a new server.
func (in *instance) setUp(ctx context.Context, s setup) error {
	if s.statements == nil {
		return nil
	}
	db, err := in.open(s.user, s.database, nil)
	if err != nil {
		return err
	}
	defer db.Close()
	if err := ready(ctx, in.process, db.PingContext); err != nil {
		return err
	}
	for _, statement := range s.statements {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}

// ready waits until the server accepts the administrator's login.
func (in *instance) ready(ctx context.Context) error {
	return ready(ctx, in.process, in.db.PingContext)
}

// ready waits until ping succeeds, for as long as the process runs.
func ready(ctx context.Context, p process, ping func(context.Context) error) error {
	var last error
	err := poll(ctx, 25*time.Millisecond, func() (bool, error) {
		pingCtx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		if last = ping(pingCtx); last == nil {
			return true, nil
		}
		return false, p.problem(ctx)
	})
	if err != nil {
		return fmt.Errorf("%w; the last login: %v; the log ends:\n%s", err, last, p.log())
	}
	return nil
}

func (in *instance) restart(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := in.process.restart(ctx); err != nil {
		return err
	}
	return in.ready(ctx)
}

func (in *instance) end() error {
	var errs []error
	if in.db != nil {
		errs = append(errs, in.db.Close())
	}
	if in.process != nil {
		errs = append(errs, in.process.end())
	}
	return errors.Join(errs...)
}
