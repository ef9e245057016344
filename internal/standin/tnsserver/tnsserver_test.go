package tnsserver_test

import (
	"context"
	"crypto/tls"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	goora "github.com/sijms/go-ora/v2"
	"github.com/sijms/go-ora/v2/configurations"
	"github.com/sijms/go-ora/v2/network"

	"github.com/sqlsecrets/sqlsecrets/internal/standin/accounts"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/tnsserver"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/loopback"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/testca"
)

const password = "pässwörd ';{}€"

// open lets go-ora connect.
func open(t *testing.T, s *tnsserver.Server, password string, change ...func(*configurations.ConnectionConfig)) (*goora.Connection, error) {
	t.Helper()
	c := &configurations.ConnectionConfig{PrefetchRows: 25}
	c.Servers = []configurations.ServerAddr{{Addr: s.Host, Port: s.Port}}
	c.ServiceName, c.UserID, c.Password = "ORCL", "app", password
	c.Protocol, c.SessionDataUnitSize, c.TransportDataUnitSize = "tcp", 0x200000, 0x200000
	c.Language, c.Territory = "AMERICAN", "AMERICA"
	var d net.Dialer
	c.RegisterDial(func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := d.DialContext(ctx, network, addr)
		if err == nil {
			t.Cleanup(func() { _ = conn.Close() }) // go-ora does not if the login fails
		}
		return conn, err
	})
	for _, f := range change {
		f(c)
	}
	conn, err := goora.NewConnection("", c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	return conn, conn.OpenWithContext(ctx)
}

// query returns the value of a query.
func query(t *testing.T, c *goora.Connection, text string) (any, error) {
	t.Helper()
	rows, err := c.QueryContext(t.Context(), text, nil)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	row := make([]driver.Value, 1)
	if err := rows.Next(row); err != nil {
		t.Fatalf("%s: no row: %v", text, err)
	}
	if err := rows.Next(make([]driver.Value, 1)); err != io.EOF {
		t.Errorf("%s: after the row %v, want io.EOF", text, err)
	}
	return row[0], nil
}

func wantCode(t *testing.T, err error, code int) {
	t.Helper()
	var oe *network.OracleError
	if !errors.As(err, &oe) || oe.ErrCode != code {
		t.Errorf("error %v, want ORA-%05d", err, code)
	}
}

func TestLogin(t *testing.T) {
	certs := testca.New("localhost", "127.0.0.1")
	overTLS := func(c *configurations.ConnectionConfig) {
		c.Protocol, c.TLSConfig = "tcps", &tls.Config{RootCAs: certs.Pool}
	}
	for _, tt := range []struct {
		name   string
		opts   *tnsserver.Options
		change func(*configurations.ConnectionConfig)
	}{
		{"TCP", nil, func(*configurations.ConnectionConfig) {}},
		{"markers before errors", &tnsserver.Options{BreakOnError: true}, func(*configurations.ConnectionConfig) {}},
		{"long descriptor", nil, func(c *configurations.ConnectionConfig) { c.Cid = "(CID=(PROGRAM=" + strings.Repeat("x", 9000) + "))" }},
		{"SID", nil, func(c *configurations.ConnectionConfig) { c.SID = "orclsid" }},
		{"TCPS", &tnsserver.Options{TLS: certs.Server}, overTLS},
		{"TCPS, second handshake", &tnsserver.Options{TLS: certs.Server, ResendTLS: true}, overTLS},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := tnsserver.New(t, tt.opts)
			s.SetPassword("app", password)
			c, err := open(t, s, password, tt.change)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if got, err := query(t, c, "SELECT USER FROM DUAL"); err != nil || got != "APP" {
					t.Errorf("USER = %v, %v, want APP", got, err)
				}
				if got, err := query(t, c, " SELECT 1 FROM DUAL\n"); err != nil || got != "1" {
					t.Errorf("1 = %v, %v", got, err)
				}
			}
			_, err = query(t, c, "SELECT X FROM DUAL, DUAL")
			wantCode(t, err, 900)
			if err := c.Ping(t.Context()); err != nil {
				t.Errorf("Ping: %v", err)
			}
			if err := c.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
			_, err = open(t, s, "another", tt.change)
			wantCode(t, err, 1017)
			if ok, bad := s.Logins("APP"); ok != 1 || bad != 1 {
				t.Errorf("%d logins accepted and %d rejected, want one of each", ok, bad)
			}
		})
	}
}

