package pgxv5_test

import (
	"context"
	"crypto/tls"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/postgres/pgxv5"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/pgserver"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/testca"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// fixed returns options with a secret for a stand-in.
func fixed(t testing.TB, s *pgserver.Server, password string) *driver.Options {
	value := fmt.Sprintf(`{"engine":"postgres","host":%q,"port":%d,"dbname":"app","username":"app_user","password":%q}`, s.Host, s.Port, password)
	cache := secretcache.New(secretcache.SourceFunc(func(_ context.Context, id, _ string) (*secretcache.Secret, error) {
		return secretcache.NewSecret(secretcache.Value{ID: id, VersionID: "v1", String: value}), nil
	}), nil)
	t.Cleanup(func() { _ = cache.Close() })
	return &driver.Options{Secrets: cache}
}

func newPool(t testing.TB, dsn string, o *driver.Options, configure func(*pgxpool.Config) error) *pgxpool.Pool {
	t.Helper()
	p, err := pgxv5.NewPool(t.Context(), pgxv5.Engine{}, dsn, o, configure)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func TestNewPoolFails(t *testing.T) {
	s := (&pgserver.Server{}).Start(t)
	o := fixed(t, s, goodPassword)
	configure := func(f func(c *pgx.ConnConfig)) func(*pgxpool.Config) error {
		return func(c *pgxpool.Config) error {
			f(c.ConnConfig)
			return nil
		}
	}
	mine := errors.New("mine")
	for _, c := range []struct {
		dsn       string
		configure func(*pgxpool.Config) error
		want      string
		is        error
	}{
		{dsn: "prod/app?pool_max_conns=CANARY", want: `parameter "pool_max_conns" has a value that pgxpool does not accept`, is: driver.ErrBadDSN},
		{dsn: "prod/app?pool_max_conns=%ZZ", want: `parameter "pool_max_conns": its value is not well-formed percent-encoding`, is: driver.ErrBadDSN},
		{dsn: "prod/app?pool_max_conns=1&pool_max_conns=2", want: `parameter "pool_max_conns" is given twice`, is: driver.ErrBadDSN},
		{dsn: "prod/app?pool_max_conn=1", want: `pgxpool has no parameter "pool_max_conn"`, is: driver.ErrBadDSN},
		{dsn: "prod/app?pool_max_conns=1&sslmode=CANARY", want: `"sslmode"`, is: driver.ErrBadDSN},
		{dsn: "prod/app?sslmode=verify-full&sslrootcert=missing.pem", want: "sslrootcert: open missing.pem"},
		{dsn: "prod/app", configure: func(*pgxpool.Config) error { return mine }, want: "configure the pool: mine", is: mine},
		{dsn: "prod/app", configure: configure(func(c *pgx.ConnConfig) { c.Host = "elsewhere" }), want: "configure the pool: Host must not be changed"},
		{dsn: "prod/app", configure: configure(func(c *pgx.ConnConfig) { c.Port = 1 }), want: "Port must not be changed"},
		{dsn: "prod/app", configure: configure(func(c *pgx.ConnConfig) { c.Database = "other" }), want: "Database must not be changed"},
		{dsn: "prod/app", configure: configure(func(c *pgx.ConnConfig) { c.User = "other" }), want: "User must not be changed"},
		{dsn: "prod/app", configure: configure(func(c *pgx.ConnConfig) { c.Password = "CANARY" }), want: "Password must not be changed"},
		{dsn: "prod/app", configure: configure(func(c *pgx.ConnConfig) { c.TLSConfig = &tls.Config{} }), want: "TLSConfig has no effect"},
	} {
		p, err := pgxv5.NewPool(t.Context(), pgxv5.Engine{}, c.dsn, o, c.configure)
		if err == nil {
			p.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || c.is != nil && !errors.Is(err, c.is) || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%s: %v, want %q", c.dsn, err, c.want)
		}
	}
	if n := len(s.Seen()); n != 0 {
		t.Errorf("%d logins", n)
	}
}

// With a configuration of the caller, pool_* parameters in the data source name are an error, and
// so is TLS in the configuration.
func TestConfigurePoolFails(t *testing.T) {
	o := fixed(t, (&pgserver.Server{}).Start(t), goodPassword)
	for _, c := range []struct{ config, dsn, want string }{
		{"", "prod/app?pool_max_conns=3", `parameter "pool_max_conns" has no effect here: set it in the configuration of the pool`},
		{"", "prod/app?sslmode=CANARY", `"sslmode"`},
		{"host=db.example.com sslmode=verify-full", "prod/app", "TLSConfig has no effect"},
		{"host=db.example.com sslmode=require", "prod/app", "TLSConfig has no effect"},
	} {
		config, err := pgxpool.ParseConfig(c.config)
		if err != nil {
			t.Fatal(err)
		}
		for name, err := range map[string]error{
			"ConfigurePool": pgxv5.ConfigurePool(config, pgxv5.Engine{}, c.dsn, o),
			"ConfigureConn": pgxv5.ConfigureConn(config.ConnConfig, pgxv5.Engine{}, c.dsn, o),
		} {
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "CANARY") {
				t.Errorf("%s of %q and %s: %v, want %q", name, c.config, c.dsn, err, c.want)
			}
		}
	}
}

// The session has the settings of the data source name, and then those of configure.
func TestPoolSettings(t *testing.T) {
	t.Setenv("PGAPPNAME", "environment")
	t.Setenv("PGOPTIONS", "-c work_mem=1MB")
	s := (&pgserver.Server{}).Start(t)
	p := newPool(t, "prod/app?application_name=dsn&search_path=s1&pool_max_conns=7&pool_min_conns=1&default_query_exec_mode=exec",
		fixed(t, s, goodPassword), func(c *pgxpool.Config) error {
			if mode := c.ConnConfig.DefaultQueryExecMode; mode != pgx.QueryExecModeExec || c.MaxConns != 7 || c.MinConns != 1 {
				t.Errorf("query mode %v, MaxConns %d, MinConns %d", mode, c.MaxConns, c.MinConns)
			}
			c.ConnConfig.RuntimeParams["search_path"] = "s2"
			return nil
		})
	if _, err := p.Exec(t.Context(), "SELECT 1"); err != nil {
		t.Fatal(err)
	}
	got := s.Seen()[0]
	want := map[string]string{"user": "app_user", "database": "app", "application_name": "dsn", "search_path": "s2"}
	if fmt.Sprint(got.Params) != fmt.Sprint(want) {
		t.Errorf("the server got %v, want %v", got.Params, want)
	}
	if q := s.Queries(); len(q) == 0 || q[len(q)-1].Name != "" {
		t.Errorf("the mode exec has no named statements: %+v", q)
	}
}

// The data source name takes precedence over a configuration of the caller. The user, the password
// and the host of the configuration have no effect.
func TestConfigurePoolTakesTheDataSourceName(t *testing.T) {
	t.Setenv("PGUSER", "nobody")
	t.Setenv("PGPASSWORD", canary)
	s := (&pgserver.Server{Check: wrongPassword}).Start(t)
	config, err := pgxpool.ParseConfig("host=127.0.0.9 application_name=config search_path=s1 statement_cache_capacity=10")
	if err != nil {
		t.Fatal(err)
	}
	config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeDescribeExec
	dsn := "prod/app?application_name=dsn&description_cache_capacity=20"
	if err := pgxv5.ConfigurePool(config, pgxv5.Engine{}, dsn, fixed(t, s, goodPassword)); err != nil {
		t.Fatal(err)
	}
	if c := config.ConnConfig; c.DefaultQueryExecMode != pgx.QueryExecModeDescribeExec || c.StatementCacheCapacity != 10 || c.DescriptionCacheCapacity != 20 {
		t.Errorf("%v, %d, %d", c.DefaultQueryExecMode, c.StatementCacheCapacity, c.DescriptionCacheCapacity)
	}
	p, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	login := s.Seen()[0]
	if login.User != "app_user" || login.Params["application_name"] != "dsn" || login.Params["search_path"] != "s1" {
		t.Errorf("the server got %v", login.Params)
	}
}

// Each hook of the caller is called once for a login.
func TestPoolHooks(t *testing.T) {
	s := (&pgserver.Server{Check: wrongPassword}).Start(t)
	var dials, lookups, nets atomic.Int32
	p := newPool(t, "prod/app", fixed(t, s, goodPassword), func(c *pgxpool.Config) error {
		dial, lookup := c.ConnConfig.DialFunc, c.ConnConfig.LookupFunc
		c.ConnConfig.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
			dials.Add(1)
			if want := net.JoinHostPort(s.Host, strconv.Itoa(s.Port)); addr != want {
				t.Errorf("dialled %s, want %s", addr, want)
			}
			return dial(ctx, network, addr)
		}
		c.ConnConfig.LookupFunc = func(ctx context.Context, host string) ([]string, error) {
			lookups.Add(1)
			if host != s.Host {
				t.Errorf("looked %s up, want %s", host, s.Host)
			}
			return lookup(ctx, host)
		}
		c.ConnConfig.AfterNetConnect = func(_ context.Context, config *pgconn.Config, conn net.Conn) (net.Conn, error) {
			nets.Add(1)
			if config.Host != s.Host {
				t.Errorf("AfterNetConnect has the host %s", config.Host)
			}
			return conn, nil
		}
		return nil
	})
	if err := p.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	if dials.Load() != 1 || lookups.Load() != 1 || nets.Load() != 1 {
		t.Errorf("%d dials, %d lookups, %d AfterNetConnect, want one of each", dials.Load(), lookups.Load(), nets.Load())
	}
}

