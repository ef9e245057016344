package all_test

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/all"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/leak"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// A fixture has two engines, pg and my, and a secret.
type fixture struct {
	store  *store
	cache  *secretcache.Cache
	logins *logins
	opts   *driver.Options
}

func newFixture(t *testing.T, value string) *fixture {
	t.Helper()
	f := &fixture{store: &store{}, logins: &logins{}}
	f.store.put(value)
	f.cache = secretcache.New(f.store, nil)
	t.Cleanup(func() { _ = f.cache.Close() })
	f.opts = &driver.Options{Secrets: f.cache, FallbackStages: []string{}}
	return f
}

func (f *fixture) new(dsn string) (*all.Connector, error) {
	return all.NewWith([]driver.Engine{fakeEngine{"pg", f.logins}, fakeEngine{"my", f.logins}}, dsn, f.opts)
}

func (f *fixture) connector(t *testing.T, dsn string) *all.Connector {
	t.Helper()
	c, err := f.new(dsn)
	if err != nil {
		t.Fatalf("NewConnector(%q): %v", dsn, err)
	}
	return c
}

func secret(engine, user string) string {
	return fmt.Sprintf(`{"engine":%q,"host":"h","username":%q,"password":"CANARY-3f9a"}`, engine, user)
}

// connect returns the engine of the connection.
func connect(t *testing.T, c sqldriver.Connector) (string, error) {
	t.Helper()
	conn, err := c.Connect(t.Context())
	if err != nil {
		if conn != nil {
			t.Errorf("Connect returned %T and an error", conn)
		}
		if path := leak.Find(err, "CANARY"); path != "" {
			t.Errorf("the error shows the password in %s: %v", path, err)
		}
		return "", err
	}
	return conn.(*fakeConn).engine, nil
}

func TestEngine(t *testing.T) {
	for _, c := range []struct{ dsn, engine, want string }{
		{"app", "my", "my"},
		{"app", "PG", "pg"},
		{"app", "aurora-my", "my"},
		{"app?my=1", "my", "my"},
		{"app?engine=pg", "my", "pg"},
		{"app?engine=Aurora-PG&pg=1", "whatever", "pg"},
		{"jdbc-secretsmanager:pgql://h?user=app", "aurora-pg", "pg"},
		{"jdbc-secretsmanager:myql://h?user=app", "", "my"},
	} {
		f := newFixture(t, secret(c.engine, "u"))
		conn := f.connector(t, c.dsn)
		for range 2 {
			if got, err := connect(t, conn); got != c.want || err != nil {
				t.Errorf("%s with a secret of %q: connected to %q, %v, want %q", c.dsn, c.engine, got, err, c.want)
			}
		}
		if got := f.store.fetches(); got != 1 {
			t.Errorf("%s: secret fetched %d times for two connects, want 1", c.dsn, got)
		}
		if got, want := fmt.Sprintf("%s|%v|%+v|%s", conn, conn, conn, conn.LogValue()), strings.Repeat("secretsmanager app|", 4); got+"|" != want {
			t.Errorf("%s prints %q, want %q", c.dsn, got, want)
		}
		if path := leak.Find(slog.AnyValue(conn).Resolve().String(), "CANARY"); path != "" {
			t.Errorf("%s: the printed form shows the password", c.dsn)
		}
	}
}

// An engine goes first by its name: MySQL's and MariaDB's accept each other's.
func TestNameGoesFirst(t *testing.T) {
	f := newFixture(t, secret("maria", "u"))
	c, err := all.NewWith([]driver.Engine{acceptsAll{fakeEngine{"my", f.logins}}, acceptsAll{fakeEngine{"maria", f.logins}}}, "app", f.opts)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"maria", "my", "maria"} {
		f.store.put(secret(want, "u"))
		f.cache.Invalidate("app")
		if got, err := connect(t, c); got != want || err != nil {
			t.Errorf("connected to %q, %v, want %q", got, err, want)
		}
	}
}

type acceptsAll struct{ fakeEngine }