func TestPasswordsChange(t *testing.T) {
	s := tnsserver.New(t, &tnsserver.Options{FailedLogins: 2})
	s.SetPassword("app", password)
	want := func(password string, code int) {
		t.Helper()
		c, err := open(t, s, password)
		if code != 0 {
			wantCode(t, err, code)
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
	}
	c, err := open(t, s, password)
	if err != nil {
		t.Fatal(err)
	}
	s.SetPassword("App", "second")
	want(password, 1017)
	want("second", 0)
	if got, err := query(t, c, "SELECT USER FROM DUAL"); err != nil || got != "APP" {
		t.Errorf("after the password was changed: %v, %v, want APP", got, err)
	}
	s.SetPassword("APP", "thi'rd")
	want("second", 1017)
	want("thi'rd", 0)
	s.Expire("app")
	want("thi'rd", 28001)
	want("another", 1017)
	s.SetPassword("app", "fourth")
	s.Lock("app", true)
	want("fourth", 28000)
	want("another", 28000)
	s.Lock("app", false)
	want("another", 1017)
	want("fourth", 0) // ends the row of failures
	want("another", 1017)
	want("another", 1017)
	want("fourth", 28000)
	s.Lock("app", false)
	s.Drop("app")
	want("fourth", 1017)
	if ok, bad := s.Logins("app"); ok != 4 || bad != 11 {
		t.Errorf("%d logins accepted and %d rejected, want 4 and 11", ok, bad)
	}
	if got, want := s.Tallies()["APP"], (accounts.Tally{Accepted: 4, Rejected: 7, Failed: 4}); got != want {
		t.Errorf("the tally is %+v, want %+v", got, want)
	}
}

// The server has fixed answers to a few statements. Sessions do not affect each other.
func TestStatementsAndSessions(t *testing.T) {
	s := tnsserver.New(t, nil)
	const id = "SELECT SYS_CONTEXT('USERENV', 'SESSIONID') FROM DUAL"
	var ids []string
	for _, user := range []string{"app", "app", "other"} {
		s.SetPassword(user, password)
		c, err := open(t, s, password, func(c *configurations.ConnectionConfig) { c.UserID = user })
		if err != nil {
			t.Fatal(err)
		}
		for text, want := range map[string]string{
			"SELECT 40 + 2 FROM DUAL": "42", `SELECT 42 AS "answer" FROM DUAL`: "42", "SELECT USER FROM DUAL": strings.ToUpper(user),
		} {
			if got, err := query(t, c, text); err != nil || got != want {
				t.Errorf("%s: %v, %v, want %s", text, got, err, want)
			}
		}
		n, err := query(t, c, id)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, n.(string))
	}
	if got := fmt.Sprint(s.Sessions("app")); got != "["+ids[0]+" "+ids[1]+"]" {
		t.Errorf("Sessions = %s, want those of %s", got, ids[:2])
	}
	if got := s.Sessions("nobody"); len(got) != 0 {
		t.Errorf("Sessions of nobody = %d", got)
	}
}

// A name in quotes stays unchanged. Any other name becomes upper case.
func TestNames(t *testing.T) {
	s := tnsserver.New(t, nil)
	s.SetPassword("app", password)
	s.SetPassword(`"lower case"`, password)
	for user, code := range map[string]int{"App": 0, `"APP"`: 0, `"app"`: 1017, `"lower case"`: 0, "lower case": 1017} {
		c, err := open(t, s, password, func(c *configurations.ConnectionConfig) { c.UserID = user })
		if code != 0 {
			wantCode(t, err, code)
		} else if err != nil {
			t.Errorf("login as %s: %v", user, err)
		} else {
			_ = c.Close()
		}
	}
}

