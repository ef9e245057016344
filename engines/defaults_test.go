package engines_test

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/subprocess"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm/awssmtest"
)

// A rejecting engine is an engine whose server rejects every login.
type rejecting struct{ driver.Engine }

var errRejected = errors.New("wrong password")

func (rejecting) Info() driver.Info {
	return driver.Info{Name: "postgres", Port: 5432, Database: "postgres", Accepts: func(string) bool { return true }}
}
func (rejecting) CheckParams(map[string]string) error             { return nil }
func (e rejecting) Prepare(driver.Endpoint) (driver.Login, error) { return e, nil }
func (rejecting) Rejected(err error) bool                         { return errors.Is(err, errRejected) }
func (rejecting) NoDatabase(error) bool                           { return false }
func (rejecting) Connect(context.Context, driver.Credentials) (sqldriver.Conn, error) {
	return nil, errRejected
}

// rejectedLogin opens a database without options, as sql.Open does, calls configure, and then
// connects.
func rejectedLogin(t *testing.T, configure func()) {
	t.Helper()
	credentials(t)
	engines.ForgetDefaults()
	t.Cleanup(engines.ForgetDefaults)
	sm := awssmtest.NewServer(t)
	sm.Put("prod/app", `{"host":"db.example.com","username":"app","password":"pw1"}`)
	connector, err := driver.NewConnector(rejecting{}, "prod/app?region=us-west-2&endpoint="+sm.URL(), engines.Options(nil))
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	configure()
	if err := db.PingContext(t.Context()); !errors.Is(err, driver.ErrAuthFailed) {
		t.Fatalf("Ping = %v, want ErrAuthFailed", err)
	}
}

func TestDefaultsCountUntilTheFirstConnection(t *testing.T) {
	var log bytes.Buffer
	var logins, fetches int
	set := func() error {
		return engines.SetDefaults(engines.Defaults{
			Logger: slog.New(slog.NewTextHandler(&log, nil)),
			Trace:  &driver.Trace{LoginDone: func(context.Context, driver.LoginInfo) { logins++ }},
			Cache: secretcache.Options{TTL: -1, Trace: &secretcache.Trace{
				FetchDone: func(context.Context, secretcache.FetchInfo) { fetches++ }}},
		})
	}
	rejectedLogin(t, func() {
		if err := set(); err != nil {
			t.Fatal(err)
		}
	})
	if !strings.Contains(log.String(), "the server rejected the credentials") {
		t.Errorf("the log has no record of the rejected login:\n%s", log.String())
	}
	if logins == 0 || fetches == 0 {
		t.Errorf("the traces saw %d logins and %d fetches, want some of each", logins, fetches)
	}
	if err := set(); err == nil {
		t.Error("SetDefaults after the first connection: no error")
	}
}

func TestDefaultsOfTheCacheKeepTheSourcesTTL(t *testing.T) {
	engines.ForgetDefaults()
	t.Cleanup(engines.ForgetDefaults)
	t.Setenv(engines.EnvTTL, "10ms")
	var calls atomic.Int32
	if err := engines.SetDefaults(engines.Defaults{Cache: secretcache.Options{
		Trace: &secretcache.Trace{FetchDone: func(context.Context, secretcache.FetchInfo) { calls.Add(1) }}}}); err != nil {
		t.Fatal(err)
	}
	t.Setenv("APP_SECRET", "{}")
	c, _ := get(t, driver.Location{Source: "env:APP_SECRET"}, "prod/app")
	for until := time.Now().Add(10 * time.Second); calls.Load() < 2 && time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		if _, err := c.Get(t.Context(), "prod/app", ""); err != nil {
			t.Fatal(err)
		}
	}
	_ = c.Close()
	if calls.Load() < 2 {
		t.Error("no second fetch: SQLSECRETS_TTL has no effect")
	}
}

func TestDefaultsAreCopied(t *testing.T) {
	engines.ForgetDefaults()
	t.Cleanup(engines.ForgetDefaults)
	fetches, changed := 0, 0
	trace := &secretcache.Trace{FetchDone: func(context.Context, secretcache.FetchInfo) { fetches++ }}
	if err := engines.SetDefaults(engines.Defaults{Cache: secretcache.Options{Trace: trace}}); err != nil {
		t.Fatal(err)
	}
	trace.FetchDone = func(context.Context, secretcache.FetchInfo) { changed++ }
	t.Setenv("APP_SECRET", "{}")
	c, _ := get(t, driver.Location{Source: "env:APP_SECRET"}, "prod/app")
	_ = c.Close()
	if fetches != 1 || changed != 0 {
		t.Errorf("the trace that was set saw %d fetches, and a later change of it %d; want 1 and 0", fetches, changed)
	}
}

// An environment variable turns the log on, because programs that use sql.Open have no options.
func TestTheEnvironmentTurnsTheLogOn(t *testing.T) {
	for _, tt := range []struct {
		level    string
		has, not string
	}{
		{"", "", "level="},
		{"warn", "the server accepts no version of the secret", "level=INFO"},
		{"info", "the server rejected the credentials", "level=DEBUG"},
		{"verbose", "not debug, info, warn or error", "verbose"},
	} {
		t.Run(cmp.Or(tt.level, "not set"), func(t *testing.T) {
			t.Setenv(engines.EnvLog, tt.level)
			_, got := subprocess.Run(t, func() { rejectedLogin(t, func() {}) })
			if !strings.Contains(got, tt.has) || strings.Contains(got, tt.not) {
				t.Errorf("standard error has\n%s\nwant %q and not %q", got, tt.has, tt.not)
			}
		})
	}
}

// A misspelt level is reported once, however many databases the program opens.
func TestAnUnknownLogLevelIsReportedOnce(t *testing.T) {
	t.Setenv(engines.EnvLog, "verbose")
	_, got := subprocess.Run(t, func() {
		defaults := engines.Options(nil).Defaults
		_, _ = defaults()
		_, _ = defaults()
	})
	if n := strings.Count(got, engines.EnvLog); n != 1 {
		t.Errorf("two connectors: %d records, want 1:\n%s", n, got)
	}
}

func TestALoggerTakesPrecedenceOverTheEnvironment(t *testing.T) {
	t.Setenv(engines.EnvLog, "verbose")
	_, got := subprocess.Run(t, func() {
		own := slog.New(slog.DiscardHandler)
		if err := engines.SetDefaults(engines.Defaults{Logger: own}); err != nil {
			t.Fatal(err)
		}
		if log, _ := engines.Options(nil).Defaults(); log != own {
			t.Error("the program's logger is not used")
		}
	})
	if got != "" {
		t.Errorf("standard error has %q, want nothing", got)
	}
}
