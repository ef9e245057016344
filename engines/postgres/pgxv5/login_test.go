package pgxv5_test

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/postgres/pgxv5"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/pgserver"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/configtest"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/logintest"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/loopback"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/testca"
)

func TestConnect(t *testing.T) {
	s := (&pgserver.Server{Check: wrongPassword}).Start(t)
	conn, err := connect(t, pgxv5.Engine{}, endpoint(s, "application_name", "a b'\\", "search_path", "x"), goodPassword)
	if err != nil {
		t.Fatal(err)
	}
	if got := conn.Conn().PgConn().ParameterStatus("client_encoding"); got != "UTF8" {
		t.Errorf("client_encoding is %q", got)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	s.WaitClosed(t)
	got := s.Seen()
	if len(got) != 1 {
		t.Fatalf("the server saw %d logins, want 1", len(got))
	}
	want := pgserver.Login{User: "app_user", Password: goodPassword, Database: "app"}
	if l := got[0]; l.User != want.User || l.Password != want.Password || l.Database != want.Database || l.TLS {
		t.Errorf("the server saw %+v, want %+v", l, want)
	}
	wantParams := pairs("user", "app_user", "database", "app", "application_name", "a b'\\", "search_path", "x")
	if fmt.Sprint(got[0].Params) != fmt.Sprint(wantParams) {
		t.Errorf("startup parameters %q, want %q", got[0].Params, wantParams)
	}
}

func TestEveryCharacter(t *testing.T) {
	s := (&pgserver.Server{}).Start(t)
	l, err := pgxv5.Engine{}.Prepare(endpoint(s))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{string(logintest.EveryCharacter()), " ", "", `\`, `'`, " sslmode=disable host=evil "} {
		conn, err := l.Connect(t.Context(), driver.Credentials{User: "u" + text, Password: driver.NewPassword(text)})
		if err != nil {
			t.Fatalf("password %q: %v", text, err)
		}
		_ = conn.Close()
		seen := s.Seen()
		if got := seen[len(seen)-1]; got.Password != text || got.User != "u"+text {
			t.Errorf("the server got user %q and password %q, want %q", got.User, got.Password, text)
		}
	}
}

// A login that a server rejects is not repeated: not in plaintext, as pgx's own sslmode=prefer
// does, and not at another address of the host.
func TestOneLoginPerConnect(t *testing.T) {
	certs := testca.New("localhost")
	for _, code := range []string{"28000", "28P01", "08P01", "53300", "57P03", "3D000", "42501", "XX000"} {
		for _, tlsOn := range []bool{true, false} {
			for _, when := range []string{"before the password", "after it"} {
				t.Run(fmt.Sprintf("%s/tls=%t/%s", code, tlsOn, when), func(t *testing.T) {
					s := &pgserver.Server{Check: func(pgserver.Login) *pgserver.Error { return pgserver.NewError(code, "", "no") }}
					if tlsOn {
						s.TLS = certs.Server
					}
					s.Start(t)
					e := pgxv5.Engine{Configure: func(c *pgx.ConnConfig) error {
						c.LookupFunc = func(context.Context, string) ([]string, error) {
							return []string{"127.0.0.1", "127.0.0.1", "127.0.0.1"}, nil
						}
						if when == "before the password" {
							c.RequireAuth = "scram-sha-256" // pgx hangs up at the request for a password
						}
						return nil
					}}
					_, err := connect(t, e, endpoint(s), goodPassword)
					s.WaitClosed(t)
					if err == nil {
						t.Fatal("Connect succeeded")
					}
					got := s.Seen()
					if when == "before the password" {
						if len(got) != 0 {
							t.Errorf("the server saw %d passwords, want none", len(got))
						}
						return
					}
					want := 1
					if code == "57P03" {
						want = 3 // goes on, as libpq does
					}
					if len(got) != want {
						t.Errorf("the server saw %d logins, want %d", len(got), want)
					}
					for _, l := range got {
						if l.TLS != tlsOn {
							t.Errorf("login with TLS %t, want %t", l.TLS, tlsOn)
						}
					}
					var pg *pgconn.PgError
					if !errors.As(err, &pg) || pg.Code != code {
						t.Errorf("error %v, want one with the server's", err)
					}
				})
			}
		}
	}
}

func TestTLS(t *testing.T) {
	certs := testca.New("localhost", "127.0.0.1")
	others := testca.New("localhost", "127.0.0.1")
	verify := []string{"sslrootcert", certs.File(t), "sslmode"}
	for _, c := range []struct {
		name   string
		server *pgserver.Server
		params []string
		tls    *tls.Config
		host   string // "" is the address
		want   string // "tls", "plain" or part of an error
		dials  int    // 0: not checked
	}{
		{"default, available", &pgserver.Server{TLS: certs.Server}, nil, nil, "", "tls", 1},
		{"default, not available", &pgserver.Server{}, nil, nil, "", "plain", 1},
		{"default, error for an answer", &pgserver.Server{Answer: 'E'}, nil, nil, "", "refused TLS", 1},
		{"default, nonsense for an answer", &pgserver.Server{Answer: 'X'}, nil, nil, "", "refused TLS", 1},
		{"default, hangs up", &pgserver.Server{HangUp: pgserver.AtConnect}, nil, nil, "", "tls error", 1},
		{"default, hangs up after TLS", &pgserver.Server{TLS: certs.Server, HangUp: pgserver.AtStartup}, nil, nil, "", "failed to receive message", 1},
		{"default, broken TLS", &pgserver.Server{TLS: &tls.Config{}}, nil, nil, "", "tls", 1},
		{"disable", &pgserver.Server{TLS: certs.Server}, pairsOf("sslmode", "disable"), nil, "", "plain", 1},
		{"require", &pgserver.Server{TLS: certs.Server}, pairsOf("sslmode", "require"), nil, "", "tls", 1},
		{"require, not available", &pgserver.Server{}, pairsOf("sslmode", "require"), nil, "", "server refused TLS connection", 1},
		{"require with an authority verifies it", &pgserver.Server{TLS: others.Server}, append(verify, "require"), nil, "", "unknown authority", 1},
		{"verify-full, wrong name", &pgserver.Server{TLS: certs.Server}, append(verify, "verify-full"), nil, "other.test", "valid for localhost, not other.test", 1},
		{"verify-full, wrong authority", &pgserver.Server{TLS: others.Server}, append(verify, "verify-full"), nil, "localhost", "unknown authority", 1},
		{"verify-ca, wrong name", &pgserver.Server{TLS: certs.Server}, append(verify, "verify-ca"), nil, "other.test", "tls", 1},
		{"verify-ca, wrong authority", &pgserver.Server{TLS: others.Server}, append(verify, "verify-ca"), nil, "other.test", "unknown authority", 1},
		{"system, no mode", &pgserver.Server{TLS: certs.Server}, pairsOf("sslrootcert", "system"), nil, "localhost", "unknown authority", 1},
		{"system, no mode, not available", &pgserver.Server{}, pairsOf("sslrootcert", "system"), nil, "localhost", "server refused TLS connection", 1},
		{"options, wrong name", &pgserver.Server{TLS: certs.Server}, nil, &tls.Config{RootCAs: certs.Pool}, "other.test", "not other.test", 1},
		{"options, require", &pgserver.Server{TLS: others.Server}, pairsOf("sslmode", "require"), &tls.Config{RootCAs: certs.Pool}, "localhost", "unknown authority", 1},
		{"options without verification", &pgserver.Server{TLS: others.Server}, nil, &tls.Config{InsecureSkipVerify: true}, "localhost", "tls", 1},
		{"options without verification, verify-full", &pgserver.Server{TLS: others.Server}, pairsOf("sslmode", "verify-full"), &tls.Config{InsecureSkipVerify: true, RootCAs: certs.Pool}, "localhost", "unknown authority", 1},
		{"options without verification, verify-ca", &pgserver.Server{TLS: others.Server}, pairsOf("sslmode", "verify-ca"), &tls.Config{InsecureSkipVerify: true, RootCAs: certs.Pool}, "localhost", "unknown authority", 1},
		{"options, parameter's authority", &pgserver.Server{TLS: certs.Server}, append(verify, "verify-full"), &tls.Config{}, "localhost", "tls", 1},
		{"client certificate required, not available", &pgserver.Server{}, pairsOf("sslcertmode", "require"), nil, "", "server refused TLS connection", 1},
		{"channel binding required, not available", &pgserver.Server{}, pairsOf("channel_binding", "require"), nil, "", "server refused TLS connection", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := c.server
			s.Start(t)
			ep := endpoint(s, c.params...)
			ep.TLS = c.tls
			ep.Host = cmp.Or(c.host, ep.Host)
			e := pgxv5.Engine{Configure: func(config *pgx.ConnConfig) error {
				config.LookupFunc = func(context.Context, string) ([]string, error) { return []string{s.Host}, nil }
				return nil
			}}
			logintest.Outcome{Want: c.want, Logins: func() int { return len(s.Seen()) }, Seen: func() string {
				return map[bool]string{true: "tls", false: "plain"}[s.Seen()[0].TLS]
			}}.Check(t, e, ep, goodPassword)
			s.WaitClosed(t)
			if c.dials != 0 && s.Dialled() != c.dials {
				t.Errorf("%d connections, want %d", s.Dialled(), c.dials)
			}
		})
	}
}

