package driver

import (
	"context"
	sqldriver "database/sql/driver"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sqlsecrets/sqlsecrets/internal/backoff"
)

const (
	// The least time between two readings that checkouts cause.
	peekEvery = time.Second
	// The same while a fallback version is active. Then the cached version is a rejected one,
	// so the stage is read past the cache, which spaces these readings as well.
	peekInRotation = 5 * time.Second
	// A query fails if the pool finds three bad connections in a row. So after closing one,
	// the superseder lets this many checkouts pass, or waits this long, before the next.
	closeAfter = 64
	closeEvery = time.Second
)

// A superseder decides whether a pool is to close a connection whose version is superseded.
type superseder struct {
	resolver *resolver
	connect  func(context.Context) (sqldriver.Conn, error)

	peekDue atomic.Int64 // by clock
	peeking atomic.Bool

	mu      sync.Mutex
	closed  time.Time        // when the last connection was closed
	passed  int              // checkouts that were let pass since
	proving bool             // a login of the superseder's own is under way
	pause   *backoff.Backoff // until the next one
}

// check returns what a connection that was opened with a version calls at each checkout: it
// reports whether the connection is to be closed. There has to be another version that the
// server accepts; until then the connection is the better one.
func (s *superseder) check(login LoginInfo, version string) func() bool {
	return func() bool {
		s.peek()
		switch active, current := s.resolver.use(); {
		case version == active.id || version == current.id:
			return false
		case !s.resolver.gate.acceptsAny(active.id, current.id):
			s.prove()
			return false
		case !s.mayClose():
			return false
		}
		s.resolver.reader.log.Info(msgClosed,
			"version", login.Version, "address", login.Address)
		return true
	}
}

// mayClose reports whether one more superseded connection may be closed by now.
func (s *superseder) mayClose() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.passed < closeAfter && now.Sub(s.closed) < closeEvery {
		s.passed++
		return false
	}
	s.passed, s.closed = 0, now
	return true
}

// peek has the stage read in the background. No checkout waits for that.
func (s *superseder) peek() {
	r := s.resolver.reader
	now, due := int64(r.clock.Now()), s.peekDue.Load()
	if now < due || s.peeking.Load() || !s.peeking.CompareAndSwap(false, true) {
		return
	}
	active, current := s.resolver.use()
	every, rotating := peekEvery, active.id != current.id
	if rotating {
		every = peekInRotation
	}
	s.peekDue.Store(now + int64(every))
	go s.inBackground("Secrets.Get or Refresh", func(ctx context.Context) {
		defer s.peeking.Store(false)
		moves := s.resolver.moves.Load()
		var c candidate
		var err error
		if rotating {
			c, err = r.refresh(ctx, r.stage, current, false)
		} else {
			c, _, err = r.get(ctx)
		}
		if err == nil {
			s.resolver.observe(moves, c)
		}
	})
}

// prove has a connection opened that no pool asked for, to learn whether the server accepts
// the newer version, unless that is under way or has failed a short time ago.
func (s *superseder) prove() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proving || s.pause.Wait(time.Now()) > 0 {
		return
	}
	s.proving = true
	pause := s.pause // that nobody else changes until this one is over
	go s.inBackground("Connect for CloseSuperseded", func(ctx context.Context) {
		defer func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.proving, s.pause = false, pause.Next(time.Now(), refreshBase, refreshMax) // the gate spaces the logins
		}()
		if conn, err := s.connect(ctx); err == nil {
			pause = nil
			_ = conn.Close()
		}
	})
}

// inBackground runs f, which the program has not asked for and whose panic must not end it.
func (s *superseder) inBackground(what string, f func(context.Context)) {
	ctx, cancel := context.WithTimeout(context.Background(), DefaultConnectTimeout)
	defer cancel()
	defer s.resolver.reader.logPanic(context.Background(), what)
	f(ctx)
}
