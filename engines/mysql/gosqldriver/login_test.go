package gosqldriver_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"log"
	"net"
	"reflect"
	"slices"
	"strings"
	"testing"

	gomysql "github.com/go-sql-driver/mysql"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/mysql/gosqldriver"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/mysqlserver"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/configtest"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/logintest"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/loopback"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/subprocess"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/testca"
)

func TestConnect(t *testing.T) {
	certs := testca.New("localhost")
	for _, c := range []struct {
		name   string
		server *mysqlserver.Server
	}{
		{"native", &mysqlserver.Server{}},
		{"native, TLS", &mysqlserver.Server{TLS: certs.Server}},
		{"sha2", &mysqlserver.Server{Method: mysqlserver.CachingSHA2}},
		{"sha2, whole password, TLS", &mysqlserver.Server{Method: mysqlserver.CachingSHA2, Full: true, TLS: certs.Server}},
		{"sha2, whole password, encrypted", &mysqlserver.Server{Method: mysqlserver.CachingSHA2, Full: true}},
		{"switch to sha2", &mysqlserver.Server{SwitchTo: mysqlserver.CachingSHA2}},
		{"switch to native", &mysqlserver.Server{Method: mysqlserver.CachingSHA2, SwitchTo: mysqlserver.NativePassword}},
		{"unknown, then native", &mysqlserver.Server{Method: "dialog", SwitchTo: mysqlserver.NativePassword}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := start(t, c.server)
			l, err := gosqldriver.Engine{}.Prepare(endpoint(s))
			if err != nil {
				t.Fatal(err)
			}
			conn, err := l.Connect(t.Context(), driver.Credentials{User: "app_user", Password: driver.NewPassword(goodPassword)})
			if err != nil {
				t.Fatal(err)
			}
			if got := reflect.TypeOf(conn).String(); got != "*mysql.mysqlConn" {
				t.Errorf("Connect returned a %s", got)
			}
			_ = conn.Close()
			want := mysqlserver.Login{TLS: s.TLS != nil, User: "app_user", Database: "app", Good: true}
			if s.Full && want.TLS {
				want.Clear = goodPassword
			}
			if got := s.Seen(); !slices.Equal(got, []mysqlserver.Login{want}) {
				t.Errorf("the server saw %+v, want %+v once", got, want)
			}
			_, err = l.Connect(t.Context(), driver.Credentials{User: "app_user", Password: driver.NewPassword(canary)})
			if !(gosqldriver.Engine{}).Rejected(err) {
				t.Errorf("Connect = %v, want a rejected login", err)
			}
			if got := s.Seen(); len(got) != 2 {
				t.Errorf("the server saw %d logins of two", len(got))
			}
			noPassword(t, err, canary)
			s.WaitClosed(t)
		})
	}
}

func TestEveryCharacter(t *testing.T) {
	certs := testca.New("localhost")
	// Over TLS, this method shows the password to the server.
	s := start(t, &mysqlserver.Server{TLS: certs.Server, Method: mysqlserver.CachingSHA2, Full: true})
	l, err := gosqldriver.Engine{}.Prepare(endpoint(s))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{string(logintest.EveryCharacter()), " ", `\`, `'`, "a:b@tcp(evil)/x?tls=false", ""} {
		_, _ = l.Connect(t.Context(), driver.Credentials{User: "u" + text, Password: driver.NewPassword(text)})
		seen := s.Seen()
		if got := seen[len(seen)-1]; got.Clear != text || got.User != "u"+text {
			t.Errorf("the server got user %q and password %q, want %q", got.User, got.Clear, text)
		}
	}
}

func TestOneLoginPerConnect(t *testing.T) {
	certs := testca.New("localhost")
	for _, number := range []uint16{1045, 1698, 1040, 1044, 1049, 1290, 3118, 4151, 1862} {
		for _, tlsOn := range []bool{true, false} {
			t.Run(fmt.Sprintf("%d/tls=%t", number, tlsOn), func(t *testing.T) {
				s := &mysqlserver.Server{Fail: &mysqlserver.Error{Number: number, State: "HY000", Message: "no"}}
				if tlsOn {
					s.TLS = certs.Server
				}
				start(t, s)
				_, err := connect(t, gosqldriver.Engine{}, endpoint(s, "rejectReadOnly", "true"), goodPassword)
				var me *gomysql.MySQLError
				if number != 1290 && (!errors.As(err, &me) || me.Number != number) {
					t.Errorf("Connect = %v, want the server's error", err)
				}
				if err == nil {
					t.Error("Connect succeeded")
				}
				s.WaitClosed(t)
				if got := s.Seen(); len(got) != 1 || got[0].TLS != tlsOn {
					t.Errorf("the server saw %+v, want one login", got)
				}
				if s.Dialled() != 1 {
					t.Errorf("%d connections, want 1", s.Dialled())
				}
			})
		}
	}
}

