// Package tdsserver is a stand-in for SQL Server that checks passwords. It speaks TDS 7.2 to 7.4,
// and 8.0, as [MS-TDS] documents it, up to the login. SQL Server logins come with LOGIN7. Logins
// with a backslash are Windows logins, which NTLM checks.
//
// It is a server of logins and knows no SQL. It has fixed answers to a few statements, such as the
// question who is logged in. Its methods make and change logins.
//
// [MS-TDS]: https://learn.microsoft.com/openspecs/windows_protocols/ms-tds/
package tdsserver

import (
	"crypto/tls"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sqlsecrets/sqlsecrets/internal/standin/accounts"
)

// Options describe the server. The zero Options mean a server without encryption on 127.0.0.1.
type Options struct {
	Addr string // where to listen; "" is 127.0.0.1:0
	// TLS has the server's certificate. Nil: encryption is not supported.
	TLS *tls.Config
	// Force requires encryption of everything, SQL Server's "Force Encryption".
	// Otherwise the client says whether more than the login is encrypted.
	Force bool
	// Strict requires TDS 8.0, in which TLS comes before everything else.
	Strict bool
	// Databases are those that exist, besides master and tempdb.
	Databases []string
}

// A State is the state of an account.
type State int

// States of an account. Every client learns of Locked. Of the others, except Enabled, only a client
// with the right password learns.
const (
	Enabled    State = iota
	Disabled         // 18470
	Locked           // 18486
	Expired          // 18487
	MustChange       // 18488
)

// A Step is a point of a connection at which a server can stop answering.
type Step int

// Steps, in their order. With Never the server does not stop.
const (
	Never     Step = iota
	AtConnect      // before the answer to PRELOGIN
	AtTLS          // before the TLS handshake
	AtLogin        // after the login has arrived
	AtQuery        // after a query has arrived
)

// A Login is a login that the server saw.
type Login struct {
	User, Database, AppName, HostName, ServerName, Library string

	Encrypted bool  // the login was encrypted
	Full      bool  // everything after the login is encrypted as well
	Windows   bool  // NTLM
	ReadOnly  bool  // application intent
	Number    int32 // of the error that the login got; 0 if it was accepted
}

// A Server listens until it is closed.
type Server struct {
	Host string // an IP address
	Port int

	o        Options
	listener net.Listener
	wg       sync.WaitGroup

	mu       sync.Mutex
	changed  *sync.Cond
	closed   bool
	conns    map[*conn]bool
	dialled  int
	accounts map[string]*account // by the name in lower case
	logins   []Login
	outcomes map[string]*outcome // by the user's name in lower case
	at       Step
	hangUp   bool
	route    route
}

// An account is a login.
type account struct {
	name, password string
	state          State
}

// An outcome counts the logins of a user, who need not exist.
type outcome struct {
	user  string
	tally accounts.Tally
}

type route struct {
	host string
	port int
}

// Start starts a server.
func Start(o Options) (*Server, error) {
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}
	s := &Server{o: o, conns: map[*conn]bool{}, accounts: map[string]*account{}, outcomes: map[string]*outcome{}}
	s.o.Databases = append([]string{"master", "tempdb"}, o.Databases...)
	s.changed = sync.NewCond(&s.mu)
	if err := s.listen(o.Addr); err != nil {
		return nil, err
	}
	a := s.listener.Addr().(*net.TCPAddr)
	s.Host, s.Port = a.IP.String(), a.Port
	return s, nil
}

func (s *Server) listen(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	s.listener = l
	s.wg.Go(func() { s.accept(l) })
	return nil
}

// Sessions have numbers from 51 on, as in SQL Server, whose own sessions have lower numbers.
const (
	firstSession = 51
	maxSessions  = 32000
)

func (s *Server) accept(l net.Listener) {
	for {
		raw, err := l.Accept()
		if err != nil {
			return
		}
		c := &conn{s: s, raw: raw, rw: raw, packetSize: defaultPacketSize}
		s.mu.Lock()
		c.spid = uint16(firstSession + s.dialled%maxSessions)
		s.dialled++
		if s.closed {
			_ = raw.Close()
		}
		s.conns[c] = true
		s.changed.Broadcast()
		s.mu.Unlock()
		s.wg.Go(func() {
			c.serve()
			_ = raw.Close()
			s.mu.Lock()
			delete(s.conns, c)
			s.changed.Broadcast()
			s.mu.Unlock()
		})
	}
}

// Close ends all connections.
func (s *Server) Close() error {
	err := s.listener.Close()
	s.mu.Lock()
	s.closed = true
	for c := range s.conns {
		_ = c.raw.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
	return err
}

// Restart ends all connections, as Close does, and listens again at the same address. Accounts stay
// as they are. During Restart only clients may use the server.
func (s *Server) Restart() error {
	if err := s.Close(); err != nil {
		return err
	}
	s.mu.Lock()
	s.closed = false
	s.mu.Unlock()
	return s.listen(net.JoinHostPort(s.Host, strconv.Itoa(s.Port)))
}

// SetPassword sets the password of a login, and makes the login if there is none. A login may use
// all databases.
func (s *Server) SetPassword(user, password string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := strings.ToLower(user)
	if s.accounts[key] == nil {
		s.accounts[key] = &account{name: user}
	}
	s.accounts[key].password = password
}

// SetState changes the state of a login, for example to Locked. It panics if there is no such
// login.
func (s *Server) SetState(user string, state State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accounts[strings.ToLower(user)].state = state
}

// Drop removes a login. Its sessions go on.
func (s *Server) Drop(user string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.accounts, strings.ToLower(user))
}

