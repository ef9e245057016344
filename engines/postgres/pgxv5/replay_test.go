package pgxv5_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	sqldriver "database/sql/driver"
	"errors"
	"maps"
	"net"
	"os"
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
)

// The environment that pgx has read for ConfigureConn has no effect on other connectors.
func TestConfigureConnWithPGSERVICE(t *testing.T) {
	s := (&pgserver.Server{}).Start(t)
	o := fixed(t, s, goodPassword)
	config, err := pgx.ParseConfig("")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PGSERVICE", "evil")
	var wg sync.WaitGroup
	for range 4 { // for the race detector
		wg.Go(func() {
			if err := pgxv5.ConfigureConn(config.Copy(), pgxv5.Engine{}, "prod/app", o); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := os.Unsetenv("PGSERVICE"); err != nil {
		t.Fatal(err)
	}
	if conn, err := connect(t, pgxv5.Engine{}, endpoint(s), goodPassword); err != nil {
		t.Error(err)
	} else {
		_ = conn.Close()
	}
}

// No environment variable has an effect on NewPool.
func TestNewPoolIgnoresTheEnvironment(t *testing.T) {
	s := (&pgserver.Server{}).Start(t)
	for name, value := range environment {
		t.Setenv(name, value)
	}
	t.Setenv("PGPORT", "nonsense")
	p := newPool(t, "prod/app?pool_max_conns=3", fixed(t, s, goodPassword), func(c *pgxpool.Config) error {
		if len(c.ConnConfig.RuntimeParams) > 0 {
			t.Errorf("RuntimeParams = %v", c.ConnConfig.RuntimeParams)
		}
		return nil
	})
	if err := p.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := s.Seen()[0].Params; !maps.Equal(got, map[string]string{"user": "app_user", "database": "app"}) {
		t.Errorf("the server got %v", got)
	}
}

// A configuration that requires TLS is an error, unless the data source name is at least as strict.
func TestTLSOfOwnConfiguration(t *testing.T) {
	o := fixed(t, (&pgserver.Server{}).Start(t), goodPassword)
	for _, c := range []struct {
		config string
		set    func(*pgx.ConnConfig)
		dsn    string
		ok     bool
	}{
		{config: "host=a.test", dsn: "prod/app", ok: true},
		{config: "host=a.test,b.test", dsn: "prod/app", ok: true},
		{config: "host=a.test sslmode=allow", dsn: "prod/app", ok: true},
		{config: "host=a.test,b.test sslmode=require", dsn: "prod/app"},
		{config: "host=a.test,b.test sslmode=verify-full", dsn: "prod/app"},
		{config: "host=a.test,b.test sslmode=verify-full", dsn: "prod/app?sslmode=require"},
		{config: "host=a.test,b.test sslmode=verify-full", dsn: "prod/app?sslmode=verify-full", ok: true},
		{config: "host=a.test", set: func(c *pgx.ConnConfig) { c.TLSConfig = &tls.Config{} }, dsn: "prod/app"},
		{config: "host=a.test sslmode=require", dsn: "prod/app?sslmode=verify-full", ok: true},
	} {
		config, err := pgx.ParseConfig(c.config)
		if err != nil {
			t.Fatal(err)
		}
		if c.set != nil {
			c.set(config)
		}
		if err := pgxv5.ConfigureConn(config, pgxv5.Engine{}, c.dsn, o); (err == nil) != c.ok {
			t.Errorf("%s (set: %t), %s: %v", c.config, c.set != nil, c.dsn, err)
		}
	}
}

// Some proxies send no key for canceling queries. Protocol 3.2 has longer keys.
func TestPoolOfServersWithOtherKeys(t *testing.T) {
	for _, length := range []int{0, 32, 256} {
		s := (&pgserver.Server{Key: make([]byte, length)}).Start(t)
		conn, err := newPool(t, "prod/app?max_protocol_version=3.2", fixed(t, s, goodPassword), nil).Acquire(t.Context())
		if err != nil {
			t.Errorf("%d bytes: %v", length, err)
			continue
		}
		if length == 0 {
			conn.Release()
			continue
		}
		if err := conn.Conn().PgConn().CancelRequest(t.Context()); err != nil || len(s.Cancels()) != 1 {
			t.Errorf("%d bytes: %d requests to cancel (%v)", length, len(s.Cancels()), err)
		}
		conn.Release()
	}
}

// A client certificate and sslcertmode apply to the login.
func TestPoolWithClientCertificate(t *testing.T) {
	certs := testca.New("127.0.0.1")
	certificate, key := testca.KeyPair(t, certs.Issue("client"))
	config := certs.Server.Clone()
	config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
	config.ClientCAs.AddCert(certs.Authority)
	s := (&pgserver.Server{TLS: config}).Start(t)
	dsn := "prod/app?sslmode=verify-full&sslcertmode=require&sslrootcert=" + certs.File(t) + "&sslcert=" + certificate + "&sslkey=" + key
	if err := newPool(t, dsn, fixed(t, s, goodPassword), nil).Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

// Notifications that arrive while AfterConnect of driver.Options runs are not lost.
func TestPoolKeepsNotifications(t *testing.T) {
	s := (&pgserver.Server{}).Start(t)
	o := fixed(t, s, goodPassword)
	o.AfterConnect = func(ctx context.Context, conn sqldriver.Conn) error {
		for _, channel := range []string{"a", "b"} {
			if _, err := conn.(*stdlib.Conn).Conn().Exec(ctx, "NOTIFY "+channel); err != nil {
				return err
			}
		}
		return nil
	}
	conn, err := newPool(t, "prod/app", o, nil).Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	for _, want := range []string{"a", "b"} {
		if n, err := conn.Conn().WaitForNotification(ctx); err != nil || n.Channel != want {
			t.Fatalf("WaitForNotification = %+v, %v, want channel %s", n, err, want)
		}
	}
}

// Engine.Configure also applies to configurations of the caller, and its tracer sees what the
// tracer of the pool sees.
func TestPoolsHeedEngineConfigure(t *testing.T) {
	s := (&pgserver.Server{}).Start(t)
	o := fixed(t, s, canary)
	for name, connect := range map[string]func(pgxv5.Engine) error{
		"NewPool": func(e pgxv5.Engine) error {
			p, err := pgxv5.NewPool(t.Context(), e, "prod/app", o, nil)
			if err != nil {
				return err
			}
			defer p.Close()
			return p.Ping(t.Context())
		},
		"ConfigureConn": func(e pgxv5.Engine) error {
			config, err := pgx.ParseConfig("")
			if err != nil {
				return err
			}
			if err := pgxv5.ConfigureConn(config, e, "prod/app", o); err != nil {
				return err
			}
			conn, err := pgx.ConnectConfig(t.Context(), config)
			if err != nil {
				return err
			}
			defer conn.Close(t.Context())
			return conn.Ping(t.Context())
		},
	} {
		var dials atomic.Int32
		tracer := &connectTracer{}
		err := connect(pgxv5.Engine{Configure: func(c *pgx.ConnConfig) error {
			dial := c.DialFunc
			c.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
				dials.Add(1)
				return dial(ctx, network, addr)
			}
			c.Tracer = tracer
			return nil
		}})
		if err != nil || dials.Load() != 1 || len(tracer.shown) != 1 {
			t.Errorf("%s: %d dials and %d traced connections, want one of each (%v)", name, dials.Load(), len(tracer.shown), err)
		}
		if strings.Contains(strings.Join(tracer.shown, " "), canary) {
			t.Errorf("%s: the tracer is shown the password", name)
		}
	}
}

// If a server stops answering after the login, the pool waits at most for ConnectTimeout.
func TestPoolBoundsWhatFollowsTheLogin(t *testing.T) {
	for name, configure := range map[string]func(*driver.Options, *pgx.ConnConfig){
		"deallocate all": func(o *driver.Options, _ *pgx.ConnConfig) {
			o.AfterConnect = func(context.Context, sqldriver.Conn) error { return nil }
		},
		"ValidateConnect": func(_ *driver.Options, c *pgx.ConnConfig) {
			c.ValidateConnect = func(ctx context.Context, conn *pgconn.PgConn) error { return conn.Ping(ctx) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := (&pgserver.Server{Hang: pgserver.AtQuery}).Start(t)
			o := fixed(t, s, goodPassword)
			o.ConnectTimeout = 300 * time.Millisecond
			config, err := pgx.ParseConfig("")
			if err != nil {
				t.Fatal(err)
			}
			configure(o, config)
			if err := pgxv5.ConfigureConn(config, pgxv5.Engine{}, "prod/app", o); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			start := time.Now()
			if _, err := pgx.ConnectConfig(ctx, config); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 2*time.Second {
				t.Errorf("ConnectConfig = %v after %v", err, time.Since(start))
			}
		})
	}
}

// Preparing a configuration a second time is an error.
func TestConfigureASecondTimeIsAnError(t *testing.T) {
	o := fixed(t, (&pgserver.Server{}).Start(t), goodPassword)
	config := newPool(t, "prod/app", o, nil).Config()
	for name, err := range map[string]error{
		"ConfigurePool": pgxv5.ConfigurePool(config, pgxv5.Engine{}, "prod/app", o),
		"ConfigureConn": pgxv5.ConfigureConn(config.ConnConfig, pgxv5.Engine{}, "prod/app", o),
	} {
		if err == nil || !strings.Contains(err.Error(), "is prepared already") {
			t.Errorf("%s of a pool's own configuration: %v", name, err)
		}
	}
}

// BeforeConnect cannot change how a connection is made. If it asks for TLS, that is an error.
func TestPoolBeforeConnect(t *testing.T) {
	s := (&pgserver.Server{}).Start(t)
	mine := errors.New("mine")
	for _, c := range []struct {
		name   string
		before func(*pgx.ConnConfig) error
		want   string // in the error; empty: none
	}{
		{"endpoint", func(c *pgx.ConnConfig) error {
			c.Host, c.Port, c.User, c.Password, c.Database = "elsewhere", 1, "other", canary, "other"
			return nil
		}, ""},
		{"DialFunc", func(c *pgx.ConnConfig) error {
			c.DialFunc = func(context.Context, string, string) (net.Conn, error) { return nil, mine }
			return nil
		}, ""},
		{"LookupFunc", func(c *pgx.ConnConfig) error {
			c.LookupFunc = func(context.Context, string) ([]string, error) { return []string{"127.0.0.9"}, nil }
			return nil
		}, ""},
		{"AfterNetConnect", func(c *pgx.ConnConfig) error {
			c.AfterNetConnect = func(context.Context, *pgconn.Config, net.Conn) (net.Conn, error) { return nil, mine }
			return nil
		}, ""},
		{"TLSConfig", func(c *pgx.ConnConfig) error { c.TLSConfig = &tls.Config{}; return nil }, "TLSConfig has no effect"},
		{"an error", func(*pgx.ConnConfig) error { return mine }, "mine"},
	} {
		t.Run(c.name, func(t *testing.T) {
			defer func() {
				if p := recover(); p != nil {
					t.Errorf("panic: %v", p)
				}
			}()
			p := newPool(t, "prod/app", fixed(t, s, goodPassword), func(config *pgxpool.Config) error {
				config.BeforeConnect = func(_ context.Context, config *pgx.ConnConfig) error { return c.before(config) }
				return nil
			})
			err := p.Ping(t.Context())
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("Ping = %v, want %q", err, c.want)
			}
		})
	}
}

// Close ends a login that hangs. Connections that the pool opens for MinConns may fail.
func TestPoolCloseWhileLoginsFail(t *testing.T) {
	for _, c := range []struct {
		name   string
		server *pgserver.Server
		dsn    string
	}{
		{"hang", &pgserver.Server{Hang: pgserver.AtPassword}, "prod/app"},
		{"rejected", &pgserver.Server{Check: wrongPassword}, "prod/app?pool_min_conns=3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := c.server.Start(t)
			p := newPool(t, c.dsn, fixed(t, s, "wrong"), nil)
			ping := make(chan error, 1)
			go func() { ping <- p.Ping(context.Background()) }()
			for deadline := time.Now().Add(5 * time.Second); len(s.Seen()) == 0; time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("no login")
				}
			}
			start := time.Now()
			p.Close()
			if err := <-ping; err == nil {
				t.Error("Ping succeeded")
			}
			if took := time.Since(start); took > 2*time.Second {
				t.Errorf("Close took %v", took)
			}
			s.WaitClosed(t)
		})
	}
}
