package integration_test

import (
	"bytes"
	"context"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/postgres"
	"github.com/sqlsecrets/sqlsecrets/integration/testdb"
)

// pool opens a pgxpool of the secret, which is closed at the test's end.
func (v *env) pool(t testing.TB, params string, o *driver.Options, configure func(*pgxpool.Config) error) *pgxpool.Pool {
	t.Helper()
	p, err := postgres.NewPool(t.Context(), v.id+"?"+params, v.options(t, o), configure)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// poolModes are the ways in which the pools of the tests connect.
var poolModes = []struct {
	name   string
	server testdb.Options
	params string
}{
	{"plain", testdb.Options{}, "sslmode=disable"},
	{"TLS", testdb.Options{TLS: true}, "sslmode=require"},
	{"channel binding", testdb.Options{TLS: true}, "sslmode=require&require_auth=scram-sha-256&channel_binding=require"},
}

func forEachPoolMode(t *testing.T, f func(t *testing.T, v *env, params string)) {
	for _, mode := range poolModes {
		t.Run(mode.name, func(t *testing.T) { f(t, newEnv(t, engineNamed("postgres"), mode.server), mode.params) })
	}
}

// No Acquire fails while passwords rotate. With -short the load lasts for seconds.
func TestPoolRotationsUnderLoad(t *testing.T) {
	workers, rotations := fewer(16), 100
	if testing.Short() {
		rotations = 4
	}
	forEachPoolMode(t, func(t *testing.T, v *env, params string) {
		t.Parallel()
		w, trace := watch(t)
		v.rotated = w.clear
		p := v.pool(t, fmt.Sprintf("%s&pool_max_conns=%d&pool_max_conn_lifetime=1s&pool_health_check_period=100ms", params, workers),
			&driver.Options{Trace: trace}, nil)
		ctx, stop := context.WithCancel(t.Context())
		var acquired, failed atomic.Int64
		var wg sync.WaitGroup
		for range workers {
			wg.Go(func() {
				for ctx.Err() == nil {
					var n int
					acquired.Add(1)
					if err := p.QueryRow(t.Context(), "SELECT 1").Scan(&n); err != nil {
						failed.Add(1)
						t.Errorf("query: %v", err)
					}
					time.Sleep(10 * time.Millisecond)
				}
			})
		}
		before := v.fetches()
		for range rotations {
			next := time.After(2500 * time.Millisecond)
			if err := v.rotate(t.Context(), func(string) { time.Sleep(300 * time.Millisecond) }); err != nil {
				t.Error(err)
				break
			}
			<-next
		}
		stop()
		wg.Wait()
		logins, rejects := w.counts()
		t.Logf("%d rotations: %d Acquires, %d failed; %d logins, %d rejected; %d calls of GetSecretValue",
			rotations, acquired.Load(), failed.Load(), logins, rejects, v.fetches()-before)
		if rejects == 0 {
			t.Error("no login was rejected: the load did not cross a rotation")
		}
	})
}

// A query whose context ends is canceled at the server, without another login.
func TestPoolCancelsQueriesAtTheServer(t *testing.T) {
	forEachPoolMode(t, func(t *testing.T, v *env, params string) {
		p := v.pool(t, params, nil, func(c *pgxpool.Config) error {
			c.ConnConfig.BuildContextWatcherHandler = func(conn *pgconn.PgConn) ctxwatch.Handler {
				return &pgconn.CancelRequestContextWatcherHandler{Conn: conn, DeadlineDelay: 10 * time.Second}
			}
			return nil
		})
		conn, err := p.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Release()
		ctx, cancel := context.WithCancel(t.Context())
		stopped := make(chan time.Duration, 1)
		time.AfterFunc(200*time.Millisecond, func() {
			start := time.Now()
			cancel()
			for isActive(t, v, conn.Conn().PgConn().PID()) && time.Since(start) < 10*time.Second {
			}
			stopped <- time.Since(start)
		})
		_, err = conn.Exec(ctx, "SELECT pg_sleep(10)")
		took := <-stopped
		t.Logf("the server stopped the query %v after its context ended", took)
		if took > time.Second { // 100 ms on an idle machine
			t.Errorf("the query ran on for %v", took)
		}
		var pg *pgconn.PgError
		if !errors.As(err, &pg) || pg.Code != "57014" {
			t.Errorf("Exec = %v, want the server's query_canceled", err)
		}
		if _, err := conn.Exec(t.Context(), "SELECT 1"); err != nil {
			t.Errorf("the connection is unusable after it: %v", err)
		}
		if n := v.Logins(v.user); n != 1 {
			t.Errorf("%d logins, want 1", n)
		}
	})
}

// isActive reports whether a session runs a query.
func isActive(t *testing.T, v *env, pid uint32) (active bool) {
	t.Helper()
	row := v.Admin().QueryRowContext(t.Context(), "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1 AND state = 'active')", pid)
	if err := row.Scan(&active); err != nil {
		t.Error(err)
	}
	return active
}

// Without such a handler pgx abandons the connection, and the server ends the query at once.
func TestPoolEndsQueriesOfLostConnections(t *testing.T) {
	forEachPoolMode(t, func(t *testing.T, v *env, params string) {
		p := v.pool(t, params, nil, nil)
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if _, err := p.Exec(ctx, "SELECT pg_sleep(10)"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Exec = %v", err)
		}
		v.WaitSessions(v.user, 0)
		start := time.Now()
		p.Close()
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("Close took %v", took)
		}
		if n := v.Logins(v.user); n != 1 {
			t.Errorf("%d logins, want 1", n)
		}
	})
}