func TestRefusals(t *testing.T) {
	s := tnsserver.New(t, nil)
	s.SetPassword("app", password)
	_, err := open(t, s, password, func(c *configurations.ConnectionConfig) { c.ServiceName = "OTHER" })
	wantCode(t, err, 12514)
	_, err = open(t, s, password, func(c *configurations.ConnectionConfig) { c.SID = "OTHER" })
	wantCode(t, err, 12505)
	if ok, bad := s.Logins("app"); ok != 0 || bad != 0 {
		t.Errorf("%d logins accepted and %d rejected, want none", ok, bad)
	}
	if got := s.Connects(); len(got) != 2 || !strings.Contains(got[0], "(SERVICE_NAME=OTHER)") {
		t.Errorf("descriptors %q, want two, the first with SERVICE_NAME=OTHER", got)
	}
}

func TestRedirect(t *testing.T) {
	s := tnsserver.New(t, nil)
	s.SetPassword("app", password)
	host, port, _ := net.SplitHostPort(s.Addr())
	from := tnsserver.New(t, &tnsserver.Options{Redirect: "(ADDRESS=(PROTOCOL=tcp)(HOST=" + host + ")(PORT=" + port + "))"})
	c, err := open(t, from, password)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	if ok, _ := s.Logins("app"); ok != 1 {
		t.Errorf("%d logins where the client was sent, want 1", ok)
	}
}

func TestHang(t *testing.T) {
	for _, step := range []tnsserver.Step{tnsserver.AtConnect, tnsserver.AtLogin} {
		s := tnsserver.New(t, nil)
		s.SetPassword("app", password)
		s.Hang(step)
		_, err := open(t, s, password, func(c *configurations.ConnectionConfig) { c.Timeout = 300 * time.Millisecond })
		var n net.Error
		if !errors.As(err, &n) || !n.Timeout() {
			t.Errorf("step %d: %v, want a timeout", step, err)
		}
		if ok, bad := s.Logins("app"); ok != 0 || bad != 0 {
			t.Errorf("step %d: %d logins accepted and %d rejected, want none", step, ok, bad)
		}
	}
}

func TestIPv6(t *testing.T) {
	if !loopback.HasIPv6() {
		t.Skip("no IPv6 here")
	}
	s := tnsserver.New(t, &tnsserver.Options{IPv6: true})
	s.SetPassword("app", password)
	c, err := open(t, s, password, func(c *configurations.ConnectionConfig) { c.Servers[0].Addr = "::1" })
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	if c, err = open(t, s, password); err != nil {
		t.Fatal(err)
	}
	if got := s.Open(); got < 1 {
		t.Errorf("%d connections are open, want 1", got)
	}
	_ = c.Close()
}

// One server may have TCP and TCPS at two ports, and has both again after a restart.
func TestBothProtocolsAndRestart(t *testing.T) {
	certs := testca.New("127.0.0.1")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	secure := l.Addr().(*net.TCPAddr).Port
	_ = l.Close()
	s := tnsserver.New(t, &tnsserver.Options{TLS: certs.Server, TCPSPort: secure})
	s.SetPassword("app", password)
	port := s.Port
	overTLS := func(c *configurations.ConnectionConfig) {
		c.Protocol, c.TLSConfig, c.Servers[0].Port = "tcps", &tls.Config{RootCAs: certs.Pool, MinVersion: tls.VersionTLS12}, secure
	}
	var old *goora.Connection
	for i := range 2 {
		for protocol, change := range map[string]func(*configurations.ConnectionConfig){"tcp": func(*configurations.ConnectionConfig) {}, "tcps": overTLS} {
			c, err := open(t, s, password, change)
			if err != nil {
				t.Fatalf("%s: %v", protocol, err)
			}
			if got, err := query(t, c, "SELECT SYS_CONTEXT('USERENV', 'NETWORK_PROTOCOL') FROM DUAL"); err != nil || got != protocol {
				t.Errorf("the protocol is %v, %v, want %s", got, err, protocol)
			}
			old = c
		}
		if i == 0 {
			if err := s.Restart(); err != nil {
				t.Fatal(err)
			}
			if s.Port != port {
				t.Errorf("the port is %d, was %d", s.Port, port)
			}
			if err := old.Ping(t.Context()); err == nil {
				t.Error("a connection lives on")
			}
		}
	}
}
