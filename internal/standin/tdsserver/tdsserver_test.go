package tdsserver_test

import (
	"context"
	"crypto/tls"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	mssql "github.com/microsoft/go-mssqldb"
	"github.com/microsoft/go-mssqldb/msdsn"

	"github.com/sqlsecrets/sqlsecrets/internal/standin/accounts"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/tdsserver"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/testca"
)

func start(t *testing.T, o tdsserver.Options) *tdsserver.Server {
	t.Helper()
	s, err := tdsserver.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// open opens a database with go-mssqldb, which logs in for each query.
func open(t *testing.T, s *tdsserver.Server, user, password string, change func(*msdsn.Config)) *sql.DB {
	t.Helper()
	c, err := msdsn.Parse("")
	if err != nil {
		t.Fatal(err)
	}
	c.Host, c.Port, c.User, c.Password, c.Protocols = s.Host, uint64(s.Port), user, password, []string{"tcp"}
	c.Encryption, c.TLSConfig = msdsn.EncryptionDisabled, nil
	if change != nil {
		change(&c)
	}
	db := sql.OpenDB(mssql.NewConnectorConfig(c))
	db.SetMaxIdleConns(-1)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func text(t *testing.T, db interface {
	QueryRowContext(context.Context, string, ...any) *sql.Row
}, query string) string {
	t.Helper()
	var v string
	if err := db.QueryRowContext(t.Context(), query).Scan(&v); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return v
}

// numbers returns the numbers of all errors of a response, in their order.
func numbers(err error) []int32 {
	var e mssql.Error
	if !errors.As(err, &e) {
		return nil
	}
	var all []int32
	for _, e := range e.All {
		all = append(all, e.Number)
	}
	return all
}

func TestPasswords(t *testing.T) {
	s := start(t, tdsserver.Options{Databases: []string{"app"}})
	s.SetPassword("app_user", "pässwörd {;}")
	toApp := func(c *msdsn.Config) { c.Database, c.AppName, c.ReadOnlyIntent = "app", "a test", true }
	db := open(t, s, "app_user", "pässwörd {;}", toApp)
	if got := text(t, db, "SELECT SUSER_SNAME()"); got != "app_user" {
		t.Errorf("SUSER_SNAME() = %q", got)
	}
	if got := text(t, db, "SELECT DB_NAME()"); got != "app" {
		t.Errorf("DB_NAME() = %q", got)
	}
	s.SetPassword("APP_USER", "another")
	for _, c := range []struct{ user, password string }{
		{"app_user", "pässwörd {;}"}, {"app_user", "Another"}, {"app_user", ""}, {"app_user", "another "}, {"app_use", "another"}, {"", "another"},
	} {
		if got := numbers(open(t, s, c.user, c.password, toApp).PingContext(t.Context())); !slices.Equal(got, []int32{18456}) {
			t.Errorf("login as %q with %q got the errors %d, want 18456", c.user, c.password, got)
		}
	}
	if got := text(t, open(t, s, "App_User", "another", toApp), "SELECT 1"); got != "1" {
		t.Errorf("SELECT 1 = %s", got)
	}
	if ok, bad := s.Logins("app_user"); ok != 3 || bad != 4 {
		t.Errorf("%d logins were accepted and %d rejected, want 3 and 4", ok, bad)
	}
	s.SetState("app_user", tdsserver.Disabled)
	if got := numbers(open(t, s, "app_user", "another", toApp).PingContext(t.Context())); !slices.Equal(got, []int32{18470}) {
		t.Errorf("login of a disabled user got the errors %d, want 18470", got)
	}
	tallies := map[string]accounts.Tally{"app_user": {Accepted: 3, Rejected: 4, Failed: 1}, "app_use": {Rejected: 1}, "": {Rejected: 1}}
	if got := s.Tallies(); !maps.Equal(got, tallies) {
		t.Errorf("Tallies = %v, want %v", got, tallies)
	}
	want := tdsserver.Login{User: "app_user", Database: "app", AppName: "a test", ServerName: "127.0.0.1", Library: "go-mssqldb", ReadOnly: true}
	got := s.Seen()[0]
	got.HostName = ""
	if got != want {
		t.Errorf("Seen()[0] = %+v, want %+v", got, want)
	}
	s.Drop("app_user")
	if got := numbers(open(t, s, "app_user", "another", toApp).PingContext(t.Context())); !slices.Equal(got, []int32{18456}) {
		t.Errorf("login of a user that is gone got the errors %d", got)
	}
}

func TestErrorsOfLogins(t *testing.T) {
	for _, c := range []struct {
		name         string
		state        tdsserver.State
		database     string
		right, wrong []int32
	}{
		{"enabled", tdsserver.Enabled, "", nil, []int32{18456}},
		{"disabled", tdsserver.Disabled, "", []int32{18470}, []int32{18456}},
		{"locked", tdsserver.Locked, "", []int32{18486}, []int32{18486}},
		{"expired", tdsserver.Expired, "", []int32{18487}, []int32{18456}},
		{"must change", tdsserver.MustChange, "", []int32{18488}, []int32{18456}},
		{"no database", tdsserver.Enabled, "none", []int32{4060, 18456}, []int32{18456}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := start(t, tdsserver.Options{})
			s.SetPassword("u", "right")
			s.SetState("u", c.state)
			for password, want := range map[string][]int32{"right": c.right, "wrong": c.wrong} {
				err := open(t, s, "u", password, func(p *msdsn.Config) { p.Database = c.database }).PingContext(t.Context())
				if got := numbers(err); !slices.Equal(got, want) {
					t.Errorf("password %q: errors %d, want %d", password, got, want)
				}
				var e mssql.Error
				if errors.As(err, &e) && (e.State != 1 || e.Class != 14 || e.ServerName == "") {
					t.Errorf("state %d, class %d, server %q", e.State, e.Class, e.ServerName)
				}
			}
		})
	}
}

// The table of 2.2.6.5 of MS-TDS.
func TestEncryption(t *testing.T) {
	certs := testca.New("localhost")
	for _, c := range []struct {
		name   string
		server tdsserver.Options
		client msdsn.Encryption
		want   string // "plain", "login", "full" or part of an error
	}{
		{"off, off", tdsserver.Options{TLS: certs.Server}, msdsn.EncryptionOff, "login"},
		{"off, on", tdsserver.Options{TLS: certs.Server}, msdsn.EncryptionRequired, "full"},
		{"off, not supported", tdsserver.Options{TLS: certs.Server}, msdsn.EncryptionDisabled, "plain"},
		{"on, off", tdsserver.Options{TLS: certs.Server, Force: true}, msdsn.EncryptionOff, "full"},
		{"on, on", tdsserver.Options{TLS: certs.Server, Force: true}, msdsn.EncryptionRequired, "full"},
		{"on, not supported", tdsserver.Options{TLS: certs.Server, Force: true}, msdsn.EncryptionDisabled, "TLS Handshake failed"},
		{"not supported, off", tdsserver.Options{}, msdsn.EncryptionOff, "plain"},
		{"not supported, on", tdsserver.Options{}, msdsn.EncryptionRequired, "does not support encryption"},
		{"not supported, not supported", tdsserver.Options{}, msdsn.EncryptionDisabled, "plain"},
		{"TDS 8.0", tdsserver.Options{TLS: certs.Server, Strict: true}, msdsn.EncryptionStrict, "full"},
		{"TDS 8.0, on", tdsserver.Options{TLS: certs.Server, Strict: true}, msdsn.EncryptionRequired, "EOF"},
	} {
		t.Run(c.name, func(t *testing.T) {
			// A login of several packets.
			user, database := strings.Repeat("user", 30), strings.Repeat("data", 30)
			c.server.Databases = []string{database}
			s := start(t, c.server)
			s.SetPassword(user, "right")
			config := func(p *msdsn.Config) {
				p.Encryption = c.client
				p.TLSConfig = &tls.Config{RootCAs: certs.Pool, ServerName: "localhost"}
				p.Database, p.AppName, p.Workstation, p.PacketSize = database, strings.Repeat("long ", 25), strings.Repeat("host", 30), 1000
				if p.Encryption == msdsn.EncryptionDisabled && c.server.Force {
					p.TLSConfig.ServerName = "none" // it goes on, against the document
				}
			}
			var id string
			err := open(t, s, user, "right", config).QueryRowContext(t.Context(), "SELECT @@SPID").Scan(&id)
			got := fmt.Sprint(err)
			if err == nil {
				l := s.Seen()[0]
				got = map[[2]bool]string{{false, false}: "plain", {true, false}: "login", {true, true}: "full"}[[2]bool{l.Encrypted, l.Full}]
				if err := open(t, s, user, "wrong", config).PingContext(t.Context()); !slices.Equal(numbers(err), []int32{18456}) {
					t.Errorf("wrong password: %v", err)
				}
			}
			if !strings.Contains(got, c.want) {
				t.Errorf("got %s, want %s", got, c.want)
			}
			if err != nil && len(s.Seen()) != 0 {
				t.Error("the server saw a login")
			}
		})
	}
}

func TestWindowsLogins(t *testing.T) {
	s := start(t, tdsserver.Options{})
	s.SetPassword(`CORP\app`, "pässword €")
	if got := text(t, open(t, s, `CORP\app`, "pässword €", nil), "SELECT SUSER_SNAME()"); got != `CORP\app` {
		t.Errorf("SUSER_SNAME() = %s", got)
	}
	for _, user := range []string{`CORP\app`, `CORP\nobody`, `OTHER\app`} {
		if got := numbers(open(t, s, user, "wrong", nil).PingContext(t.Context())); !slices.Equal(got, []int32{18452}) {
			t.Errorf("%s: errors %d, want 18452", user, got)
		}
	}
	if l := s.Seen(); !l[0].Windows || l[0].Number != 0 || l[1].Number != 18452 {
		t.Errorf("the server saw %+v", l)
	}
}

const encryptOption = "SELECT encrypt_option FROM sys.dm_exec_connections WHERE session_id = @@SPID"

// one opens a database with one connection that stays open, as the user a.
func one(t *testing.T, s *tdsserver.Server) *sql.DB {
	t.Helper()
	s.SetPassword("a", "x")
	db := open(t, s, "a", "x", func(c *msdsn.Config) { c.Database = "app" })
	db.SetMaxIdleConns(1)
	db.SetMaxOpenConns(1)
	return db
}

// The server has fixed answers to a few statements. Every other statement is an error.
func TestStatements(t *testing.T) {
	s := start(t, tdsserver.Options{Databases: []string{"app"}})
	db := one(t, s)
	for query, want := range map[string]string{
		"SELECT 1": "1", " SELECT 40 + 2\n": "42", `SELECT 42 AS "answer"`: "42",
		"SELECT SUSER_SNAME()": "a", "SELECT DB_NAME()": "app", encryptOption: "FALSE",
	} {
		if got := text(t, db, query); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
	if _, err := db.ExecContext(t.Context(), "SET NOCOUNT ON"); err != nil {
		t.Error(err)
	}
	for query, want := range map[string]int32{"SELEC 1": 102, "SELECT 2": 102, "sp_who": 2812} {
		if _, err := db.ExecContext(t.Context(), query); !slices.Equal(numbers(err), []int32{want}) {
			t.Errorf("%s: %v, want %d", query, err, want)
		}
	}
	for _, end := range []func(*sql.Tx) error{(*sql.Tx).Commit, (*sql.Tx).Rollback} {
		tx, err := db.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := text(t, tx, "SELECT 1"); got != "1" {
			t.Errorf("SELECT 1 = %s", got)
		}
		if err := end(tx); err != nil {
			t.Error(err)
		}
	}
}

func TestSessions(t *testing.T) {
	certs := testca.New("localhost")
	s := start(t, tdsserver.Options{Databases: []string{"app"}, TLS: certs.Server})
	db := one(t, s)
	if id, got := text(t, db, "SELECT @@SPID"), fmt.Sprint(s.Sessions("A")); got != "["+id+"]" {
		t.Errorf("Sessions = %s, want %s", got, id)
	}
	s.SetPassword("b", "x")
	secure := open(t, s, "b", "x", func(c *msdsn.Config) {
		c.Encryption, c.TLSConfig = msdsn.EncryptionRequired, &tls.Config{RootCAs: certs.Pool, ServerName: "localhost"}
	})
	if got := text(t, secure, "SELECT SUSER_SNAME()"); got != "b" {
		t.Errorf("SUSER_SNAME() = %s, want b", got)
	}
	if got := text(t, secure, encryptOption); got != "TRUE" {
		t.Errorf("encrypt_option is %s, want TRUE", got)
	}
	_ = db.Close()
	if n := s.WaitOpen(0, 5*time.Second); n != 0 {
		t.Errorf("%d connections are open", n)
	}
	if got := s.Sessions("a"); len(got) != 0 {
		t.Errorf("Sessions = %d, want none", got)
	}
}

// A pool asks for a reset of the session. The reset ends a change of the database.
func TestResetEndsAChangeOfTheDatabase(t *testing.T) {
	s := start(t, tdsserver.Options{Databases: []string{"app"}})
	db := one(t, s)
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.ExecContext(t.Context(), "USE tempdb"); err != nil {
		t.Error(err)
	}
	if got := text(t, conn, "SELECT DB_NAME()"); got != "tempdb" {
		t.Errorf("DB_NAME() = %s, want tempdb", got)
	}
	_ = conn.Close()
	if got := text(t, db, "SELECT DB_NAME()"); got != "app" {
		t.Errorf("DB_NAME() = %s after a reset, want app", got)
	}
}

// Read of a slowConn waits, if the test asks for it, until a second packet was written.
type slowConn struct {
	net.Conn
	slow    atomic.Bool
	writes  atomic.Int32
	resumed chan struct{}
}

func (c *slowConn) Write(p []byte) (int, error) {
	if c.slow.Load() && c.writes.Add(1) == 2 {
		close(c.resumed)
	}
	return c.Conn.Write(p)
}

func (c *slowConn) Read(p []byte) (int, error) {
	if c.slow.Load() {
		<-c.resumed
	}
	return c.Conn.Read(p)
}

func (c *slowConn) DialContext(ctx context.Context, network, addr string) (_ net.Conn, err error) {
	c.Conn, err = (&net.Dialer{}).DialContext(ctx, network, addr)
	return c, err
}

// An ATTENTION of the client ends the statement, not the session.
func TestAttentionEndsTheStatementAndNotTheSession(t *testing.T) {
	s := start(t, tdsserver.Options{})
	s.SetPassword("a", "x")
	p, err := msdsn.Parse("")
	if err != nil {
		t.Fatal(err)
	}
	p.Host, p.Port, p.User, p.Password, p.Protocols = s.Host, uint64(s.Port), "a", "x", []string{"tcp"}
	p.Encryption, p.TLSConfig = msdsn.EncryptionDisabled, nil
	slow := &slowConn{resumed: make(chan struct{})}
	connector := mssql.NewConnectorConfig(p)
	connector.Dialer = slow
	db := sql.OpenDB(connector)
	defer db.Close()
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	slow.slow.Store(true)
	// A cancellation and not a deadline, because go-mssqldb treats a deadline as an error of the
	// network.
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	if _, err := conn.ExecContext(ctx, "SELECT 1"); !errors.Is(err, context.Canceled) {
		t.Errorf("SELECT 1 = %v, want the context's error", err)
	}
	if n := slow.writes.Load(); n != 2 {
		t.Errorf("the client wrote %d packets, want the statement and ATTENTION", n)
	}
	if got := text(t, conn, "SELECT 1"); got != "1" {
		t.Errorf("SELECT 1 = %s", got)
	}
}

// A restart ends all connections and changes nothing else.
func TestRestart(t *testing.T) {
	s := start(t, tdsserver.Options{})
	s.SetPassword("a", "x")
	db := open(t, s, "a", "x", nil)
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	port := s.Port
	for range 2 {
		if err := s.Restart(); err != nil {
			t.Fatal(err)
		}
		if s.Port != port {
			t.Errorf("the port is %d, was %d", s.Port, port)
		}
		if n := s.WaitOpen(0, time.Second); n != 0 {
			t.Errorf("%d connections are open", n)
		}
		if got := text(t, open(t, s, "a", "x", nil), "SELECT SUSER_SNAME()"); got != "a" {
			t.Errorf("SUSER_SNAME() = %s", got)
		}
	}
	if err := conn.PingContext(t.Context()); err == nil {
		t.Error("a connection lives on")
	}
}

// hungUp matches the errors that a client gets. The error depends on what the client had sent.
var hungUp = regexp.MustCompile("EOF|connection reset by peer|broken pipe")

func TestHangAndRoute(t *testing.T) {
	certs := testca.New("localhost")
	s := start(t, tdsserver.Options{TLS: certs.Server})
	s.SetPassword("a", "x")
	config := func(p *msdsn.Config) {
		p.Encryption = msdsn.EncryptionRequired
		p.TLSConfig = &tls.Config{RootCAs: certs.Pool, ServerName: "localhost"}
		p.ConnTimeout = time.Second
	}
	for _, at := range []tdsserver.Step{tdsserver.AtConnect, tdsserver.AtTLS, tdsserver.AtLogin, tdsserver.AtQuery} {
		s.Hang(at)
		_, err := open(t, s, "a", "x", config).ExecContext(t.Context(), "SELECT 1")
		if err == nil || !strings.Contains(err.Error(), "timeout") {
			t.Errorf("hanging at step %d: %v", at, err)
		}
		s.HangUp(at)
		if _, err = open(t, s, "a", "x", config).ExecContext(t.Context(), "SELECT 1"); err == nil || !hungUp.MatchString(err.Error()) {
			t.Errorf("hanging up at step %d: %v", at, err)
		}
	}
	s.Hang(tdsserver.Never)
	if n := s.WaitOpen(0, 5*time.Second); n != 0 {
		t.Errorf("%d connections are open", n)
	}
	other := start(t, tdsserver.Options{TLS: certs.Server})
	other.SetPassword("a", "x")
	s.Route(other.Host, other.Port)
	if got := text(t, open(t, s, "a", "x", func(p *msdsn.Config) { config(p); p.HostInCertificateProvided = true }), "SELECT 1"); got != "1" {
		t.Errorf("SELECT 1 = %s", got)
	}
	if len(other.Seen()) != 1 {
		t.Error("the client was not sent on")
	}
}

// A message that is not TDS ends the connection and nothing else.
func TestGarbageEndsOnlyTheConnection(t *testing.T) {
	s := start(t, tdsserver.Options{})
	s.SetPassword("a", "x")
	prelogin := []byte{0x12, 1, 0, 20, 0, 0, 1, 0, 0, 0, 11, 0, 1, 1, 0, 11, 0, 1, 0xff, 2}
	login := func(change func(b []byte)) []byte {
		b := make([]byte, 94)
		binary.LittleEndian.PutUint32(b, 94)
		binary.LittleEndian.PutUint32(b[4:], 0x74000004)
		change(b)
		return append([]byte{0x10, 1, 0, 102, 0, 0, 1, 0}, b...)
	}
	for name, in := range map[string][]byte{
		"HTTP":                     []byte("GET / HTTP/1.1\r\n\r\n"),
		"short packet":             {0x12, 1, 0, 7, 0, 0, 1, 0},
		"login first":              login(func([]byte) {}),
		"PRELOGIN without version": {0x12, 1, 0, 15, 0, 0, 1, 0, 1, 0, 6, 0, 1, 0xff, 2},
		"PRELOGIN beyond its end":  {0x12, 1, 0, 15, 0, 0, 1, 0, 0, 0, 6, 0, 9, 0xff, 2},
		"PRELOGIN without an end":  {0x12, 1, 0, 13, 0, 0, 1, 0, 0, 0, 0, 0, 0},
		"LOGIN7 of another length": append(slices.Clone(prelogin), login(func(b []byte) { b[0] = 93 })...),
		"LOGIN7 of TDS 7.1":        append(slices.Clone(prelogin), login(func(b []byte) { b[7] = 0x71 })...),
		"SSPI that is none":        append(slices.Clone(prelogin), login(func(b []byte) { b[25] = 0x80 })...),
	} {
		c, err := net.Dial("tcp", net.JoinHostPort(s.Host, strconv.Itoa(s.Port)))
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		_, _ = c.Write(in)
		var timeout net.Error
		if _, err := io.Copy(io.Discard, c); errors.As(err, &timeout) && timeout.Timeout() {
			t.Errorf("%s: the connection is still open", name)
		}
		_ = c.Close()
	}
	if got := s.Seen(); len(got) != 0 {
		t.Errorf("the server saw logins: %+v", got)
	}
	if got := text(t, open(t, s, "a", "x", nil), "SELECT 1"); got != "1" {
		t.Errorf("SELECT 1 = %s", got)
	}
}
