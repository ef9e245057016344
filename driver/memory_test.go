package driver_test

import (
	"context"
	sqldriver "database/sql/driver"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/memory"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// The server of a forgetful engine accepts one of the passwords of package memory. Its connections keep the
// password, as vendors' connections do. Nothing else in it does.
type forgetful struct {
	*engine
	accepts *int
}

func (f *forgetful) Prepare(driver.Endpoint) (driver.Login, error) { return f, nil }

func (f *forgetful) Connect(_ context.Context, c driver.Credentials) (sqldriver.Conn, error) {
	if c.Password.Reveal() != string(memory.Password(*f.accepts)) {
		return nil, &vendorError{codeRejected, "access denied"}
	}
	return &conn{password: c.Password.Reveal()}, nil
}

// After a rotation, the connector, the cache and the gate no longer have the old password. Connections that
// were opened with it still have it. SECURITY.md says so.
func TestHowLongAPasswordStaysInMemory(t *testing.T) {
	for _, test := range []struct {
		name     string
		keepOpen bool
		end      func(c *secretcache.Cache)
		want     []int
	}{
		{"the connection is closed", false, nil, []int{1}},
		{"the connection is open", true, nil, []int{0, 1}},
		{"the cache is closed, the connector is not", false, func(c *secretcache.Cache) { _ = c.Close() }, []int{1}},
	} {
		inBubble(t, test.name, func(t *testing.T) {
			version, accepts := 0, 0
			cache := secretcache.New(secretcache.SourceFunc(func(_ context.Context, id, stage string) (*secretcache.Secret, error) {
				if stage != "AWSCURRENT" {
					return nil, secretcache.ErrNoVersion
				}
				return secretcache.NewSecret(secretcache.Value{ID: id, VersionID: string(rune('A' + version)), Stages: []string{stage},
					String: `{"host":"h","username":"app","password":"` + string(memory.Password(version)) + `"}`}), nil
			}), nil)
			connector, err := driver.NewConnector(&forgetful{newEngine("postgres", nil), &accepts}, "prod/app", &driver.Options{Secrets: cache})
			if err != nil {
				t.Fatal(err)
			}
			var open []sqldriver.Conn
			done := make(chan struct{})
			go func() { // so that its stack is freed afterwards
				defer close(done)
				for n := range 2 {
					version, accepts = n, n
					c, err := connector.Connect(t.Context())
					if err != nil {
						t.Error(err)
					}
					if test.keepOpen {
						open = append(open, c)
					}
				}
				if test.end != nil {
					test.end(cache)
				}
			}()
			<-done
			time.Sleep(time.Minute) // until fetches and all calls that wait for them have ended
			if got := memory.Holds(t, 2); !slices.Equal(got, test.want) {
				t.Errorf("passwords in memory: %v, want %v", got, test.want)
			}
			runtime.KeepAlive(connector)
			runtime.KeepAlive(cache)
			runtime.KeepAlive(open)
			_ = cache.Close()
		})
	}
}
