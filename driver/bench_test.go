package driver_test

import (
	"context"
	sqldriver "database/sql/driver"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// newIdleConnector returns a connector whose secret and whose logins take no time.
func newIdleConnector() *driver.Connector {
	value := credentials("app", "pw1")
	cache := secretcache.New(secretcache.SourceFunc(func(_ context.Context, id, _ string) (*secretcache.Secret, error) {
		return secretcache.NewSecret(secretcache.Value{ID: id, VersionID: "v1", String: value}), nil
	}), nil)
	return must(driver.NewConnector(idleEngine{newEngine("mysql", nil)}, "prod/app", &driver.Options{Secrets: cache}))
}

// The logins of an idleEngine only reveal the password.
type idleEngine struct{ driver.Engine }

func (idleEngine) Prepare(driver.Endpoint) (driver.Login, error) { return idleLogin{}, nil }

type idleLogin struct{}

func (idleLogin) Connect(_ context.Context, c driver.Credentials) (sqldriver.Conn, error) {
	if c.Password.Reveal() == "" {
		return nil, sqldriver.ErrSkip
	}
	return &conn{}, nil
}

// A Connect call makes at most six allocations itself.
func TestConnectAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	c := newIdleConnector()
	got := testing.AllocsPerRun(100, func() {
		if _, err := c.Connect(context.Background()); err != nil {
			t.Fatal(err)
		}
	})
	if got -= 1; got > 6 { // the connection itself is one
		t.Errorf("Connect allocates %v times, want 6 at most", got)
	}
}

// BenchmarkCancelledQueue cancels many Connect calls together that wait for their turn because of MaxLogins.
// It measures the time from the cancellation until the last call returns.
func BenchmarkCancelledQueue(b *testing.B) {
	for _, n := range []int{1000, 10_000, 40_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			bench := newBench(b, func(b *bench, _ *string) { b.opts.MaxLogins = 1 })
			bench.mustPing(b)
			for b.Loop() {
				b.StopTimer()
				release := make(chan struct{})
				bench.db.setFault(func(context.Context, *login) error { <-release; return nil })
				ctx, cancel := context.WithCancel(b.Context())
				var wg sync.WaitGroup
				wg.Go(func() { _ = bench.ping(b.Context()) })
				for range n {
					wg.Go(func() { _ = bench.ping(ctx) })
				}
				time.Sleep(500 * time.Millisecond) // until all calls wait
				b.StartTimer()
				cancel()
				close(release)
				wg.Wait()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/call")
		})
	}
}
