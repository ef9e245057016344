package driver_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// A pool is a bench with a sql.DB of n connections, which are all open and idle at first.
type pool struct {
	*bench
	t  *testing.T
	db *sql.DB
}

func newPool(t *testing.T, n int, setup ...func(b *bench, dsn *string)) *pool {
	t.Helper()
	on := func(b *bench, _ *string) { b.opts.CloseSuperseded = true }
	b := newBench(t, append([]func(*bench, *string){on}, setup...)...)
	p := &pool{b, t, sql.OpenDB(b.Connector)}
	p.db.SetMaxOpenConns(n)
	p.db.SetMaxIdleConns(n)
	t.Cleanup(func() { _ = p.db.Close() })
	p.use(n)
	return p
}

// use takes n connections out of the pool at once and returns the passwords that
// they were opened with. None may fail.
func (p *pool) use(n int) []string {
	p.t.Helper()
	var mu sync.Mutex
	var passwords []string
	var conns []*sql.Conn
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			c, err := p.db.Conn(p.t.Context())
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				p.t.Errorf("a checkout failed: %v", err)
				return
			}
			conns = append(conns, c)
			passwords = append(passwords, password(p.t, c))
		})
	}
	wg.Wait()
	for _, c := range conns {
		_ = c.Close()
	}
	slices.Sort(passwords)
	return passwords
}

func password(t *testing.T, c *sql.Conn) (s string) {
	t.Helper()
	if err := c.Raw(func(c any) error { s = c.(*conn).password; return nil }); err != nil {
		t.Fatal(err)
	}
	return s
}

// until uses the pool every 100 ms until all connections have the password want. It fails the test after
// limit.
func (p *pool) until(n int, want string, limit time.Duration) {
	p.t.Helper()
	for start := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		got := p.use(n)
		if !slices.ContainsFunc(got, func(s string) bool { return s != want }) {
			return
		}
		if time.Since(start) > limit {
			p.t.Fatalf("after %v the pool has connections of %q, want all of %q", time.Since(start), got, want)
		}
	}
}

// checkOut takes connections out of a pool, one after the other, until ctx ends. It keeps each of them
// for hold. None may fail.
func checkOut(ctx context.Context, t *testing.T, db *sql.DB, hold time.Duration) {
	for ctx.Err() == nil {
		c, err := db.Conn(t.Context())
		if err != nil {
			t.Errorf("a checkout failed: %v", err)
			return
		}
		time.Sleep(hold)
		_ = c.Close()
	}
}

// rotateAndInvalidate rotates. The next reading of the secret fetches it.
func (p *pool) rotateAndInvalidate(version, password string) {
	p.rotate(version, password)
	p.cache.Invalidate("prod/app")
}

