package driver_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// A recheckable has an old and a newer version of a secret. It has no Refresh.
type recheckable struct {
	driver.Secrets
	old, newer *secretcache.Secret
	gets       []string // ids and stages
	rechecks   int
}

func (r *recheckable) Get(_ context.Context, id, stage string) (*secretcache.Secret, error) {
	r.gets = append(r.gets, id+" "+stage)
	return r.old, nil
}

func (r *recheckable) Recheck(context.Context, string, string, *secretcache.Secret) (*secretcache.Secret, error) {
	r.rechecks++
	return r.newer, nil
}

func version(id, value string) *secretcache.Secret {
	return secretcache.NewSecret(secretcache.Value{ID: "app", VersionID: id, String: value})
}

// anyOf returns a connector with several engines that log in to the same database.
func anyOf(t *testing.T, dsn string, secrets driver.Secrets, at *driver.Location, names ...string) (*driver.AnyConnector, error) {
	t.Helper()
	var engines []driver.Engine
	for _, name := range names {
		engines = append(engines, newEngine(name, newDatabase("app", "pw1")))
	}
	return driver.NewAnyDriver("any", engines, &driver.Options{SecretsAt: func(l driver.Location) (driver.Secrets, error) {
		*at = l
		return secrets, nil
	}}).NewConnector(dsn)
}

func TestAnyConnectorFindsTheEngine(t *testing.T) {
	const arn = "arn:aws:secretsmanager:us-west-2:123456789012:secret:app-a1b2c3"
	inIreland := strings.Replace(arn, "us-west-2", "eu-west-1", 1)
	for _, c := range []struct {
		dsn  string
		want string // what the connector prints, and whether it opens
		gets string // the calls of Get by the first Connect call
	}{
		{"app?stage=X", "any app", "app X,app X"},
		{"app?engine=mysql", "any app", "app AWSCURRENT"},
		{arn + "?region=eu-west-1", "any " + inIreland, inIreland + " AWSCURRENT," + inIreland + " AWSCURRENT"},
		{"jdbc-secretsmanager:mysql://h/db?user=app", "any app", "app AWSCURRENT"},
	} {
		r := &recheckable{old: version("v1", strings.Replace(credentials("app", "pw1"), "{", `{"engine":"MySQL",`, 1))}
		var at driver.Location
		conn, err := anyOf(t, c.dsn, r, &at, "postgres", "mysql")
		if err != nil {
			t.Errorf("%q: %v", c.dsn, err)
			continue
		}
		if _, err := conn.Connect(t.Context()); err != nil {
			t.Errorf("%q: %v", c.dsn, err)
		}
		if got := conn.String(); got != c.want {
			t.Errorf("%q: %s, want %s", c.dsn, got, c.want)
		}
		if got := strings.Join(r.gets, ","); got != c.gets {
			t.Errorf("%q: Get was called with %q, want %q", c.dsn, got, c.gets)
		}
	}
	if _, err := driver.NewAnyDriver("any", nil, nil).NewConnector("app"); err == nil {
		t.Error("NewConnector without Secrets and SecretsAt succeeded")
	}
}

// If the secret is to blame for an error and Secrets have Recheck, the secret is read again.
func TestAnyConnectorRechecks(t *testing.T) {
	r := &recheckable{old: version("v1", `{}`)}
	var at driver.Location
	conn := must(anyOf(t, "app", r, &at, "postgres"))
	for _, newer := range []*secretcache.Secret{nil, r.old, version("v2", `[]`)} {
		r.newer = newer
		_, err := conn.Connect(t.Context())
		want := "v1"
		if newer != nil {
			want = newer.VersionID()
		}
		if e := (*driver.Error)(nil); !errors.Is(err, driver.ErrMalformedSecret) || !errors.As(err, &e) || e.Version != want || e.SecretID != "app" {
			t.Errorf("Connect = %v, want ErrMalformedSecret of version %s", err, want)
		}
	}
	r.newer = version("v3", strings.Replace(credentials("app", "pw1"), "{", `{"engine":"postgres",`, 1))
	r.rechecks = 0
	if _, err := conn.Connect(t.Context()); err != nil || r.rechecks != 2 { // once for the engine, and once for the other fields
		t.Errorf("Connect = %v after %d rechecks", err, r.rechecks)
	}
}