func TestTLS(t *testing.T) {
	certs := testca.New("localhost", "127.0.0.1")
	others := testca.New("localhost", "127.0.0.1")
	for name, config := range map[string]*tls.Config{"test-ca": {RootCAs: certs.Pool}, "a/b c&d=e": {RootCAs: certs.Pool, ServerName: "localhost"}} {
		if err := gomysql.RegisterTLSConfig(name, config); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { gomysql.DeregisterTLSConfig(name) })
	}
	for _, c := range []struct {
		name   string
		server *mysqlserver.Server
		params []string
		tls    *tls.Config
		host   string // "" is the address
		want   string // "tls", "plain" or part of an error
	}{
		{"preferred, not available", &mysqlserver.Server{}, pairsOf("tls", "Preferred"), nil, "", "plain"},
		{"default, broken TLS", &mysqlserver.Server{TLS: &tls.Config{}}, nil, nil, "", "tls: "},
		{"false", &mysqlserver.Server{TLS: certs.Server}, pairsOf("tls", "0"), nil, "", "plain"},
		{"skip-verify", &mysqlserver.Server{TLS: others.Server}, pairsOf("tls", "skip-verify"), nil, "", "tls"},
		{"skip-verify, not available", &mysqlserver.Server{}, pairsOf("tls", "skip-verify"), nil, "", "does not support TLS"},
		{"true, not available", &mysqlserver.Server{}, pairsOf("tls", "1"), nil, "", "does not support TLS"},
		{"registered, wrong name", &mysqlserver.Server{TLS: certs.Server}, pairsOf("tls", "test-ca"), nil, "other.test", "not other.test"},
		{"registered, wrong authority", &mysqlserver.Server{TLS: others.Server}, pairsOf("tls", "test-ca"), nil, "localhost", "unknown authority"},
		{"registered by a strange name", &mysqlserver.Server{TLS: certs.Server}, pairsOf("tls", "a/b c&d=e"), nil, "other.test", "tls"},
		{"options, true", &mysqlserver.Server{TLS: certs.Server}, pairsOf("tls", "true"), &tls.Config{RootCAs: certs.Pool}, "localhost", "tls"},
		{"options, wrong authority", &mysqlserver.Server{TLS: others.Server}, pairsOf("tls", "skip-verify"), &tls.Config{RootCAs: certs.Pool}, "localhost", "unknown authority"},
		{"options without verification", &mysqlserver.Server{TLS: others.Server}, nil, &tls.Config{InsecureSkipVerify: true}, "localhost", "tls"},
		{"options without verification, true", &mysqlserver.Server{TLS: others.Server}, pairsOf("tls", "true"), &tls.Config{InsecureSkipVerify: true, RootCAs: certs.Pool}, "localhost", "unknown authority"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := start(t, c.server)
			ep := endpoint(s, c.params...)
			ep.TLS = c.tls
			ep.Host = cmp.Or(c.host, ep.Host)
			e := gosqldriver.Engine{Configure: func(config *gomysql.Config) error {
				config.DialFunc = logintest.DialTo(s.Addr())
				return nil
			}}
			logintest.Outcome{Want: c.want, Logins: func() int { return len(s.Seen()) }, Seen: func() string {
				return map[bool]string{true: "tls", false: "plain"}[s.Seen()[0].TLS]
			}}.Check(t, e, ep, goodPassword)
			s.WaitClosed(t)
			if s.Dialled() != 1 {
				t.Errorf("%d connections, want 1", s.Dialled())
			}
		})
	}
}