// An error of a hook is the error of Acquire.
func TestPoolHookFails(t *testing.T) {
	s := (&pgserver.Server{}).Start(t)
	mine := errors.New("mine")
	for name, configure := range map[string]func(c *pgx.ConnConfig){
		"DialFunc": func(c *pgx.ConnConfig) {
			c.DialFunc = func(context.Context, string, string) (net.Conn, error) { return nil, mine }
		},
		"LookupFunc": func(c *pgx.ConnConfig) {
			c.LookupFunc = func(context.Context, string) ([]string, error) { return nil, mine }
		},
		"ValidateConnect": func(c *pgx.ConnConfig) {
			c.ValidateConnect = func(context.Context, *pgconn.PgConn) error { return mine }
		},
		"AfterConnect": func(c *pgx.ConnConfig) { c.AfterConnect = func(context.Context, *pgconn.PgConn) error { return mine } },
	} {
		p := newPool(t, "prod/app", fixed(t, s, goodPassword), func(c *pgxpool.Config) error {
			configure(c.ConnConfig)
			return nil
		})
		if err := p.Ping(t.Context()); !errors.Is(err, mine) {
			t.Errorf("%s: Ping = %v", name, err)
		}
		p.Close()
	}
	s.WaitClosed(t)
}

// A hook that returns no connection is an error. pgx alone would panic.
func TestAfterNetConnectThatReturnsNoConnection(t *testing.T) {
	s := (&pgserver.Server{}).Start(t)
	mine := errors.New("mine")
	for _, err := range []error{mine, nil} {
		e := pgxv5.Engine{Configure: func(c *pgx.ConnConfig) error {
			c.AfterNetConnect = func(context.Context, *pgconn.Config, net.Conn) (net.Conn, error) { return nil, err }
			return nil
		}}
		if _, got := connect(t, e, endpoint(s), goodPassword); got == nil || err != nil && !errors.Is(got, err) || !strings.Contains(got.Error(), "AfterNetConnect failed: ") {
			t.Errorf("Connect = %v, want %v", got, err)
		}
	}
	s.WaitClosed(t)
}

