package integration_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/integration/testdb"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/leak"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm/awssmtest"
)

// TestNothingShowsThePassword makes real servers and real SDK clients fail. Then it searches the
// whole trees of errors, traces and logs for the password.
func TestNothingShowsThePassword(t *testing.T) {
	forEach(t, func(t *testing.T, e *engine) {
		plain := newEnv(t, e, testdb.Options{})
		encrypted := plain
		if _, lacking := e.lacks[tlsServer]; !lacking {
			encrypted = newEnv(t, e, testdb.Options{TLS: true})
		}
		wrongCA := e.verify(t, testdb.UnknownCA(t))
		const canary = "CANARY-9b1f-password"
		for _, c := range []struct {
			name, params string
			env          *env
			fault        *awssmtest.Fault
			vendor       bool // the error tree has to contain the server's own error
		}{
			{"rejected", "", plain, nil, true},
			{"rejected over TLS", e.anyTLS + tlsPort(encrypted.Server), encrypted, nil, true},
			{"wrong database", "dbname=no_such_database", plain, nil, true},
			{"unknown host", "host=no-such-host.invalid", plain, nil, false},
			{"nobody listens", "port=1", plain, nil, false},
			{"unknown authority", wrongCA + tlsPort(encrypted.Server), encrypted, nil, false},
			{"no TLS", wrongCA, plain, nil, false},
			{"secret of another engine", "engine=" + e.engine, plain, nil, true},
			{"answer cut off", "", plain, ptr(awssmtest.Truncate), false},
			{"answer that is not JSON", "", plain, ptr(awssmtest.Answer(200, `{"SecretString":"`+canary+`", oops`)), false},
			{"answer of the wrong type", "", plain, ptr(awssmtest.Answer(200, `{"SecretString":{"password":"`+canary+`"}}`)), false},
			{"denied", "", plain, ptr(awssmtest.Denied), false},
			{"hanging", "", plain, ptr(awssmtest.Hang), false},
		} {
			t.Run(c.name, func(t *testing.T) {
				if strings.HasSuffix(c.name, "over TLS") {
					e.need(t, tlsServer)
				}
				v := c.env
				v.sm.Put(v.id, v.secret(v.user, canary))
				if c.fault != nil {
					v.sm.Fail(*c.fault)
					defer v.sm.Heal()
				}
				var log bytes.Buffer
				var seen []any
				cache := secretcache.New(v.sm.Source(), &secretcache.Options{
					FetchTimeout: time.Second, // FetchDone's infos come from other goroutines
				})
				defer cache.Close()
				db := v.open(t, c.params, &driver.Options{
					Secrets: cache,
					Logger:  slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
					Trace: &driver.Trace{
						SecretDone:  func(_ context.Context, i driver.SecretInfo) { seen = append(seen, i) },
						RefreshDone: func(_ context.Context, i driver.RefreshInfo) { seen = append(seen, i) },
						LoginStart:  func(_ context.Context, i driver.LoginInfo) { seen = append(seen, i) },
						LoginDone:   func(_ context.Context, i driver.LoginInfo) { seen = append(seen, i) },
						ConnectDone: func(_ context.Context, i driver.ConnectInfo) { seen = append(seen, i) },
					},
				})
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				err := db.PingContext(ctx)
				if err == nil {
					t.Fatal("Ping succeeded")
				}
				if c.vendor && !e.vendorError(err) {
					t.Errorf("the server's error is not in the tree of %v", err)
				}
				var connectError *pgconn.ConnectError
				var parseError *pgconn.ParseConfigError
				if errors.As(err, &connectError) || errors.As(err, &parseError) {
					t.Error("errors.As finds an error of pgx that holds the configuration")
				}
				if path := leak.Find(err, canary); path != "" {
					t.Errorf("the password is in the error at %s", path)
				}
				for i, info := range seen {
					if path := leak.Find(info, canary); path != "" {
						t.Errorf("the password is in trace event %d, a %T, at %s", i, info, path)
					}
				}
				for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
					if strings.Contains(fmt.Sprintf(verb, err), canary) {
						t.Errorf("%s shows the password", verb)
					}
				}
				if strings.Contains(log.String(), canary) {
					t.Error("the log shows the password")
				}
			})
		}
	})
}

func ptr[T any](v T) *T { return &v }
