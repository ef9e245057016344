// Package tnsserver is a stand-in for an Oracle database, for tests. It speaks as much of TNS and
// TTC as a client needs for a login, a ping and a few queries. It checks passwords as Oracle 12c
// does.
//
// It is a server of logins and knows no SQL. It has fixed answers to a few statements, such as the
// question who is logged in. Its methods make and change users.
//
// Oracle has not published these protocols. The server does what two clients expect: Oracle's own
// node-oracledb, which also verifies the server, and go-ora.
package tnsserver

import (
	"crypto/rand"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/internal/standin/accounts"
)

// Options describe a [Server]. Nil means that all fields are zero.
type Options struct {
	IPv6     bool        // listens on ::1 as well
	Port     int         // where to listen; 0: any free port
	Services []string    // names of services; nil: ORCL
	SIDs     []string    // nil: ORCLSID
	TLS      *tls.Config // the server has only TCPS; nil: only TCP
	// TCPSPort is a port for TCPS; Port then has TCP. It needs TLS. 0: none.
	TCPSPort int

	// ResendTLS makes the listener ask for a second TLS handshake on the same socket, as a listener
	// does that passes the socket to another process.
	ResendTLS bool
	// BreakOnError makes the server exchange markers with the client before an error.
	BreakOnError bool
	// WrongProof makes the server send a wrong proof that it knows the hash of the password.
	WrongProof bool
	// FailedLogins is how many failed logins in a row lock an account. 0: none do.
	FailedLogins int
	// Redirect is an address to which every client is sent, such as
	// "(ADDRESS=(PROTOCOL=tcp)(HOST=127.0.0.1)(PORT=1))". Empty: none.
	Redirect string
}

// A Step is a point of a connection.
type Step int

// Steps at which a server can fall silent, in their order.
const (
	Never     Step = iota
	AtConnect      // before the server sends anything
	AtLogin        // after the password has arrived
	AtQuery        // after the first statement has arrived
)

// An account is a user. A name that only logins have used has an account as well.
type account struct {
	verifier        verifier
	none            bool // there is no such user
	locked, expired bool
	failures        int         // in a row
	outcomes        map[int]int // number of logins by Oracle's error number; 0: accepted
}

// userName returns a name as Oracle has it: in upper case, unless it is quoted.
func userName(name string) string {
	if len(name) >= 2 && name[0] == '"' && name[len(name)-1] == '"' {
		return name[1 : len(name)-1]
	}
	return strings.ToUpper(name)
}

// A Server listens on loopback. Its methods may be called from several goroutines.
type Server struct {
	Host string
	Port int

	o         Options
	listeners []net.Listener
	running   sync.WaitGroup

	mu       sync.Mutex
	changed  sync.Cond
	accounts map[string]*account // by the name as Oracle has it
	sessions map[*session]bool   // the sessions that are logged in
	conns    map[net.Conn]bool
	seen     map[string]bool // addresses of clients
	secret   [16]byte        // the salts of users that do not exist are derived from it
	hang     Step
	hangUp   bool // end the connection instead of falling silent
	serial   int
	closed   bool
	connects []string
}

// New starts a server that ends with the test.
func New(tb testing.TB, opts *Options) *Server {
	tb.Helper()
	s, err := Start(opts)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Close)
	return s
}

// Start starts a server.
func Start(opts *Options) (*Server, error) {
	s := &Server{accounts: map[string]*account{}, sessions: map[*session]bool{}, conns: map[net.Conn]bool{}, seen: map[string]bool{}}
	if opts != nil {
		s.o = *opts
	}
	if s.o.Services == nil {
		s.o.Services = []string{"ORCL"}
	}
	if s.o.SIDs == nil {
		s.o.SIDs = []string{"ORCLSID"}
	}
	s.changed.L = &s.mu
	_, _ = rand.Read(s.secret[:])
	if err := s.listen(); err != nil {
		return nil, err
	}
	a := s.listeners[0].Addr().(*net.TCPAddr)
	s.Host, s.Port = a.IP.String(), a.Port
	return s, nil
}

// listen finds a port that is free on all addresses.
func (s *Server) listen() error {
	for tries := 0; ; tries++ {
		err := s.listenAt(s.o.Port)
		if err == nil || s.o.Port != 0 || tries == 10 {
			return err
		}
	}
}

func (s *Server) listenAt(port int) error {
	s.listeners = nil
	open := func(host string, port int) (net.Listener, error) {
		l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
		if err == nil {
			s.listeners = append(s.listeners, l)
		}
		return l, err
	}
	first, err := open("127.0.0.1", port)
	if err != nil {
		return err
	}
	a := first.Addr().(*net.TCPAddr)
	if s.o.IPv6 {
		_, err = open("::1", a.Port)
	}
	var secure net.Listener
	if err == nil && s.o.TCPSPort != 0 {
		secure, err = open("127.0.0.1", s.o.TCPSPort)
	}
	for _, l := range s.listeners {
		if err != nil {
			_ = l.Close()
			continue
		}
		config := s.o.TLS
		if s.o.TCPSPort != 0 && l != secure {
			config = nil
		}
		s.running.Go(func() { s.accept(l, config) })
	}
	return err
}

func (s *Server) accept(l net.Listener, config *tls.Config) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		if !s.add(c) {
			_ = c.Close()
			return
		}
		s.running.Go(func() {
			defer s.remove(c)
			serve(s, c, config)
		})
	}
}

