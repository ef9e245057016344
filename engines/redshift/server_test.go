package redshift_test

import (
	"crypto/md5"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"encoding/pem"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

// A server stands in for Redshift: it speaks protocol 3.0 and nothing newer, checks
// MD5 digests of passwords, rejects with Redshift's code and message, takes the
// settings that Redshift has, and reports what Redshift does (no
// standard_conforming_strings).
type server struct {
	tls    *tls.Config // nil: it has no TLS
	sha256 bool        // passwords are kept as SHA-256 digests

	Host string
	Port int

	mu        sync.Mutex
	passwords map[string]string // by user
	accepted  map[string]int
	rejected  map[string]int
	startup   map[string]string // of the last login
	queries   []query
}

// A query is one that a server saw.
type query struct {
	Simple  bool
	Name    string // of the prepared statement
	SQL     string
	Formats []int16 // of parameters and results
}

const database = "dev"

// reported are the settings that Redshift reports at login, as issues 6, 39 and 115
// of aws/amazon-redshift-jdbc-driver show.
var reported = map[string]string{
	"client_encoding": "UTF8", "datestyle": "ISO, MDY", "integer_datetimes": "on", "is_superuser": "off",
	"server_encoding": "UNICODE", "server_version": "8.0.2", "TimeZone": "UTC", "padb_version": "1.0.63269",
}

func startServer(tb testing.TB, s *server, addr string) *server {
	tb.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		tb.Fatal(err)
	}
	a := l.Addr().(*net.TCPAddr)
	s.Host, s.Port = a.IP.String(), a.Port
	s.passwords, s.accepted, s.rejected = map[string]string{}, map[string]int{}, map[string]int{}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { defer c.Close(); s.serve(c) })
		}
	})
	tb.Cleanup(func() { _ = l.Close() })
	return s
}

func (s *server) setPassword(_ testing.TB, user, password string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.passwords[user] = password
}

func (s *server) logins(_ testing.TB, user string) (accepted, rejected int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accepted[user], s.rejected[user]
}

// seen returns the last login's settings and the queries since the start.
func (s *server) seen() (startup map[string]string, queries []query) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.startup, slices.Clone(s.queries)
}

func (s *server) serve(c net.Conn) {
	backend := pgproto3.NewBackend(c, c)
	send := func(msgs ...pgproto3.BackendMessage) {
		for _, m := range msgs {
			backend.Send(m)
		}
		_ = backend.Flush()
	}
	fatal := func(code, routine, message string) {
		send(&pgproto3.ErrorResponse{Severity: "FATAL", Code: code, Routine: routine, Message: message})
	}
	var start *pgproto3.StartupMessage
	for start == nil {
		msg, err := backend.ReceiveStartupMessage()
		if err != nil {
			return
		}
		switch msg := msg.(type) {
		case *pgproto3.SSLRequest:
			if s.tls == nil {
				_, _ = c.Write([]byte("N"))
				continue
			}
			_, _ = c.Write([]byte("S"))
			c = tls.Server(c, s.tls)
			backend = pgproto3.NewBackend(c, c)
		case *pgproto3.StartupMessage:
			start = msg
		default:
			return
		}
	}
	if start.ProtocolVersion != 3<<16 {
		fatal("0A000", "", "unsupported frontend protocol")
		return
	}
	user := start.Parameters["user"]
	if s.sha256 { // AuthenticationReqDigest of Redshift's own drivers
		_, _ = c.Write(append([]byte{'R', 0, 0, 0, 24, 0, 0, 0, 13}, make([]byte, 16)...))
		_, _ = backend.Receive()
		return
	}
	var salt [4]byte
	_, _ = rand.Read(salt[:])
	send(&pgproto3.AuthenticationMD5Password{Salt: salt})
	_ = backend.SetAuthType(pgproto3.AuthTypeMD5Password)
	msg, err := backend.Receive()
	digest, ok := msg.(*pgproto3.PasswordMessage)
	if err != nil || !ok {
		return
	}
	s.mu.Lock()
	password, known := s.passwords[user]
	ok = known && digest.Password == md5Digest(user, password, salt)
	if ok {
		s.accepted[user]++
	} else {
		s.rejected[user]++
	}
	s.startup = start.Parameters
	s.mu.Unlock()
	if !ok {
		fatal("28000", "auth_failed", `password authentication failed for user "`+user+`"`)
		return
	}
	if name := start.Parameters["database"]; name != database {
		s.mu.Lock()
		s.accepted[user]--
		s.mu.Unlock()
		fatal("3D000", "ReverifyMyDatabase", `database "`+name+`" does not exist`)
		return
	}
	for name := range start.Parameters {
		if !slices.Contains([]string{"user", "database", "application_name", "search_path", "query_group", "extra_float_digits"}, strings.ToLower(name)) {
			fatal("42704", "set_config_option", `unrecognized configuration parameter "`+name+`"`)
			return
		}
	}
	send(&pgproto3.AuthenticationOk{})
	for name, value := range reported {
		send(&pgproto3.ParameterStatus{Name: name, Value: value})
	}
	send(&pgproto3.BackendKeyData{ProcessID: 1, SecretKey: []byte{1, 2, 3, 4}}, &pgproto3.ReadyForQuery{TxStatus: 'I'})
	s.answer(backend, send)
}

