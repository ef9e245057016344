// Package mysqlserver is a stand-in for MySQL and MariaDB that checks passwords. It
// speaks the protocol of https://dev.mysql.com/doc/dev/mysql-server/latest/PAGE_PROTOCOL.html
// up to the login, with three methods of authentication. After that it answers queries with one
// row and other statements with OK.
package mysqlserver

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/internal/standin/accounts"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/loopback"
)

// A Server serves from Start to the end of its test. It announces a method of authentication, and
// checks the password with that method or with the one that it switches to.
type Server struct {
	*loopback.Listener // set by Start
	accounts.Accounts

	TLS       *tls.Config // nil: the server announces no TLS
	Method    string      // "": NativePassword
	SwitchTo  string      // another method that the server asks for; "": none
	Full      bool        // CachingSHA2 asks for the password itself
	Databases []string    // nil: every database exists
	Fail      *Error      // the answer to every login
	Block     *Error      // the answer to every connection
	Hang      Step        // the server sends nothing from this step on
	HangUp    Step        // the server closes the connection at this step

	mu      sync.Mutex
	logins  []Login
	queries []string
}

// A Login is a login that a server saw.
type Login struct {
	TLS      bool
	User     string
	Database string
	Good     bool   // the password is right
	Clear    string // the password, if it came in plaintext, or ""
}

// An Error is an error that a server sends.
type Error struct {
	Number  uint16
	State   string
	Message string
}

// A Step is a point of a connection at which a server can stop answering.
type Step int

// Steps, in their order. With Never the server does not stop.
const (
	Never Step = iota
	AtConnect
	AtLogin // after the login has arrived
	AtQuery // after a query has arrived
)

// Methods of authentication.
const (
	NativePassword = "mysql_native_password"
	CachingSHA2    = "caching_sha2_password"
	ClearPassword  = "mysql_clear_password"
)

var nonce = []byte("abcdefghijklmnopqrst")

var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

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

// Queries returns the statements so far, without prepared ones.
func (s *Server) Queries() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.queries)
}

// A wire reads and writes packets.
type wire struct {
	net.Conn
	seq byte
}

func (w *wire) read() []byte {
	head := make([]byte, 4)
	if _, err := io.ReadFull(w, head); err != nil {
		return nil
	}
	w.seq = head[3] + 1
	body := make([]byte, int(head[0])|int(head[1])<<8|int(head[2])<<16)
	if _, err := io.ReadFull(w, body); err != nil {
		return nil
	}
	return body
}

func (w *wire) write(body []byte) {
	_, _ = w.Write(append([]byte{byte(len(body)), byte(len(body) >> 8), byte(len(body) >> 16), w.seq}, body...))
	w.seq++
}

func (w *wire) ok() { w.write([]byte{0, 0, 0, 2, 0, 0, 0}) }

func (w *wire) fail(e *Error) {
	b := binary.LittleEndian.AppendUint16([]byte{0xff}, e.Number)
	w.write(append(b, "#"+e.State+e.Message...))
}

const (
	capConnectWithDB = 1 << 3
	capProtocol41    = 1 << 9
	capSSL           = 1 << 11
	capSecure        = 1 << 15
	capPluginAuth    = 1 << 19
	capLenEncAuth    = 1 << 21
)

func (s *Server) serve(raw net.Conn) {
	defer func() { _, _ = io.Copy(io.Discard, raw) }() // until the client closes it
	if s.stops(AtConnect, raw) {
		return
	}
	w := &wire{Conn: raw}
	if s.Block != nil {
		w.fail(s.Block)
		return
	}
	w.write(s.greeting())
	w, l, answer := s.readLogin(w)
	if w == nil {
		return
	}
	method := s.method()
	if s.SwitchTo != "" {
		method = s.SwitchTo
		w.write(append([]byte{0xfe}, method+"\x00"+string(nonce)+"\x00"...))
		if answer = w.read(); answer == nil {
			return
		}
	}
	password, known := s.Password(l.User)
	switch method {
	case NativePassword:
		l.Good = bytes.Equal(answer, scramble1(password))
	case ClearPassword:
		l.Clear = string(bytes.TrimSuffix(answer, []byte{0}))
		l.Good = l.Clear == password
	case CachingSHA2:
		l.Good = bytes.Equal(answer, scramble256(password))
		if s.Full {
			l.Clear, l.Good = w.fullAuthentication(l.TLS || raw.LocalAddr().Network() == "unix", password)
		}
	}
	l.Good = l.Good && known
	e := s.decide(l)
	if s.stops(AtLogin, raw) {
		return
	}
	if e != nil {
		w.fail(e)
		return
	}
	if method == CachingSHA2 && !s.Full {
		w.write([]byte{1, 3})
	}
	w.ok()
	s.answer(w, raw)
}