// Everything that pgx users do with a connection works as with a pool of their own.
func TestPoolIsPgxpool(t *testing.T) {
	forEachPoolMode(t, func(t *testing.T, v *env, params string) {
		exec(t, v, "DROP TYPE IF EXISTS pool_point; CREATE TYPE pool_point AS (x int, y int)")
		p := v.pool(t, params+"&application_name=the-pool&pool_min_conns=2", nil, func(c *pgxpool.Config) error {
			c.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
				typ, err := conn.LoadType(ctx, "pool_point")
				if err == nil {
					conn.TypeMap().RegisterType(typ)
				}
				return err
			}
			return nil
		})
		conn, err := p.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		pg := conn.Conn().PgConn()
		var pid uint32
		var name string
		row := conn.QueryRow(t.Context(), "SELECT pg_backend_pid(), current_setting('application_name')")
		if err := row.Scan(&pid, &name); err != nil || pid != pg.PID() || name != "the-pool" {
			t.Errorf("pid %d and application_name %q, want %d and the-pool (%v)", pid, name, pg.PID(), err)
		}
		if v := pg.ParameterStatus("server_version"); v == "" {
			t.Error("the server's version is not known")
		}
		config := conn.Conn().Config()
		if config.Host != v.Host || int(config.Port) != v.Port || config.User != v.user || config.Database != v.Database || config.Password != "" {
			t.Errorf("Config tells %s@%s:%d/%s and the password %q", config.User, config.Host, config.Port, config.Database, config.Password)
		}
		var point struct{ X, Y int32 }
		if err := conn.QueryRow(t.Context(), "SELECT ROW(1, 2)::pool_point").Scan(&point); err != nil || point.Y != 2 {
			t.Errorf("a composite type: %v, %v", point, err)
		}
		copies(t, conn.Conn())
		batches(t, conn.Conn())
		listens(t, conn.Conn(), p)
		another(t, config)
		conn.Release()

		// MinConns, Reset and Close.
		until(t, "the pool has two connections", func() bool { return p.Stat().TotalConns() >= 2 })
		p.Reset()
		if err := p.Ping(t.Context()); err != nil {
			t.Errorf("after Reset: %v", err)
		}
		p.Close()
		v.WaitSessions(v.user, 0)
	})
}

// copies sends 10 MB and gets them back.
func copies(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	const rows = 10_000
	value := strings.Repeat("0123456789", 100)
	if _, err := conn.Exec(t.Context(), "CREATE TEMPORARY TABLE copied (n int, value text)"); err != nil {
		t.Fatal(err)
	}
	n, err := conn.CopyFrom(t.Context(), pgx.Identifier{"copied"}, []string{"n", "value"},
		pgx.CopyFromSlice(rows, func(i int) ([]any, error) { return []any{i, value}, nil }))
	if err != nil || n != rows {
		t.Errorf("COPY FROM: %d rows, %v", n, err)
	}
	var out bytes.Buffer
	if _, err := conn.PgConn().CopyTo(t.Context(), &out, "COPY copied TO STDOUT"); err != nil || bytes.Count(out.Bytes(), []byte(value)) != rows {
		t.Errorf("COPY TO: %d bytes, %v", out.Len(), err)
	}
	if _, err := conn.PgConn().CopyFrom(t.Context(), io.LimitReader(&out, int64(out.Len())), "COPY copied FROM STDIN"); err != nil {
		t.Errorf("COPY FROM of text: %v", err)
	}
}

