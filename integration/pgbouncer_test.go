package integration_test

import (
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/integration/testdb"
)

// throughPgBouncer returns an env whose secret leads to PgBouncer. auth is the entry of auth_file
// for the secret's user; nil means no entry.
func throughPgBouncer(t *testing.T, o testdb.PgBouncerOptions, auth func(*env) string) (*env, *testdb.Bouncer) {
	t.Helper()
	postgres := slices.IndexFunc(engines, func(e *engine) bool { return e.name == "postgres" })
	v := newEnv(t, engines[postgres], testdb.Options{})
	if auth != nil {
		o.Users = map[string]string{v.user: auth(v)}
	}
	b := testdb.PgBouncer(t, v.Server, o)
	server := *v.Server
	server.Host, server.Port = b.Host, b.Port
	v.Server = &server
	v.sm.Put(v.id, v.secret(v.user, v.password))
	return v, b
}

// rotateAtServer rotates the secret as a rotation function does that logs in to PostgreSQL: the
// database's password first. A function that logs in at the secret's host, PgBouncer, can finish
// only if auth_file need not be rewritten.
func rotateAtServer(t *testing.T, v *env) {
	t.Helper()
	next := "second password of " + v.user
	pending := v.sm.PutStage(v.id, v.secret(v.user, next), "AWSPENDING")
	if err := v.SetPassword(t.Context(), v.user, next); err != nil {
		t.Fatal(err)
	}
	v.sm.MoveStage(v.id, "AWSCURRENT", pending)
	v.password = next
}

// The entries that auth_file may have for a user.
func plaintext(v *env) string { return v.password }

func fromPgShadow(v *env) string {
	var hash string
	if err := v.Admin().QueryRow("SELECT passwd FROM pg_shadow WHERE usename = $1", v.user).Scan(&hash); err != nil {
		panic(err)
	}
	return hash
}

// loginLog keeps what a trace says about logins.
type loginLog struct {
	mu   sync.Mutex
	done []driver.LoginInfo
}

func (l *loginLog) trace() *driver.Trace {
	return &driver.Trace{LoginDone: func(_ context.Context, i driver.LoginInfo) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.done = append(l.done, i)
	}}
}

// take returns the logins since the last call, each in a line: "accepted", or the code and text of
// the server's error and whether it counted as rejected.
func (l *loginLog) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var lines []string
	for _, i := range l.done {
		line := "accepted"
		var pg *pgconn.PgError
		if errors.As(i.Err, &pg) {
			line = pg.Code + " " + pg.Message
		} else if i.Err != nil {
			line = i.Err.Error()
		}
		if i.Rejected {
			line += ", rejected"
		}
		lines = append(lines, line)
	}
	l.done = nil
	return lines
}

func (l *loginLog) want(t *testing.T, what string, want ...string) {
	t.Helper()
	if got := l.take(); !slices.Equal(got, want) {
		t.Errorf("%s: logins %q, want %q", what, got, want)
	}
}

// TestPgBouncerRotation: as without PgBouncer, the next new connection costs one rejected login and
// one call of GetSecretValue. Open connections stay open. A user that was dropped counts as
// rejected.
func TestPgBouncerRotation(t *testing.T) {
	const scram, sasl, password = "scram-sha-256", "SASL authentication failed", "password authentication failed"
	for i, c := range []struct {
		name     string
		authType string
		mode     string            // pool_mode
		auth     func(*env) string // nil for auth_query
		answer   string            // for a wrong password
		noUser   string            // for a user that was dropped
	}{
		{"auth_query", scram, "session", nil, sasl, "no such user"},
		{"auth_query", scram, "transaction", nil, sasl, "no such user"},
		// pg_shadow has a secret of SCRAM, which decides.
		{"auth_query", "md5", "session", nil, sasl, "no such user"},
		{"auth_file", scram, "session", plaintext, sasl, sasl},
		{"auth_file", scram, "transaction", fromPgShadow, sasl, sasl},
		{"auth_file", "md5", "session", plaintext, password, password},
		{"auth_file", "plain", "transaction", plaintext, password, password},
	} {
		if testing.Short() && i%3 != 0 {
			continue
		}
		t.Run(strings.Join([]string{c.name, c.authType, c.mode}, " "), func(t *testing.T) {
			v, b := throughPgBouncer(t, testdb.PgBouncerOptions{
				AuthQuery: c.auth == nil,
				Settings:  map[string]string{"auth_type": c.authType, "pool_mode": c.mode},
			}, c.auth)
			params := ""
			if c.mode == "transaction" {
				params = "default_query_exec_mode=exec"
			}
			var logins loginLog
			db := v.open(t, params, &driver.Options{Trace: logins.trace()})
			held, err := db.Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer held.Close()
			db.SetMaxIdleConns(-1) // from here on each query is on a new connection
			query := func(what string, want ...string) {
				t.Helper()
				var user string
				if err := db.QueryRowContext(t.Context(), "SELECT current_user || $1::text", "!").Scan(&user); err != nil || user != v.user+"!" {
					t.Errorf("%s: %q, %v, want user %q", what, user, err, v.user)
				}
				logins.want(t, what, want...)
			}
			query("before the rotation", "accepted", "accepted")
			rotateAtServer(t, v)
			if c.auth != nil {
				b.SetUsers(map[string]string{v.user: c.auth(v)})
			}

			before := v.fetches()
			query("after the rotation", "08P01 "+c.answer+", rejected", "accepted")
			query("after that", "accepted")
			if got := v.fetches() - before; got != 1 {
				t.Errorf("%d calls of GetSecretValue after the rotation, want 1", got)
			}
			if got := strings.Count(b.Log(), "closing because: "+c.answer); got != 1 {
				t.Errorf("PgBouncer rejected %d logins by its log, want 1", got)
			}
			var n int
			if err := held.QueryRowContext(t.Context(), "SELECT $1::int", 1).Scan(&n); err != nil {
				t.Errorf("query on the connection from before the rotation: %v", err)
			}
			if err := held.Close(); err != nil {
				t.Error(err)
			}
			logins.want(t, "the connection from before the rotation")

			if err := v.DropUser(t.Context(), v.user); err != nil {
				t.Fatal(err)
			}
			if c.auth != nil {
				b.SetUsers(nil)
			}
			if err := db.PingContext(t.Context()); !errors.Is(err, driver.ErrAuthFailed) {
				t.Errorf("Ping as a user that was dropped = %v, want ErrAuthFailed", err)
			}
			logins.want(t, "the user is gone", "08P01 "+c.noUser+", rejected")
		})
	}
}

