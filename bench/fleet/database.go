package fleet

import (
	"context"
	sqldriver "database/sql/driver"
	"errors"
	"sync"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
)

const (
	loginTime = 10 * time.Millisecond // time of a login that does not queue
	mostQueue = 5 * time.Second       // a login that would queue for longer is turned away
)

var (
	errRejected = errors.New("password authentication failed")
	errDown     = errors.New("connection refused")
	errFull     = errors.New("too many connections")
	errNoSQL    = errors.New("the model of a database knows logins only")
)

// A database is a model of a server that takes a fixed number of logins per second. Further logins
// queue.
type database struct {
	meter *meter
	each  time.Duration // the time of the server that one login takes

	mu       sync.Mutex // guards all below
	password string
	down     bool
	free     time.Time // when the server has finished all logins that queue
}

func newDatabase(m *meter, perSecond float64) *database {
	return &database{meter: m, each: time.Duration(float64(time.Second) / perSecond)}
}

func (db *database) setPassword(password string) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.password = password
}

func (db *database) setDown(down bool) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.down = down
}

// login checks a password for an instance.
func (db *database) login(ctx context.Context, i *instance, password string) error {
	db.meter.count(func(n *Second) { n.Logins++ })
	queue, err := db.enqueue()
	if err != nil {
		return errors.Join(wait(ctx, time.Millisecond), err)
	}
	if err := wait(ctx, queue+loginTime); err != nil {
		return err
	}
	db.mu.Lock()
	down, right := db.down, db.password == password
	db.mu.Unlock()
	switch {
	case down:
		return errDown
	case !right:
		i.rejected.Add(1)
		db.meter.count(func(n *Second) { n.Rejected++ })
		return errRejected
	}
	db.meter.count(func(n *Second) { n.Accepted++ })
	return nil
}

// enqueue returns how long a login waits until it is its turn.
func (db *database) enqueue() (time.Duration, error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	now := time.Now()
	if db.free.Before(now) {
		db.free = now
	}
	queue := db.free.Sub(now)
	switch {
	case db.down:
		return 0, errDown
	case queue > mostQueue:
		return 0, errFull
	}
	db.free = db.free.Add(db.each)
	return queue, nil
}

// An engine is the engine of the database for one instance.
type engine struct{ *instance }

var _ driver.Engine = engine{}

func (engine) Info() driver.Info {
	return driver.Info{Name: "modeled", Port: 5432, Database: "app", Accepts: func(string) bool { return true }}
}

func (engine) ParseURL(string, func(string) bool) (driver.URL, error) {
	return driver.URL{}, errors.New("the model of a database has no URLs")
}
func (engine) CheckParams(map[string]string) error             { return nil }
func (e engine) Prepare(driver.Endpoint) (driver.Login, error) { return e, nil }
func (engine) Rejected(err error) bool                         { return errors.Is(err, errRejected) }
func (engine) NoDatabase(error) bool                           { return false }
func (e engine) Connect(ctx context.Context, c driver.Credentials) (sqldriver.Conn, error) {
	if err := e.fleet.db.login(ctx, e.instance, c.Password.Reveal()); err != nil {
		return nil, err
	}
	return conn{}, nil
}

// A conn is a connection to the model of a database.
type conn struct{}

func (conn) Prepare(string) (sqldriver.Stmt, error) { return nil, errNoSQL }
func (conn) Begin() (sqldriver.Tx, error)           { return nil, errNoSQL }
func (conn) Close() error                           { return nil }
