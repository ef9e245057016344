// Package tnsserver is a stand-in for an Oracle database, for tests: it speaks as
// much of TNS and TTC as a client needs to log in, ping and query a little, and it
// checks passwords as Oracle 12c does.
//
// Oracle has not published these protocols. What is here is what two clients expect,
// Oracle's own node-oracledb, which verifies the server as well, and go-ora.
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
)

// Options change what a [Server] does. Nil is all zero values.
type Options struct {
	IPv6     bool        // listens on ::1 as well
	Services []string    // service names; nil is ORCL
	SIDs     []string    // nil is ORCLSID
	TLS      *tls.Config // serves TCPS alone; nil serves TCP alone

	// ResendTLS has the listener ask for a second TLS handshake on the same socket,
	// as one does that hands the socket to another process.
	ResendTLS bool
	// BreakOnError has an error preceded by an exchange of markers.
	BreakOnError bool
	// WrongProof has the server fail to prove that it knows the password's hash.
	WrongProof bool
	// FailedLogins in a row lock an account; 0 is never.
	FailedLogins int
	// Redirect is an address that every client is sent to, as
	// "(ADDRESS=(PROTOCOL=tcp)(HOST=127.0.0.1)(PORT=1))"; empty is none.
	Redirect string
}

// A Step is a point of a connection's life.
type Step int

// The steps at which a server may fall silent.
const (
	Never     Step = iota
	AtConnect      // before it says anything
	AtLogin        // when the password has come
	AtQuery        // when the first statement has come
)

// A Server listens on loopback. Its methods may be called from several goroutines.
type Server struct {
	Host string
	Port int

	o         Options
	listeners []net.Listener
	running   sync.WaitGroup

	mu       sync.Mutex
	changed  sync.Cond
	accounts map[string]*account // by name as Oracle has it
	conns    map[net.Conn]bool
	seen     map[string]bool // addresses of clients
	secret   [16]byte        // what the salts of users that do not exist come from
	hang     Step
	hangUp   bool // instead
	serial   int
	closed   bool
	connects []string
}

type account struct {
	verifier           verifier
	none               bool // there is no such user; it has logins only
	locked, expired    bool
	failures           int // in a row
	accepted, rejected int
}

// New starts a server. It ends with the test; a nil tb leaves that to Close.
func New(tb testing.TB, opts *Options) *Server {
	s := &Server{accounts: map[string]*account{}, conns: map[net.Conn]bool{}, seen: map[string]bool{}}
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
		if tb == nil {
			panic(err)
		}
		tb.Fatal(err)
	}
	for _, l := range s.listeners {
		s.running.Go(func() { s.accept(l) })
	}
	if tb != nil {
		tb.Cleanup(s.Close)
	}
	return s
}

// listen finds a port, which is to be free on both addresses.
func (s *Server) listen() error {
	for tries := 0; ; tries++ {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		a := l.Addr().(*net.TCPAddr)
		s.Host, s.Port = a.IP.String(), a.Port
		s.listeners = []net.Listener{l}
		if !s.o.IPv6 {
			return nil
		}
		if l, err = net.Listen("tcp", net.JoinHostPort("::1", strconv.Itoa(s.Port))); err == nil {
			s.listeners = append(s.listeners, l)
			return nil
		}
		_ = s.listeners[0].Close()
		if tries == 10 {
			return err
		}
	}
}

func (s *Server) accept(l net.Listener) {
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
			serve(s, c)
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

// Addr returns the address as host:port.
func (s *Server) Addr() string { return s.listeners[0].Addr().String() }

// userName is a name as Oracle has it: in upper case unless it is quoted.
func userName(name string) string {
	if len(name) >= 2 && name[0] == '"' && name[len(name)-1] == '"' {
		return name[1 : len(name)-1]
	}
	return strings.ToUpper(name)
}

// SetPassword gives a user a password, and makes the user if there is none. It
// ends an expiry, not a lock.
func (s *Server) SetPassword(user, password string) {
	v := newVerifier(password)
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.account(user)
	a.verifier, a.none, a.expired, a.failures = v, false, false, 0
}

// account returns a user, or one that does not exist. The lock is held.
func (s *Server) account(user string) *account {
	name := userName(user)
	a := s.accounts[name]
	if a == nil {
		a = &account{none: true, verifier: fakeVerifier(s.secret[:], name)}
		s.accounts[name] = a
	}
	return a
}

// Drop makes that there is no such user. Sessions go on.
func (s *Server) Drop(user string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.account(user)
	a.none, a.verifier = true, fakeVerifier(s.secret[:], userName(user))
}

// Lock locks a user's account, or unlocks it.
func (s *Server) Lock(user string, locked bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.account(user)
	a.locked, a.failures = locked, 0
}

// Expire expires a user's password, until it is set.
func (s *Server) Expire(user string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.account(user).expired = true
}

// Logins returns how many logins of a user were accepted and rejected, for whatever
// reason. A login counts when its password has come.
func (s *Server) Logins(user string) (accepted, rejected int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.account(user)
	return a.accepted, a.rejected
}

// Hang has connections fall silent at a step. [Never] is as it was, for new ones.
func (s *Server) Hang(at Step) { s.stopAt(at, false) }

// HangUp has connections end at a step.
func (s *Server) HangUp(at Step) { s.stopAt(at, true) }

func (s *Server) stopAt(at Step, hangUp bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hang, s.hangUp = at, hangUp
}

// stops falls silent or ends the connection if this is the step for it.
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

// Open returns how many connections are open, of all that a client has dialled before
// by IPv4.
func (s *Server) Open() int {
	last, err := net.Dial("tcp", s.Addr()) // they are accepted in order
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

// login checks what a client has sent for a password. It returns 0 or the number of
// Oracle's error.
func (s *Server) login(user string, ch challenge, a answer) (code int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	acc := s.account(user)
	defer func() {
		if code == 0 {
			acc.accepted++
		} else {
			acc.rejected++
		}
	}()
	good := !acc.none && ch.verifier == acc.verifier && ch.check(a)
	switch {
	case acc.locked && !acc.none:
		return 28000
	case !good:
		if acc.failures++; s.o.FailedLogins > 0 && acc.failures >= s.o.FailedLogins {
			acc.locked = true
		}
		return 1017
	case acc.expired:
		return 28001
	}
	acc.failures = 0
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
