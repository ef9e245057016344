package driver_test

import (
	"bytes"
	"context"
	sqldriver "database/sql/driver"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
)

// withAfterConnect is a setup for newBench.
func withAfterConnect(f func(ctx context.Context, c *conn) error) func(*bench, *string) {
	return func(b *bench, _ *string) {
		b.opts.AfterConnect = func(ctx context.Context, c sqldriver.Conn) error { return f(ctx, c.(*conn)) }
	}
}

func TestAfterConnectSeesEachNewConnectionOnce(t *testing.T) {
	var seen []*conn
	b := newBench(t, withAfterConnect(func(_ context.Context, c *conn) error {
		seen = append(seen, c)
		return nil
	}))
	b.store.put("v2", credentials("app", "pw2"), "AWSCURRENT")
	b.cache.Invalidate("prod/app")
	b.db.set("app", "pw2")
	for range 2 {
		c, err := b.Connect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := seen[len(seen)-1]; got != c || got.closed {
			t.Errorf("AfterConnect saw %+v, Connect returned %+v", got, c)
		}
	}
	wantEqual(t, "connections seen", len(seen), 2)
}

// An error of AfterConnect says nothing about the credentials.
func TestAfterConnectFails(t *testing.T) {
	vendor := &vendorError{codeRejected, "access denied"}
	for _, c := range []struct {
		name string
		hook func() error
		want error
		text string
	}{
		{"with the server's rejection", func() error { return vendor }, vendor, `run AfterConnect for "prod/app" (version v1): vendor: access denied (1045)`},
		{"with a bad connection", func() error { return sqldriver.ErrBadConn }, nil, "driver: bad connection"},
		{"by a panic", func() error { panic("CANARY") }, nil, `run AfterConnect for "prod/app" (version v1): panic: string`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var log bytes.Buffer
			var seen *conn
			var done driver.ConnectInfo
			b := newBench(t, withAfterConnect(func(_ context.Context, cn *conn) error {
				seen = cn
				return c.hook()
			}), func(b *bench, _ *string) {
				b.opts.Logger = slog.New(slog.NewTextHandler(&log, nil))
				b.opts.Trace = &driver.Trace{ConnectDone: func(_ context.Context, i driver.ConnectInfo) { done = i }}
			})
			got, err := b.Connect(t.Context())
			e := (*driver.Error)(nil)
			switch {
			case got != nil || !errors.As(err, &e) || e.Kind != nil || !strings.Contains(err.Error(), c.text):
				t.Errorf("Connect = %v, %v; want %q", got, err, c.text)
			case c.want != nil && !errors.Is(err, c.want), errors.Is(err, sqldriver.ErrBadConn), errors.Is(err, driver.ErrAuthFailed):
				t.Errorf("Connect's error has the wrong tree: %#v", err)
			case done.Err != err:
				t.Errorf("ConnectDone: %v", done.Err)
			}
			if !seen.closed {
				t.Error("the connection is open")
			}
			b.wantLogins(t, 1, 0)
			b.wantFetches(t, "", 1)
			if strings.Contains(log.String()+err.Error(), "CANARY") {
				t.Errorf("the log shows the text of the panic: %s", log.String())
			}
			if panics := strings.Contains(c.name, "panic"); panics != strings.Contains(log.String(), "afterconnect_test.go") {
				t.Errorf("the log should have the stack of a panic, and only then: %s", log.String())
			}
		})
	}
}

// The func may use another connector. A rejection of that connector's credentials says nothing about this
// one's.
func TestAfterConnectPassesNoRejectionOfAnotherConnectorOn(t *testing.T) {
	other := newBench(t, wrongPassword)
	b := newBench(t, withAfterConnect(func(ctx context.Context, _ *conn) error { return other.ping(ctx) }))
	_, err := b.Connect(t.Context())
	vendor := (*vendorError)(nil)
	if errors.Is(err, driver.ErrAuthFailed) || !errors.As(err, &vendor) || !strings.Contains(err.Error(), "credentials rejected") {
		t.Errorf("Connect = %v", err)
	}
}

// Other callers do not wait for the AfterConnect of the call that found the version.
func TestOthersConnectWhileAfterConnectRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, withAfterConnect(func(ctx context.Context, _ *conn) error {
			time.Sleep(time.Second)
			return nil
		}))
		start := time.Now()
		b.mustPingTogether(t, 20)
		wantEqual(t, "time of 20 Connect calls", time.Since(start), time.Second)
	})
}

func TestAfterConnectHasItsOwnTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, withLatency(3*time.Second), withAfterConnect(func(ctx context.Context, _ *conn) error {
			<-ctx.Done()
			return ctx.Err()
		}), func(b *bench, _ *string) { b.opts.ConnectTimeout = 5 * time.Second })
		start := time.Now()
		if err := b.ping(context.Background()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Connect = %v", err)
		}
		wantEqual(t, "time of the Connect call", time.Since(start), 8*time.Second)
	})
}

func TestConnectionIsClosedIfAfterConnectEndsItsGoroutine(t *testing.T) {
	var seen *conn
	b := newBench(t, withAfterConnect(func(_ context.Context, c *conn) error {
		seen = c
		runtime.Goexit()
		return nil
	}))
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = b.Connect(context.Background())
	}()
	<-done
	if !seen.closed {
		t.Error("the connection is open")
	}
}