func pairsOf(kv ...string) []string { return kv }

// down returns an address where no server listens.
func down(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", loopback.ClosedPort(t))
}

func TestSeveralHosts(t *testing.T) {
	ok := func() *pgserver.Server { return (&pgserver.Server{Check: wrongPassword}).Start(t) }
	standby := func() *pgserver.Server { return (&pgserver.Server{Standby: true}).Start(t) }
	fails := func(code string) *pgserver.Server {
		return (&pgserver.Server{Check: func(pgserver.Login) *pgserver.Error { return pgserver.NewError(code, "x", "no") }}).Start(t)
	}
	for _, c := range []struct {
		name   string
		hosts  []*pgserver.Server // nil is down
		params []string
		want   int   // index of the server that the connection is to; -1 is an error
		logins []int // at each
	}{
		{"first", []*pgserver.Server{ok(), ok()}, nil, 0, []int{1, 0}},
		{"first is down", []*pgserver.Server{nil, ok()}, nil, 1, []int{0, 1}},
		{"first hangs up", []*pgserver.Server{(&pgserver.Server{HangUp: pgserver.AtConnect}).Start(t), ok()}, nil, 1, []int{0, 1}},
		{"first hangs up after the password", []*pgserver.Server{(&pgserver.Server{HangUp: pgserver.AtPassword}).Start(t), ok()}, nil, 1, []int{1, 1}},
		{"first starts up", []*pgserver.Server{fails("57P03"), ok()}, nil, 1, []int{1, 1}},
		{"first rejects", []*pgserver.Server{fails("28P01"), ok()}, nil, -1, []int{1, 0}},
		{"first rejects without a routine", []*pgserver.Server{fails("28000"), ok()}, nil, -1, []int{1, 0}},
		{"first is full", []*pgserver.Server{fails("53300"), ok()}, nil, -1, []int{1, 0}},
		{"all down", []*pgserver.Server{nil, nil}, nil, -1, []int{0, 0}},
		{"read-write", []*pgserver.Server{standby(), ok()}, pairsOf("target_session_attrs", "read-write"), 1, []int{1, 1}},
		{"read-only", []*pgserver.Server{ok(), standby()}, pairsOf("target_session_attrs", "read-only"), 1, []int{1, 1}},
		{"primary", []*pgserver.Server{standby(), ok()}, pairsOf("target_session_attrs", "primary"), 1, []int{1, 1}},
		{"standby", []*pgserver.Server{ok(), standby()}, pairsOf("target_session_attrs", "standby"), 1, []int{1, 1}},
		{"no standby", []*pgserver.Server{ok(), ok()}, pairsOf("target_session_attrs", "standby"), -1, []int{1, 1}},
		{"prefer-standby", []*pgserver.Server{ok(), standby()}, pairsOf("target_session_attrs", "prefer-standby"), 1, []int{1, 1}},
		{"prefer-standby, none", []*pgserver.Server{ok(), ok(), nil}, pairsOf("target_session_attrs", "prefer-standby"), 0, []int{1, 1, 0}},
		{"prefer-standby, second rejects", []*pgserver.Server{ok(), fails("28P01")}, pairsOf("target_session_attrs", "prefer-standby"), -1, []int{1, 1}},
		{"any", []*pgserver.Server{standby(), ok()}, pairsOf("target_session_attrs", "any"), 0, []int{1, 0}},
		{"server fails in the check", []*pgserver.Server{(&pgserver.Server{HangUp: pgserver.AtQuery}).Start(t), ok()}, pairsOf("target_session_attrs", "read-write"), 1, []int{1, 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var hosts []string
			for _, s := range c.hosts {
				host := down(t)
				if s != nil {
					host = fmt.Sprintf("%s:%d", s.Host, s.Port)
				}
				hosts = append(hosts, host)
			}
			u, err := pgxv5.Engine{}.ParseURL("postgresql://"+strings.Join(hosts, ",")+"/app?user=id", configtest.NotOwn)
			if err != nil {
				t.Fatal(err)
			}
			ep := driver.Endpoint{Host: u.Host, Port: 5432, Database: u.Database, Params: pairs(c.params...)}
			conn, err := connect(t, pgxv5.Engine{}, ep, goodPassword)
			if c.want < 0 {
				if err == nil {
					t.Error("Connect succeeded")
				}
			} else if err != nil {
				t.Error(err)
			} else if got := conn.Conn().PgConn().Conn().RemoteAddr().String(); got != hosts[c.want] {
				t.Errorf("connected to %s, want %s", got, hosts[c.want])
			}
			if conn != nil {
				_ = conn.Close()
			}
			for i, s := range c.hosts {
				if s == nil {
					continue
				}
				s.WaitClosed(t)
				if got := len(s.Seen()); got != c.logins[i] {
					t.Errorf("host %d saw %d logins, want %d", i, got, c.logins[i])
				}
			}
			var ce *pgconn.ConnectError
			if errors.As(err, &ce) {
				t.Error("a *pgconn.ConnectError is in the tree")
			}
			noPassword(t, err, goodPassword)
		})
	}
}