func (s *Server) add(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.conns[c] = true
	s.seen[c.RemoteAddr().String()] = true
	s.changed.Broadcast()
	return true
}

func (s *Server) remove(c net.Conn) {
	_ = c.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	s.changed.Broadcast()
}

// Close ends all connections and waits for them.
func (s *Server) Close() {
	for _, l := range s.listeners {
		_ = l.Close()
	}
	s.mu.Lock()
	s.closed = true
	for c := range s.conns {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.running.Wait()
}

// Restart ends all connections, as Close does, and listens again at the same ports. Users stay as
// they are. During Restart only clients may use the server.
func (s *Server) Restart() error {
	s.Close()
	s.o.Port = s.Port
	s.mu.Lock()
	s.closed = false
	s.mu.Unlock()
	return s.listen()
}

// Addr returns the address as host:port.
func (s *Server) Addr() string { return s.listeners[0].Addr().String() }

// SetPassword sets the password of a user, and makes the user if there is none. The password is
// then not expired. A locked account stays locked.
func (s *Server) SetPassword(user, password string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.account(user)
	a.none, a.verifier, a.expired, a.failures = false, newVerifier(password), false, 0
}

// account returns the account of a user, who need not exist. The caller holds the lock.
func (s *Server) account(user string) *account {
	name := userName(user)
	a := s.accounts[name]
	if a == nil {
		a = &account{none: true, verifier: fakeVerifier(s.secret[:], name), outcomes: map[int]int{}}
		s.accounts[name] = a
	}
	return a
}

// Drop removes a user. Sessions stay open, and logins are still counted.
func (s *Server) Drop(user string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.account(user)
	*a = account{none: true, verifier: fakeVerifier(s.secret[:], userName(user)), outcomes: a.outcomes}
}

// enter adds a connection to the sessions.
func (s *Server) enter(ss *session, user string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serial++
	ss.user, ss.id = user, s.serial
	s.sessions[ss] = true
}

func (s *Server) leave(ss *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, ss)
}

// Lock locks a user's account, or unlocks it.
func (s *Server) Lock(user string, locked bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.account(user)
	a.locked, a.failures = locked, 0
}

// Expire makes the password of a user expired, until it is set again.
func (s *Server) Expire(user string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.account(user).expired = true
}

// Logins returns how many logins of a user were accepted, and how many were rejected for any
// reason. A login counts when its password has arrived.
func (s *Server) Logins(user string) (accepted, rejected int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for code, n := range s.account(user).outcomes {
		if code == 0 {
			accepted = n
		} else {
			rejected += n
		}
	}
	return accepted, rejected
}

// Tallies returns the tallies of all users that have tried to log in.
func (s *Server) Tallies() map[string]accounts.Tally {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string]accounts.Tally{}
	for user, a := range s.accounts {
		var t accounts.Tally
		for code, n := range a.outcomes {
			switch code {
			case 0:
				t.Accepted += n
			case 1017:
				t.Rejected += n
			default:
				t.Failed += n
			}
		}
		all[user] = t
	}
	return all
}

// Sessions returns the ids of a user's sessions, in their order.
func (s *Server) Sessions(user string) []int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []int64
	for ss := range s.sessions {
		if ss.user == userName(user) {
			ids = append(ids, int64(ss.id))
		}
	}
	slices.Sort(ids)
	return ids
}

// Hang makes connections fall silent at a step. [Never] ends that for new connections.
func (s *Server) Hang(at Step) { s.stopAt(at, false) }

// HangUp makes the server end connections at a step.
func (s *Server) HangUp(at Step) { s.stopAt(at, true) }

func (s *Server) stopAt(at Step, hangUp bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hang, s.hangUp = at, hangUp
}

// stops falls silent or ends the connection, if step is the step for that.
func (s *Server) stops(at Step, c net.Conn) {
	s.mu.Lock()
	stop, hangUp := s.hang == at, s.hangUp
	s.mu.Unlock()
	if stop && hangUp {
		check(errClosed)
	}
	if stop {
		silence(c)
	}
}

// Connects returns the descriptors that clients have connected with.
func (s *Server) Connects() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.connects)
}

// Open returns how many connections are open, of all that clients have dialled before by IPv4.
func (s *Server) Open() int {
	last, err := net.Dial("tcp", s.Addr()) // connections are accepted in order
	if err != nil {
		return 0
	}
	defer last.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.seen[last.LocalAddr().String()] {
		s.changed.Wait()
	}
	delete(s.seen, last.LocalAddr().String())
	return len(s.conns) - 1
}

// login decides about a client that has answered a challenge, and counts the login. It returns 0 or
// the number of Oracle's error.
func (s *Server) login(user string, ch challenge, good bool) (code int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.account(user)
	defer func() { a.outcomes[code]++ }()
	switch {
	case a.locked && !a.none:
		return 28000
	case a.none || !good || ch.verifier != a.verifier:
		if a.failures++; s.o.FailedLogins > 0 && a.failures >= s.o.FailedLogins {
			a.locked = true
		}
		return 1017
	case a.expired:
		return 28001
	}
	a.failures = 0
	return 0
}

var errMessages = map[int]string{
	900:   "invalid SQL statement",
	1001:  "invalid cursor",
	1013:  "user requested cancel of current operation",
	1017:  "invalid username/password; logon denied",
	1403:  "no data found",
	28000: "the account is locked",
	28001: "the password has expired",
}

var errClosed = errors.New("the connection is over")