// The connector gets its secrets from the Location in the data source name.
func TestAnyConnectorHasTheLocation(t *testing.T) {
	for _, dsn := range []string{
		"app?engine=mysql&region=us-west-2,us-east-1",
		"jdbc-secretsmanager:mysql://h/db?user=app&region=us-west-2,us-east-1",
	} {
		var got driver.Location
		conn := must(anyOf(t, dsn, &recheckable{old: version("v1", credentials("app", "pw1"))}, &got, "mysql"))
		if _, err := conn.Connect(t.Context()); err != nil {
			t.Errorf("%q: %v", dsn, err)
		}
		if want := (driver.Location{Region: "us-west-2,us-east-1"}); got != want {
			t.Errorf("%q: secrets are opened at %+v, want %+v", dsn, got, want)
		}
	}
}

// withEngine returns a secret of user "app" with an engine.
func withEngine(engine, password string) string {
	return strings.Replace(credentials("app", password), "{", fmt.Sprintf(`{"engine":%q,`, engine), 1)
}

// An anyBench is a connector with two engines. Each has its own database, in which user "app" has the
// password "pw1".
type anyBench struct {
	*driver.AnyConnector
	driver *driver.AnyDriver
	store  *store
	cache  *secretcache.Cache
	dbs    map[string]*database
}

func newAnyBench(t *testing.T, dsn, value string, o driver.Options) (*anyBench, error) {
	t.Helper()
	b := &anyBench{store: newStore(value), dbs: map[string]*database{}}
	b.cache = secretcache.New(b.store, nil)
	t.Cleanup(func() { _ = b.cache.Close() })
	var engines []driver.Engine
	for _, name := range []string{"mysql", "mariadb"} { // they accept each other's names
		b.dbs[name] = newDatabase("app", "pw1")
		e := newEngine(name, b.dbs[name])
		e.allowed = []string{name + "Param"}
		engines = append(engines, e)
	}
	if o.SecretsAt == nil {
		o.Secrets = b.cache
	}
	o.FallbackStages = []string{}
	b.driver = driver.NewAnyDriver("any", engines, &o)
	c, err := b.driver.NewConnector(dsn)
	b.AnyConnector = c
	return b, err
}

// loggedIn returns the names of the engines whose database had a login.
func (b *anyBench) loggedIn() (names []string) {
	for _, name := range []string{"mysql", "mariadb"} {
		if all, _ := b.dbs[name].count(); all > 0 {
			names = append(names, name)
		}
	}
	return names
}

// The engine in a data source name is checked when it is opened. The errors do not quote the data source
// name.
func TestAnyConnectorChecksTheDataSourceNameAtOnce(t *testing.T) {
	for _, c := range []struct {
		dsn  string
		kind error
		text string
	}{
		{"app?engine=oracle", driver.ErrEngineMismatch, `is not one of ["mysql" "mariadb"]`},
		{"app?engine=mysql&mariadbParam=1", driver.ErrBadDSN, `"mariadbParam" is unknown`},
		{"app?port=CANARY", driver.ErrBadDSN, `"port"`},
		{"app?engine=", driver.ErrBadDSN, `"engine" is empty`},
		{"app?Engine=mysql", driver.ErrBadDSN, `did you mean "engine"?`},
		{"app?a=1&a=2", driver.ErrBadDSN, "twice"},
		{"app?password=CANARY", driver.ErrBadDSN, `"password" is not allowed`},
		{"mysql://app:CANARY@h/db", driver.ErrBadDSN, "a database's URL"},
		{"app?region=us-west-2", driver.ErrBadDSN, "Options.Secrets"},
		{"jdbc:mysql://h?user=app", driver.ErrBadDSN, "a URL for another driver"},
		{"jdbc-secretsmanager:mysql://h?user=", driver.ErrBadDSN, `"user"`},
		{"jdbc-secretsmanager:CANARY", driver.ErrBadDSN, "a database's name and a colon must follow"},
		{"jdbc-secretsmanager::CANARY", driver.ErrBadDSN, "a database's name and a colon must follow"},
		{"jdbc-secretsmanager:CANARY !:x", driver.ErrBadDSN, "a database's name and a colon must follow"},
		{"jdbc-secretsmanager:h2:CANARY", driver.ErrBadDSN, `is not one of ["mysql" "mariadb"]`},
		{"jdbc-secretsmanager:mysql://h/db?password=CANARY", driver.ErrBadDSN, `"password"`},
	} {
		b, err := newAnyBench(t, c.dsn, withEngine("mysql", "pw1"), driver.Options{})
		if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.text) || b.AnyConnector != nil {
			t.Errorf("%q: %v, want %v with %s", c.dsn, err, c.kind, c.text)
		}
		if err != nil && strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%q: the error quotes it: %v", c.dsn, err)
		}
		// database/sql opens data source names in two ways.
		if opened, err := b.driver.OpenConnector(c.dsn); opened != nil || !errors.Is(err, c.kind) {
			t.Errorf("OpenConnector(%q) = %v, %v", c.dsn, opened, err)
		}
		if conn, err := b.driver.Open(c.dsn); conn != nil || !errors.Is(err, c.kind) {
			t.Errorf("Open(%q) = %v, %v", c.dsn, conn, err)
		}
	}
}