// turnedAway makes a login that PgBouncer turns away for another reason than the credentials. There is
// one login, and the secret is not read a second time.
func turnedAway(t *testing.T, v *env, id, params, want string) {
	t.Helper()
	var logins loginLog
	dsn := id
	if params != "" {
		dsn += "?" + params
	}
	c, err := v.engine.newConnector(dsn, &driver.Options{Secrets: v.cache(t, nil), Trace: logins.trace()})
	if err != nil {
		t.Fatal(err)
	}
	before := v.fetches()
	err = connect(t.Context(), c)
	if err == nil || errors.Is(err, driver.ErrAuthFailed) {
		t.Errorf("Connect = %v, want an error that is not ErrAuthFailed", err)
	}
	if got := v.fetches() - before; got != 1 {
		t.Errorf("%d calls of GetSecretValue, want the first and no other", got)
	}
	got := logins.take()
	if len(got) != 1 || !strings.HasPrefix(got[0], "08P01 "+want) || strings.HasSuffix(got[0], ", rejected") {
		t.Errorf("logins %q, want one that fails with 08P01 %q and does not count as rejected", got, want)
	}
}

// onDatabase stores a secret that differs in the database, and returns its id.
func onDatabase(v *env, name string) string {
	other := *v.Server
	other.Database = name
	e := &env{Server: &other, engine: v.engine}
	id := v.id + "/" + name
	v.sm.Put(id, e.secret(v.user, v.password))
	return id
}