func TestCloseSuperseded(t *testing.T) {
	const n = 4
	inBubble(t, "after a rejected login", func(t *testing.T) {
		p := newPool(t, n)
		p.rotate("v2", "pw2")
		p.db.SetMaxOpenConns(n + 1)
		busy, err := p.db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := p.use(n); !slices.Contains(got, "pw2") { // the pool opens one more
			t.Fatalf("connections of %q, want one of pw2", got)
		}
		p.until(n, "pw2", (n+1)*time.Second)
		// The connection that was in use all the time ends when the pool hands it out again.
		if got := password(t, busy); got != "pw1" {
			t.Errorf("the connection in use has the password %q", got)
		}
		_ = busy.Close()
		p.until(n+1, "pw2", 2*time.Second)
		wantEqual(t, "rejected logins", p.bench.rejections(), 1)
	})
	inBubble(t, "after Invalidate, though the pool makes no login", func(t *testing.T) {
		p := newPool(t, n)
		p.rotate("v2", "pw2")
		time.Sleep(time.Minute)
		if got := p.use(n); slices.Contains(got, "pw2") {
			t.Errorf("connections of %q before the connector knows of pw2", got)
		}
		p.cache.Invalidate("prod/app")
		p.until(n, "pw2", (n+3)*time.Second)
		wantEqual(t, "rejected logins", p.bench.rejections(), 0)
	})
	inBubble(t, "at the TTL", func(t *testing.T) {
		p := newPool(t, n)
		p.rotate("v2", "pw2")
		time.Sleep(time.Hour)
		p.until(n, "pw2", (n+3)*time.Second)
	})
	inBubble(t, "at the end of a rotation during which there was a Connect call", func(t *testing.T) {
		p := newPool(t, n)
		p.startRotation("v2", "pw2")
		p.db.SetMaxOpenConns(n + 1)
		p.db.SetMaxIdleConns(n + 1)
		want := []string{"pw1", "pw1", "pw1", "pw1", "pw2"}
		for range 3 {
			if got := p.use(n + 1); !slices.Equal(got, want) {
				t.Errorf("connections of %q before the rotation is finished, want %q", got, want)
			}
		}
		wantEqual(t, "logins", p.bench.logins(), n+2) // none is closed
		time.Sleep(500 * time.Millisecond)
		p.store.move("AWSCURRENT", "v2")
		p.until(n+1, "pw2", (n+3)*time.Second)
	})
	inBubble(t, "after a rollback", func(t *testing.T) {
		p := newPool(t, n)
		p.rotateAndInvalidate("v2", "pw2")
		p.until(n, "pw2", (n+3)*time.Second)
		p.bench.db.set("app", "pw1")
		p.store.move("AWSCURRENT", "v1")
		p.cache.Invalidate("prod/app")
		p.until(n, "pw1", (n+3)*time.Second)
	})
	inBubble(t, "not for a version that the server rejects", func(t *testing.T) {
		var calls atomic.Int32
		p := newPool(t, n, func(b *bench, _ *string) {
			b.opts.Trace = &driver.Trace{ConnectDone: func(context.Context, driver.ConnectInfo) { calls.Add(1) }}
		})
		p.store.put("v2", credentials("app", "mistyped"), "AWSCURRENT")
		p.cache.Invalidate("prod/app")
		start := time.Now()
		for time.Since(start) < 10*time.Minute {
			if got := p.use(n); slices.Contains(got, "mistyped") || len(got) != n {
				t.Fatalf("connections of %q", got)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if _, rejected := p.bench.db.count(); rejected < 1 || rejected > 11 {
			t.Errorf("%d logins rejected in 10 minutes; want 1, then one each after 1, 2, 4 … s", rejected)
		}
		if n := calls.Load(); n > 40 {
			t.Errorf("%d Connect calls in 10 minutes, want pauses between them", n)
		}
		p.bench.db.set("app", "mistyped")
		p.until(n, "mistyped", 6*time.Minute)
	})
	inBubble(t, "a login that panics ends neither the program nor a connection", func(t *testing.T) {
		var log bytes.Buffer
		p := newPool(t, n, func(b *bench, _ *string) { b.opts.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		p.rotate("v2", "pw2")
		p.bench.db.setFault(func(context.Context, *login) error { panic("vendor: pw2") })
		p.cache.Invalidate("prod/app")
		for range 50 {
			if got := p.use(n); slices.Contains(got, "pw2") || len(got) != n {
				t.Fatalf("connections of %q", got)
			}
			time.Sleep(100 * time.Millisecond)
		}
		synctest.Wait()
		if !strings.Contains(log.String(), "type=string") || strings.Contains(log.String(), "pw2") {
			t.Errorf("the log does not report the panic, or shows its text:\n%s", log.String())
		}
		p.bench.db.setFault(nil)
		p.until(n, "pw2", time.Minute)
	})
	inBubble(t, "not while the previous version is active as a fallback", func(t *testing.T) {
		p := newPool(t, n, withDSN("prod/app?fallback=AWSPREVIOUS"))
		p.rotateAndInvalidate("v2", "pw2")
		p.until(n, "pw2", (n+3)*time.Second)
		p.bench.db.set("app", "pw1") // a server that the change has not reached
		p.mustPing(t)
		if got := p.use(n); slices.Contains(got, "pw1") {
			t.Errorf("connections of %q, want those of pw2 left open", got)
		}
	})
	inBubble(t, "one after the other", func(t *testing.T) {
		p := newPool(t, n)
		logins := p.bench.logins
		supersede := func(version, pw string) {
			t.Helper()
			p.rotateAndInvalidate(version, pw)
			time.Sleep(2 * time.Second)
			p.use(1)                // the secret is fetched
			time.Sleep(time.Second) // until the next reading of the cache
			p.use(1)                // a login proves the new version
			synctest.Wait()
		}
		supersede("v2", "pw2")
		for range n {
			before := logins()
			p.use(n)
			p.use(n)
			wantEqual(t, "connections closed", logins()-before, 1)
			time.Sleep(time.Second)
		}
		supersede("v3", "pw3")
		before := logins()
		p.use(n)       // closes one; the checkouts of the others count
		for range 20 { // 60 checkouts after 3
			p.use(n)
		}
		wantEqual(t, "connections closed", logins()-before, 1) // after 63 checkouts
		p.use(n)
		wantEqual(t, "connections closed", logins()-before, 2) // after 66 checkouts
	})
	inBubble(t, "a pool without a connection to spare fails no query", func(t *testing.T) {
		const n = 20
		p := newPool(t, n)
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for i := range 3 * n {
			wg.Go(func() { checkOut(ctx, t, p.db, time.Duration(1+i%7)*time.Millisecond) })
		}
		for i := range 15 {
			p.rotateAndInvalidate(fmt.Sprint("v", i+2), fmt.Sprint("pw", i+2))
			time.Sleep(4 * time.Second)
		}
		stop()
		wg.Wait()
		if got, want := p.use(n), slices.Repeat([]string{"pw16"}, n); !slices.Equal(got, want) {
			t.Errorf("connections of %q, want %q", got, want)
		}
	})
	inBubble(t, "reads the cache once a second", func(t *testing.T) {
		p := newPool(t, n)
		before := p.cache.Stats()
		for start := time.Now(); time.Since(start) < 10*time.Minute; time.Sleep(10 * time.Millisecond) {
			p.use(1)
		}
		after := p.cache.Stats()
		if hits := after.Hits - before.Hits; hits < 590 || hits > 601 {
			t.Errorf("%d reads in 10 minutes of 60,000 checkouts, want 600", hits)
		}
		if after.Fetches != before.Fetches {
			t.Errorf("%d fetches, want none", after.Fetches-before.Fetches)
		}
	})
	inBubble(t, "not by default", func(t *testing.T) {
		p := newPool(t, n, func(b *bench, _ *string) { b.opts.CloseSuperseded = false })
		p.rotateAndInvalidate("v2", "pw2")
		p.mustPing(t)
		time.Sleep(2 * time.Second)
		if got, want := p.use(n), slices.Repeat([]string{"pw1"}, n); !slices.Equal(got, want) {
			t.Errorf("connections of %q, want %q", got, want)
		}
		c, err := p.Connect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if c.(*conn).superseded != nil {
			t.Error("the engine is asked to check connections")
		}
	})
	inBubble(t, "the source hangs", func(t *testing.T) {
		p := newPool(t, n)
		p.cache.Invalidate("prod/app")
		p.store.setFault(func(ctx context.Context, _ string) error { <-ctx.Done(); return ctx.Err() })
		start := time.Now()
		for time.Since(start) < 30*time.Second {
			before := time.Now()
			p.use(n)
			if took := time.Since(before); took > 0 {
				t.Fatalf("a checkout waited %v for the source", took)
			}
			time.Sleep(100 * time.Millisecond)
		}
	})
}

func TestCloseSupersededIsAnErrorForOtherEngines(t *testing.T) {
	for _, test := range []struct {
		engine, dsn string
		option      bool
		want        string // in the error, or empty
	}{
		{"mysql", "s", true, ""},
		{"mysql", "s?closeSuperseded=true", false, ""},
		{"mysql", "s?closeSuperseded=yes", false, `"closeSuperseded"`},
		{"oracle", "s", false, ""},
		{"oracle", "s?closeSuperseded=false", true, ""},
		{"oracle", "s", true, "SetConnMaxLifetime"},
		{"oracle", "s?closeSuperseded=true", false, "SetConnMaxLifetime"},
	} {
		t.Run(fmt.Sprintf("%s %s %v", test.engine, test.dsn, test.option), func(t *testing.T) {
			store := newStore(credentials("app", "pw1"))
			_, err := driver.NewConnector(newEngine(test.engine, nil), test.dsn,
				&driver.Options{Secrets: secretcache.New(store, nil), CloseSuperseded: test.option})
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if inDSN := test.want != "" && !test.option; errors.Is(err, driver.ErrBadDSN) != inDSN {
				t.Errorf("got %v, want ErrBadDSN: %t", err, inDSN)
			}
		})
	}
}

// countedSecrets count the calls of their methods.
type countedSecrets struct {
	driver.Secrets
	gets, refreshes atomic.Int32
}

func (s *countedSecrets) Get(ctx context.Context, id, stage string) (*secretcache.Secret, error) {
	s.gets.Add(1)
	return s.Secrets.Get(ctx, id, stage)
}

func (s *countedSecrets) Refresh(ctx context.Context, id, stage string, rejected *secretcache.Secret) (*secretcache.Secret, error) {
	s.refreshes.Add(1)
	return s.Secrets.Refresh(ctx, id, stage, rejected)
}

// However often a pool hands out connections, the secret is read once a second. While a fallback version
// is active, it is refreshed instead, once in five seconds.
func TestCheckoutsAskForTheSecretSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &countedSecrets{}
		p := newPool(t, 1, withSecrets(func(under driver.Secrets) driver.Secrets { s.Secrets = under; return s }))
		minute := func() (gets, refreshes int32) {
			gets, refreshes = s.gets.Load(), s.refreshes.Load()
			for start := time.Now(); time.Since(start) < time.Minute; time.Sleep(10 * time.Millisecond) {
				p.use(1)
			}
			return s.gets.Load() - gets, s.refreshes.Load() - refreshes
		}
		if gets, refreshes := minute(); gets < 50 || gets > 61 || refreshes != 0 {
			t.Errorf("in a minute the secret was read %d times and refreshed %d times; want about 60 and 0", gets, refreshes)
		}
		p.startRotation("v2", "pw2")
		p.db.SetMaxOpenConns(2)
		p.db.SetMaxIdleConns(2)
		p.use(2)
		if gets, refreshes := minute(); gets > 2 || refreshes < 10 || refreshes > 13 {
			t.Errorf("in a minute of a rotation the secret was read %d times and refreshed %d times; want about 0 and 12", gets, refreshes)
		}
	})
}
