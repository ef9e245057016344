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

// adminPassword is of servers on loopback that live for one test run. SQL Server wants
// characters of three kinds.
const adminPassword = "testdb-Admin"

// A Server is a test's view of a database server, which other tests may share.
// Methods that return no error end the test if they fail, and so belong on the
// test's own goroutine; the others may be called from any.
type Server struct {
	Host    string // 127.0.0.1
	Port    int    // as reached from the test; it stays the same over a restart
	TLSPort int    // where to ask for TLS; another one than Port with Oracle

	User, Password string // of the administrator
	Database       string // where users of CreateUser may do as they like; Oracle: a service

	// CA signed the server's certificate. Nil if the server has no TLS.
	CA *CA

	tb   testing.TB
	in   *instance
	base map[string]tally // what the log told when the test got the server
}

// Admin returns a pool of the administrator's connections. It belongs to the
// server: the caller does not close it. It is of no use with a stand-in, which takes
// no statements of an administrator's.
func (s *Server) Admin() *sql.DB { return s.in.db }

// CreateUser creates a user that may log in from anywhere and do as it likes in
// Database, or in a schema of its own there, as with Oracle. The user is dropped when
// the test ends, with all that it owns there. Oracle's names are in upper case unless
// they are in double quotes, here as everywhere.
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

// SetPassword gives a user of CreateUser another password. Sessions live on.
func (s *Server) SetPassword(ctx context.Context, name, password string) error {
	if err := s.in.engine.setPassword(ctx, s.in.db, name, password); err != nil {
		return fmt.Errorf("set password of user %q: %w", name, err)
	}
	return nil
}

// Lock has all logins of a user of CreateUser fail, for another reason than the
// password. Sessions live on.
func (s *Server) Lock(ctx context.Context, name string) error {
	if err := s.in.engine.lock(ctx, s.in.db, name); err != nil {
		return fmt.Errorf("lock user %q: %w", name, err)
	}
	return nil
}

// DropUser drops a user, with all that it owns in Database, if there is such a
// user. Its sessions live on, but with a real SQL Server or Oracle, which drops nobody
// who is logged in: there they are ended first.
func (s *Server) DropUser(ctx context.Context, name string) error {
	if err := s.in.dropUser(ctx, name); err != nil {
		return fmt.Errorf("drop user %q: %w", name, err)
	}
	return nil
}

// Restart stops the server, which ends all sessions, and starts it again with
// its data and port. It returns when the server takes logins. Until then a client
// is refused or, where Docker's proxy is there but the server is not, cut off.
func (s *Server) Restart(ctx context.Context) error {
	if err := s.in.restart(ctx); err != nil {
		return fmt.Errorf("restart server: %w", err)
	}
	return nil
}

// Logins returns how many logins of user the server has accepted since the test
// got the server, by the server's own log. Every login that was over for the
// client when Logins was called is counted, if the session came about: not one
// whose password was right but whose database does not exist. It cannot count a
// superuser of MySQL or MariaDB, such as the administrator.
func (s *Server) Logins(user string) int {
	s.tb.Helper()
	name := s.in.engine.canonical(user)
	return s.tallies(user)[name].accepted - s.base[name].accepted
}

// RejectedLogins returns how many logins of user the server has rejected since
// the test got the server, by the server's own log, for the user's name or
// password: not those of a locked account, for a database that does not exist,
// by pg_hba.conf or for too many connections.
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

// Sessions returns the server's ids of the user's sessions: pg_backend_pid() of
// PostgreSQL, CONNECTION_ID() of MySQL and MariaDB, @@SPID of SQL Server,
// SYS_CONTEXT('USERENV', 'SESSIONID') of Oracle. A session that its client
// closed may be listed a moment longer.
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

// WaitSessions waits until the server lists n sessions of the user, and ends the
// test if it does not come to that.
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

// engine is what an administrator does to a server. db is the administrator's.
type engine interface {
	admin() string    // the administrator's name
	database() string // where users may do as they like

	// canonical returns a user's name as it is in the log.
	canonical(user string) string

	// open returns a pool of an administrator's, without connecting. The TLS
	// configuration is nil for plaintext.
	open(port int, user, database string, tlsConfig *tls.Config) (*sql.DB, error)

	createUser(ctx context.Context, db *sql.DB, name, password string) error
	setPassword(ctx context.Context, db *sql.DB, name, password string) error
	lock(ctx context.Context, db *sql.DB, name string) error
	dropUser(ctx context.Context, db *sql.DB, name string) error
	sessions(ctx context.Context, db *sql.DB, user string) ([]int64, error)

	// logins reads the logins of all users from the server's log. It waits
	// until those of user that were over when it was called are in the log;
	// user "" waits for nobody's.
	logins(ctx context.Context, db *sql.DB, user string) (map[string]tally, error)
}

// A process runs a server: in a container, or in this process.
type process interface {
	// ports returns where it listens on loopback: as Server.Port and TLSPort.
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

// startInstance starts a server and returns when it takes logins. The instance
// is not nil even if it fails, and has to be ended.
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

// start starts a server, with a certificate or without. The process is returned even
// with an error, or is nil.
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

// open opens a pool at the port for TLS, or at the other one.
func (in *instance) open(user, database string, tlsConfig *tls.Config) (*sql.DB, error) {
	port := in.port
	if tlsConfig != nil {
		port = in.tlsPort
	}
	return in.engine.open(port, user, database, tlsConfig)
}

// setUp does what there is to do to a new server.
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

// ready waits until the server takes the administrator's login.
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
