// Package pgserver is a stand-in for PostgreSQL, and for Redshift, that checks
// passwords. It speaks protocol 3.0 of https://www.postgresql.org/docs/current/protocol.html
// up to the login, and answers every query with one row.
package pgserver

import (
	"crypto/md5"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"io"
	"net"
	"slices"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/sqlsecrets/sqlsecrets/internal/standin/accounts"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/loopback"
)

// A Server serves from Start to the end of its test. The zero Server is a PostgreSQL without TLS
// that accepts every login.
type Server struct {
	*loopback.Listener // set by Start
	accounts.Accounts

	TLS            *tls.Config              // nil: the server has no TLS
	Answer         byte                     // the answer to the request for TLS; 0: as TLS says
	OnlyV30        bool                     // newer protocols are an error
	Method         Method                   // of authentication
	CheckPasswords bool                     // with Accounts; false: every login is right
	Rejects        func(user string) *Error // the error for a wrong password; nil: that of PostgreSQL
	Databases      []string                 // nil: every database exists
	Check          func(Login) *Error       // the error for a login that is right so far; nil, or returning nil: the login is accepted
	Reports        map[string]string        // settings that the server reports when it accepts a login; nil: the two of PostgreSQL that pgx needs
	Key            []byte                   // the key for canceling queries; nil: a key of four bytes; empty: none, as with some proxies
	Standby        bool                     // the server is a standby, and read-only
	Hang           Step                     // the server sends nothing from this step on
	HangUp         Step                     // the server closes the connection at this step

	mu      sync.Mutex
	logins  []Login
	queries []Query
	cancels []bool // requests to cancel: whether each came over TLS
}

// An Error is an error that a server sends.
type Error = pgproto3.ErrorResponse

// NewError returns an error that ends a session. The routine may be empty.
func NewError(code, routine, message string) *Error {
	return &Error{Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: code, Routine: routine, Message: message}
}

// A Method is a method of authentication.
type Method int

// Methods. With CleartextPassword the server sees the password itself.
const (
	CleartextPassword Method = iota
	MD5
	SHA256 // a method of Redshift that no client here has: the login ends
)

// A Step is a point of a connection at which a server can stop answering.
type Step int

// Steps, in their order. With Never the server does not stop.
const (
	Never Step = iota
	AtConnect
	AtStartup  // after the startup message has arrived
	AtPassword // after the password has arrived
	AtQuery    // after a query has arrived
)

// A Login is a login that a server saw.
type Login struct {
	TLS      bool
	User     string
	Password string // as the client sent it: with MD5 it is a digest
	Database string
	Params   map[string]string // of the startup message, with user and database
}

// A Query is a query that a server saw.
type Query struct {
	Simple  bool
	Name    string // of the prepared statement
	SQL     string
	Formats []int16 // of parameters and results
}

// Start makes the server listen on hosts, or on 127.0.0.1 if there are none, and returns the
// server.
func (s *Server) Start(tb testing.TB, hosts ...string) *Server {
	tb.Helper()
	s.Listener = loopback.Listen(tb, s.serve, hosts...)
	return s
}

// Seen returns the logins so far.
func (s *Server) Seen() []Login {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.logins)
}

// Queries returns the queries so far.
func (s *Server) Queries() []Query {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.queries)
}

// Cancels returns, for each request to cancel a query so far, whether it came over TLS.
func (s *Server) Cancels() []bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.cancels)
}

// WaitClosed checks that all connections end, and that no connection was for canceling a query.
func (s *Server) WaitClosed(tb testing.TB) {
	tb.Helper()
	s.Listener.WaitClosed(tb)
	if n := len(s.Cancels()); n > 0 {
		tb.Errorf("the server got %d requests to cancel", n)
	}
}

// A session is one connection.
type session struct {
	s       *Server
	raw, c  net.Conn // c may have TLS
	backend *pgproto3.Backend
	login   Login
	status  byte // of the transaction
}

func (s *Server) serve(c net.Conn) {
	defer func() { _, _ = io.Copy(io.Discard, c) }() // until the client closes it
	ss := &session{s: s, raw: c, c: c, backend: pgproto3.NewBackend(c, c), status: 'I'}
	if ss.stops(AtConnect) || !ss.startup() || ss.stops(AtStartup) || !ss.authenticate() {
		return
	}
	ss.send(&pgproto3.AuthenticationOk{})
	reports := s.Reports
	if reports == nil {
		reports = map[string]string{"standard_conforming_strings": "on", "client_encoding": "UTF8"}
	}
	for name, value := range reports {
		ss.send(&pgproto3.ParameterStatus{Name: name, Value: value})
	}
	key := s.Key
	if key == nil {
		key = []byte{1, 2, 3, 4}
	}
	if len(key) > 0 {
		ss.send(&pgproto3.BackendKeyData{ProcessID: 1, SecretKey: key})
	}
	ss.send(&pgproto3.ReadyForQuery{TxStatus: ss.status})
	ss.answer()
}

