package pgxv5_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"maps"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/postgres/pgxv5"
)

// A server stands in for PostgreSQL: it asks for a password in clear text, notes what
// it is told, and answers the two queries of target_session_attrs.
type server struct {
	tls     *tls.Config             // nil: it has no TLS
	answer  byte                    // to the request for TLS; 0: as tls says
	check   func(l login) *pgErr    // nil, or returning nil: the login is accepted
	hang    step                    // says nothing more from here on
	hangUp  step                    // closes the connection here
	standby bool                    // is one, and read-only
	startup func(map[string]string) // sees the startup message

	Host string
	Port int

	mu      sync.Mutex
	changed sync.Cond
	dialled map[string]bool // by the client's address
	open    int             // how many of them are
	logins  []login
	cancels int
}

// A login is one that a server saw.
type login struct {
	TLS            bool
	User, Password string
	Database       string
	Params         map[string]string
}

type step int

const (
	never step = iota
	atConnect
	atStartup  // when the startup message has come
	atPassword // when the password has come
	atQuery    // when a query has come
)

type pgErr = pgproto3.ErrorResponse

func pgError(code, routine, message string) *pgErr {
	return &pgErr{Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: code, Routine: routine, Message: message}
}

func wrongPassword(l login) *pgErr {
	if l.Password == goodPassword {
		return nil
	}
	return pgError("28P01", "auth_failed", `password authentication failed for user "`+l.User+`"`)
}

// start serves until the test ends, on 127.0.0.1 or another address.
func (s *server) start(tb testing.TB, addr ...string) *server {
	tb.Helper()
	l, err := net.Listen("tcp", append(addr, "127.0.0.1:0")[0])
	if err != nil {
		tb.Fatal(err)
	}
	a := l.Addr().(*net.TCPAddr)
	s.Host, s.Port = a.IP.String(), a.Port
	s.changed.L, s.dialled = &s.mu, map[string]bool{}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.count(c, 1)
			go func() {
				s.serve(c)
				_ = c.Close()
				s.count(c, -1)
			}()
		}
	}()
	tb.Cleanup(func() { _ = l.Close() })
	return s
}

func (s *server) count(c net.Conn, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dialled[c.RemoteAddr().String()] = true
	s.open += n
	s.changed.Broadcast()
}

func (s *server) serve(c net.Conn) {
	raw := c
	defer func() { _, _ = io.Copy(io.Discard, raw) }() // until the client closes it
	var l login
	backend := pgproto3.NewBackend(c, c)
	send := func(msgs ...pgproto3.BackendMessage) {
		for _, m := range msgs {
			backend.Send(m)
		}
		_ = backend.Flush()
	}
	at := func(now step) (end bool) {
		if s.hangUp == now {
			_ = c.Close()
		}
		return s.hangUp == now || s.hang == now
	}
	if at(atConnect) {
		return
	}
	for l.User == "" {
		msg, err := backend.ReceiveStartupMessage()
		if err != nil {
			return
		}
		switch msg := msg.(type) {
		case *pgproto3.SSLRequest:
			answer := s.answer
			if answer == 0 {
				answer = 'N'
				if s.tls != nil {
					answer = 'S'
				}
			}
			_, _ = c.Write([]byte{answer})
			switch answer {
			case 'S':
				c = tls.Server(c, s.tls)
				backend = pgproto3.NewBackend(c, c)
				l.TLS = true
			case 'E':
				_ = c.Close()
				return
			}
		case *pgproto3.StartupMessage:
			l.User, l.Database = msg.Parameters["user"], msg.Parameters["database"]
			l.Params = msg.Parameters
			if s.startup != nil {
				s.startup(msg.Parameters)
			}
		case *pgproto3.CancelRequest:
			s.mu.Lock()
			s.cancels++
			s.mu.Unlock()
			return
		}
	}
	if at(atStartup) {
		return
	}
	send(&pgproto3.AuthenticationCleartextPassword{})
	_ = backend.SetAuthType(pgproto3.AuthTypeCleartextPassword)
	msg, err := backend.Receive()
	password, ok := msg.(*pgproto3.PasswordMessage)
	if err != nil || !ok {
		return
	}
	l.Password = password.Password
	s.mu.Lock()
	s.logins = append(s.logins, l)
	s.mu.Unlock()
	if at(atPassword) {
		return
	}
	if s.check != nil {
		if e := s.check(l); e != nil {
			send(e)
			return
		}
	}
	send(&pgproto3.AuthenticationOk{},
		&pgproto3.ParameterStatus{Name: "standard_conforming_strings", Value: "on"},
		&pgproto3.ParameterStatus{Name: "client_encoding", Value: "UTF8"},
		&pgproto3.BackendKeyData{ProcessID: 1, SecretKey: []byte{1, 2, 3, 4}},
		&pgproto3.ReadyForQuery{TxStatus: 'I'})
	for {
		msg, err := backend.Receive()
		if err != nil {
			return
		}
		if _, ok := msg.(*pgproto3.Query); !ok {
			continue
		}
		if at(atQuery) {
			return
		}
		value := map[bool]string{false: "off", true: "on"}[s.standby]
		if msg.(*pgproto3.Query).String == "select pg_is_in_recovery()" {
			value = map[bool]string{false: "f", true: "t"}[s.standby]
		}
		send(&pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{{Name: []byte("v"), DataTypeOID: 25, DataTypeSize: -1}}},
			&pgproto3.DataRow{Values: [][]byte{[]byte(value)}},
			&pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")},
			&pgproto3.ReadyForQuery{TxStatus: 'I'})
	}
}