// If a server has no TLS for a moment, the next connection asks for TLS again.
func TestTLSIsAskedForEachTime(t *testing.T) {
	certs := testca.New("localhost")
	plain, ok := start(t, &mysqlserver.Server{}), start(t, &mysqlserver.Server{TLS: certs.Server})
	target := plain
	e := gosqldriver.Engine{Configure: func(c *gomysql.Config) error {
		c.DialFunc = logintest.DialTo(target.Addr())
		return nil
	}}
	l, err := e.Prepare(endpoint(plain))
	if err != nil {
		t.Fatal(err)
	}
	for _, target = range []*mysqlserver.Server{plain, ok, plain, ok} {
		conn, err := l.Connect(t.Context(), driver.Credentials{User: "app_user", Password: driver.NewPassword(goodPassword)})
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
	}
	for _, l := range ok.Seen() {
		if !l.TLS {
			t.Error("a login without TLS to the server that has it")
		}
	}
}

// No server gets the password itself on a connection without TLS.
func TestNoPasswordInPlaintextWithoutTLS(t *testing.T) {
	certs := testca.New("localhost")
	for _, c := range []struct {
		name   string
		server *mysqlserver.Server
		params []string
		tls    *tls.Config
		want   string // part of an error; "": accepted
	}{
		{"by default", &mysqlserver.Server{SwitchTo: mysqlserver.ClearPassword}, nil, nil, "clear text authentication"},
		{"by default, TLS", &mysqlserver.Server{SwitchTo: mysqlserver.ClearPassword, TLS: certs.Server}, nil, nil, "clear text authentication"},
		{"allowed, TLS", &mysqlserver.Server{SwitchTo: mysqlserver.ClearPassword, TLS: certs.Server}, pairsOf("allowCleartextPasswords", "true", "tls", "skip-verify"), nil, ""},
		{"allowed, TLS of the options", &mysqlserver.Server{SwitchTo: mysqlserver.ClearPassword, TLS: certs.Server}, pairsOf("allowCleartextPasswords", "true", "tls", "skip-verify"), &tls.Config{InsecureSkipVerify: true}, ""},
		{"allowed, TLS not available", &mysqlserver.Server{SwitchTo: mysqlserver.ClearPassword}, pairsOf("allowCleartextPasswords", "true", "tls", "skip-verify"), nil, "does not support TLS"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := start(t, c.server)
			ep := endpoint(s, c.params...)
			ep.TLS = c.tls
			conn, err := connect(t, gosqldriver.Engine{}, ep, goodPassword)
			if conn != nil {
				_ = conn.Close()
			}
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("Connect = %v, want an error with %q", err, c.want)
			}
			for _, l := range s.Seen() {
				if !l.TLS {
					t.Errorf("the server saw %+v", l)
				}
			}
			s.WaitClosed(t)
		})
	}
	for _, params := range [][]string{
		pairsOf("allowCleartextPasswords", "true"),
		pairsOf("allowCleartextPasswords", "1", "tls", "preferred"),
		pairsOf("allowCleartextPasswords", "1", "tls", "false"),
	} {
		ep := driver.Endpoint{Host: "h", Port: 1, Params: pairs(params...)}
		if _, err := (gosqldriver.Engine{}).Prepare(ep); err == nil || !strings.Contains(err.Error(), `"allowCleartextPasswords" needs`) {
			t.Errorf("Prepare(%q) = %v", params, err)
		}
	}
}

func TestVariables(t *testing.T) {
	s := start(t, &mysqlserver.Server{})
	conn, err := connect(t, gosqldriver.Engine{}, endpoint(s, "time_zone", "'+00:00'", "charset", "utf8mb4"), goodPassword)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	s.WaitClosed(t)
	if want := []string{"SET NAMES utf8mb4", "SET time_zone = '+00:00'"}; !slices.Equal(s.Queries(), want) {
		t.Errorf("statements %q, want %q", s.Queries(), want)
	}
}