// Errors of Acquire begin like pgx's, and have the errors of the Connector and of the server in
// their tree.
func TestPoolErrors(t *testing.T) {
	s := (&pgserver.Server{Check: wrongPassword}).Start(t)
	p := newPool(t, "prod/app", fixed(t, s, canary), nil)
	err := p.Ping(t.Context())
	var pg *pgconn.PgError
	var e *driver.Error
	if !errors.Is(err, driver.ErrAuthFailed) || !errors.As(err, &pg) || !errors.As(err, &e) || e.SecretID != "prod/app" ||
		!strings.HasPrefix(err.Error(), "failed to connect to ") || strings.Contains(fmt.Sprintf("%v %+v", err, err), canary) {
		t.Errorf("Ping = %v", err)
	}
	var ce *pgconn.ConnectError
	if !errors.As(err, &ce) || ce.Config.Password != "" {
		t.Error("the error's configuration has the password")
	}
}

// A connectTracer notes what pgx shows to a ConnectTracer.
type connectTracer struct {
	mu    sync.Mutex
	shown []string
	conns []*pgx.Conn
}

func (c *connectTracer) TraceConnectStart(ctx context.Context, d pgx.TraceConnectStartData) context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shown = append(c.shown, fmt.Sprintf("%+v %q", d, d.ConnConfig.Password))
	return ctx
}