func (e acceptsAll) Info() driver.Info {
	info := e.fakeEngine.Info()
	info.Accepts = func(string) bool { return true }
	return info
}

// What is known when the database is opened is said then.
func TestOpenErrors(t *testing.T) {
	for _, c := range []struct {
		dsn  string
		want error
		text string
	}{
		{"app?nonsense=1", nil, ""}, // the engine may know it
		{"", nil, ""},
		{"app?engine=oracle9", driver.ErrEngineMismatch, `parameter "engine" names none of ["pg" "my"]`},
		{"app?engine=pg&my=1", driver.ErrBadDSN, `"my" is not known`},
		{"app?engine=", driver.ErrBadDSN, `"engine" is empty`},
		{"app?Engine=pg", driver.ErrBadDSN, `did you mean "engine"?`},
		{"app?a=1&a=2", driver.ErrBadDSN, "twice"},
		{"app?password=CANARY", driver.ErrBadDSN, `"password" is not allowed`},
		{"app?region=us-west-2", driver.ErrBadDSN, "Options.Secrets"},
		{"app?port=0", driver.ErrBadDSN, `"port"`},
		{"postgres://u:CANARY@h/db", driver.ErrBadDSN, "a database's URL"},
		{"jdbc:pgql://h?user=app", driver.ErrBadDSN, "another driver's URL"},
		{"jdbc-secretsmanager:CANARY", driver.ErrBadDSN, "no database's name"},
		{"jdbc-secretsmanager:h2:CANARY", driver.ErrBadDSN, `none of ["pgql" "myql"]`},
		{"jdbc-secretsmanager:pgql://h?user=", driver.ErrBadDSN, `"user"`},
	} {
		got, err := newFixture(t, secret("pg", "u")).new(c.dsn)
		e := (*driver.Error)(nil)
		if c.want == nil {
			if err != nil {
				t.Errorf("NewConnector(%q): %v", c.dsn, err)
			}
			continue
		}
		if !errors.Is(err, c.want) || !errors.As(err, &e) || !strings.Contains(err.Error(), c.text) || got != nil {
			t.Errorf("NewConnector(%q) = %v, %v, want %v with %s", c.dsn, got, err, c.want, c.text)
		}
		if err != nil && strings.Contains(err.Error(), "CANARY") {
			t.Errorf("NewConnector(%q) quotes it: %v", c.dsn, err)
		}
	}
	if _, err := all.NewWith(nil, "app", &driver.Options{}); err != nil {
		t.Errorf("without Secrets, the process's caches: %v", err)
	}
}

