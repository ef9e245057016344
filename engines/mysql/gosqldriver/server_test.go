package gosqldriver_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	sqldriver "database/sql/driver"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/mysql/gosqldriver"
)

// A server stands in for MySQL: it announces an authentication method, checks the
// password with it, or with the one that it switches to, and answers OK to all else.
type server struct {
	tls      *tls.Config // nil: it announces no TLS
	method   string      // "" is mysql_native_password
	switchTo string      // another method to ask for
	full     bool        // caching_sha2_password asks for the password itself
	fail     *mysqlError // the answer to every login
	refuse   *mysqlError // the answer to every connection
	hang     step        // says nothing more from here on
	hangUp   step        // closes the connection here

	Host string
	Port int

	mu      sync.Mutex
	changed sync.Cond
	dialled map[string]bool // by the client's address
	open    int             // how many of them are
	logins  []login
	queries []string
}

// A login is one that a server saw.
type login struct {
	TLS      bool
	User     string
	Database string
	Good     bool   // the password is goodPassword
	Clear    string // what came in clear text; "" if nothing did
}

type mysqlError struct {
	number  uint16
	state   string
	message string
}

type step int

const (
	never step = iota
	atConnect
	atLogin // when the login has come
	atQuery // when a query has come
)

const (
	native       = "mysql_native_password"
	sha2         = "caching_sha2_password"
	clearText    = "mysql_clear_password"
	goodPassword = "pässwörd '\\ 1"
	canary       = "CANARY-3f9a-password"
)

var nonce = []byte("abcdefghijklmnopqrst")

var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// start serves until the test ends.
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

// closed waits until the clients have closed all connections.
func (s *server) closed(tb testing.TB) {
	tb.Helper()
	// Connections are accepted in order: after this one, all are known.
	last, err := net.Dial("tcp", s.address())
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
}

// seen returns the logins so far.
func (s *server) seen() []login {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.logins)
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

func (w *wire) fail(e *mysqlError) {
	b := binary.LittleEndian.AppendUint16([]byte{0xff}, e.number)
	w.write(append(b, "#"+e.state+e.message...))
}

const (
	capConnectWithDB = 1 << 3
	capProtocol41    = 1 << 9
	capSSL           = 1 << 11
	capSecure        = 1 << 15
	capPluginAuth    = 1 << 19
	capLenEncAuth    = 1 << 21
)

func (s *server) serve(raw net.Conn) {
	defer func() { _, _ = io.Copy(io.Discard, raw) }() // until the client closes it
	at := func(now step) (end bool) {
		if s.hangUp == now {
			_ = raw.Close()
		}
		return s.hangUp == now || s.hang == now
	}
	if at(atConnect) {
		return
	}
	w := &wire{Conn: raw}
	if s.refuse != nil {
		w.fail(s.refuse)
		return
	}
	method := s.method
	if method == "" {
		method = native
	}
	caps := uint32(1 | capConnectWithDB | capProtocol41 | capSecure | capPluginAuth | capLenEncAuth)
	if s.tls != nil {
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
	w.write(append(hello, method+"\x00"...))

	var l login
	p := w.read()
	if len(p) == 32 && s.tls != nil {
		w = &wire{tls.Server(raw, s.tls), w.seq}
		l.TLS = true
		p = w.read()
	}
	if len(p) < 33 {
		return
	}
	flags := binary.LittleEndian.Uint32(p)
	user, rest, _ := bytes.Cut(p[32:], []byte{0})
	n := int(rest[0])
	answer, rest := rest[1:1+n], rest[1+n:]
	l.User = string(user)
	if flags&capConnectWithDB != 0 {
		db, _, _ := bytes.Cut(rest, []byte{0})
		l.Database = string(db)
	}
	if s.switchTo != "" {
		method = s.switchTo
		w.write(append([]byte{0xfe}, method+"\x00"+string(nonce)+"\x00"...))
		if answer = w.read(); answer == nil {
			return
		}
	}
	switch method {
	case native:
		l.Good = bytes.Equal(answer, scramble1(goodPassword))
	case clearText:
		l.Clear = string(bytes.TrimSuffix(answer, []byte{0}))
		l.Good = l.Clear == goodPassword
	case sha2:
		l.Good = bytes.Equal(answer, scramble256(goodPassword))
		if s.full {
			l.Clear, l.Good = w.fullAuthentication(l.TLS)
		}
	}
	s.mu.Lock()
	s.logins = append(s.logins, l)
	s.mu.Unlock()
	if at(atLogin) {
		return
	}
	switch {
	case s.fail != nil:
		w.fail(s.fail)
		return
	case !l.Good:
		w.fail(&mysqlError{1045, "28000", fmt.Sprintf("Access denied for user '%s'@'localhost' (using password: YES)", l.User)})
		return
	case method == sha2 && !s.full:
		w.write([]byte{1, 3})
	}
	w.ok()
	for {
		p := w.read()
		if len(p) == 0 || p[0] == 1 { // COM_QUIT
			return
		}
		if at(atQuery) {
			return
		}
		s.mu.Lock()
		s.queries = append(s.queries, string(p[1:]))
		s.mu.Unlock()
		w.ok()
	}
}

// fullAuthentication asks for the password: over TLS as it is, else encrypted.
func (w *wire) fullAuthentication(overTLS bool) (inClear string, good bool) {
	w.write([]byte{1, 4})
	p := w.read()
	if overTLS {
		inClear = string(bytes.TrimSuffix(p, []byte{0}))
		return inClear, inClear == goodPassword
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
	return "", string(plain) == goodPassword+"\x00"
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

func (s *server) address() string { return net.JoinHostPort(s.Host, strconv.Itoa(s.Port)) }

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

func pairsOf(kv ...string) []string { return kv }

// connect prepares and connects within a generous time.
func connect(tb testing.TB, e gosqldriver.Engine, ep driver.Endpoint, password string) (sqldriver.Conn, error) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 20*time.Second)
	defer cancel()
	return connectContext(ctx, tb, e, ep, password)
}

func connectContext(ctx context.Context, tb testing.TB, e gosqldriver.Engine, ep driver.Endpoint, password string) (sqldriver.Conn, error) {
	tb.Helper()
	l, err := e.Prepare(ep)
	if err != nil {
		tb.Fatalf("Prepare(%+v): %v", ep, err)
	}
	c, err := l.Connect(ctx, driver.Credentials{User: "app_user", Password: driver.NewPassword(password)})
	if err != nil && c != nil {
		tb.Errorf("Connect returned %T and an error", c)
	}
	return c, err
}

// certificates are an authority's and a server's, made for the test.
type certificates struct {
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
	c := certificates{
		Pool:   x509.NewCertPool(),
		Server: &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}},
	}
	c.Pool.AddCert(ca)
	return c
}
