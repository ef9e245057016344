package drivertest

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
)

// An expiring engine wraps another engine. The test decides when its connections are superseded.
type expiring struct {
	driver.Engine
	now *atomic.Int64 // its changes supersede all open connections; nil supersedes none
}

func (e expiring) Prepare(ep driver.Endpoint) (driver.Login, error) {
	l, err := e.Engine.Prepare(ep)
	if err != nil {
		return nil, err
	}
	return expiringLogin{l, e.now}, nil
}

type expiringLogin struct {
	driver.Login
	now *atomic.Int64
}

func (l expiringLogin) Connect(ctx context.Context, c driver.Credentials) (sqldriver.Conn, error) {
	c.Superseded = nil
	if l.now != nil {
		opened := l.now.Load()
		c.Superseded = func() bool { return l.now.Load() != opened }
	}
	return l.Login.Connect(ctx, c)
}

// pool opens a database whose pool keeps two connections, through a proxy that counts them. If now is
// nil, the connections have no Superseded.
func (s Server) pool(t *testing.T, now *atomic.Int64) (*client, *proxy) {
	t.Helper()
	s.Engine = expiring{s.Engine, now}
	p := s.newProxy(t)
	db := s.open(t, Passwords[0], "", map[string]any{"port": p.Port})
	db.SetMaxOpenConns(2)
	db.SetMaxIdleConns(2)
	return db, p
}

// checkOut takes a connection out of the pool. id identifies it: it is the vendor's connection, which the
// test keeps, so that no other connection can have the same address.
func (s Server) checkOut(t *testing.T, db *client) (conn *sql.Conn, id any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	conn, err := db.Conn(ctx)
	if err != nil {
		t.Fatalf("check a connection out: %v", err)
	}
	if err := conn.Raw(func(c any) error { id = c; return nil }); err != nil {
		t.Fatalf("Raw: %v", err)
	}
	return conn, id
}

// checkIn runs the query on a connection and gives it back to the pool.
func (s Server) checkIn(t *testing.T, conn *sql.Conn) {
	t.Helper()
	var v any
	if err := conn.QueryRowContext(t.Context(), s.Query).Scan(&v); err != nil {
		t.Errorf("query on a connection that is checked out: %v", err)
	}
	if err := conn.Close(); err != nil {
		t.Errorf("return a connection: %v", err)
	}
}

// keeps checks that a pool reuses a connection that is not superseded.
func (s Server) keeps(t *testing.T) {
	db, p := s.pool(t, nil)
	conn, first := s.checkOut(t, db)
	s.checkIn(t, conn)
	for range 3 {
		conn, id := s.checkOut(t, db)
		if id != first {
			t.Error("a connection that is not superseded was closed")
		}
		s.checkIn(t, conn)
	}
	s.wantLogins(t, db, 1, 0)
	p.wantOpen(t, 1)
}

// superseded checks that a pool closes a superseded connection at the next checkout, and that no query
// fails.
func (s Server) superseded(t *testing.T) {
	now := new(atomic.Int64)
	db, p := s.pool(t, now)
	conn, first := s.checkOut(t, db)
	s.checkIn(t, conn)
	for round := 1; round <= 2; round++ {
		for range 3 {
			s.mustQuery(t, db)
		}
		conn, id := s.checkOut(t, db)
		if id != first {
			t.Fatal("a connection was closed that is not superseded")
		}
		s.checkIn(t, conn)
		s.wantLogins(t, db, round, 0)

		now.Add(1)
		s.mustQuery(t, db)
		conn, id = s.checkOut(t, db)
		if id == first {
			t.Fatal("a superseded connection was handed out")
		}
		s.checkIn(t, conn)
		s.wantLogins(t, db, round+1, 0)
		p.wantOpen(t, 1)
		first = id
	}
}

// supersededInUse checks that work on a superseded connection goes on to its end.
func (s Server) supersededInUse(t *testing.T) {
	for _, c := range []struct {
		name   string
		logins int // in all, including the two at the end
		use    func(t *testing.T, db *client, supersede func())
	}{
		{"transaction", 3, func(t *testing.T, db *client, supersede func()) {
			tx, err := db.BeginTx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer tx.Rollback()
			supersede()
			for range 2 {
				var v any
				if err := tx.QueryRowContext(t.Context(), s.Query).Scan(&v); err != nil {
					t.Errorf("query in the transaction: %v", err)
				}
			}
			if err := tx.Commit(); err != nil {
				t.Errorf("Commit: %v", err)
			}
		}},
		{"rows", 3, func(t *testing.T, db *client, supersede func()) {
			rows, err := db.QueryContext(t.Context(), s.Query)
			if err != nil {
				t.Fatal(err)
			}
			defer rows.Close()
			supersede()
			n := 0
			for rows.Next() {
				n++
			}
			if err := rows.Err(); err != nil || n != 1 {
				t.Errorf("%d rows, %v, want 1", n, err)
			}
		}},
		{"connection", 3, func(t *testing.T, db *client, supersede func()) {
			conn, err := db.Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			supersede()
			s.checkIn(t, conn)
		}},
		{"statement", 3, func(t *testing.T, db *client, supersede func()) {
			stmt, err := db.PrepareContext(t.Context(), s.Query)
			if err != nil {
				t.Fatal(err)
			}
			defer stmt.Close()
			supersede()
			for range 2 { // database/sql prepares it again on another connection
				var v any
				if err := stmt.QueryRowContext(t.Context()).Scan(&v); err != nil {
					t.Errorf("query of a statement: %v", err)
				}
			}
		}},
		{"handed to a caller that waits", 4, func(t *testing.T, db *client, supersede func()) {
			// Both connections are checked out and superseded. The pool offers one of them, or
			// both in turn, to the caller that waits.
			a, _ := s.checkOut(t, db)
			b, _ := s.checkOut(t, db)
			waiting := make(chan error, 1)
			go func() { waiting <- s.query(t, db) }()
			for db.Stats().WaitCount == 0 {
				runtime.Gosched()
			}
			supersede()
			s.checkIn(t, a)
			s.checkIn(t, b)
			if err := <-waiting; err != nil {
				t.Errorf("query that waited for a connection: %v", err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			now := new(atomic.Int64)
			db, p := s.pool(t, now)
			conn, first := s.checkOut(t, db)
			s.checkIn(t, conn)
			c.use(t, db, func() { now.Add(1) })
			// Check both connections of the pool out at once.
			a, idA := s.checkOut(t, db)
			b, idB := s.checkOut(t, db)
			if idA == first || idB == first {
				t.Error("a superseded connection was handed out")
			}
			s.checkIn(t, a)
			s.checkIn(t, b)
			p.wantOpen(t, 2)
			s.wantLogins(t, db, c.logins, 0)
		})
	}
}
