package goora_test

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	vendor "github.com/sijms/go-ora/v2"
	"github.com/sijms/go-ora/v2/configurations"
	"github.com/sijms/go-ora/v2/network"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/oracle/goora"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/tnsserver"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/configtest"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/leak"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/logintest"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/loopback"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/subprocess"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/testca"
)

func TestConnect(t *testing.T) {
	for _, c := range []struct {
		name     string
		change   func(*driver.Endpoint)
		want     string // part of the descriptor that the listener gets
		unwanted string
	}{
		{"service", nil, "(CONNECT_DATA=(SERVICE_NAME=ORCL)(CID=", "SID"},
		{"SID", func(ep *driver.Endpoint) { ep.Database = ":ORCLSID" }, "(CONNECT_DATA=(SID=ORCLSID)(CID=", "SERVICE_NAME"},
		{"server type", func(ep *driver.Endpoint) { ep.Params = pairs("server_type", "Pooled", "INSTANCE NAME", "orcl1") }, "(SERVICE_NAME=ORCL)(SERVER=pooled)(INSTANCE_NAME=orcl1)", ""},
		{"names of the client", func(ep *driver.Endpoint) { ep.Params = pairs("PROGRAM", "a)(SID=X", "os user", "ü(") }, "(CID=(PROGRAM=a??SID?X)(HOST=", "(SID="},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := start(t, nil)
			ep := endpoint(s)
			if c.change != nil {
				c.change(&ep)
			}
			conn, err := connect(t, goora.Engine{}, ep, goodPassword)
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := conn.(*vendor.Connection); !ok {
				t.Errorf("Connect returned a %T", conn)
			}
			_ = conn.Close()
			got := s.Connects()
			if len(got) != 1 || !strings.Contains(got[0], c.want) || c.unwanted != "" && strings.Contains(got[0], c.unwanted) {
				t.Errorf("the listener got %q, want %q in it and not %q", got, c.want, c.unwanted)
			}
			wantLogins(t, s, 1, 0)
			wantClosed(t, s)
		})
	}
}

// Every error of the server ends the attempt and closes its sockets. The error number of the server
// is in the tree.
func TestErrorsOfTheServerEndTheAttempt(t *testing.T) {
	for _, c := range []struct {
		name     string
		opts     *tnsserver.Options
		change   func(*tnsserver.Server, *driver.Endpoint)
		code     int
		rejected bool
		noDB     bool
		logins   int
	}{
		{"wrong password", nil, nil, 1017, true, false, 1},
		{"wrong password, markers", &tnsserver.Options{BreakOnError: true}, nil, 1017, true, false, 1},
		{"no such user", nil, func(s *tnsserver.Server, _ *driver.Endpoint) { s.Drop("app_user") }, 1017, true, false, 1},
		{"locked", nil, func(s *tnsserver.Server, _ *driver.Endpoint) { s.Lock("app_user", true) }, 28000, false, false, 1},
		{"expired", nil, func(s *tnsserver.Server, _ *driver.Endpoint) { s.SetPassword("app_user", canary); s.Expire("app_user") }, 28001, false, false, 1},
		{"unknown service", nil, func(_ *tnsserver.Server, ep *driver.Endpoint) { ep.Database = "OTHER" }, 12514, false, true, 0},
		{"unknown SID", nil, func(_ *tnsserver.Server, ep *driver.Endpoint) { ep.Database = ":OTHER" }, 12505, false, true, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := start(t, c.opts)
			ep := endpoint(s)
			if c.change != nil {
				c.change(s, &ep)
			}
			_, err := connect(t, goora.Engine{}, ep, canary)
			var oe *network.OracleError
			if !errors.As(err, &oe) || oe.ErrCode != c.code {
				t.Fatalf("Connect = %v, want ORA-%05d", err, c.code)
			}
			if text := err.Error(); !strings.Contains(text, fmt.Sprintf("connect to %s: ORA-%05d", s.Addr(), c.code)) || strings.ContainsAny(text, "\n\t") || strings.Contains(text, "position") {
				t.Errorf("the error reads %q", text)
			}
			e := goora.Engine{}
			if got := e.Rejected(err); got != c.rejected {
				t.Errorf("Rejected = %t, want %t", got, c.rejected)
			}
			if got := e.NoDatabase(err); got != c.noDB {
				t.Errorf("NoDatabase = %t, want %t", got, c.noDB)
			}
			noPassword(t, err, canary)
			wantLogins(t, s, 0, c.logins)
			wantClosed(t, s)
		})
	}
}