// stops reports whether the server stops at a step.
func (ss *session) stops(now Step) bool {
	if ss.s.HangUp == now {
		_ = ss.raw.Close()
	}
	return ss.s.HangUp == now || ss.s.Hang == now
}

func (ss *session) send(msgs ...pgproto3.BackendMessage) {
	for _, m := range msgs {
		ss.backend.Send(m)
	}
	_ = ss.backend.Flush()
}

// startup reads up to the startup message, after TLS has begun if the client asks for it.
func (ss *session) startup() (ok bool) {
	for {
		msg, err := ss.backend.ReceiveStartupMessage()
		if err != nil {
			return false
		}
		switch msg := msg.(type) {
		case *pgproto3.SSLRequest:
			if !ss.startTLS() {
				return false
			}
		case *pgproto3.StartupMessage:
			l := &ss.login
			l.User, l.Database, l.Params = msg.Parameters["user"], msg.Parameters["database"], msg.Parameters
			if ss.s.OnlyV30 && msg.ProtocolVersion != pgproto3.ProtocolVersion30 {
				ss.send(NewError("0A000", "", "unsupported frontend protocol"))
				return false
			}
			return true
		case *pgproto3.CancelRequest:
			ss.s.mu.Lock()
			ss.s.cancels = append(ss.s.cancels, ss.login.TLS)
			ss.s.mu.Unlock()
			_ = ss.raw.Close() // the client waits for it
			return false
		default: // GSSENCRequest
			return false
		}
	}
}

func (ss *session) startTLS() (ok bool) {
	answer := ss.s.Answer
	if answer == 0 {
		answer = 'N'
		if ss.s.TLS != nil {
			answer = 'S'
		}
	}
	_, _ = ss.c.Write([]byte{answer})
	switch answer {
	case 'S':
		ss.c = tls.Server(ss.raw, ss.s.TLS)
		ss.backend = pgproto3.NewBackend(ss.c, ss.c)
		ss.login.TLS = true
	case 'E':
		_ = ss.raw.Close()
		return false
	}
	return true
}

// authenticate asks for the password and decides about the login.
func (ss *session) authenticate() (ok bool) {
	var salt [4]byte
	_, _ = rand.Read(salt[:])
	switch ss.s.Method {
	case CleartextPassword:
		ss.send(&pgproto3.AuthenticationCleartextPassword{})
		_ = ss.backend.SetAuthType(pgproto3.AuthTypeCleartextPassword)
	case MD5:
		ss.send(&pgproto3.AuthenticationMD5Password{Salt: salt})
		_ = ss.backend.SetAuthType(pgproto3.AuthTypeMD5Password)
	case SHA256: // AuthenticationReqDigest of Redshift's own drivers
		_, _ = ss.c.Write(append([]byte{'R', 0, 0, 0, 24, 0, 0, 0, 13}, make([]byte, 16)...))
		_, _ = ss.backend.Receive()
		return false
	}
	msg, err := ss.backend.Receive()
	password, ok := msg.(*pgproto3.PasswordMessage)
	if err != nil || !ok {
		return false
	}
	ss.login.Password = password.Password
	e := ss.s.decide(ss.login, salt)
	if ss.stops(AtPassword) {
		return false
	}
	if e != nil {
		ss.send(e)
		return false
	}
	return true
}

// decide notes a login. It returns nil if the login is accepted.
func (s *Server) decide(l Login, salt [4]byte) *Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.logins = append(s.logins, l)
	if s.CheckPasswords {
		password, ok := s.Password(l.User)
		if s.Method == MD5 {
			password = digest(l.User, password, salt)
		}
		switch s.Accounts.Check(l.User, ok && l.Password == password) {
		case accounts.Rejected:
			if s.Rejects != nil {
				return s.Rejects(l.User)
			}
			return NewError("28P01", "auth_failed", `password authentication failed for user "`+l.User+`"`)
		case accounts.Refused:
			return NewError("53300", "InitializeSessionUserId", `too many connections for role "`+l.User+`"`)
		}
	}
	if s.Databases != nil && !slices.Contains(s.Databases, l.Database) {
		return NewError("3D000", "InitPostgres", `database "`+l.Database+`" does not exist`)
	}
	if s.Check != nil {
		if e := s.Check(l); e != nil {
			return e
		}
	}
	s.Accept(l.User)
	return nil
}

func digest(user, password string, salt [4]byte) string {
	hexMD5 := func(s string) string {
		sum := md5.Sum([]byte(s))
		return hex.EncodeToString(sum[:])
	}
	return "md5" + hexMD5(hexMD5(password+user)+string(salt[:]))
}