// Whatever makes a login fail, the error has no password and no socket stays open.
func TestErrorsHoldNoPassword(t *testing.T) {
	certs := testca.New("localhost")
	for _, c := range []struct {
		name   string
		server *mysqlserver.Server
		change func(*driver.Endpoint)
		want   string
		as     any
	}{
		{"rejected", &mysqlserver.Server{}, nil, "Error 1045 (28000): Access denied", new(*gomysql.MySQLError)},
		{"host is blocked", &mysqlserver.Server{Block: &mysqlserver.Error{Number: 1129, State: "HY000", Message: "blocked"}}, nil, "1129", new(*gomysql.MySQLError)},
		{"hangs up", &mysqlserver.Server{HangUp: mysqlserver.AtConnect}, nil, "connect to 127.0.0.1", nil},
		{"hangs up after the login", &mysqlserver.Server{HangUp: mysqlserver.AtLogin}, nil, "connect to 127.0.0.1", nil},
		{"wrong certificate", &mysqlserver.Server{TLS: certs.Server}, func(ep *driver.Endpoint) { ep.TLS = &tls.Config{RootCAs: certs.Pool} }, "certificate", new(*tls.CertificateVerificationError)},
		{"no TLS", &mysqlserver.Server{}, func(ep *driver.Endpoint) { ep.Params = pairs("tls", "true") }, "TLS", nil},
		{"look-up", &mysqlserver.Server{}, func(ep *driver.Endpoint) { ep.Host = "no-such-host.invalid" }, "no-such-host.invalid", new(*net.DNSError)},
		{"nobody listens", &mysqlserver.Server{}, func(ep *driver.Endpoint) { ep.Port = loopback.ClosedPort(t) }, "refused", new(*net.OpError)},
		{"two switches of method", &mysqlserver.Server{Method: "dialog", SwitchTo: "dialog"}, nil, "plugin", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := start(t, c.server)
			ep := endpoint(s)
			if c.change != nil {
				c.change(&ep)
			}
			err := logintest.Fails(t, gosqldriver.Engine{}, ep, canary, c.want, c.as)
			noPassword(t, err, canary)
			s.WaitClosed(t)
		})
	}
}

func TestConfigure(t *testing.T) {
	s := start(t, &mysqlserver.Server{})
	calls := 0
	e := gosqldriver.Engine{Configure: func(c *gomysql.Config) error {
		calls++
		if c.User != "" || c.Passwd != "" {
			t.Errorf("Configure sees user %q and a password of %d bytes, want none", c.User, len(c.Passwd))
		}
		if c.Addr != s.Addr() || c.DBName != "app" || len(c.Params) != 1 {
			t.Errorf("Configure sees %s, database %s, variables %q", c.Addr, c.DBName, c.Params)
		}
		c.User, c.Passwd = "mallory", "another"
		c.Params["autocommit"] = fmt.Sprint(calls)
		return nil
	}}
	logintest.ConnectTwice(t, e, endpoint(s, "sql_mode", "''"), "app_user", goodPassword)
	s.WaitClosed(t)
	for i, q := range s.Queries() {
		if want := fmt.Sprintf("autocommit = %d", i+1); !strings.Contains(q, want) {
			t.Errorf("statement %q, want %q in it", q, want)
		}
	}
	cause := errors.New("no tunnel")
	e.Configure = func(*gomysql.Config) error { return cause }
	if _, err := connect(t, e, endpoint(s), goodPassword); !errors.Is(err, cause) {
		t.Errorf("Connect = %v, want %v in the tree", err, cause)
	}
	e.Configure = func(c *gomysql.Config) error { c.Net, c.Addr = "none", ""; return nil }
	if _, err := connect(t, e, endpoint(s), goodPassword); err == nil {
		t.Error("Connect succeeded with a network that there is not")
	}
}

// By default go-sql-driver/mysql logs to the standard error stream. The engine does not.
func TestLogger(t *testing.T) {
	fail := func() {
		s := start(t, &mysqlserver.Server{HangUp: mysqlserver.AtConnect})
		if _, err := connect(t, gosqldriver.Engine{}, endpoint(s), canary); err == nil {
			t.Error("Connect succeeded")
		}
		if !(gosqldriver.Engine{}).Info().ClosesSuperseded {
			return
		}
		s = start(t, &mysqlserver.Server{})
		conn, err := newConnector(t, gosqldriver.Engine{}, endpoint(s), func() bool { return true }).Connect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.(sqldriver.SessionResetter).ResetSession(t.Context()); !errors.Is(err, sqldriver.ErrBadConn) {
			t.Errorf("ResetSession of a superseded connection = %v, want ErrBadConn", err)
		}
		_ = conn.Close()
	}
	_, stderr := subprocess.Run(t, func() {
		fail()
		var mine bytes.Buffer
		_ = gomysql.SetLogger(log.New(&mine, "", 0))
		fail()
		if mine.Len() == 0 {
			t.Error("the logger of SetLogger got nothing")
		}
		if (gosqldriver.Engine{}).Info().ClosesSuperseded && !strings.Contains(mine.String(), "closing bad idle connection: it was opened with a version") {
			t.Errorf("the logger of SetLogger got %q, want why a superseded connection was closed", mine.String())
		}
	})
	if stderr != "" {
		t.Errorf("standard error has %q, want nothing", stderr)
	}
}