// The certificate of each host of a list must be for that host.
func TestSeveralHostsTLS(t *testing.T) {
	certs := testca.New("b.test")
	a, b := (&pgserver.Server{TLS: certs.Server}).Start(t), (&pgserver.Server{TLS: certs.Server}).Start(t)
	e := pgxv5.Engine{Configure: func(c *pgx.ConnConfig) error {
		c.LookupFunc = func(context.Context, string) ([]string, error) { return []string{"127.0.0.1"}, nil }
		return nil
	}}
	ep := driver.Endpoint{
		Host: fmt.Sprintf("a.test:%d,b.test:%d", a.Port, b.Port), Port: 5432,
		Params: pairs("sslmode", "verify-full", "sslrootcert", certs.File(t)),
	}
	conn, err := connect(t, e, ep, goodPassword)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	a.WaitClosed(t)
	b.WaitClosed(t)
	if len(a.Seen()) != 0 || len(b.Seen()) != 1 {
		t.Errorf("logins: %d and %d, want 0 and 1", len(a.Seen()), len(b.Seen()))
	}
}

func TestIPv6(t *testing.T) {
	needsIPv6(t)
	certs := testca.New("::1")
	s := (&pgserver.Server{TLS: certs.Server}).Start(t, "::1")
	for _, host := range []string{"::1", fmt.Sprintf("%s,[::1]:%d", down(t), s.Port), fmt.Sprintf("[::1]:%d,[::1]", s.Port)} {
		ep := endpoint(s, "sslmode", "verify-full", "sslrootcert", certs.File(t))
		ep.Host = host
		conn, err := connect(t, pgxv5.Engine{}, ep, goodPassword)
		if err != nil {
			t.Errorf("host %s: %v", host, err)
			continue
		}
		_ = conn.Close()
	}
	s.WaitClosed(t)
}

