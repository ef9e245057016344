package driver_test

import (
	"context"
	sqldriver "database/sql/driver"
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// BenchmarkConnect shows what a Connector adds to the login of an engine that
// does nothing.
func BenchmarkConnect(b *testing.B) {
	value := credentials("app", "pw1")
	cache := secretcache.New(secretcache.SourceFunc(func(_ context.Context, id, _ string) (*secretcache.Secret, error) {
		return secretcache.NewSecret(secretcache.Value{ID: id, VersionID: "v1", String: value}), nil
	}), &secretcache.Options{TTL: time.Hour})
	engine := idleEngine{newEngine("mysql", nil)}
	c, err := driver.NewConnector(engine, "prod/app", &driver.Options{Secrets: cache})
	if err != nil {
		b.Fatal(err)
	}
	login, err := engine.Prepare(driver.Endpoint{})
	if err != nil {
		b.Fatal(err)
	}
	ctx := context.Background()
	b.Run("direct", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := login.Connect(ctx, driver.Credentials{User: "app", Password: driver.NewPassword("pw1")}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("sqlsecrets", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := c.Connect(ctx); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("sqlsecrets-parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := c.Connect(ctx); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
}

// An idleEngine's logins do nothing but reveal the password.
type idleEngine struct{ driver.Engine }

func (idleEngine) Prepare(driver.Endpoint) (driver.Login, error) { return idleLogin{}, nil }

type idleLogin struct{}

func (idleLogin) Connect(_ context.Context, c driver.Credentials) (sqldriver.Conn, error) {
	if c.Password.Reveal() == "" {
		return nil, sqldriver.ErrSkip
	}
	return &conn{}, nil
}

// Connect's own allocations have a bound.
func TestConnectAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	value := credentials("app", "pw1")
	cache := secretcache.New(secretcache.SourceFunc(func(_ context.Context, id, _ string) (*secretcache.Secret, error) {
		return secretcache.NewSecret(secretcache.Value{ID: id, VersionID: "v1", String: value}), nil
	}), nil)
	c, err := driver.NewConnector(idleEngine{newEngine("mysql", nil)}, "prod/app", &driver.Options{Secrets: cache})
	if err != nil {
		t.Fatal(err)
	}
	got := testing.AllocsPerRun(100, func() {
		if _, err := c.Connect(context.Background()); err != nil {
			t.Fatal(err)
		}
	})
	if got -= 1; got > 10 { // the connection itself is one
		t.Errorf("Connect allocates %v times, want 10 at most", got)
	}
}