// stops reports whether the server stops at a step.
func (s *Server) stops(now Step, raw net.Conn) bool {
	if s.HangUp == now {
		_ = raw.Close()
	}
	return s.HangUp == now || s.Hang == now
}

func (s *Server) method() string {
	if s.Method == "" {
		return NativePassword
	}
	return s.Method
}

func (s *Server) greeting() []byte {
	caps := uint32(1 | capConnectWithDB | capProtocol41 | capSecure | capPluginAuth | capLenEncAuth)
	if s.TLS != nil {
		caps |= capSSL
	}
	hello := append([]byte{10}, "8.0.0-stand-in\x00"...)
	hello = append(hello, 1, 0, 0, 0)
	hello = append(append(hello, nonce[:8]...), 0)
	hello = binary.LittleEndian.AppendUint16(hello, uint16(caps))
	hello = append(hello, 45, 2, 0)
	hello = binary.LittleEndian.AppendUint16(hello, uint16(caps>>16))
	hello = append(append(hello, 21), make([]byte, 10)...)
	hello = append(append(hello, nonce[8:]...), 0)
	return append(hello, s.method()+"\x00"...)
}

// readLogin reads the answer to the greeting, after TLS has begun if the client asks for it. It
// returns a nil wire if the client sends something else.
func (s *Server) readLogin(w *wire) (_ *wire, l Login, answer []byte) {
	p := w.read()
	if len(p) == 32 && s.TLS != nil {
		w = &wire{tls.Server(w.Conn, s.TLS), w.seq}
		l.TLS = true
		p = w.read()
	}
	if len(p) < 33 {
		return nil, l, nil
	}
	flags := binary.LittleEndian.Uint32(p)
	user, rest, _ := bytes.Cut(p[32:], []byte{0})
	n := int(rest[0])
	answer, rest = rest[1:1+n], rest[1+n:]
	l.User = string(user)
	if flags&capConnectWithDB != 0 {
		db, _, _ := bytes.Cut(rest, []byte{0})
		l.Database = string(db)
	}
	return w, l, answer
}

// decide notes a login. It returns nil if the login is accepted.
func (s *Server) decide(l Login) *Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.logins = append(s.logins, l)
	if s.Fail != nil {
		return s.Fail
	}
	switch s.Check(l.User, l.Good) {
	case accounts.Rejected:
		return &Error{1045, "28000", fmt.Sprintf("Access denied for user '%s'@'localhost' (using password: YES)", l.User)}
	case accounts.Refused:
		return &Error{3118, "HY000", fmt.Sprintf("Access denied for user '%s'@'localhost'. Account is locked.", l.User)}
	}
	if s.Databases != nil && l.Database != "" && !slices.Contains(s.Databases, l.Database) {
		return &Error{1049, "42000", fmt.Sprintf("Unknown database '%s'", l.Database)}
	}
	s.Accept(l.User)
	return nil
}

// fullAuthentication asks for the password itself: in plaintext over TLS and a Unix socket,
// otherwise encrypted.
func (w *wire) fullAuthentication(secure bool, password string) (inClear string, good bool) {
	w.write([]byte{1, 4})
	p := w.read()
	if secure {
		inClear = string(bytes.TrimSuffix(p, []byte{0}))
		return inClear, inClear == password
	}
	if !bytes.Equal(p, []byte{2}) {
		return string(p), false
	}
	der, err := x509.MarshalPKIXPublicKey(&rsaKey().PublicKey)
	if err != nil {
		panic(err)
	}
	w.write(append([]byte{1}, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})...))
	plain, err := rsa.DecryptOAEP(sha1.New(), rand.Reader, rsaKey(), w.read(), nil)
	if err != nil {
		return "", false
	}
	for i := range plain {
		plain[i] ^= nonce[i%len(nonce)]
	}
	return "", string(plain) == password+"\x00"
}

// scramble1 is SHA1(password) XOR SHA1(nonce + SHA1(SHA1(password))).
func scramble1(password string) []byte {
	if password == "" {
		return nil
	}
	a := sha1.Sum([]byte(password))
	b := sha1.Sum(a[:])
	c := sha1.Sum(append(slices.Clone(nonce), b[:]...))
	for i := range a {
		a[i] ^= c[i]
	}
	return a[:]
}

// scramble256 is SHA256(password) XOR SHA256(SHA256(SHA256(password)) + nonce).
func scramble256(password string) []byte {
	a := sha256.Sum256([]byte(password))
	b := sha256.Sum256(a[:])
	c := sha256.Sum256(append(b[:], nonce...))
	for i := range a {
		a[i] ^= c[i]
	}
	return a[:]
}