func TestContextHasEnded(t *testing.T) {
	s := (&pgserver.Server{}).Start(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := logintest.ConnectContext(ctx, t, pgxv5.Engine{}, endpoint(s), "app_user", goodPassword)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Connect = %v, want context.Canceled", err)
	}
	s.WaitClosed(t)
}

// connect_timeout ends the wait for one host, not the search.
func TestConnectTimeoutIsPerHost(t *testing.T) {
	t.Parallel()
	silent, ok := (&pgserver.Server{Hang: pgserver.AtConnect}).Start(t), (&pgserver.Server{}).Start(t)
	ep := endpoint(ok, "connect_timeout", "1")
	ep.Host = fmt.Sprintf("127.0.0.1:%d,127.0.0.1:%d", silent.Port, ok.Port)
	conn, err := connect(t, pgxv5.Engine{}, ep, goodPassword)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	silent.WaitClosed(t)
	ok.WaitClosed(t)
}

// A host that drops packets leaves time for the next host. A share is at least two seconds, because
// less is not enough for a host that is far away.
func TestUnreachableHostGetsItsShare(t *testing.T) {
	s := (&pgserver.Server{}).Start(t)
	var share time.Duration
	e := pgxv5.Engine{Configure: func(c *pgx.ConnConfig) error {
		dial := c.DialFunc
		c.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if strings.HasPrefix(addr, "192.0.2.1:") { // TEST-NET-1
				deadline, _ := ctx.Deadline()
				share = time.Until(deadline)
				return nil, &net.OpError{Op: "dial", Net: network, Err: context.DeadlineExceeded}
			}
			return dial(ctx, network, addr)
		}
		return nil
	}}
	ep := endpoint(s)
	ep.Host = fmt.Sprintf("192.0.2.1:5432,127.0.0.1:%d", s.Port)
	for _, c := range []struct{ all, least, most time.Duration }{
		{30 * time.Second, 14 * time.Second, 15 * time.Second},
		{3 * time.Second, 1600 * time.Millisecond, 2 * time.Second}, // and not half of it
	} {
		ctx, cancel := context.WithTimeout(t.Context(), c.all)
		conn, err := logintest.ConnectContext(ctx, t, e, ep, "app_user", goodPassword)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
		if share <= c.least || share > c.most {
			t.Errorf("the first of two hosts had %v of %v, want %v", share, c.all, c.most)
		}
	}
}