// TestPgBouncerErrorsThatAreNoRejection: PgBouncer has one code, 08P01, for all of its errors.
// These errors are not about the credentials.
func TestPgBouncerErrorsThatAreNoRejection(t *testing.T) {
	// Nothing listens on port 1 of PgBouncer's container. PgBouncer waits this long for a server,
	// in whole seconds. It checks only after a third of a second more.
	const down, wait = "host=127.0.0.1 port=1", "1"

	t.Run("auth_file", func(t *testing.T) {
		v, b := throughPgBouncer(t, testdb.PgBouncerOptions{
			Databases: map[string]string{"down": down},
			Settings:  map[string]string{"auth_type": "md5", "query_wait_timeout": wait},
		}, plaintext)
		t.Run("paused", func(t *testing.T) { // before PgBouncer has seen a greeting of the server
			b.Console("PAUSE")
			defer b.Console("RESUME")
			turnedAway(t, v, v.id, "", "query_wait_timeout")
		})
		t.Run("server down", func(t *testing.T) {
			turnedAway(t, v, onDatabase(v, "down"), "", "query_wait_timeout")
		})
		t.Run("no such database", func(t *testing.T) {
			turnedAway(t, v, onDatabase(v, "nowhere"), "", "no such database: nowhere")
		})
		t.Run("disabled", func(t *testing.T) {
			b.Console("DISABLE " + v.Database)
			defer b.Console("ENABLE " + v.Database)
			turnedAway(t, v, v.id, "", `database "`+v.Database+`" is disabled`)
		})
		t.Run("startup parameter", func(t *testing.T) {
			turnedAway(t, v, v.id, "search_path=public", "unsupported startup parameter: search_path")
		})
		t.Run("too many clients", func(t *testing.T) {
			db := v.open(t, "", nil)
			mustPing(t, db) // the connection stays in the pool
			b.Console("SET max_client_conn = 1")
			defer b.Console("SET max_client_conn = 100")
			turnedAway(t, v, v.id, "", "no more connections allowed (max_client_conn)")
		})
		t.Run("a hash that is no use for SCRAM", func(t *testing.T) {
			// With this entry PgBouncer can check a client's password, but cannot log in.
			hash := fmt.Sprintf("md5%x", md5.Sum([]byte(v.password+v.user)))
			b.SetUsers(map[string]string{v.user: hash})
			b.Console("RECONNECT")
			turnedAway(t, v, v.id, "", "server login failed: wrong password type")
		})
	})

	t.Run("auth_query", func(t *testing.T) {
		v, b := throughPgBouncer(t, testdb.PgBouncerOptions{
			AuthQuery: true,
			Databases: map[string]string{"down": down + " auth_user=nobody"},
			Settings:  map[string]string{"query_wait_timeout": wait},
		}, nil)
		t.Run("server down", func(t *testing.T) {
			id := onDatabase(v, "down")
			turnedAway(t, v, id, "", "query_wait_timeout")
			turnedAway(t, v, id, "", "server login has been failing")
		})
		t.Run("auth_query fails", func(t *testing.T) {
			if _, err := v.Admin().ExecContext(t.Context(), "REVOKE SELECT ON pg_shadow FROM "+b.AuthUser); err != nil {
				t.Fatal(err)
			}
			turnedAway(t, v, v.id, "", "bouncer config error")
		})
		// PgBouncer does not say whether users or databases exist. So this looks like a wrong
		// password, and counts as rejected.
		t.Run("no such database", func(t *testing.T) {
			var logins loginLog
			c, err := v.engine.newConnector(onDatabase(v, "nowhere"), &driver.Options{Secrets: v.cache(t, nil), Trace: logins.trace()})
			if err != nil {
				t.Fatal(err)
			}
			if err := connect(t.Context(), c); !errors.Is(err, driver.ErrAuthFailed) {
				t.Errorf("Connect = %v, want ErrAuthFailed", err)
			}
			logins.want(t, "a database that PgBouncer does not know", "08P01 SASL authentication failed, rejected")
		})
	})

	t.Run("trust", func(t *testing.T) {
		v, _ := throughPgBouncer(t, testdb.PgBouncerOptions{Settings: map[string]string{"auth_type": "trust"}}, plaintext)
		other := v.sm.Put(v.id, v.secret("nobody", v.password))
		var logins loginLog
		c := v.connector(t, "", &driver.Options{Trace: logins.trace()})
		if err := connect(t.Context(), c); !errors.Is(err, driver.ErrAuthFailed) || !strings.Contains(err.Error(), other) {
			t.Errorf("Connect = %v, want ErrAuthFailed with version %q", err, other)
		}
		logins.want(t, "a user whom nobody trusts", `08P01 "trust" authentication failed, rejected`)
	})
}

// TestPgBouncerStaleAuthFile: a rotation has changed PostgreSQL's password and the secret, but not
// userlist.txt. PgBouncer accepts clients with the former password, and cannot log in with it
// itself.
func TestPgBouncerStaleAuthFile(t *testing.T) {
	v, b := throughPgBouncer(t, testdb.PgBouncerOptions{Settings: map[string]string{"server_login_retry": "1"}}, plaintext)
	var logins loginLog
	connector := v.connector(t, "", &driver.Options{Trace: logins.trace()})
	if err := connect(t.Context(), connector); err != nil {
		t.Fatal(err)
	}
	rotateAtServer(t, v)
	before := v.fetches()
	if err := connect(t.Context(), connector); err != nil {
		t.Errorf("Connect while PgBouncer has a connection to the server: %v", err)
	}
	logins.want(t, "while PgBouncer has a connection to the server", "accepted", "accepted")
	if got := v.fetches() - before; got != 0 {
		t.Errorf("%d calls of GetSecretValue, want none", got)
	}

	// Without such a connection PgBouncer forwards PostgreSQL's error: as 08P01 up to version 1.19,
	// with PostgreSQL's code from then on. The secret is read again. Its new version is one that
	// PgBouncer does not know yet.
	b.Console("RECONNECT")
	err := connect(t.Context(), connector)
	if !errors.Is(err, driver.ErrAuthFailed) {
		t.Errorf("Connect = %v, want ErrAuthFailed", err)
	}
	got := logins.take()
	server := fmt.Sprintf(" password authentication failed for user %q, rejected", v.user)
	if len(got) != 2 || got[0] != "08P01"+server && got[0] != "28P01"+server || got[1] != "08P01 SASL authentication failed, rejected" {
		t.Errorf("logins %q, want PostgreSQL's rejection of PgBouncer and PgBouncer's of the new password", got)
	}

	b.SetUsers(map[string]string{v.user: v.password})
	deadline := time.Now().Add(15 * time.Second)
	for err = errors.New("not tried"); err != nil; err = connect(t.Context(), connector) {
		if time.Now().After(deadline) {
			t.Fatalf("Connect 15 s after auth_file has the new password: %v", err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