func TestPrepareFails(t *testing.T) {
	if err := gomysql.RegisterTLSConfig("known", &tls.Config{}); err != nil {
		t.Fatal(err)
	}
	defer gomysql.DeregisterTLSConfig("known")
	configtest.PrepareFails(t, gosqldriver.Engine{}, []configtest.PrepareCase{
		{"parameter", driver.Endpoint{Host: "h", Port: 1, Params: pairs("TLS", "CANARY")}, `"TLS"`},
		{"TLS configuration", driver.Endpoint{Host: "h", Port: 1, Params: pairs("tls", "CANARY")}, `"tls"`},
		{"two TLS configurations", driver.Endpoint{Host: "h", Port: 1, Params: pairs("tls", "known"), TLS: &tls.Config{}}, `"tls"`},
		{"public key", driver.Endpoint{Host: "h", Port: 1, Params: pairs("serverPubKey", "CANARY")}, `"serverPubKey"`},
		{"time zone", driver.Endpoint{Host: "h", Port: 1, Params: pairs("loc", "CANARY")}, `"loc"`},
		{"unsafe collation", driver.Endpoint{Host: "h", Port: 1, Params: pairs("interpolateParams", "true", "collation", "gbk_chinese_ci")}, `"interpolateParams"`},
		{"no host", driver.Endpoint{Port: 1}, "host"},
		{"list", driver.Endpoint{Host: "a,b", Port: 1}, "host"},
		{"injection", driver.Endpoint{Host: "h)/x?tls=false#", Port: 1}, "host"},
		{"port", driver.Endpoint{Host: "h", Port: 65536}, "port"},
		{"no port", driver.Endpoint{Host: "h"}, "port"},
	})
}

func TestErrorNumbers(t *testing.T) {
	for number, want := range map[uint16]struct{ rejected, noDatabase bool }{
		1045: {true, false}, 1698: {true, false},
		1044: {false, true}, 1049: {false, true},
		1046: {}, 1146: {}, 1040: {}, 1129: {}, 1130: {}, 1227: {},
		3118: {}, 3955: {}, 4151: {}, 4150: {}, 1862: {}, 1820: {}, 3159: {}, 0: {},
	} {
		err := &gomysql.MySQLError{Number: number, Message: "Access denied for user 'app'@'%' (using password: YES): Unknown database"}
		logintest.Verdict(t, gosqldriver.Engine{}, err, want.rejected, want.noDatabase)
	}
	for _, err := range []error{
		nil, errors.New("Error 1045 (28000): Access denied"), errors.New("Error 1049 (42000): Unknown database"), gomysql.ErrInvalidConn, context.Canceled,
	} {
		logintest.Verdict(t, gosqldriver.Engine{}, err, false, false)
	}
}

func noPassword(t *testing.T, err error, password string) {
	t.Helper()
	logintest.NoPassword(t, err, password, reflect.TypeFor[gomysql.Config]())
}

func TestContextErrorIsReachable(t *testing.T) {
	logintest.ContextErrorIsReachable(t, endpoint(start(t, &mysqlserver.Server{})), func(dial logintest.Dial) driver.Engine {
		return gosqldriver.Engine{Configure: func(c *gomysql.Config) error { c.DialFunc = dial; return nil }}
	})
}

func TestAccountLocked(t *testing.T) {
	for number, want := range map[uint16]bool{3118: true, 3955: true, 4150: true, 4151: true, 1045: false, 1862: false} {
		if got := (gosqldriver.Engine{}).AccountLocked(&gomysql.MySQLError{Number: number}); got != want {
			t.Errorf("AccountLocked of error %d = %v", number, got)
		}
	}
}