func TestConfigure(t *testing.T) {
	s := (&pgserver.Server{Check: wrongPassword}).Start(t)
	calls := 0
	e := pgxv5.Engine{Configure: func(c *pgx.ConnConfig) error {
		calls++
		if c.User != "" || c.Password != "" {
			t.Errorf("Configure sees user %q and a password of %d bytes, want none", c.User, len(c.Password))
		}
		if c.Host != s.Host || int(c.Port) != s.Port || c.Database != "app" {
			t.Errorf("Configure sees %s:%d/%s", c.Host, c.Port, c.Database)
		}
		c.RuntimeParams["application_name"] = fmt.Sprintf("call %d", calls)
		c.User, c.Password = "mallory", "another"
		c.Fallbacks = []*pgconn.FallbackConfig{{Host: s.Host, Port: uint16(s.Port)}}
		c.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
		return nil
	}}
	l, err := e.Prepare(endpoint(s))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		conn, err := l.Connect(t.Context(), driver.Credentials{User: "app_user", Password: driver.NewPassword(goodPassword)})
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
		if got, want := s.Seen()[i].Params["application_name"], fmt.Sprintf("call %d", i+1); got != want {
			t.Errorf("application_name is %q, want %q", got, want)
		}
	}
	if _, err := l.Connect(t.Context(), driver.Credentials{User: "app_user", Password: driver.NewPassword("wrong")}); !e.Rejected(err) {
		t.Errorf("Connect = %v, want a rejected login", err)
	}
	if got := len(s.Seen()); got != 3 {
		t.Errorf("the server saw %d logins, want 3: Fallbacks are not used", got)
	}
	s.WaitClosed(t)
}

func TestConfigureFails(t *testing.T) {
	s := (&pgserver.Server{}).Start(t)
	cause := errors.New("no tunnel")
	calls := 0
	e := pgxv5.Engine{Configure: func(c *pgx.ConnConfig) error {
		calls++
		// An error of another use of pgx that contains a configuration.
		_, err := pgconn.ParseConfig("sslmode=" + canary)
		return errors.Join(cause, err)
	}}
	ep := endpoint(s)
	ep.Host += fmt.Sprintf(":%d,other", s.Port)
	_, err := connect(t, e, ep, goodPassword)
	if err == nil || !strings.Contains(err.Error(), "no tunnel") || calls != 1 {
		t.Errorf("Connect = %v after %d calls, want Configure's error after one", err, calls)
	}
	var pe *pgconn.ParseConfigError
	if errors.As(err, &pe) {
		t.Error("a *pgconn.ParseConfigError is in the tree")
	}
	e.Configure = func(c *pgx.ConnConfig) error {
		c.LookupFunc = func(context.Context, string) ([]string, error) { return nil, nil }
		return nil
	}
	if _, err := connect(t, e, ep, goodPassword); err == nil || strings.Count(err.Error(), "no addresses") != 2 {
		t.Errorf("Connect = %v, want that neither host has an address", err)
	}
	e.Configure = func(*pgx.ConnConfig) error { return cause }
	if _, err := connect(t, e, ep, goodPassword); !errors.Is(err, cause) {
		t.Errorf("Connect = %v, want %v in the tree", err, cause)
	}
}