// Logins returns how many logins of a user were accepted, and how many were not, for any reason.
func (s *Server) Logins(user string) (accepted, rejected int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o := s.outcomes[strings.ToLower(user)]; o != nil {
		return o.tally.Accepted, o.tally.Rejected + o.tally.Failed
	}
	return 0, 0
}

// Tallies returns the tallies of all users that have tried to log in, by the spelling that came
// first.
func (s *Server) Tallies() map[string]accounts.Tally {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string]accounts.Tally{}
	for _, o := range s.outcomes {
		all[o.user] = o.tally
	}
	return all
}

// Seen returns all logins so far, in their order.
func (s *Server) Seen() []Login {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.logins)
}

// Sessions returns the ids of a user's sessions, in their order.
func (s *Server) Sessions(user string) []int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []int64
	for c := range s.conns {
		if c.loggedIn && strings.EqualFold(c.user, user) {
			ids = append(ids, int64(c.spid))
		}
	}
	slices.Sort(ids)
	return ids
}

// Dialled returns how many connections clients have made.
func (s *Server) Dialled() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dialled
}

// WaitOpen waits until n connections are open, or until the time is over. It returns how many are
// open.
func (s *Server) WaitOpen(n int, patience time.Duration) int {
	late := false
	t := time.AfterFunc(patience, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		late = true
		s.changed.Broadcast()
	})
	defer t.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.conns) != n && !late {
		s.changed.Wait()
	}
	return len(s.conns)
}

// Hang makes the server send nothing from a step on. Connections stay open.
func (s *Server) Hang(at Step) { s.stop(at, false) }

// HangUp makes the server close connections at a step.
func (s *Server) HangUp(at Step) { s.stop(at, true) }

func (s *Server) stop(at Step, hangUp bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at, s.hangUp = at, hangUp
}

// Route makes the server send clients, after it has accepted their login, to another server. Port 0
// ends that.
func (s *Server) Route(host string, port int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.route = route{host, port}
}

// stopped reports whether the server stops at a step, after the client has hung up.
func (c *conn) stopped(now Step) bool {
	c.s.mu.Lock()
	at, hangUp := c.s.at, c.s.hangUp
	c.s.mu.Unlock()
	if at != now {
		return false
	}
	if !hangUp {
		_, _ = io.Copy(io.Discard, c.raw)
	}
	return true
}

// check decides about a login, and counts it. It returns the error for the client, or nil if the
// login is accepted.
func (s *Server) check(l Login, right func(password string) bool) []sqlError {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := strings.ToLower(l.User)
	errs := verdict(s.accounts[key], l, right)
	if errs == nil && !s.hasDatabase(l.Database) {
		errs = []sqlError{
			{4060, 1, 11, `Cannot open database "` + l.Database + `" requested by the login. The login failed.`},
			loginFailed(l.User),
		}
	}
	if len(errs) > 0 {
		l.Number = errs[len(errs)-1].number
	}
	s.logins = append(s.logins, l)
	if s.outcomes[key] == nil {
		s.outcomes[key] = &outcome{user: l.User}
	}
	switch o := s.outcomes[key]; {
	case errs == nil:
		o.tally.Accepted++
	case len(errs) == 1 && (l.Number == 18456 || l.Number == 18452):
		o.tally.Rejected++
	default:
		o.tally.Failed++
	}
	return errs
}

func (s *Server) hasDatabase(name string) bool {
	return slices.ContainsFunc(s.o.Databases, func(d string) bool { return strings.EqualFold(d, name) })
}

func loginFailed(user string) sqlError {
	return sqlError{18456, 1, 14, "Login failed for user '" + user + "'."}
}

func verdict(a *account, l Login, right func(string) bool) []sqlError {
	failed := func(number int32, reason string) []sqlError {
		return []sqlError{{number, 1, 14, "Login failed for user '" + l.User + "'. Reason: " + reason}}
	}
	switch {
	case a != nil && a.state == Locked:
		return []sqlError{{18486, 1, 14, "Login failed for user '" + l.User + "' because the account is currently locked out. The system administrator can unlock it."}}
	case l.Windows && (a == nil || !right(a.password)):
		return []sqlError{{18452, 1, 14, "Login failed. The login is from an untrusted domain and cannot be used with Integrated authentication."}}
	case a == nil, strings.Contains(a.name, `\`) != l.Windows, !right(a.password):
		return []sqlError{loginFailed(l.User)}
	case a.state == Disabled:
		return failed(18470, "The account is disabled.")
	case a.state == Expired:
		return failed(18487, "The password of the account has expired.")
	case a.state == MustChange:
		return failed(18488, "The password of the account must be changed.")
	}
	return nil
}
