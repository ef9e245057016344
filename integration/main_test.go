// Package integration_test runs the drivers against database servers, which package
// testdb starts in containers or as stand-ins, and an in-process Secrets Manager.
package integration_test

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/integration/rotation"
	"github.com/sqlsecrets/sqlsecrets/integration/testdb"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm/awssmtest"
)

func TestMain(m *testing.M) {
	// The default source signs its requests with any credentials that the SDK finds. The requests
	// go to servers in this process.
	for k, v := range map[string]string{
		"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "example", "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
	} {
		_ = os.Setenv(k, v) // fails for malformed names only
	}
	os.Exit(testdb.Main(m))
}

// An env is a server with a user, and a Secrets Manager with the user's secret.
type env struct {
	*testdb.Server
	engine         *engine
	sm             *awssmtest.Server
	id             string // of the secret
	strategy       rotation.Strategy
	user, password string               // of the first version
	rotated        func(version string) // called when AWSCURRENT has moved; or nil
}

func newEnv(t testing.TB, e *engine, o testdb.Options) *env {
	t.Helper()
	return newEnvFor(t, e, o, rotation.SingleUser)
}

// newEnvFor's secret is rotated with a strategy.
func newEnvFor(t testing.TB, e *engine, o testdb.Options, strategy rotation.Strategy) *env {
	t.Helper()
	v := &env{Server: e.start(t, o), engine: e, sm: awssmtest.NewServer(t), strategy: strategy}
	v.user = e.user("u" + strconv.FormatInt(time.Now().UnixNano(), 36))
	v.password = "first password of " + v.user
	v.id = "prod/" + v.user
	v.CreateUser(v.user, v.password)
	if strategy == rotation.AlternatingUsers {
		v.sm.Put(superuserID, v.secret(v.User, v.Password))
		t.Cleanup(func() {
			if err := v.DropUser(context.Background(), v.clone()); err != nil {
				t.Error(err)
			}
		})
		if e.noClones {
			v.CreateUser(v.clone(), "not yet")
		}
	}
	v.sm.Put(v.id, v.secret(v.user, v.password))
	return v
}

// superuserID is the secret of the server's administrator.
const superuserID = "admin/db"

// clone returns the user that alternates with the first one.
func (v *env) clone() string { return v.user + v.engine.user("_clone") }

// credentials returns what the current version of the secret says.
func (v *env) credentials() (user, password string) {
	out, err := v.client().GetSecretValue(context.Background(), &secretsmanager.GetSecretValueInput{SecretId: &v.id})
	var c struct{ Username, Password string }
	if err == nil {
		err = json.Unmarshal([]byte(*out.SecretString), &c)
	}
	if err != nil {
		panic(fmt.Sprintf("the current version of %s: %v", v.id, err))
	}
	return c.Username, c.Password
}

// client returns a client of the Secrets Manager that does not belong to the library.
func (v *env) client() *secretsmanager.Client { return secretsmanager.NewFromConfig(v.sm.Config()) }

// secret returns the JSON of a version.
func (v *env) secret(user, password string) string {
	b, err := json.Marshal(map[string]any{
		"engine": v.engine.engine, "host": v.Host, "port": v.Port, "dbname": v.Database, "username": user, "password": password})
	if err != nil {
		panic(err) // a map of strings and a number
	}
	return string(b)
}

// rotate rotates the secret with a rotation function. pause is called before each step.
func (v *env) rotate(ctx context.Context, pause func(step string)) error {
	return v.rotateWith(ctx, &rotation.Function{Before: func(_ context.Context, e awssmtest.RotationEvent) error {
		pause(e.Step)
		return nil
	}})
}

func (v *env) rotateWith(ctx context.Context, f *rotation.Function) error {
	f.Client, f.Strategy, f.Superuser, f.SetPassword = v.client(), v.strategy, superuserID, v.SetPassword
	v.sm.SetRotation(f.Rotate)
	version, err := v.sm.Rotate(ctx, v.id)
	if err == nil && v.rotated != nil {
		v.rotated(version)
	}
	return err
}

// cache returns a cache of the Secrets Manager.
func (v *env) cache(t testing.TB, o *secretcache.Options) *secretcache.Cache {
	t.Helper()
	url, source := v.front(t)
	c := secretcache.New(source(url), o)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// open opens the database by the secret's name, with params and options.
func (v *env) open(t testing.TB, params string, o *driver.Options) *sql.DB {
	t.Helper()
	c := v.connector(t, params, o)
	db := sql.OpenDB(c)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func (v *env) connector(t testing.TB, params string, o *driver.Options) *driver.Connector {
	t.Helper()
	dsn := v.id
	if params != "" {
		dsn += "?" + params
	}
	c, err := v.engine.newConnector(dsn, v.options(t, o))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// options adds the Secrets Manager to options.
func (v *env) options(t testing.TB, o *driver.Options) *driver.Options {
	t.Helper()
	if o == nil {
		o = &driver.Options{}
	}
	if o.Secrets == nil {
		o.Secrets = v.cache(t, nil)
	}
	return o
}

// fetches returns how often the library asked for the secret, including retries of the SDK. It
// counts in the Secrets Manager's record of the last 10,000 requests.
func (v *env) fetches() int {
	n := 0
	for _, r := range v.sm.Requests() {
		if strings.Contains(r.UserAgent, "sqlsecrets/") {
			n++
		}
	}
	return n
}

func mustPing(t testing.TB, db *sql.DB) {
	t.Helper()
	if err := db.PingContext(t.Context()); err != nil {
		t.Fatalf("Ping: %v", err)
	}
}

// connect opens and closes one connection.
func connect(ctx context.Context, c sqldriver.Connector) error {
	conn, err := c.Connect(ctx)
	if err != nil {
		return err
	}
	return conn.Close()
}

// fewer returns n, or with -short a quarter of it.
func fewer(n int) int {
	if testing.Short() {
		return n / 4
	}
	return n
}

// The shortest pause after a rejection: 1 s less a quarter.
const pause = 750 * time.Millisecond

// A login that was permitted before the rejection may seem to begin this much later, on a busy
// machine. The tests of package driver allow nothing, because their clock stands still in that
// time.
const preempted = 50 * time.Millisecond

// A watcher follows the logins of a connector. It fails the test if a login begins with a version
// after a rejection of that version was received. Exceptions: the pause is over, or the secret's
// stage has moved to the version since.
type watcher struct {
	t        testing.TB
	mu       sync.Mutex
	rejected map[string]time.Time // when, by version
	logins   int
	rejects  int
}

func watch(t testing.TB) (*watcher, *driver.Trace) {
	w := &watcher{t: t, rejected: map[string]time.Time{}}
	return w, &driver.Trace{
		LoginStart: func(_ context.Context, i driver.LoginInfo) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.logins++
			if at, ok := w.rejected[i.Version]; ok && time.Since(at) > preempted && time.Since(at) < pause {
				w.t.Errorf("a login began with version %s %v after its rejection was received", i.Version, time.Since(at))
			}
		},
		LoginDone: func(_ context.Context, i driver.LoginInfo) {
			w.mu.Lock()
			defer w.mu.Unlock()
			if i.Rejected {
				w.rejects++
				now := time.Now()
				// A login that was under way when another one was rejected does not count: the
				// pause counts from the first rejection.
				if at, ok := w.rejected[i.Version]; !ok || now.Add(-i.Duration).After(at) {
					w.rejected[i.Version] = now
				}
			}
		},
	}
}

// clear forgets the rejections of a version.
func (w *watcher) clear(version string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.rejected, version)
}

func (w *watcher) counts() (logins, rejects int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.logins, w.rejects
}
