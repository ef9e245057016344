package main

import (
	"context"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// A model is a database and its secret in this process. Neither logins nor API calls queue. Each
// takes its time.
type model struct {
	loginTime, callTime time.Duration
	seen                func() // called in each login and API call; nil: nothing is called

	current               atomic.Pointer[modelVersion] // the version that the database accepts and the secret has
	sent, rejected, calls atomic.Int64
	firstRejection        atomic.Int64 // since start, in ns; 0: none yet
	start                 time.Time
}

// A modelVersion is a version of the secret.
type modelVersion struct{ id, password, value string }

var (
	_ driver.Engine = (*model)(nil)
	_ driver.Login  = (*model)(nil)

	errModelRejected = errors.New("password authentication failed")
	errModelNoSQL    = errors.New("the model of a database knows logins only")
)

// rotate changes the password of the database and the secret.
func (m *model) rotate(id string) {
	password := "password of " + id
	m.current.Store(&modelVersion{id, password, fmt.Sprintf(`{"host":"db.example.com","username":"app","password":%q}`, password)})
}

// login checks a password.
func (m *model) login(ctx context.Context, password string) error {
	m.sent.Add(1)
	if err := m.wait(ctx, m.loginTime); err != nil {
		return err
	}
	if password == m.current.Load().password {
		return nil
	}
	m.rejected.Add(1)
	m.firstRejection.CompareAndSwap(0, int64(time.Since(m.start)))
	return errModelRejected
}

// call answers an API call.
func (m *model) call(ctx context.Context) (*modelVersion, error) {
	m.calls.Add(1)
	err := m.wait(ctx, m.callTime)
	return m.current.Load(), err
}

// Fetch makes the model a source for a cache.
func (m *model) Fetch(ctx context.Context, id, stage string) (*secretcache.Secret, error) {
	v, err := m.call(ctx)
	if err != nil {
		return nil, err
	}
	return secretcache.NewSecret(secretcache.Value{ID: id, VersionID: v.id, Stages: []string{stage}, String: v.value}), nil
}

func (m *model) wait(ctx context.Context, d time.Duration) error {
	if m.seen != nil {
		m.seen()
	}
	if d == 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (m *model) Info() driver.Info {
	return driver.Info{Name: "modeled", Port: 5432, Database: "app", ClosesSuperseded: true, Accepts: func(string) bool { return true }}
}

func (m *model) ParseURL(string, func(string) bool) (driver.URL, error) {
	return driver.URL{}, errors.New("the model of a database has no URLs")
}

func (m *model) CheckParams(map[string]string) error           { return nil }
func (m *model) Prepare(driver.Endpoint) (driver.Login, error) { return m, nil }
func (m *model) Rejected(err error) bool                       { return errors.Is(err, errModelRejected) }
func (m *model) NoDatabase(error) bool                         { return false }

// Connect logs in.
func (m *model) Connect(ctx context.Context, c driver.Credentials) (sqldriver.Conn, error) {
	if err := m.login(ctx, c.Password.Reveal()); err != nil {
		return nil, err
	}
	return &modelConn{}, nil
}

// A modelConn is a connection to a model. It is not empty, so each one is an object of its own.
type modelConn struct{ _ int }

func (*modelConn) Prepare(string) (sqldriver.Stmt, error) { return nil, errModelNoSQL }
func (*modelConn) Begin() (sqldriver.Tx, error)           { return nil, errModelNoSQL }
func (*modelConn) Close() error                           { return nil }

// The logins of an idleEngine only reveal the password.
type idleEngine struct{ *model }

func (e idleEngine) Prepare(driver.Endpoint) (driver.Login, error) { return e, nil }

// Connect logs in without a database.
func (idleEngine) Connect(_ context.Context, c driver.Credentials) (sqldriver.Conn, error) {
	if c.Password.Reveal() == "" {
		return nil, errModelRejected
	}
	return &modelConn{}, nil
}