func TestPrepareFails(t *testing.T) {
	errs := configtest.PrepareFails(t, pgxv5.Engine{}, []configtest.PrepareCase{
		{"parameter", driver.Endpoint{Host: "h", Port: 1, Params: pairs("sslMode", "verify-full")}, `"sslMode"`},
		{"authorities", driver.Endpoint{Host: "h", Port: 1, Params: pairs("sslmode", "verify-full", "sslrootcert", "/no/such/file")}, "sslrootcert: open /no/such/file: no such file"},
		{"not a certificate", driver.Endpoint{Host: "h", Port: 1, Params: pairs("sslmode", "verify-full", "sslrootcert", "login_test.go")}, "sslrootcert: login_test.go: "},
		{"no host", driver.Endpoint{Port: 1}, "host"},
		{"no socket", driver.Endpoint{Host: "/var/run/x,/var/run/y", Port: 1}, "Unix socket"},
		{"injection", driver.Endpoint{Host: "h' sslmode='disable", Port: 1}, "host"},
		{"list with an empty host", driver.Endpoint{Host: "h,", Port: 1}, "host"},
		{"port", driver.Endpoint{Host: "h", Port: 65536}, "port"},
		{"no port", driver.Endpoint{Host: "h"}, "port"},
		{"NUL", driver.Endpoint{Host: "h", Port: 1, Database: "a\x00user\x00postgres"}, "NUL"},
	})
	for _, err := range errs {
		noPassword(t, err, canary) // nor a *pgconn.ParseConfigError
	}
}

func TestContextErrorIsReachable(t *testing.T) {
	logintest.ContextErrorIsReachable(t, endpoint((&pgserver.Server{}).Start(t)), func(dial logintest.Dial) driver.Engine {
		return pgxv5.Engine{Configure: func(c *pgx.ConnConfig) error { c.DialFunc = dial; return nil }}
	})
}

// If an error of the caller's hook contains a configuration, only its text is kept.
func TestHookErrorsAreCleaned(t *testing.T) {
	s := (&pgserver.Server{}).Start(t)
	hidden := errors.New("the hook's text")
	bad := func() error {
		c, err := pgx.ParseConfig("host=127.0.0.1 port=1 user=u sslmode=disable password=" + canary)
		if err == nil {
			_, err = pgx.ConnectConfig(context.Background(), c)
		}
		return fmt.Errorf("%w: %w", hidden, err)
	}
	for name, change := range map[string]func(*pgx.ConnConfig){
		"dial": func(c *pgx.ConnConfig) {
			c.DialFunc = func(context.Context, string, string) (net.Conn, error) { return nil, bad() }
		},
		"look-up": func(c *pgx.ConnConfig) {
			c.LookupFunc = func(context.Context, string) ([]string, error) { return nil, bad() }
		},
		"validate": func(c *pgx.ConnConfig) {
			c.ValidateConnect = func(context.Context, *pgconn.PgConn) error { return bad() }
		},
		"after": func(c *pgx.ConnConfig) { c.AfterConnect = func(context.Context, *pgconn.PgConn) error { return bad() } },
	} {
		e := pgxv5.Engine{Configure: func(c *pgx.ConnConfig) error { change(c); return nil }}
		_, err := connect(t, e, endpoint(s), canary)
		if err == nil || !strings.Contains(err.Error(), hidden.Error()) {
			t.Errorf("%s: Connect = %v, want the hook's text", name, err)
		}
		noPassword(t, err, canary)
	}
	s.WaitClosed(t)
}
