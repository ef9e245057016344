package agent_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/sqlserver/mssqldb"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/tdsserver"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/agent/agenttest"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm/awssmtest"
)

const (
	secretID = "prod/app"
	user     = "app_user"
)

// A stack is a database that checks passwords, a Secrets Manager with its user's secret,
// and an agent or an extension in front of that.
type stack struct {
	t        testing.TB
	db       *tdsserver.Server
	sm       *awssmtest.Server
	server   *agenttest.Server
	password string
}

func newStack(t testing.TB, start startFunc, optFns ...func(*agenttest.Options)) *stack {
	t.Helper()
	db, err := tdsserver.Start(tdsserver.Options{Databases: []string{"app"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	sm := awssmtest.NewServer(t)
	s := &stack{t: t, db: db, sm: sm, server: start(t, sm.Source(), optFns...), password: "first password"}
	db.SetPassword(user, s.password)
	sm.Put(secretID, s.value())
	return s
}

// value is the secret's, in JSON.
func (s *stack) value() string {
	b, err := json.Marshal(map[string]any{"engine": "sqlserver", "host": s.db.Host, "port": s.db.Port, "dbname": "app", "username": user, "password": s.password})
	if err != nil {
		s.t.Fatal(err)
	}
	return string(b)
}

// rotate changes the password as a rotation does: first as AWSPENDING, then in the
// database, then as AWSCURRENT. It returns the version. AWSPENDING stays on it, unless
// it is taken away, as some rotation functions do.
func (s *stack) rotate(password string) (version string) {
	s.password = password
	version = s.sm.PutStage(secretID, s.value(), "AWSPENDING")
	s.db.SetPassword(user, password)
	s.sm.MoveStage(secretID, "AWSCURRENT", version)
	return version
}

// open opens the database by the secret's name. Each query has a connection of its own.
func (s *stack) open(src secretcache.Source, params string, o *secretcache.Options) (*sql.DB, *secretcache.Cache) {
	s.t.Helper()
	cache := secretcache.New(src, o)
	s.t.Cleanup(func() { _ = cache.Close() })
	connector, err := driver.NewConnector(mssqldb.Engine{}, secretID+params, &driver.Options{Secrets: cache})
	if err != nil {
		s.t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	s.t.Cleanup(func() { _ = db.Close() })
	db.SetMaxIdleConns(-1)
	return db, cache
}

func query(ctx context.Context, db *sql.DB) error {
	var name string
	err := db.QueryRowContext(ctx, "SELECT SUSER_SNAME()").Scan(&name)
	if err == nil && name != user {
		return errors.New("logged in as " + name)
	}
	return err
}

// want checks how many logins the database has seen, how many requests the server has
// got, and how many of them were past its cache, and how often the Secrets Manager was
// asked.
func (s *stack) want(accepted, rejected, requests, fresh, fetches int) {
	s.t.Helper()
	a, r := s.db.Logins(user)
	gotFresh := 0
	for _, req := range s.server.Requests() {
		if req.Refresh {
			gotFresh++
		}
	}
	got := [5]int{a, r, len(s.server.Requests()), gotFresh, s.sm.Calls("GetSecretValue")}
	if want := [5]int{accepted, rejected, requests, fresh, fetches}; got != want {
		s.t.Errorf("logins accepted, rejected, requests, fresh ones, calls of GetSecretValue: %v, want %v", got, want)
	}
}

// TestRotationThroughTheAgent: the agent has the old version in its cache, the database
// rejects it, and the agent is asked past its cache, once. No query fails.
func TestRotationThroughTheAgent(t *testing.T) {
	s := newStack(t, agenttest.NewServer)
	db, _ := s.open(s.server.Source(), "", nil)
	for range 3 {
		if err := query(t.Context(), db); err != nil {
			t.Fatal(err)
		}
	}
	s.want(3, 0, 1, 0, 1)
	s.rotate("second password")
	if err := query(t.Context(), db); err != nil {
		t.Error(err)
	}
	s.want(4, 1, 2, 1, 2)
	if err := query(t.Context(), db); err != nil {
		t.Error(err)
	}
	s.want(5, 1, 2, 1, 2)

	// Another program on the machine has the new version from the agent's cache.
	other, _ := s.open(s.server.Source(), "", nil)
	if err := query(t.Context(), other); err != nil {
		t.Error(err)
	}
	s.want(6, 1, 3, 1, 2)
}

// TestRotationThroughTheExtension: there is no way past its cache. What that means
// depends on the rotation function, and on what the data source name asks for.
func TestRotationThroughTheExtension(t *testing.T) {
	const ttl = 1500 * time.Millisecond // 300 s, in short
	start := func(t *testing.T) *stack {
		return newStack(t, agenttest.NewExtension, func(o *agenttest.Options) { o.TTL = ttl })
	}
	t.Run("AWSPENDING stays on the new version", func(t *testing.T) {
		s := start(t)
		db, _ := s.open(s.server.Source(), "", nil)
		if err := query(t.Context(), db); err != nil {
			t.Fatal(err)
		}
		s.rotate("second password")
		if err := query(t.Context(), db); err != nil {
			t.Errorf("by AWSPENDING: %v", err)
		}
		// AWSCURRENT was looked at and is the extension's copy, AWSPENDING is not kept yet.
		s.want(2, 1, 3, 0, 2)
	})
	t.Run("AWSPENDING is taken away", func(t *testing.T) {
		s := start(t)
		db, _ := s.open(s.server.Source(), "", nil)
		if err := query(t.Context(), db); err != nil {
			t.Fatal(err)
		}
		s.rotate("second password")
		s.sm.RemoveStage(secretID, "AWSPENDING")
		if err := query(t.Context(), db); !errors.Is(err, driver.ErrAuthFailed) {
			t.Errorf("while the extension has the old version: %v, want ErrAuthFailed", err)
		}
		s.want(1, 1, 3, 0, 2)
	})
	t.Run("AWSPENDING is taken away, and a connect may wait", func(t *testing.T) {
		s := start(t)
		db, _ := s.open(s.server.Source(), "?rotationWindow=20s", nil)
		if err := query(t.Context(), db); err != nil {
			t.Fatal(err)
		}
		s.rotate("second password")
		s.sm.RemoveStage(secretID, "AWSPENDING")
		if err := query(t.Context(), db); err != nil {
			t.Errorf("with a window longer than the extension's TTL: %v", err)
		}
	})
	t.Run("and the API is next in a chain", func(t *testing.T) {
		s := start(t)
		db, _ := s.open(secretcache.Chain(s.server.Source(), s.sm.Source()), "", nil)
		if err := query(t.Context(), db); err != nil {
			t.Fatal(err)
		}
		s.rotate("second password")
		s.sm.RemoveStage(secretID, "AWSPENDING")
		if err := query(t.Context(), db); err != nil {
			t.Error(err)
		}
		s.want(2, 1, 1, 0, 2) // the extension is not asked again
	})
}

// TestRotationWithoutTheAgent: the API is next in a chain.
func TestRotationWithoutTheAgent(t *testing.T) {
	s := newStack(t, agenttest.NewServer)
	db, _ := s.open(secretcache.Chain(s.server.Source(), s.sm.Source()), "", &secretcache.Options{FetchTimeout: time.Second})
	if err := query(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	s.server.Stop()
	s.rotate("second password")
	if err := query(t.Context(), db); err != nil {
		t.Error(err)
	}
	s.want(2, 1, 1, 0, 2)
}

// TestNextInAChain: which answers of the two servers end a chain, in front of the API.
func TestNextInAChain(t *testing.T) {
	for name, tt := range map[string]struct {
		start startFunc
		next  map[error]bool // by what Secrets Manager says: the next source is asked
	}{
		"agent": {agenttest.NewServer, map[error]bool{
			secretcache.ErrNotFound: false, secretcache.ErrNoVersion: false, secretcache.ErrAccessDenied: false, secretcache.ErrThrottled: true}},
		"extension": {agenttest.NewExtension, map[error]bool{
			secretcache.ErrNotFound: true, secretcache.ErrNoVersion: true, secretcache.ErrAccessDenied: true, secretcache.ErrThrottled: true}},
	} {
		for err, next := range tt.next {
			t.Run(name+" "+err.Error(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					server := tt.start(t, &store{err: err}, inMemory)
					asked := false
					api := secretcache.SourceFunc(func(context.Context, string, string) (*secretcache.Secret, error) {
						asked = true
						return nil, err
					})
					_, got := secretcache.Chain(server.Source(), api).Fetch(within(t, 10*time.Second), "a", "")
					if !errors.Is(got, err) || asked != next {
						t.Errorf("got %v; the next source was asked: %v, want %v", got, asked, next)
					}
				})
			})
		}
	}
}

// TestChainDoesNotGoBack: a chain's first source has an older version in its cache than
// the last one brought by Refresh, and is asked at the TTL. Where the stage itself went
// back, that is found when the server rejects the version, or by Invalidate.
func TestChainDoesNotGoBack(t *testing.T) {
	for _, ttl := range []time.Duration{time.Minute, 0} {
		t.Run(ttl.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sm := &store{version: "v1", created: time.Now()}
				server := agenttest.NewExtension(t, sm, inMemory)
				c := secretcache.New(secretcache.Chain(server.Source(), sm), &secretcache.Options{TTL: ttl})
				defer c.Close()
				v1, err := c.Get(t.Context(), "a", "")
				wantVersion(t, v1, err, "v1")
				sm.version, sm.created = "v2", time.Now().Add(time.Second)
				v2, err := c.Refresh(t.Context(), "a", "", v1)
				wantVersion(t, v2, err, "v2")
				asked := len(server.Requests())
				for range 2 * 3600 {
					time.Sleep(time.Second)
					s, err := c.Get(t.Context(), "a", "")
					wantVersion(t, s, err, "v2")
					synctest.Wait()
				}
				if len(server.Requests()) == asked {
					t.Error("the extension was not asked: nothing could come back")
				}

				sm.version, sm.created = "v1", v1.CreatedAt() // it was rolled back
				s, err := c.Refresh(t.Context(), "a", "", v2)
				wantVersion(t, s, err, "v1")
			})
		})
	}
}