// If the secret does not tell a known engine, Connect returns an error.
func TestAnyConnectorThatCannotChoose(t *testing.T) {
	for _, c := range []struct {
		dsn, value string
		kind       error
		text       string
	}{
		{"", withEngine("mysql", "pw1"), driver.ErrBadDSN, "it is empty"},
		{"app", withEngine("CANARY", "pw1"), driver.ErrEngineMismatch, `choose engine "app": wrong engine: key "engine" is not one of ["mysql" "mariadb"]`},
		{"app", withEngine("oracle-ee-CANARY", "pw1"), driver.ErrEngineMismatch, `the secret is for oracle, and the driver is for ["mysql" "mariadb"]`},
		{"app?mariadbParam=1", withEngine("mysql", "pw1"), driver.ErrBadDSN, `"mariadbParam" is unknown`},
		{"app", `{"host":"h","username":"u","password":"CANARY"}`, driver.ErrMalformedSecret, `read secret "app" (version v1): malformed secret: key "engine" is missing`},
		{"app", `{"engine":null,"password":"CANARY"}`, driver.ErrMalformedSecret, `key "engine" is missing`},
		{"app", `{"engine":1,"password":"CANARY"}`, driver.ErrMalformedSecret, `key "engine" is not a string`},
		{"app", `CANARY`, driver.ErrMalformedSecret, "not a JSON object"},
		{"jdbc-secretsmanager:mysql://h?user=app", withEngine("oracle", "pw1"), driver.ErrEngineMismatch, `"engine"`},
	} {
		b, err := newAnyBench(t, c.dsn, c.value, driver.Options{})
		if err != nil {
			t.Errorf("%q: %v", c.dsn, err)
			continue
		}
		for range 2 {
			_, err := b.Connect(t.Context())
			if e := (*driver.Error)(nil); !errors.As(err, &e) || !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.text) || strings.Contains(err.Error(), "CANARY") {
				t.Errorf("%q: Connect = %v, want %v with %s", c.dsn, err, c.kind, c.text)
			}
		}
		if got := b.loggedIn(); got != nil {
			t.Errorf("%q: logged in with %q", c.dsn, got)
		}
	}
}

// The engine's own name takes precedence over another engine that accepts the name.
func TestAnyConnectorPrefersTheEngineOfTheName(t *testing.T) {
	for engine, want := range map[string]string{"mariadb": "mariadb", "mysql": "mysql", "aurora": "mysql", "Aurora-MySQL": "mysql"} {
		for dsn, value := range map[string]string{
			"app": withEngine(engine, "pw1"), "app?engine=" + engine: credentials("app", "pw1"), "app?" + want + "Param=1": withEngine(engine, "pw1"),
		} {
			b := must(newAnyBench(t, dsn, value, driver.Options{}))
			for range 2 {
				if _, err := b.Connect(t.Context()); err != nil || strings.Join(b.loggedIn(), ",") != want {
					t.Errorf("%q, a secret for %s: Connect = %v with %q, want %s", dsn, engine, err, b.loggedIn(), want)
				}
			}
			if n := b.store.calls(""); n != 1 {
				t.Errorf("%q: %d fetches for two connections, want 1", dsn, n)
			}
		}
	}
}

// Open connects. The printed forms of driver and connector are their name and the secret's id.
func TestAnyDriverOpensAConnection(t *testing.T) {
	b := must(newAnyBench(t, "app", withEngine("mysql", "pw1"), driver.Options{}))
	opened, err := b.Driver().Open("app")
	if err != nil || strings.Join(b.loggedIn(), ",") != "mysql" {
		t.Errorf("Open = %v, %v, with %q", opened, err, b.loggedIn())
	}
	if got, want := fmt.Sprintf("%v|%#v|%+v|%s", b.Driver(), b.Driver(), b.AnyConnector, b.LogValue()), "any|any|any app|any app"; got != want {
		t.Errorf("printed %q, want %q", got, want)
	}
	if c, err := b.driver.OpenConnector("other"); err != nil || fmt.Sprint(c) != "any other" {
		t.Errorf("OpenConnector = %v, %v", c, err)
	}
}

// If the cache has a version for another engine, the next connection uses that engine.
func TestAnyConnectorFollowsTheCacheToAnotherEngine(t *testing.T) {
	b := must(newAnyBench(t, "app", withEngine("mysql", "pw1"), driver.Options{}))
	for i, engine := range []string{"mariadb", "mysql", "mariadb"} {
		b.store.put(fmt.Sprint("v", i+2), withEngine(engine, "pw1"), "AWSCURRENT")
		b.cache.Invalidate("app")
		before, _ := b.dbs[engine].count()
		if _, err := b.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n, _ := b.dbs[engine].count(); n != before+1 {
			t.Errorf("%d logins with %s, want 1", n-before, engine)
		}
	}
}