func TestEveryCharacter(t *testing.T) {
	s := start(t, nil)
	for _, password := range []string{string(logintest.EveryCharacter()), " ", `"`, `'`, `\`, "/", "@", "a/b@c:1/d", strings.Repeat("x", 2000)} {
		s.SetPassword("app_user", password)
		conn, err := connect(t, goora.Engine{}, endpoint(s), password)
		if err != nil {
			t.Errorf("password %.20q: %v", password, err)
			continue
		}
		_ = conn.Close()
		// A password of another length, or with another character, is rejected.
		if _, err := connect(t, goora.Engine{}, endpoint(s), password+"x"); !(goora.Engine{}).Rejected(err) {
			t.Errorf("password %.20q with a letter after it: %v, want a rejected login", password, err)
		}
	}
}

// The cases that TestErrorsOfTheServerEndTheAttempt does not have. The password is also not in what
// is kept between logins, nor in the error of a statement.
func TestErrorsHoldNoPassword(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*tnsserver.Server, *driver.Endpoint)
	}{
		{"no TLS", func(_ *tnsserver.Server, ep *driver.Endpoint) { ep.Params = pairs("SSL", "true") }},
		{"nobody listens", func(_ *tnsserver.Server, ep *driver.Endpoint) { ep.Port = loopback.ClosedPort(t) }},
		{"hangs up", func(s *tnsserver.Server, _ *driver.Endpoint) { s.HangUp(tnsserver.AtLogin) }},
		{"silent", func(s *tnsserver.Server, ep *driver.Endpoint) {
			s.Hang(tnsserver.AtLogin)
			ep.Params = pairs("connect_timeout", "100ms")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := start(t, nil)
			ep := endpoint(s)
			c.change(s, &ep)
			noPassword(t, logintest.Fails(t, goora.Engine{}, ep, canary, "", nil), canary)
		})
	}
	s := start(t, nil)
	s.SetPassword("app_user", canary)
	c := logintest.NewConnector(t, goora.Engine{}, endpoint(s), "app_user", canary, nil)
	db := sql.OpenDB(c)
	defer db.Close()
	_, err := db.ExecContext(t.Context(), "NO SUCH STATEMENT")
	if accepted, _ := s.Logins("app_user"); err == nil || accepted != 1 {
		t.Fatalf("Exec = %v after %d logins, want an error after one", err, accepted)
	}
	noPassword(t, err, canary)
	if where := leak.Find(c.Login, canary); where != "" {
		t.Errorf("the password is still in the login: %s", where)
	}
}

// The hosts of a list are tried until a listener accepts the connection. The others are not tried.
func TestSeveralHosts(t *testing.T) {
	const up, down, other, rejects, hangs = "up", "down", "other service", "rejects", "hangs up"
	for _, c := range []struct {
		name   string
		hosts  []string
		want   int // index of the server that the connection is to; -1: an error
		code   int
		logins []int // at each
	}{
		{"first", []string{up, up}, 0, 0, []int{1, 0}},
		{"first is down", []string{down, up}, 1, 0, []int{0, 1}},
		{"first knows no such service", []string{other, up}, 1, 0, []int{0, 1}},
		{"first rejects the password", []string{rejects, up}, -1, 1017, []int{1, 0}},
		{"second rejects the password", []string{down, rejects, up}, -1, 1017, []int{0, 1, 0}},
		{"all down", []string{down, down}, -1, 0, []int{0, 0}},
		{"none knows the service", []string{other, other}, -1, 12514, []int{0, 0}},
		{"first hangs up at the password", []string{hangs, up}, -1, 0, []int{0, 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var servers []*tnsserver.Server
			var addrs []string
			for _, kind := range c.hosts {
				opts := &tnsserver.Options{}
				if kind == other {
					opts.Services = []string{"another"}
				}
				s := tnsserver.New(t, opts)
				s.SetPassword("app_user", goodPassword)
				addr := s.Addr()
				switch kind {
				case rejects:
					s.SetPassword("app_user", "another")
				case down:
					s.Close()
				case hangs:
					s.HangUp(tnsserver.AtLogin)
				}
				servers, addrs = append(servers, s), append(addrs, addr)
			}
			ep := driver.Endpoint{Host: strings.Join(addrs, ","), Port: 1521, Database: "ORCL"}
			conn, err := connect(t, goora.Engine{}, ep, goodPassword)
			if (err == nil) != (c.want >= 0) {
				t.Fatalf("Connect = %v, want server %d", err, c.want)
			}
			if err == nil {
				_ = conn.Close()
			}
			var oe *network.OracleError
			if errors.As(err, &oe); c.code != 0 && (oe == nil || oe.ErrCode != c.code) {
				t.Errorf("Connect = %v, want ORA-%05d", err, c.code)
			}
			for i, s := range servers {
				ok, bad := s.Logins("app_user")
				if ok+bad != c.logins[i] {
					t.Errorf("server %d saw %d logins, want %d", i, ok+bad, c.logins[i])
				}
				if c.hosts[i] != down {
					wantClosed(t, s)
				}
			}
		})
	}
}

// A host that does not answer leaves time for the others: at least 2 s each.
func TestSilentHostLeavesTimeForTheOthers(t *testing.T) {
	s := start(t, nil)
	for _, c := range []struct {
		name   string
		params map[string]string
		first  [2]time.Duration // what the first of two hosts may get
	}{
		{"share", nil, [2]time.Duration{5 * time.Second, 10 * time.Second}},
		{"parameter", pairs("transport_connect_timeout", "200ms"), [2]time.Duration{0, 200 * time.Millisecond}},
		{"whole connect", pairs("connect_timeout", "3"), [2]time.Duration{1600 * time.Millisecond, 2 * time.Second}},
	} {
		dials := 0
		e := goora.Engine{Configure: func(config *configurations.ConnectionConfig) error {
			config.RegisterDial(func(ctx context.Context, network, address string) (net.Conn, error) {
				if dials++; dials > 1 {
					return (&net.Dialer{}).DialContext(ctx, network, s.Addr())
				}
				deadline, ok := ctx.Deadline()
				if left := time.Until(deadline); !ok || left < c.first[0] || left > c.first[1] {
					t.Errorf("%s: the first of two hosts gets %v, want %v", c.name, left, c.first)
				}
				return nil, context.DeadlineExceeded
			})
			return nil
		}}
		conn, err := connect(t, e, driver.Endpoint{Host: "a:1,b:2", Port: 1521, Database: "ORCL", Params: c.params}, goodPassword)
		if err != nil || dials != 2 {
			t.Errorf("%s: Connect = %v after %d dials, want the second host", c.name, err, dials)
			continue
		}
		_ = conn.Close()
	}
}

// With LOAD BALANCE, the first host is not always the same.
func TestLoadBalance(t *testing.T) {
	a, b := start(t, nil), start(t, nil)
	ep := driver.Endpoint{Host: a.Addr() + "," + b.Addr(), Port: 1521, Database: "ORCL", Params: pairs("load_balance", "on")}
	for range 200 {
		conn, err := connect(t, goora.Engine{}, ep, goodPassword)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
		okA, _ := a.Logins("app_user")
		okB, _ := b.Logins("app_user")
		if okA > 0 && okB > 0 {
			return
		}
	}
	t.Error("200 logins went to one of two servers")
}

func TestTLS(t *testing.T) {
	certs := testca.New("localhost", "127.0.0.1")
	others := testca.New("localhost", "127.0.0.1")
	roots := func() *tls.Config { return &tls.Config{RootCAs: certs.Pool} }
	named := func(name string) *tls.Config { return &tls.Config{RootCAs: certs.Pool, ServerName: name} }
	const tcps, tcp = true, false
	wallet := testca.Wallet(t, nil, certs.Authority.Raw)
	for _, c := range []struct {
		name   string
		server bool // TCPS
		cert   testca.Certificates
		params []string
		tls    *tls.Config
		host   string // "" is the address
		want   string // "tls", "plain" or part of an error
	}{
		{"SSL, no verification", tcps, others, []string{"SSL", "TRUE", "SSL VERIFY", "FALSE"}, nil, "", "tls"},
		{"SSL, server has none", tcp, certs, []string{"SSL", "true", "ssl_verify", "false"}, nil, "", "EOF|connection reset"},
		{"protocol tcps, system's authorities", tcps, certs, []string{"protocol", "tcps"}, nil, "localhost", "unknown authority"},
		{"protocol tcp", tcp, certs, []string{"protocol", "tcp"}, nil, "", "plain"},
		{"options, wrong name", tcps, certs, nil, roots(), "other.test", "valid for localhost, not other.test"},
		{"options, another server name, wrong", tcps, certs, nil, named("other.test"), "localhost", "valid for localhost, not other.test"},
		{"options, another server name, wrong authority", tcps, others, nil, named("localhost"), "other.test", "unknown authority"},
		{"options without verification", tcps, others, nil, &tls.Config{InsecureSkipVerify: true}, "localhost", "tls"},
		{"options without verification, name", tcps, others, nil, &tls.Config{InsecureSkipVerify: true, ServerName: "x"}, "localhost", "tls"},
		{"options without verification, SSL VERIFY", tcps, others, []string{"SSL", "true", "SSL VERIFY", "true"}, &tls.Config{InsecureSkipVerify: true, RootCAs: certs.Pool}, "localhost", "unknown authority"},
		{"options, SSL VERIFY=false is no laxer", tcps, others, []string{"SSL", "true", "SSL VERIFY", "false"}, roots(), "localhost", "unknown authority"},
		{"wallet, its file", tcps, certs, []string{"SSL", "true", "WALLET", wallet + "/cwallet.sso"}, nil, "localhost", "tls"},
		{"wallet, wrong authority", tcps, others, []string{"SSL", "true", "WALLET", wallet}, nil, "localhost", "unknown authority"},
		{"wallet and options", tcps, certs, []string{"SSL", "true", "WALLET", wallet}, &tls.Config{RootCAs: others.Pool}, "localhost", "tls"},
	} {
		for _, resend := range []bool{false, true} {
			if resend && !c.server {
				continue
			}
			t.Run(fmt.Sprintf("%s/second handshake=%t", c.name, resend), func(t *testing.T) {
				opts := &tnsserver.Options{ResendTLS: resend}
				if c.server {
					opts.TLS = c.cert.Server
				}
				s := start(t, opts)
				ep := endpoint(s, c.params...)
				ep.TLS = c.tls
				ep.Host = cmp.Or(c.host, ep.Host)
				e := goora.Engine{Configure: func(config *configurations.ConnectionConfig) error {
					config.RegisterDial(logintest.DialTo(s.Addr()))
					return nil
				}}
				logintest.Outcome{Want: c.want, Logins: func() int {
					accepted, rejected := s.Logins("app_user")
					return accepted + rejected
				}, Seen: func() string {
					return map[bool]string{true: "tls", false: "plain"}[c.server]
				}}.Check(t, e, ep, goodPassword)
				wantClosed(t, s)
			})
		}
	}
}

// An error of the verification is that of crypto/tls. The caller's configuration does not change,
// also when several connections use it at once.
func TestTLSConfigIsCloned(t *testing.T) {
	certs := testca.New("localhost")
	s := start(t, &tnsserver.Options{TLS: certs.Server})
	mine := &tls.Config{RootCAs: certs.Pool}
	ep := endpoint(s)
	ep.TLS = mine
	_, err := connect(t, goora.Engine{}, ep, goodPassword)
	var name x509.HostnameError
	if !errors.As(err, &name) {
		t.Errorf("Connect = %v, want an x509.HostnameError", err)
	}
	if mine.ServerName != "" || mine.InsecureSkipVerify || mine.VerifyConnection != nil {
		t.Errorf("the caller's configuration is changed: %+v", mine)
	}
	// Parameters change a copy.
	mine.InsecureSkipVerify, ep.Params = true, pairs("SSL", "true", "SSL VERIFY", "true", "WALLET", testca.Wallet(t, nil, certs.Authority.Raw))
	if _, err := (goora.Engine{}).Prepare(ep); err != nil {
		t.Fatal(err)
	}
	if !mine.InsecureSkipVerify || mine.RootCAs != certs.Pool {
		t.Error("parameters have changed the caller's configuration")
	}
	mine.InsecureSkipVerify, ep.Params = false, nil
	e := goora.Engine{Configure: func(c *configurations.ConnectionConfig) error {
		if c.TLSConfig.ServerName != "" {
			t.Errorf("Configure sees ServerName %q, which it set for another connection", c.TLSConfig.ServerName)
		}
		c.TLSConfig.ServerName = "localhost"
		return nil
	}}
	logintest.ConnectTwice(t, e, ep, "app_user", goodPassword)
	e = goora.Engine{Configure: func(c *configurations.ConnectionConfig) error {
		c.TLSConfig = mine
		return nil
	}}
	if _, err = connect(t, e, ep, goodPassword); !errors.As(err, &name) {
		t.Errorf("Connect = %v, want an x509.HostnameError", err)
	}
	if mine.ServerName != "" {
		t.Errorf("a configuration of Configure's has ServerName %q now", mine.ServerName)
	}
}

// If the configuration has a ServerName, its callbacks are called with the verified chains.
func TestTLSCallbacks(t *testing.T) {
	certs := testca.New("localhost")
	s := start(t, &tnsserver.Options{TLS: certs.Server})
	peers, connections := 0, 0
	stop := errors.New("stop")
	ep := endpoint(s)
	ep.TLS = &tls.Config{RootCAs: certs.Pool, ServerName: "localhost",
		VerifyPeerCertificate: func(raw [][]byte, chains [][]*x509.Certificate) error {
			if len(raw) == 1 && len(chains) == 1 {
				peers++
			}
			return nil
		},
		VerifyConnection: func(cs tls.ConnectionState) error {
			if len(cs.VerifiedChains) == 1 {
				connections++
			}
			return stop
		}}
	_, err := connect(t, goora.Engine{}, ep, goodPassword)
	if !errors.Is(err, stop) || peers != 1 || connections != 1 {
		t.Errorf("Connect = %v, callbacks called %d and %d times, want %v and once each", err, peers, connections, stop)
	}
}

// A redirect is followed, with TLS if the login has TLS, whatever the redirect says.
func TestRedirect(t *testing.T) {
	certs := testca.New("127.0.0.1")
	to := func(s *tnsserver.Server, protocol string) string {
		return fmt.Sprintf("(ADDRESS=(PROTOCOL=%s)(HOST=%s)(PORT=%d))", protocol, s.Host, s.Port)
	}
	plain, tcps := start(t, nil), start(t, &tnsserver.Options{TLS: certs.Server})
	for _, c := range []struct {
		name string
		from *tnsserver.Options
		want string // part of an error; "" is none
	}{
		{"tcp to tcp", &tnsserver.Options{Redirect: to(plain, "tcp")}, ""},
		{"tcps to tcps", &tnsserver.Options{TLS: certs.Server, Redirect: to(tcps, "tcps")}, ""},
		{"tcps to tcp", &tnsserver.Options{TLS: certs.Server, Redirect: to(plain, "tcp")}, "without TLS"},
	} {
		from := start(t, c.from)
		before, _ := plain.Logins("app_user")
		ep := endpoint(from)
		if c.from.TLS != nil {
			ep.TLS = &tls.Config{RootCAs: certs.Pool}
		}
		conn, err := connect(t, goora.Engine{}, ep, goodPassword)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: Connect = %v, want an error with %q", c.name, err, c.want)
		}
		if err == nil {
			_ = conn.Close()
		} else if after, _ := plain.Logins("app_user"); after != before {
			t.Errorf("%s: a login went to a server without TLS", c.name)
		}
		wantClosed(t, from)
	}
	wantClosed(t, plain)
	wantClosed(t, tcps)
}

func TestEndlessRedirectIsAnError(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	var dials atomic.Int32
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			dials.Add(1)
			to := "(ADDRESS=(PROTOCOL=tcp)(HOST=127.0.0.1)(PORT=" + port + "))"
			_, _ = c.Read(make([]byte, 4096))
			_, _ = c.Write(append([]byte{0, byte(10 + len(to)), 0, 0, 5, 0, 0, 0, 0, byte(len(to))}, to...))
			_, _ = io.Copy(io.Discard, c)
			_ = c.Close()
		}
	}()
	p, _ := strconv.Atoi(port)
	_, err = connect(t, goora.Engine{}, driver.Endpoint{Host: "127.0.0.1", Port: p, Database: "ORCL"}, goodPassword)
	if err == nil || !strings.Contains(err.Error(), "keep sending the client") {
		t.Errorf("Connect = %v, want an error about the listeners", err)
	}
	if n := dials.Load(); n != 5 {
		t.Errorf("%d connections, want the first and four that it was sent on", n)
	}
}

// The parameter ends an attempt as a deadline does, at whatever step the server falls silent.
func TestConnectTimeout(t *testing.T) {
	certs := testca.New("127.0.0.1")
	for _, step := range []tnsserver.Step{tnsserver.AtConnect, tnsserver.AtLogin, tnsserver.AtQuery} {
		for _, config := range []*tls.Config{nil, {RootCAs: certs.Pool}} {
			opts := &tnsserver.Options{}
			if config != nil {
				opts.TLS = certs.Server
			}
			s := start(t, opts)
			s.Hang(step)
			ep := endpoint(s, "connect_timeout", "100ms")
			ep.TLS = config
			began := time.Now()
			_, err := connect(t, goora.Engine{}, ep, goodPassword)
			if d := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || d > 5*time.Second {
				t.Errorf("step %d, TLS=%t: Connect = %v after %v, want %v", step, config != nil, err, d, context.DeadlineExceeded)
			}
			wantClosed(t, s)
		}
	}
}

// A server that speaks another protocol is an error and no panic.
func TestServerOfAnotherProtocolIsAnError(t *testing.T) {
	accept := make([]byte, 45)
	copy(accept, []byte{0, 45, 0, 0, 2, 0, 0, 0, 1, 61, 0, 1, 32, 0, 255, 255, 0, 1, 0, 0, 0, 45, 4, 4})
	accept[34], accept[38] = 32, 255
	data := func(b ...byte) []byte {
		n := len(b) + 10
		return append([]byte{0, 0, byte(n >> 8), byte(n), 6, 0, 0, 0, 0, 0}, b...)
	}
	for name, answers := range map[string][][]byte{
		"short ACCEPT":             {{0, 9, 0, 0, 2, 0, 0, 0, 0}},
		"short REFUSE":             {{0, 9, 0, 0, 4, 0, 0, 0, 0}},
		"short REDIRECT":           {{0, 9, 0, 0, 5, 0, 0, 0, 0}},
		"short length":             {{0, 1, 0, 0, 2, 0, 0, 0, 0}},
		"unknown packet":           {{0, 8, 0, 0, 99, 0, 0, 0}},
		"HTTP":                     {[]byte("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")},
		"no capabilities":          {accept, data(append([]byte{1, 6, 0, 0}, make([]byte, 80)...)...)},
		"zeros":                    {accept, data(make([]byte, 200)...)},
		"wrong message":            {accept, data(99)},
		"closed in an orderly way": {accept, {0, 0, 0, 10, 6, 0, 0, 0, 0, 0x40}},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			closed := make(chan error, 1)
			go func() {
				c, err := l.Accept()
				if err != nil {
					closed <- err
					return
				}
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(10 * time.Second))
				for _, a := range answers {
					_, _ = c.Read(make([]byte, 4096))
					_, _ = c.Write(a)
				}
				_, err = io.Copy(io.Discard, c)
				closed <- err
			}()
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond) // some wait for more
			defer cancel()
			ep := driver.Endpoint{Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port, Database: "ORCL"}
			_, err = logintest.ConnectContext(ctx, t, goora.Engine{}, ep, "app_user", canary)
			if err == nil {
				t.Fatal("Connect succeeded")
			}
			noPassword(t, err, canary)
			var n net.Error
			if err := <-closed; errors.As(err, &n) && n.Timeout() {
				t.Error("the socket is still open 10 s later")
			}
		})
	}
}

func TestConfigure(t *testing.T) {
	s := start(t, nil)
	calls := 0
	e := goora.Engine{Configure: func(c *configurations.ConnectionConfig) error {
		calls++
		if c.UserID != "" || c.Password != "" {
			t.Errorf("Configure sees user %q and a password of %d bytes, want none", c.UserID, len(c.Password))
		}
		if len(c.Servers) != 1 || c.Servers[0].Addr != s.Host || c.ServiceName != "ORCL" || c.PrefetchRows != 7 {
			t.Errorf("Configure sees servers %v, service %s, %d rows", c.Servers, c.ServiceName, c.PrefetchRows)
		}
		c.UserID, c.Password = "mallory", "another"
		c.ServiceName, c.PrefetchRows = "changed", 1
		c.Servers[0].Addr = "localhost"
		return nil
	}}
	logintest.ConnectTwice(t, e, endpoint(s, "prefetch_rows", "7"), "app_user", goodPassword)
	if calls != 2 {
		t.Errorf("Configure was called %d times for two logins", calls)
	}
	cause := errors.New("no tunnel")
	e.Configure = func(*configurations.ConnectionConfig) error { return cause }
	if _, err := connect(t, e, endpoint(s), goodPassword); !errors.Is(err, cause) {
		t.Errorf("Connect = %v, want %v in the tree", err, cause)
	}
	e.Configure = func(c *configurations.ConnectionConfig) error { c.Servers = nil; return nil }
	if _, err := connect(t, e, endpoint(s), goodPassword); err == nil {
		t.Error("Connect succeeded without a server")
	}
	e.Configure = func(c *configurations.ConnectionConfig) error {
		c.RegisterDial(func(context.Context, string, string) (net.Conn, error) { return nil, cause })
		return nil
	}
	if _, err := connect(t, e, endpoint(s), goodPassword); !errors.Is(err, cause) {
		t.Errorf("Connect = %v, want the dialer's %v in the tree", err, cause)
	}
}

// go-ora writes nothing to the standard streams.
func TestNothingIsWrittenToStandardStreams(t *testing.T) {
	stdout, stderr := subprocess.Run(t, func() {
		s := start(t, nil)
		if _, err := connect(t, goora.Engine{}, endpoint(s), canary); err == nil {
			t.Error("Connect succeeded with a wrong password")
		}
		conn, err := connect(t, goora.Engine{}, endpoint(s), goodPassword)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
	})
	if stdout+stderr != "" {
		t.Errorf("standard output: %q, standard error: %q, want nothing", stdout, stderr)
	}
}

func TestPrepareFails(t *testing.T) {
	configtest.PrepareFails(t, goora.Engine{}, []configtest.PrepareCase{
		{"parameter", driver.Endpoint{Host: "h", Port: 1, Database: "d", Params: pairs("no such", "CANARY")}, `"no such"`},
		{"no host", driver.Endpoint{Port: 1, Database: "d"}, "host"},
		{"injection by the host", driver.Endpoint{Host: "h)(PORT=1", Port: 1, Database: "d"}, "host"},
		{"empty host in a list", driver.Endpoint{Host: "a,,b", Port: 1, Database: "d"}, "host"},
		{"port", driver.Endpoint{Host: "h", Port: 65536, Database: "d"}, "port"},
		{"two zones of an address", driver.Endpoint{Host: "[fe80::1%a],[fe80::1%b]", Port: 1, Database: "D"}, "zones"},
		{"no port", driver.Endpoint{Host: "h", Database: "d"}, "port"},
		{"no database", driver.Endpoint{Host: "h", Port: 1}, "database"},
		{"no SID", driver.Endpoint{Host: "h", Port: 1, Database: ":"}, "database"},
		{"injection by the database", driver.Endpoint{Host: "h", Port: 1, Database: "d)(SERVER=CANARY"}, "database"},
		{"wallet", driver.Endpoint{Host: "h", Port: 1, Database: "d", Params: pairs("SSL", "true", "WALLET", "no-such-wallet")}, `"WALLET"`},
		{"protocol tcp and options", driver.Endpoint{Host: "h", Port: 1, Database: "d", Params: pairs("PROTOCOL", "tcp"), TLS: &tls.Config{}}, "tcps"},
	})
}

func TestErrorCodes(t *testing.T) {
	for code, want := range map[int]struct{ rejected, noDatabase bool }{
		1017: {true, false}, 1005: {true, false}, 9911: {true, false},
		12514: {false, true}, 12505: {false, true},
		28000: {}, 28001: {}, 28002: {}, 1045: {}, 1034: {}, 12516: {}, 12541: {}, 12564: {}, 28040: {}, 17: {}, 0: {},
	} {
		oe := &network.OracleError{ErrCode: code, ErrMsg: "ORA-01017: invalid username/password; logon denied"}
		logintest.Verdict(t, goora.Engine{}, oe, want.rejected, want.noDatabase)
	}
	for _, err := range []error{nil, errors.New("ORA-01017: invalid username/password"), sqldriver.ErrBadConn, context.Canceled} {
		logintest.Verdict(t, goora.Engine{}, err, false, false)
	}
}

func TestAccountLocked(t *testing.T) {
	for code, want := range map[int]bool{28000: true, 28001: false, 1017: false} {
		if got := (goora.Engine{}).AccountLocked(&network.OracleError{ErrCode: code}); got != want {
			t.Errorf("AccountLocked of ORA-%05d = %v", code, got)
		}
	}
}