// seen returns the logins so far.
func (s *server) seen() []login {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]login(nil), s.logins...)
}

// closed waits until the clients have closed all connections.
func (s *server) closed(tb testing.TB) {
	tb.Helper()
	// Connections are accepted in order: after this one, all are known.
	last, err := net.Dial("tcp", net.JoinHostPort(s.Host, strconv.Itoa(s.Port)))
	if err != nil {
		tb.Fatal(err)
	}
	late := false
	timer := time.AfterFunc(10*time.Second, func() {
		s.mu.Lock()
		late = true
		s.mu.Unlock()
		s.changed.Broadcast()
	})
	defer timer.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.dialled[last.LocalAddr().String()] && !late {
		s.changed.Wait()
	}
	_ = last.Close()
	for s.open > 0 && !late {
		s.changed.Wait()
	}
	delete(s.dialled, last.LocalAddr().String())
	if late {
		tb.Errorf("%d connections are still open", s.open)
	}
	if s.cancels > 0 {
		tb.Errorf("the server got %d requests to cancel", s.cancels)
	}
}

const (
	goodPassword = "pässwörd '\\ 1"
	canary       = "CANARY-3f9a-password"
)

func (s *server) endpoint(params ...string) driver.Endpoint {
	return driver.Endpoint{Host: s.Host, Port: s.Port, Database: "app", Params: pairs(params...)}
}

func pairs(kv ...string) map[string]string {
	m := map[string]string{}
	for i := 0; i < len(kv); i += 2 {
		m[kv[i]] = kv[i+1]
	}
	return m
}

// connect prepares and connects within a generous time.
func connect(tb testing.TB, e pgxv5.Engine, ep driver.Endpoint, password string) (*stdlib.Conn, error) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 20*time.Second)
	defer cancel()
	return connectContext(ctx, tb, e, ep, password)
}

func connectContext(ctx context.Context, tb testing.TB, e pgxv5.Engine, ep driver.Endpoint, password string) (*stdlib.Conn, error) {
	tb.Helper()
	l, err := e.Prepare(ep)
	if err != nil {
		tb.Fatalf("Prepare(%+v): %v", ep, err)
	}
	c, err := l.Connect(ctx, driver.Credentials{User: "app_user", Password: driver.NewPassword(password)})
	if err != nil {
		if c != nil {
			tb.Errorf("Connect returned %T and an error", c)
		}
		return nil, err
	}
	return c.(*stdlib.Conn), nil
}

// certificates are an authority's and a server's, made for the test.
type certificates struct {
	Dir    string // with ca.pem, the authority, and the server's cert.pem and key.pem
	File   string // the authority's
	Pool   *x509.CertPool
	Server *tls.Config
}

func newCertificates(tb testing.TB, names ...string) certificates {
	tb.Helper()
	check := func(err error) {
		if err != nil {
			tb.Helper()
			tb.Fatal(err)
		}
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	check(err)
	ca, err = x509.ParseCertificate(caDER)
	check(err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "server"},
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			leaf.IPAddresses = append(leaf.IPAddresses, ip)
		} else {
			leaf.DNSNames = append(leaf.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, &key.PublicKey, caKey)
	check(err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	check(err)
	dir := tb.TempDir()
	c := certificates{
		Dir:    dir,
		File:   filepath.Join(dir, "ca.pem"),
		Pool:   x509.NewCertPool(),
		Server: &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}},
	}
	c.Pool.AddCert(ca)
	for name, block := range map[string]*pem.Block{
		"ca.pem":   {Type: "CERTIFICATE", Bytes: caDER},
		"cert.pem": {Type: "CERTIFICATE", Bytes: der},
		"key.pem":  {Type: "PRIVATE KEY", Bytes: keyDER},
	} {
		check(os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600))
	}
	return c
}

// hasIPv6 skips a test where loopback has no IPv6.
func hasIPv6(tb testing.TB) {
	tb.Helper()
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		tb.Skipf("no IPv6: %v", err)
	}
	_ = l.Close()
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