// Connect calls that arrive together at first share one connector. So they send one login at a time with a
// version that the server has not accepted.
func TestAnyConnectorIsOneForManyCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := must(newAnyBench(t, "app", withEngine("mysql", "wrong"), driver.Options{}))
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if _, err := b.Connect(t.Context()); !errors.Is(err, driver.ErrAuthFailed) {
					t.Errorf("Connect = %v, want ErrAuthFailed", err)
				}
			})
		}
		wg.Wait()
		if n, _ := b.dbs["mysql"].count(); n != 1 {
			t.Errorf("%d logins, want 1", n)
		}
	})
}

// A login is rejected, and the refresh finds a version for another engine.
func TestAnyConnectorFollowsTheSecretToAnotherEngine(t *testing.T) {
	b := must(newAnyBench(t, "app", withEngine("mysql", "old"), driver.Options{}))
	must(b.cache.Get(t.Context(), "app", ""))
	b.store.put("v2", strings.Replace(withEngine("mariadb", "pw1"), "mariadb", "postgres", 1), "AWSCURRENT")
	if _, err := b.Connect(t.Context()); !errors.Is(err, driver.ErrEngineMismatch) {
		t.Errorf("Connect = %v, want ErrEngineMismatch: there is no such engine", err)
	}

	both := driver.NewAnyDriver("any", []driver.Engine{
		newEngine("mysql", newDatabase("app", "pw1")), newEngine("postgres", newDatabase("app", "pw1")),
	}, &driver.Options{Secrets: b.cache, FallbackStages: []string{}})
	b.store.put("v3", withEngine("mysql", "old"), "AWSCURRENT")
	b.cache.Invalidate("app")
	must(b.cache.Get(t.Context(), "app", ""))
	b.store.put("v4", withEngine("postgres", "pw1"), "AWSCURRENT")
	c := must(both.NewConnector("app"))
	opened, err := c.Connect(t.Context())
	if err != nil || opened.(*conn).addr != "db.example.com:5432" {
		t.Errorf("Connect = %v, %v, want a connection to PostgreSQL's port", opened, err)
	}
}

// A failure to open the secrets is not remembered, and neither is a failure of the source.
func TestAnyConnectorTriesTheSecretsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failure := errors.New("no route to Secrets Manager")
		var b *anyBench
		opened := 0
		b, err := newAnyBench(t, "app", withEngine("mysql", "pw1"), driver.Options{SecretsAt: func(driver.Location) (driver.Secrets, error) {
			if opened++; opened == 1 {
				return nil, failure
			}
			return b.cache, nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		b.store.setFault(func(context.Context, string) error { return failure })
		for _, want := range []string{`open secrets for "app": no route`, `get secret "app": `} {
			if _, err := b.Connect(t.Context()); !errors.Is(err, failure) || !strings.Contains(err.Error(), want) {
				t.Errorf("Connect = %v, want an error with %s", err, want)
			}
		}
		b.store.setFault(nil)
		time.Sleep(time.Minute) // until the cache fetches again
		if _, err := b.Connect(t.Context()); err != nil || opened != 2 {
			t.Errorf("Connect = %v, after the secrets were opened %d times", err, opened)
		}
	})
}

// ConnectTimeout bounds the reading of the secret for the engine.
func TestAnyConnectorTimesOutWhileItReads(t *testing.T) {
	for _, timeout := range []time.Duration{0, 3 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			b, err := newAnyBench(t, "app", withEngine("mysql", "pw1"), driver.Options{ConnectTimeout: timeout, SecretsAt: func(driver.Location) (driver.Secrets, error) {
				return slowSecrets{}, nil
			}})
			if err != nil {
				t.Fatal(err)
			}
			want := timeout
			if want == 0 {
				want = driver.DefaultConnectTimeout
			}
			start := time.Now()
			_, err = b.Connect(t.Context())
			if took := time.Since(start); took != want || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), fmt.Sprintf("not connected within %v", want)) {
				t.Errorf("Connect = %v after %v, want an error after %v", err, took, want)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, err = b.Connect(ctx); !errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "not connected within") {
				t.Errorf("Connect = %v, want the error of the caller's context", err)
			}
		})
	}
}

// slowSecrets return when the context ends.
type slowSecrets struct{ driver.Secrets }

func (slowSecrets) Get(ctx context.Context, _, _ string) (*secretcache.Secret, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}