// answer returns one row with "1" for every query.
func (s *server) answer(backend *pgproto3.Backend, send func(...pgproto3.BackendMessage)) {
	row := []pgproto3.BackendMessage{
		&pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{{Name: []byte("v"), DataTypeOID: 23, DataTypeSize: 4}}},
		&pgproto3.DataRow{Values: [][]byte{[]byte("1")}}, &pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")}}
	var q query
	seen := func() { // before the answer, after which a test may ask
		s.mu.Lock()
		defer s.mu.Unlock()
		s.queries = append(s.queries, q)
	}
	for {
		msg, err := backend.Receive()
		if err != nil {
			return
		}
		switch msg := msg.(type) {
		case *pgproto3.Query:
			q = query{Simple: true, SQL: msg.String}
			seen()
			send(row...)
			send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
		case *pgproto3.Parse:
			q = query{Name: msg.Name, SQL: msg.Query}
			send(&pgproto3.ParseComplete{})
		case *pgproto3.Bind:
			q.Formats = append(slices.Clone(msg.ParameterFormatCodes), msg.ResultFormatCodes...)
			send(&pgproto3.BindComplete{})
		case *pgproto3.Describe:
			if msg.ObjectType == 'S' {
				send(&pgproto3.ParameterDescription{ParameterOIDs: make([]uint32, strings.Count(q.SQL, "$"))})
			}
			send(row[0])
		case *pgproto3.Execute:
			if n := len(q.Formats); n > 0 && q.Formats[n-1] == 1 {
				send(&pgproto3.DataRow{Values: [][]byte{{0, 0, 0, 1}}}, row[2])
			} else {
				send(row[1:]...)
			}
		case *pgproto3.Sync:
			seen()
			send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
		}
	}
}

func md5Digest(user, password string, salt [4]byte) string {
	hexMD5 := func(s string) string {
		sum := md5.Sum([]byte(s))
		return hex.EncodeToString(sum[:])
	}
	return "md5" + hexMD5(hexMD5(password+user)+string(salt[:]))
}

// testTLS returns a certificate for 127.0.0.1, ::1 and example.com, and the file of
// its authority.
func testTLS(tb testing.TB) (config *tls.Config, authority string) {
	tb.Helper()
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	authority = filepath.Join(tb.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(authority, block, 0o600); err != nil {
		tb.Fatal(err)
	}
	return &tls.Config{Certificates: s.TLS.Certificates}, authority
}