func TestConnectErrors(t *testing.T) {
	for _, c := range []struct {
		name, dsn, value string
		want             error
		text             string
	}{
		{"no engine", "app", `{"host":"h","username":"u","password":"CANARY"}`, driver.ErrMalformedSecret, `read secret "app" (version v1): malformed secret: key "engine" is missing`},
		{"engine is null", "app", `{"engine":null,"password":"CANARY"}`, driver.ErrMalformedSecret, `key "engine" is missing`},
		{"engine is a number", "app", `{"engine":1,"password":"CANARY"}`, driver.ErrMalformedSecret, `key "engine" is not a string`},
		{"not JSON", "app", `CANARY`, driver.ErrMalformedSecret, "not a JSON object"},
		{"unknown engine", "app", secret("CANARY-mongo", "u"), driver.ErrEngineMismatch, `key "engine" names none of ["pg" "my"]`},
		{"parameter of another engine", "app?pg=1", secret("my", "u"), driver.ErrBadDSN, `"pg" is not known`},
		{"empty", "", secret("my", "u"), driver.ErrBadDSN, "empty"},
		{"rejected", "app", secret("my", "bad"), driver.ErrAuthFailed, "rejected"},
		{"URL of another engine", "jdbc-secretsmanager:pgql://h?user=app", secret("my", "u"), driver.ErrEngineMismatch, `"engine"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, c.value)
				conn := f.connector(t, c.dsn)
				for range 2 {
					_, err := connect(t, conn)
					e := (*driver.Error)(nil)
					if !errors.Is(err, c.want) || !errors.As(err, &e) || !strings.Contains(err.Error(), c.text) || errors.Is(err, sqldriver.ErrBadConn) {
						t.Errorf("Connect = %v, want %v with %s", err, c.want, c.text)
					}
				}
			})
		})
	}
}

// A failure is not remembered, whatever it was.
func TestRecovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, secret("my", "u"))
		failed := errors.New("no route to Secrets Manager")
		f.store.fail(failed, false)
		opened := 0
		f.opts.Secrets = nil
		f.opts.SecretsAt = func(loc driver.Location) (driver.Secrets, error) {
			if loc.Region != "us-west-2" {
				t.Errorf("location %+v", loc)
			}
			opened++
			if opened == 1 {
				return nil, failed
			}
			return f.cache, nil
		}
		c := f.connector(t, "app?region=us-west-2")
		for range 2 { // no cache, then no secret
			if _, err := connect(t, c); !errors.Is(err, failed) || !strings.Contains(err.Error(), `secret`) {
				t.Errorf("Connect = %v, want %v", err, failed)
			}
		}
		f.store.fail(nil, false)
		time.Sleep(5 * time.Second) // the cache backs off
		if got, err := connect(t, c); got != "my" || err != nil || opened != 2 {
			t.Errorf("connected to %q, %v; secrets were opened %d times, want 2", got, err, opened)
		}
	})
}

// A later version that names another engine is followed, whether the cache has it
// before the connect or a rejected login is what leads to it.
func TestEngineChanges(t *testing.T) {
	t.Run("in the cache", func(t *testing.T) {
		f := newFixture(t, secret("pg", "u"))
		c := f.connector(t, "app")
		for _, engine := range []string{"pg", "my", "pg"} {
			f.store.put(secret(engine, "u"))
			f.cache.Invalidate("app")
			if got, err := connect(t, c); got != engine || err != nil {
				t.Errorf("connected to %q, %v, want %q", got, err, engine)
			}
		}
	})
	t.Run("found by a rejected login", func(t *testing.T) {
		f := newFixture(t, secret("pg", "bad"))
		c := f.connector(t, "app")
		if _, err := f.cache.Get(t.Context(), "app", ""); err != nil {
			t.Fatal(err)
		}
		f.store.put(secret("my", "u"))
		if got, err := connect(t, c); got != "my" || err != nil {
			t.Errorf("connected to %q, %v, want my", got, err)
		}
		if got, want := f.logins.all(), "pg bad, my u"; got != want {
			t.Errorf("logins %s, want %s", got, want)
		}
	})
	t.Run("named by the data source name", func(t *testing.T) {
		f := newFixture(t, secret("pg", "u"))
		c := f.connector(t, "jdbc-secretsmanager:pgql://h?user=app")
		f.store.put(secret("my", "u"))
		if _, err := connect(t, c); !errors.Is(err, driver.ErrEngineMismatch) {
			t.Errorf("Connect = %v, want ErrEngineMismatch", err)
		}
	})
}

// A secret without an engine is looked at again when the cache allows it, a minute
// after it was fetched.
func TestMalformedIsRechecked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, `{}`)
		c := f.connector(t, "app")
		if _, err := connect(t, c); !errors.Is(err, driver.ErrMalformedSecret) {
			t.Fatalf("Connect = %v", err)
		}
		f.store.put(secret("my", "u"))
		time.Sleep(2 * time.Minute)
		if got, err := connect(t, c); got != "my" || err != nil {
			t.Errorf("connected to %q, %v, want my", got, err)
		}
	})
}

// A connect ends when its context does, though others go on waiting, and without one
// when ConnectTimeout is over.
func TestHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, secret("my", "u"))
		f.opts.ConnectTimeout = 3 * time.Second
		f.store.fail(nil, true)
		c := f.connector(t, "app")
		var wg sync.WaitGroup
		wg.Go(func() {
			start := time.Now()
			_, err := connect(t, c)
			if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "not connected within 3s") || time.Since(start) != 3*time.Second {
				t.Errorf("Connect = %v after %v, want an error after 3 s", err, time.Since(start))
			}
		})
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			start := time.Now()
			if _, err := c.Connect(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
				t.Errorf("Connect = %v after %v, want the context's error after 1 s", err, time.Since(start))
			}
		})
		wg.Wait()
		_ = f.cache.Close()
	})
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, secret("my", "u"))
		cache := secretcache.New(f.store, &secretcache.Options{FetchTimeout: time.Hour})
		f.opts.Secrets = cache
		f.store.fail(nil, true)
		start := time.Now()
		if _, err := connect(t, f.connector(t, "app")); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != driver.DefaultConnectTimeout {
			t.Errorf("Connect = %v after %v, want an error after %v", err, time.Since(start), driver.DefaultConnectTimeout)
		}
		_ = cache.Close()
	})
}

// Connects at once share one connector, and so one login at a time with a version that
// was never accepted.
func TestConcurrentFirstConnects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, secret("my", "bad"))
		c := f.connector(t, "app")
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if _, err := c.Connect(t.Context()); !errors.Is(err, driver.ErrAuthFailed) {
					t.Errorf("Connect = %v, want ErrAuthFailed", err)
				}
			})
		}
		wg.Wait()
		if got := f.logins.all(); got != "my bad" {
			t.Errorf("logins %s, want one", got)
		}
	})
}

func TestDriver(t *testing.T) {
	c, err := all.NewConnector("app", nil)
	if err != nil {
		t.Fatal(err)
	}
	d := c.Driver()
	if got := fmt.Sprintf("%s %+v", d, d); got != "secretsmanager secretsmanager" {
		t.Errorf("the driver prints %q", got)
	}
	other, err := d.(sqldriver.DriverContext).OpenConnector("other?engine=mysql")
	if err != nil || fmt.Sprint(other) != "secretsmanager other" {
		t.Errorf("OpenConnector = %v, %v", other, err)
	}
	if conn, err := d.(sqldriver.DriverContext).OpenConnector("x y"); conn != nil || !errors.Is(err, driver.ErrBadDSN) {
		t.Errorf("OpenConnector = %v, %v, want nil and ErrBadDSN", conn, err)
	}
	if conn, err := d.Open("x y"); conn != nil || !errors.Is(err, driver.ErrBadDSN) {
		t.Errorf("Open = %v, %v, want nil and ErrBadDSN", conn, err)
	}
}

// Every engine is there, by each of its names: the Engines table of docs/design.md.
func TestEveryEngine(t *testing.T) {
	names := map[string][]string{
		"postgres":  {"postgres", "postgresql", "aurora-postgresql"},
		"redshift":  {"redshift"},
		"mysql":     {"mysql", "aurora", "aurora-mysql"},
		"mariadb":   {"mariadb"},
		"oracle":    {"oracle", "oracle-ee", "custom-oracle-ee"},
		"sqlserver": {"sqlserver", "sqlserver-ex", "custom-sqlserver-ee"},
		"db2":       {"db2", "db2-se"},
	}
	drivers := strings.Join(sql.Drivers(), " ")
	for name, engines := range names {
		if !strings.Contains(drivers+" ", "secretsmanager-"+name+" ") {
			t.Errorf("secretsmanager-%s is not registered: %s", name, drivers)
		}
		for _, engine := range engines {
			if _, err := all.NewConnector("app?engine="+engine, nil); err != nil {
				t.Errorf("engine=%s: %v", engine, err)
			}
		}
	}
	for _, url := range []string{ // of the design's section on data source names
		"postgresql://example.com:5432/database?user=prod/app/db",
		"mysql://example.com:3306?user=prod/app/db",
		"mariadb://example.com:3306?user=prod/app/db",
		"oracle:thin:@example.com:1521/ORCL?user=prod/app/db",
		"sqlserver://example.com:1433;databaseName=app;user=prod/app/db",
		"db2://example.com:50000/SAMPLE:user=prod/app/db;",
		"redshift://example.com:5439/dev?user=prod/app/db",
	} {
		db, err := sql.Open(all.DriverName, "jdbc-secretsmanager:"+url)
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
}