func (c *connectTracer) TraceConnectEnd(_ context.Context, d pgx.TraceConnectEndData) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conns = append(c.conns, d.Conn)
}

func (c *connectTracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return ctx
}
func (c *connectTracer) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// A tracer is called once for each connection of the pool, and sees no password.
func TestPoolTracerSeesOneConnectAndNoPassword(t *testing.T) {
	s := (&pgserver.Server{}).Start(t)
	tracer := &connectTracer{}
	p := newPool(t, "prod/app", fixed(t, s, canary), func(c *pgxpool.Config) error {
		c.ConnConfig.Tracer = tracer
		return nil
	})
	conn, err := p.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	if len(tracer.shown) != 1 || len(tracer.conns) != 1 || tracer.conns[0] != conn.Conn() {
		t.Errorf("%d starts and ends %v, want those of the pool's connection", len(tracer.shown), tracer.conns)
	}
	if text := fmt.Sprint(tracer.shown, conn.Conn().Config(), p.Config()); strings.Contains(text, canary) {
		t.Error("the password is shown")
	}
}

// CancelRequest of pgx works after Hijack. The documentation of pgx does not promise that.
func TestCancelRequestWorksAfterHijack(t *testing.T) {
	for _, encrypted := range []bool{false, true} {
		s := &pgserver.Server{Hang: pgserver.AtQuery}
		dsn, o := "prod/app", (*driver.Options)(nil)
		if encrypted {
			certs := testca.New("127.0.0.1")
			s.TLS, dsn = certs.Server, "prod/app?sslmode=verify-full&sslrootcert="+certs.File(t)
		}
		s.Start(t)
		o = fixed(t, s, goodPassword)
		conn, err := newPool(t, dsn, o, nil).Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.Conn().PgConn().CancelRequest(t.Context()); err != nil {
			t.Errorf("TLS %v: %v", encrypted, err)
		}
		if got := s.Cancels(); len(got) != 1 || got[0] != encrypted {
			t.Errorf("TLS %v: requests over TLS: %v", encrypted, got)
		}
		if n := len(s.Seen()); n != 1 {
			t.Errorf("TLS %v: %d logins, want 1", encrypted, n)
		}
		_ = conn.Conn().PgConn().Conn().Close() // else the pool waits for the server
		conn.Release()
	}
}

// Changes of the session by AfterConnect of driver.Options stay. Statements that it has prepared do
// not collide with those of pgx.
func TestPoolWithAfterConnectOfOptions(t *testing.T) {
	s := (&pgserver.Server{}).Start(t)
	o := fixed(t, s, goodPassword)
	const query = "SELECT $1::int"
	o.AfterConnect = func(ctx context.Context, conn sqldriver.Conn) error {
		var n int
		return conn.(*stdlib.Conn).Conn().QueryRow(ctx, query, 1).Scan(&n)
	}
	p := newPool(t, "prod/app", o, nil)
	if _, err := p.Exec(t.Context(), query, 1); err != nil {
		t.Error(err)
	}
	p.Close()
	text := ""
	for _, q := range s.Queries() {
		text += q.SQL + "; "
	}
	if strings.Count(text, query) < 2 || !strings.Contains(text, query+"; deallocate all; "+query) {
		t.Errorf("queries: %s", text)
	}
	o.AfterConnect = func(ctx context.Context, conn sqldriver.Conn) error {
		_, err := conn.(*stdlib.Conn).Conn().Exec(ctx, "BEGIN")
		return err
	}
	if err := newPool(t, "prod/app", o, nil).Ping(t.Context()); err == nil || !strings.Contains(err.Error(), "has left a transaction open") {
		t.Errorf("after BEGIN: %v", err)
	}
	s.WaitClosed(t)
}

// The timeout of the Connector applies, and not that of pgx or of the pool.
func TestPoolLeavesTimeoutsToTheConnector(t *testing.T) {
	s := (&pgserver.Server{Hang: pgserver.AtStartup}).Start(t)
	o := fixed(t, s, goodPassword)
	o.ConnectTimeout = 300 * time.Millisecond
	err := newPool(t, "prod/app", o, func(c *pgxpool.Config) error {
		c.ConnConfig.ConnectTimeout = time.Hour // of one host
		return nil
	}).Ping(t.Context())
	if err == nil || !strings.Contains(err.Error(), "not connected within 300ms") {
		t.Errorf("Ping = %v", err)
	}
}