func batches(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	b := &pgx.Batch{}
	const queries = 1000
	for i := range queries {
		b.Queue("SELECT $1::int", i)
	}
	results := conn.SendBatch(t.Context(), b)
	for i := range queries {
		var got int
		if err := results.QueryRow().Scan(&got); err != nil || got != i {
			t.Fatalf("query %d of a batch: %d, %v", i, got, err)
		}
	}
	if err := results.Close(); err != nil {
		t.Error(err)
	}
}

func listens(t *testing.T, conn *pgx.Conn, p *pgxpool.Pool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, err := conn.Exec(ctx, "LISTEN pool_channel")
	if err == nil {
		_, err = p.Exec(ctx, "NOTIFY pool_channel, 'hello'")
	}
	if err != nil {
		t.Fatal(err)
	}
	if n, err := conn.WaitForNotification(ctx); err != nil || n.Payload != "hello" {
		t.Errorf("notification: %+v, %v", n, err)
	}
}

// another opens one more connection with a copy of the configuration of the first.
func another(t *testing.T, config *pgx.ConnConfig) {
	t.Helper()
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Errorf("with a copy of the configuration: %v", err)
		return
	}
	defer conn.Close(t.Context())
	var n int
	if err := conn.QueryRow(t.Context(), "SELECT 1").Scan(&n); err != nil {
		t.Error(err)
	}
}

// Notices and notifications that arrive before the pool has the connection are not lost, and arrive
// once.
func TestPoolKeepsMessages(t *testing.T) {
	forEachPoolMode(t, func(t *testing.T, v *env, params string) {
		var notices atomic.Int32
		p := v.pool(t, params, &driver.Options{AfterConnect: func(ctx context.Context, conn sqldriver.Conn) error {
			_, err := conn.(*stdlib.Conn).Conn().Exec(ctx, `LISTEN "kept"; NOTIFY "kept", 'hello'; DO $$ BEGIN RAISE NOTICE 'hello'; END $$`)
			return err
		}}, func(c *pgxpool.Config) error {
			c.ConnConfig.OnNotice = func(*pgconn.PgConn, *pgconn.Notice) { notices.Add(1) }
			return nil
		})
		conn, err := p.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Release()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if n, err := conn.Conn().WaitForNotification(ctx); err != nil || n.Payload != "hello" {
			t.Errorf("notification: %+v, %v", n, err)
		}
		if n := notices.Load(); n != 1 {
			t.Errorf("%d notices, want 1", n)
		}
	})
}

// ConfigureConn makes a connection for LISTEN, and ConfigurePool a pool of the caller's own
// configuration.
func TestOwnConfigurationsOfPgx(t *testing.T) {
	forEachPoolMode(t, func(t *testing.T, v *env, params string) {
		t.Setenv("PGUSER", "nobody")
		t.Setenv("PGPASSWORD", "CANARY")
		t.Setenv("PGHOST", "127.0.0.9")
		config, err := pgx.ParseConfig("")
		if err != nil {
			t.Fatal(err)
		}
		poolConfig, err := pgxpool.ParseConfig("pool_max_conns=3")
		if err != nil {
			t.Fatal(err)
		}
		o := v.options(t, nil)
		if err := errors.Join(postgres.ConfigureConn(config, v.id+"?"+params, o), postgres.ConfigurePool(poolConfig, v.id+"?"+params, o)); err != nil {
			t.Fatal(err)
		}
		conn, err := pgx.ConnectConfig(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(t.Context())
		p, err := pgxpool.NewWithConfig(t.Context(), poolConfig)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		listens(t, conn, p)
		if n := p.Config().MaxConns; n != 3 {
			t.Errorf("MaxConns = %d", n)
		}
		if err := v.rotate(t.Context(), noPause); err != nil {
			t.Fatal(err)
		}
		p.Reset()
		if err := p.Ping(t.Context()); err != nil {
			t.Errorf("after a rotation: %v", err)
		}
	})
}

// closeSuperseded closes connections that were opened with a superseded version.
func TestPoolClosesSupersededConnections(t *testing.T) {
	v := newEnv(t, engineNamed("postgres"), testdb.Options{})
	cache := v.cache(t, nil)
	p := v.pool(t, "sslmode=disable&closeSuperseded=true&pool_max_conns=1", &driver.Options{Secrets: cache}, nil)
	pid := func() (pid int) {
		if err := p.QueryRow(t.Context(), "SELECT pg_backend_pid()").Scan(&pid); err != nil {
			t.Fatal(err)
		}
		return pid
	}
	first := pid()
	if again := pid(); again != first {
		t.Fatalf("session %d after %d without a rotation", again, first)
	}
	if err := v.rotate(t.Context(), noPause); err != nil {
		t.Fatal(err)
	}
	cache.Invalidate(v.id)
	until(t, "the connection is another one", func() bool { return pid() != first })
}
