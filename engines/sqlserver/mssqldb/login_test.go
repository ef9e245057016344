package mssqldb_test

import (
	"cmp"
	"context"
	"crypto/tls"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	mssql "github.com/microsoft/go-mssqldb"
	"github.com/microsoft/go-mssqldb/msdsn"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/sqlserver/mssqldb"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/tdsserver"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/configtest"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/logintest"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/loopback"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/subprocess"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/testca"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

func TestConnect(t *testing.T) {
	s := start(t, tdsserver.Options{})
	ep := endpoint(s, "App Name", "billing", "workstation id", "here", "applicationintent", "READONLY", "packet size", "8192")
	conn, err := connect(t, mssqldb.Engine{}, ep, goodPassword)
	if err != nil {
		t.Fatal(err)
	}
	if got := reflect.TypeOf(conn).String(); got != "*mssql.Conn" {
		t.Errorf("Connect returned a %s", got)
	}
	if err := conn.(sqldriver.Pinger).Ping(t.Context()); err != nil {
		t.Errorf("Ping: %v", err)
	}
	_ = conn.Close()
	want := tdsserver.Login{User: "app_user", Database: "app", AppName: "billing", HostName: "here", ServerName: "127.0.0.1", Library: "go-mssqldb", ReadOnly: true}
	if got := s.Seen(); !slices.Equal(got, []tdsserver.Login{want}) {
		t.Errorf("the server saw %+v, want %+v once", got, want)
	}
	wantOpen(t, s, 0)
}

// A connection stays open after the context of its login has ended.
func TestContextOfLoginDoesNotOutliveIt(t *testing.T) {
	s := start(t, tdsserver.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	conn, err := logintest.ConnectContext(ctx, t, mssqldb.Engine{}, endpoint(s, "logintimeout", "20"), "app_user", goodPassword)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := conn.(sqldriver.Pinger).Ping(t.Context()); err != nil {
		t.Errorf("Ping: %v", err)
	}
	_ = conn.Close()
}

func TestEveryCharacter(t *testing.T) {
	s := start(t, tdsserver.Options{Databases: []string{"d😀b"}})
	ep := endpoint(s)
	ep.Database = "d😀b"
	var texts []string
	for part := range slices.Chunk(logintest.EveryCharacter(), 100) {
		texts = append(texts, string(part))
	}
	texts = append(texts, "😀", strings.Repeat("😀", 64), " ", " 😀 ", "';PWD=x;{}}")
	for _, text := range texts {
		user := "u" + strings.ReplaceAll(text[:min(len(text), 4)], `\`, "") // a "\" is Windows's
		user = strings.ToValidUTF8(user, "")
		s.SetPassword(user, text)
		conn, err := logintest.ConnectContext(t.Context(), t, mssqldb.Engine{}, ep, user, text)
		if err != nil {
			t.Errorf("password %q: %v", text, err)
			continue
		}
		_ = conn.Close()
		if _, err := logintest.ConnectContext(t.Context(), t, mssqldb.Engine{}, ep, user, text+" "); err == nil {
			t.Errorf("password %q with a space after it was accepted", text)
		}
	}
	seen := len(s.Seen())
	long := strings.Repeat("😀", 64) + "x"
	for _, c := range [][2]string{{long, "p"}, {"u", long}, {"", "p"}} {
		if _, err := logintest.ConnectContext(t.Context(), t, mssqldb.Engine{}, ep, c[0], c[1]); err == nil || strings.Contains(err.Error(), long) {
			t.Errorf("Connect = %v, want an error without the value", err)
		}
	}
	if len(s.Seen()) != seen {
		t.Error("the server saw what is too long")
	}
}

func TestWindowsLogin(t *testing.T) {
	s := start(t, tdsserver.Options{})
	s.SetPassword(`CORP\app`, goodPassword)
	conn, err := logintest.ConnectContext(t.Context(), t, mssqldb.Engine{}, endpoint(s), `CORP\app`, goodPassword)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	_, err = logintest.ConnectContext(t.Context(), t, mssqldb.Engine{}, endpoint(s), `CORP\app`, canary)
	if !(mssqldb.Engine{}).Rejected(err) {
		t.Errorf("Connect = %v, want a rejected login", err)
	}
	noPassword(t, err, canary)
	if got := s.Seen(); len(got) != 2 || !got[0].Windows || !got[1].Windows || got[1].Number != 18452 {
		t.Errorf("the server saw %+v", got)
	}
}

func TestOneLoginPerConnect(t *testing.T) {
	certs := newCertificates(t, "127.0.0.1")
	for _, c := range []struct {
		name     string
		state    tdsserver.State
		password string
		database string
		want     int32
		rejected bool
		missing  bool
	}{
		{"wrong password", tdsserver.Enabled, canary, "app", 18456, true, false},
		{"no database", tdsserver.Enabled, goodPassword, "none", 18456, false, true},
		{"wrong password, no database", tdsserver.Enabled, canary, "none", 18456, true, false},
		{"disabled", tdsserver.Disabled, goodPassword, "app", 18470, false, false},
		{"locked", tdsserver.Locked, goodPassword, "app", 18486, false, false},
		{"expired", tdsserver.Expired, goodPassword, "app", 18487, false, false},
		{"must change", tdsserver.MustChange, goodPassword, "app", 18488, false, false},
	} {
		for _, o := range []tdsserver.Options{{}, {TLS: certs.Server}, {TLS: certs.Server, Force: true}} {
			t.Run(fmt.Sprintf("%s/tls=%t/force=%t", c.name, o.TLS != nil, o.Force), func(t *testing.T) {
				s := start(t, o)
				s.SetState("app_user", c.state)
				ep := endpoint(s)
				ep.Database = c.database
				_, err := connect(t, mssqldb.Engine{}, ep, c.password)
				var me mssql.Error
				if !errors.As(err, &me) || me.Number != c.want {
					t.Errorf("Connect = %v, want error %d", err, c.want)
				}
				e := mssqldb.Engine{}
				if e.Rejected(err) != c.rejected || e.NoDatabase(err) != c.missing {
					t.Errorf("Rejected = %t, NoDatabase = %t, want %t and %t", e.Rejected(err), e.NoDatabase(err), c.rejected, c.missing)
				}
				noPassword(t, err, c.password)
				wantOpen(t, s, 0)
				if got := s.Seen(); len(got) != 1 || got[0].Full != (o.TLS != nil) {
					t.Errorf("the server saw %+v, want one login", got)
				}
				// One more if the server said that it supports no encryption.
				if want := map[bool]int{true: 1, false: 2}[o.TLS != nil]; s.Dialled() != want {
					t.Errorf("%d connections, want %d", s.Dialled(), want)
				}
			})
		}
	}
}

func TestTLS(t *testing.T) {
	certs := newCertificates(t, "localhost", "127.0.0.1")
	others := newCertificates(t, "localhost", "127.0.0.1")
	has, force, strict, none := tdsserver.Options{TLS: certs.Server}, tdsserver.Options{TLS: certs.Server, Force: true}, tdsserver.Options{TLS: certs.Server, Strict: true}, tdsserver.Options{}
	pool := &tls.Config{RootCAs: certs.Pool}
	const (
		unknown = "unknown authority"
		missing = "does not support encryption"
	)
	for _, c := range []struct {
		name   string
		server tdsserver.Options
		params []string
		tls    *tls.Config
		host   string // "" is the address
		want   string // "full", "login", "plain" or part of an error
	}{
		{"default, broken TLS", tdsserver.Options{TLS: &tls.Config{}}, nil, nil, "", "tls: "},
		{"default, TDS 8.0 wanted", strict, nil, nil, "", "connect to"},
		{"trust", has, pairsOf("trustservercertificate", "true"), nil, "", "full"},
		{"trust, not available", none, pairsOf("TrustServerCertificate", "yes"), nil, "", "plain"},
		{"tlsmin", has, pairsOf("tlsmin", "1.2"), nil, "", "full"},
		{"tlsmin too high", has, pairsOf("tlsmin", "1.3"), nil, "", "protocol version"},
		{"do not trust", has, pairsOf("trustservercertificate", "no"), nil, "localhost", unknown},
		{"do not trust, not available", none, pairsOf("trustservercertificate", "0"), nil, "", missing},
		{"mandatory", has, pairsOf("Encrypt", "Mandatory"), nil, "localhost", unknown},
		{"true, not available", none, pairsOf("encrypt", "true"), nil, "", missing},
		{"true, trust", has, pairsOf("encrypt", "true", "trustservercertificate", "true"), nil, "", "full"},
		{"true, trust, not available", none, pairsOf("encrypt", "1", "trustservercertificate", "1"), nil, "", missing},
		{"certificate alone", has, pairsOf("certificate", certs.CA), nil, "localhost", "full"},
		{"certificate alone, not available", none, pairsOf("certificate", certs.CA), nil, "", missing},
		{"certificate, wrong name", has, pairsOf("certificate", certs.CA), nil, "other.test", "not other.test"},
		{"certificate, given name", has, pairsOf("certificate", certs.CA, "hostnameincertificate", "localhost"), nil, "other.test", "full"},
		{"certificate, wrong given name", has, pairsOf("certificate", certs.CA, "hostNameInCertificate", "other.test"), nil, "", "not other.test"},
		{"certificate of others", has, pairsOf("certificate", others.CA), nil, "", unknown},
		{"server's certificate", has, pairsOf("servercertificate", certs.Leaf), nil, "other.test", "full"},
		{"server's certificate, DER", has, pairsOf("servercertificate", certs.LeafAsDER), nil, "", "full"},
		{"server's certificate, another's", has, pairsOf("servercertificate", others.Leaf), nil, "", "not the one"},
		{"server's certificate, not available", none, pairsOf("servercertificate", certs.Leaf), nil, "", missing},
		{"false", has, pairsOf("encrypt", "false", "certificate", certs.CA), nil, "", "login"},
		{"false, required", force, pairsOf("encrypt", "no", "certificate", certs.CA), nil, "", "full"},
		{"false, unknown", has, pairsOf("encrypt", "optional"), nil, "", unknown},
		{"false, trust", has, pairsOf("encrypt", "optional", "trustservercertificate", "true"), nil, "", "login"},
		{"false, not available", none, pairsOf("encrypt", "f"), nil, "", "plain"},
		{"disable", has, pairsOf("encrypt", "DISABLE"), nil, "", "plain"},
		{"disable, required", force, pairsOf("encrypt", "disable"), nil, "", "requires encryption, and encrypt=disable turns it off"},
		{"strict", strict, pairsOf("encrypt", "strict", "certificate", certs.CA), nil, "localhost", "full"},
		{"strict, wrong name", strict, pairsOf("encrypt", "strict", "certificate", certs.CA), nil, "other.test", "not other.test"},
		{"strict, trust", strict, pairsOf("encrypt", "strict", "trustservercertificate", "true"), nil, "", unknown},
		{"strict, server's certificate", strict, pairsOf("encrypt", "strict", "servercertificate", certs.Leaf), nil, "", "full"},
		{"strict, older server", has, pairsOf("encrypt", "strict", "certificate", certs.CA), nil, "", "TLS Handshake failed"},
		{"options, wrong name", has, nil, pool, "other.test", "not other.test"},
		{"options, given name", has, pairsOf("hostnameincertificate", "localhost"), &tls.Config{RootCAs: certs.Pool, ServerName: "wrong"}, "", "full"},
		{"options, wrong authority, trust", has, pairsOf("encrypt", "true", "trustservercertificate", "true"), &tls.Config{RootCAs: others.Pool}, "", unknown},
		{"options, wrong authority, trust alone", has, pairsOf("trustservercertificate", "true"), &tls.Config{RootCAs: others.Pool}, "", unknown},
		{"options, trust, not available", none, pairsOf("trustservercertificate", "true"), pool, "", missing},
		{"options, false", has, pairsOf("encrypt", "false"), pool, "", "full"},
		{"options, false, wrong name", has, pairsOf("encrypt", "false"), pool, "other.test", "not other.test"},
		{"options, false, trust, wrong authority", has, pairsOf("encrypt", "false", "trustservercertificate", "true"), &tls.Config{RootCAs: others.Pool}, "", unknown},
		{"options, false, not available", none, pairsOf("encrypt", "false"), pool, "", missing},
		{"options, strict", strict, pairsOf("encrypt", "strict"), pool, "", "full"},
		{"options, tlsmin", has, pairsOf("tlsmin", "1.3"), pool, "", "protocol version"},
		{"options, lower tlsmin", has, pairsOf("tlsmin", "1.0"), &tls.Config{RootCAs: certs.Pool, MinVersion: tls.VersionTLS13}, "", "protocol version"},
		{"options without verification", has, nil, &tls.Config{InsecureSkipVerify: true}, "", "full"},
		{"options without verification, true", has, pairsOf("encrypt", "true"), &tls.Config{InsecureSkipVerify: true, RootCAs: others.Pool}, "", unknown},
		{"options without verification, strict", strict, pairsOf("encrypt", "strict"), &tls.Config{InsecureSkipVerify: true, RootCAs: others.Pool}, "", unknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := start(t, c.server)
			ep := endpoint(s, c.params...)
			ep.TLS = c.tls
			ep.Host = cmp.Or(c.host, ep.Host)
			logintest.Outcome{Want: c.want, Opaque: true, Logins: func() int { return len(s.Seen()) }, Seen: func() string {
				switch l := s.Seen()[0]; {
				case l.Full:
					return "full"
				case l.Encrypted:
					return "login"
				}
				return "plain"
			}}.Check(t, mssqldb.Engine{Dial: dialTo(s)}, ep, goodPassword)
			wantOpen(t, s, 0)
			if c.tls != nil && c.tls.NextProtos != nil {
				t.Error("the caller's configuration was changed")
			}
		})
	}
}

// dialTo dials one server, whatever the address.
func dialTo(s *tdsserver.Server) logintest.Dial {
	return logintest.DialTo(net.JoinHostPort(s.Host, strconv.Itoa(s.Port)))
}

// A server without encryption is asked again for each login. If a server first says that it has no
// encryption and later that it has, it gets no password in plaintext.
func TestEncryptionIsAskedForEachTime(t *testing.T) {
	certs := newCertificates(t, "127.0.0.1")
	plain, ok := start(t, tdsserver.Options{}), start(t, tdsserver.Options{TLS: certs.Server})
	var target atomic.Pointer[tdsserver.Server]
	e := mssqldb.Engine{Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		return dialTo(target.Load())(ctx, network, addr)
	}}
	l, err := e.Prepare(endpoint(plain))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*tdsserver.Server{plain, ok, plain, ok} {
		target.Store(s)
		conn, err := l.Connect(t.Context(), driver.Credentials{User: "app_user", Password: driver.NewPassword(goodPassword)})
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
	}
	// The server has encryption again when the second connection is made.
	dials := 0
	e.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if dials++; dials == 1 {
			return dialTo(plain)(ctx, network, addr)
		}
		return dialTo(ok)(ctx, network, addr)
	}
	conn, err := connect(t, e, endpoint(plain), goodPassword)
	if err != nil || dials != 2 {
		t.Fatalf("Connect = %v after %d connections", err, dials)
	}
	_ = conn.Close()
	for i, l := range ok.Seen() {
		if !l.Encrypted {
			t.Errorf("login %d was in clear text", i)
		}
	}
}

// The parameter ends a login as a deadline does, at whatever step the server falls silent. With
// encrypt=strict, which has a handshake of its own, the context does too.
func TestLoginTimeout(t *testing.T) {
	certs := newCertificates(t, "127.0.0.1")
	var wg sync.WaitGroup // they do nothing but wait
	for _, o := range []tdsserver.Options{{}, {TLS: certs.Server}, {TLS: certs.Server, Strict: true}} {
		for _, at := range []tdsserver.Step{tdsserver.AtConnect, tdsserver.AtTLS, tdsserver.AtLogin, tdsserver.AtQuery} {
			if at == tdsserver.AtTLS && o.TLS == nil {
				continue
			}
			for _, byParameter := range []bool{true, false} {
				if !byParameter && !o.Strict {
					continue // TestConformance
				}
				wg.Go(func() {
					t.Run(fmt.Sprintf("tls=%t/strict=%t/step %d/parameter=%t", o.TLS != nil, o.Strict, at, byParameter), func(t *testing.T) {
						s := start(t, o)
						s.Hang(at)
						ep := endpoint(s)
						if o.Strict {
							ep.Params = pairs("encrypt", "strict", "certificate", certs.CA)
						}
						limit := 20 * time.Second
						if byParameter {
							ep.Params["logintimeout"] = "1"
						} else {
							limit = 100 * time.Millisecond
						}
						ctx, end := context.WithTimeout(t.Context(), limit)
						defer end()
						begin := time.Now()
						_, err := logintest.ConnectContext(ctx, t, mssqldb.Engine{SessionInitSQL: "SET NOCOUNT ON"}, ep, "app_user", goodPassword)
						if d := time.Since(begin); !errors.Is(err, context.DeadlineExceeded) || d > 6*time.Second {
							t.Errorf("Connect = %v after %v, want %v in the tree", err, d, context.DeadlineExceeded)
						}
						wantOpen(t, s, 0)
					})
				})
			}
		}
	}
	wg.Wait()
}

// Whatever makes a login fail, the error has no password and no socket stays open.
func TestErrorsHoldNoPassword(t *testing.T) {
	certs := newCertificates(t, "localhost")
	for _, c := range []struct {
		name   string
		server tdsserver.Options
		engine mssqldb.Engine
		change func(*tdsserver.Server, *driver.Endpoint)
		want   string
		as     any
	}{
		{"rejected", tdsserver.Options{}, mssqldb.Engine{}, nil, "Login failed for user 'app_user'. (18456)", new(mssql.Error)},
		{"hangs up", tdsserver.Options{}, mssqldb.Engine{}, func(s *tdsserver.Server, _ *driver.Endpoint) { s.HangUp(tdsserver.AtConnect) }, "connect to 127.0.0.1", nil},
		{"hangs up in TLS", tdsserver.Options{TLS: certs.Server}, mssqldb.Engine{}, func(s *tdsserver.Server, _ *driver.Endpoint) { s.HangUp(tdsserver.AtTLS) }, "TLS Handshake", nil},
		{"hangs up after the login", tdsserver.Options{}, mssqldb.Engine{}, func(s *tdsserver.Server, _ *driver.Endpoint) { s.HangUp(tdsserver.AtLogin) }, "EOF", nil},
		{"wrong certificate", tdsserver.Options{TLS: certs.Server}, mssqldb.Engine{}, func(_ *tdsserver.Server, ep *driver.Endpoint) { ep.TLS = &tls.Config{RootCAs: certs.Pool} }, "certificate", nil},
		{"look-up", tdsserver.Options{}, mssqldb.Engine{}, func(_ *tdsserver.Server, ep *driver.Endpoint) { ep.Host = "no-such-host.invalid" }, "no-such-host.invalid", new(*net.DNSError)},
		{"look-up of one address", tdsserver.Options{}, mssqldb.Engine{}, func(_ *tdsserver.Server, ep *driver.Endpoint) {
			ep.Host, ep.Params = "no-such-host.invalid", pairs("multisubnetfailover", "false")
		}, "no-such-host.invalid", new(*net.DNSError)},
		{"nobody listens", tdsserver.Options{}, mssqldb.Engine{}, func(_ *tdsserver.Server, ep *driver.Endpoint) { ep.Port = loopback.ClosedPort(t) }, "refused", new(*net.OpError)},
		{"session", tdsserver.Options{}, mssqldb.Engine{SessionInitSQL: "SELEC 1"}, nil, "SessionInitSQL failed", nil},
		{"no browser", tdsserver.Options{}, mssqldb.Engine{Dial: func(context.Context, string, string) (net.Conn, error) {
			return nil, errors.New("no way")
		}}, func(_ *tdsserver.Server, ep *driver.Endpoint) { ep.Params = pairs("instance", "INST") }, `127.0.0.1\INST`, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := start(t, c.server)
			password := canary
			if c.name == "session" {
				s.SetPassword("app_user", canary)
			}
			ep := endpoint(s)
			if c.change != nil {
				c.change(s, &ep)
			}
			err := logintest.Fails(t, c.engine, ep, password, c.want, c.as)
			if errors.Is(err, sqldriver.ErrBadConn) {
				t.Errorf("%v is ErrBadConn", err)
			}
			noPassword(t, err, password)
			wantOpen(t, s, 0)
		})
	}
}

func noPassword(t *testing.T, err error, password string) {
	t.Helper()
	logintest.NoPassword(t, err, password, reflect.TypeFor[msdsn.Config](), reflect.TypeFor[mssql.Connector]())
}

// The log of go-mssqldb has no password, even if the program logs everything.
func TestLogsHoldNoPassword(t *testing.T) {
	logged, _ := subprocess.Run(t, func() {
		mssql.SetLogger(log.New(os.Stdout, "", 0))
		s := start(t, tdsserver.Options{})
		for _, user := range []string{"app_user", `CORP\app`} {
			if _, err := logintest.ConnectContext(t.Context(), t, mssqldb.Engine{}, endpoint(s, "log", "65535"), user, canary); err == nil {
				t.Error("Connect succeeded")
			}
		}
	})
	if !strings.Contains(logged, "Login failed") || strings.Contains(logged, canary) {
		t.Errorf("the log is %q", logged)
	}
}

func TestConfigure(t *testing.T) {
	s := start(t, tdsserver.Options{})
	configs := map[*tls.Config]bool{} // the driver writes into them
	e := mssqldb.Engine{Configure: func(c *msdsn.Config) error {
		configs[c.TLSConfig] = true
		if c.User != "" || c.Password != "" {
			t.Errorf("Configure sees user %q and a password of %d bytes, want none", c.User, len(c.Password))
		}
		if c.Host != s.Host || c.Port != uint64(s.Port) || c.Database != "app" {
			t.Errorf("Configure sees %s, %d, %s", c.Host, c.Port, c.Database)
		}
		c.User, c.Password, c.ChangePassword, c.AppName = "mallory", "another", "new", c.AppName+"+"
		c.Parameters["app name"] += "+"
		return nil
	}}
	logintest.ConnectTwice(t, e, endpoint(s, "app name", "x"), "app_user", goodPassword)
	if len(configs) != 2 {
		t.Errorf("%d configurations for TLS of two connections", len(configs))
	}
	for _, l := range s.Seen() {
		if l.AppName != "x+" || l.User != "app_user" {
			t.Errorf("the server saw %+v", l)
		}
	}
	cause := errors.New("no")
	e.Configure = func(*msdsn.Config) error { return cause }
	if _, err := connect(t, e, endpoint(s), goodPassword); !errors.Is(err, cause) {
		t.Errorf("Connect = %v, want %v in the tree", err, cause)
	}
	e.Configure = func(c *msdsn.Config) error { c.FailOverPartner = "other"; return nil }
	if _, err := connect(t, e, endpoint(s), goodPassword); err == nil || !strings.Contains(err.Error(), "FailOverPartner") {
		t.Errorf("Connect = %v, want an error about FailOverPartner", err)
	}
	// If Configure asks for verification, the login never goes in plaintext.
	for _, verify := range []func(c *msdsn.Config){
		func(c *msdsn.Config) { c.TLSConfig = &tls.Config{ServerName: "h"} },
		func(c *msdsn.Config) { c.TLSConfig.InsecureSkipVerify = false },
	} {
		e.Configure = func(c *msdsn.Config) error { verify(c); return nil }
		if _, err := connect(t, e, endpoint(s), goodPassword); err == nil || !strings.Contains(err.Error(), "does not support encryption") {
			t.Errorf("Connect = %v, want an error", err)
		}
	}
}

func TestSessionInitSQL(t *testing.T) {
	s := start(t, tdsserver.Options{})
	connector, err := driver.NewConnector(mssqldb.Engine{SessionInitSQL: "USE tempdb"}, "prod/app", &driver.Options{Secrets: secretOf(s)})
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	for range 2 {
		var name string
		if err := db.QueryRowContext(t.Context(), "SELECT DB_NAME()").Scan(&name); err != nil || name != "tempdb" {
			t.Errorf("DB_NAME() = %q, %v, want tempdb", name, err)
		}
	}
}

// Only an availability group's read-only routing takes a login to a second server. The certificate
// must then be for that server.
func TestReadOnlyRoutingTakesTheLoginToASecondServer(t *testing.T) {
	certs := newCertificates(t, "127.0.0.1")
	byName := newCertificates(t, "localhost")
	first, second, plain := start(t, tdsserver.Options{TLS: certs.Server}), start(t, tdsserver.Options{TLS: byName.Server}), start(t, tdsserver.Options{})
	first.Route("localhost", second.Port)
	ep := endpoint(first, "applicationintent", "ReadOnly", "encrypt", "true", "multisubnetfailover", "false")
	both := certs.Pool.Clone()
	both.AddCert(byName.Authority)
	ep.TLS = &tls.Config{RootCAs: both}
	conn, err := connect(t, mssqldb.Engine{}, ep, goodPassword)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	wantOpen(t, first, 0)
	wantOpen(t, second, 0)
	if a, b := len(first.Seen()), len(second.Seen()); a != 1 || b != 1 {
		t.Errorf("the servers saw %d and %d logins, want one each", a, b)
	}
	ep.TLS = &tls.Config{RootCAs: certs.Pool}
	if _, err := connect(t, mssqldb.Engine{}, ep, goodPassword); err == nil || !strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("Connect = %v, want an error of TLS at the second server", err)
	}
	// A second server without encryption does not get the login, and the first one does not get
	// another login.
	first.Route("127.0.0.1", plain.Port)
	seen := len(first.Seen())
	if _, err := connect(t, mssqldb.Engine{}, endpoint(first), goodPassword); err == nil || !strings.Contains(err.Error(), "does not support encryption") {
		t.Errorf("Connect = %v, want an error", err)
	}
	if a, b := len(first.Seen())-seen, len(plain.Seen()); a != 1 || b != 0 {
		t.Errorf("the servers saw %d and %d logins, want 1 and 0", a, b)
	}
	wantOpen(t, first, 0)
	wantOpen(t, plain, 0)
}

// browser starts a SQL Server Browser of instances, by their names in upper case, and returns its
// address.
func browser(t *testing.T, ports map[string]int) (addr string) {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	text := ""
	for name, port := range ports {
		text += fmt.Sprintf("ServerName;H;InstanceName;%s;IsClustered;No;Version;16.0.1000.6;tcp;%d;;", name, port)
	}
	go func() {
		b := make([]byte, 16)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			if n == 1 && b[0] == 3 { // CLNT_UCAST_EX of MC-SQLR
				_, _ = c.WriteTo(append([]byte{5, byte(len(text)), byte(len(text) >> 8)}, text...), from)
			}
		}
	}()
	return c.LocalAddr().String()
}

// SQL Server Browser is asked for the port of a named instance.
func TestInstance(t *testing.T) {
	s := start(t, tdsserver.Options{})
	at := browser(t, map[string]int{"INST": s.Port})
	var dialled []string
	e := mssqldb.Engine{Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		dialled = append(dialled, network+" "+addr)
		if network == "udp" {
			addr = at
		}
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}}
	byHost := endpoint(s, "encrypt", "false")
	byHost.Host += `\inst`
	for i, ep := range []driver.Endpoint{endpoint(s, "instance", "inst", "encrypt", "false"), byHost} {
		dialled = nil
		conn, err := connect(t, e, ep, goodPassword)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
		if want := []string{"udp 127.0.0.1:1434", "tcp 127.0.0.1:" + strconv.Itoa(s.Port)}; !slices.Equal(dialled, want) {
			t.Errorf("%s: dialled %q, want %q", ep.Host, dialled, want)
		}
		if got := s.Seen()[i].ServerName; got != `127.0.0.1\INST` {
			t.Errorf("%s: the server saw the name %s", ep.Host, got)
		}
	}
	if _, err := connect(t, e, endpoint(s, "instance", "other"), goodPassword); err == nil || !strings.Contains(err.Error(), "no instance matching") {
		t.Errorf("Connect = %v, want that there is no such instance", err)
	}
}

// Instances of one host are different servers. A rejection by one does not hold logins at another
// back, and errors name the instance.
func TestInstancesOfOneHostAreHeldBackSeparately(t *testing.T) {
	first, second := start(t, tdsserver.Options{}), start(t, tdsserver.Options{})
	second.SetPassword("app_user", "another")
	at := browser(t, map[string]int{"FIRST": first.Port, "SECOND": second.Port})
	e := mssqldb.Engine{Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		if network == "udp" {
			addr = at
		}
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}}
	secret := fmt.Sprintf(`{"host":"127.0.0.1","port":1433,"username":"app_user","password":%q}`, goodPassword)
	for _, dsn := range []string{
		"prod/app?encrypt=disable&Instance=",
		"jdbc-secretsmanager:sqlserver://127.0.0.1;user=prod/app;encrypt=disable;instanceName=",
	} {
		cache := secretcache.New(secretcache.SourceFunc(func(_ context.Context, id, _ string) (*secretcache.Secret, error) {
			return secretcache.NewSecret(secretcache.Value{ID: id, VersionID: "v1", String: secret}), nil
		}), nil)
		t.Cleanup(func() { _ = cache.Close() })
		var opened []*driver.Connector // what they share ends with them
		open := func(instance string) error {
			c, err := driver.NewConnector(e, dsn+instance, &driver.Options{Secrets: cache, FallbackStages: []string{}})
			if err != nil {
				return err
			}
			opened = append(opened, c)
			conn, err := c.Connect(t.Context())
			if err == nil {
				_ = conn.Close()
			}
			return err
		}
		if err := open("second"); !errors.Is(err, driver.ErrAuthFailed) || !strings.Contains(err.Error(), ` 127.0.0.1\second rejected `) {
			t.Errorf("%ssecond: %v, want ErrAuthFailed with the instance", dsn, err)
		}
		if err := open("first"); err != nil {
			t.Errorf("%sfirst: %v", dsn, err)
		}
		runtime.KeepAlive(opened)
	}
}

// One of the addresses of a host gets the login.
func TestOneAddressOfAHostGetsTheLogin(t *testing.T) {
	s := start(t, tdsserver.Options{})
	ep := endpoint(s)
	ep.Host = "localhost" // IPv6 and IPv4 in many places
	for _, multi := range []string{"true", "Disabled"} {
		ep.Params = pairs("multisubnetfailover", multi, "encrypt", "disable")
		if _, err := connect(t, mssqldb.Engine{}, ep, canary); !(mssqldb.Engine{}).Rejected(err) {
			t.Errorf("multisubnetfailover=%s: Connect = %v, want a rejected login", multi, err)
		}
	}
	if n := len(s.Seen()); n != 2 {
		t.Errorf("the server saw %d logins of two", n)
	}
	wantOpen(t, s, 0)
}

func TestPrepareFails(t *testing.T) {
	certs := newCertificates(t, "h")
	configtest.PrepareFails(t, mssqldb.Engine{}, []configtest.PrepareCase{
		{"parameter", driver.Endpoint{Host: "h", Port: 1, Params: pairs("encrypted", "CANARY")}, `"encrypted"`},
		{"time zone", driver.Endpoint{Host: "h", Port: 1, Params: pairs("timezone", "CANARY")}, `"timezone"`},
		{"no file", driver.Endpoint{Host: "h", Port: 1, Params: pairs("certificate", "/no-such-file.pem")}, `"certificate": open /no-such-file.pem: no such file`},
		{"no certificate in a file", driver.Endpoint{Host: "h", Port: 1, Params: pairs("servercertificate", testca.WriteFile(t, "empty.pem", nil))}, "there is no certificate in PEM"},
		{"options and certificate", driver.Endpoint{Host: "h", Port: 1, Params: pairs("certificate", certs.CA), TLS: &tls.Config{}}, `"certificate"`},
		{"options and server's certificate", driver.Endpoint{Host: "h", Port: 1, Params: pairs("servercertificate", certs.Leaf), TLS: &tls.Config{}}, `"servercertificate"`},
		{"no host", driver.Endpoint{Port: 1}, "host"},
		{"list", driver.Endpoint{Host: "a,b", Port: 1}, "host"},
		{"instance", driver.Endpoint{Host: `a\b;encrypt=disable`, Port: 1}, "instance"},
		{"local", driver.Endpoint{Host: ".", Port: 1}, "another address"},
		{"injection", driver.Endpoint{Host: "h};encrypt={disable", Port: 1}, "host"},
		{"port", driver.Endpoint{Host: "h", Port: 65536}, "port"},
		{"no port", driver.Endpoint{Host: "h"}, "port"},
		{"database", driver.Endpoint{Host: "h", Port: 1, Database: strings.Repeat("x", 129)}, "database"},
		{"NUL", driver.Endpoint{Host: "h", Port: 1, Database: "CANARY\x00x"}, "database"},
	})
}

// Environment variables have no effect.
func TestEnvironmentHasNoEffect(t *testing.T) {
	t.Setenv("MSSQL_USE_EPA", "CANARY")
	config, err := capture(t, driver.Endpoint{Host: "h", Port: 1})
	if err != nil || config.EpaEnabled {
		t.Errorf("EpaEnabled = %v, %v", config, err)
	}
}

func TestRejected(t *testing.T) {
	list := func(numbers ...int32) mssql.Error {
		var e mssql.Error
		var all []mssql.Error
		for _, n := range numbers {
			e = mssql.Error{Number: n, State: 1, Class: 14, Message: "Login failed for user 'app'."}
			all = append(all, e)
		}
		e.All = all
		return e
	}
	for _, c := range []struct {
		err               mssql.Error
		rejected, missing bool
	}{
		{list(18456), true, false},
		{list(18452), true, false},
		{mssql.Error{Number: 18456}, true, false},
		{list(4060, 18456), false, true},
		{list(4060), false, true},
		{mssql.Error{Number: 4060}, false, true},
		{list(911, 18456), false, true}, // Babelfish
		{list(911), false, true},
		{list(33557097), false, false}, // Babelfish: a disabled login, too many connections
		{list(4064, 18456), false, false},
		{list(18457), false, false},
		{list(18470), false, false},
		{list(18486), false, false},
		{list(18487), false, false},
		{list(18488), false, false},
		{list(40615), false, false},
		{list(), false, false},
	} {
		logintest.Verdict(t, mssqldb.Engine{}, c.err, c.rejected, c.missing)
	}
	for _, err := range []error{nil, errors.New("mssql: login error: Login failed for user 'app'. (18456)"), context.Canceled} {
		logintest.Verdict(t, mssqldb.Engine{}, err, false, false)
	}
}

func TestAccountLocked(t *testing.T) {
	for number, want := range map[int32]bool{18486: true, 18456: false, 18470: false, 18488: false} {
		if got := (mssqldb.Engine{}).AccountLocked(mssql.Error{Number: number}); got != want {
			t.Errorf("AccountLocked of error %d = %v", number, got)
		}
	}
}
