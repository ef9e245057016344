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
	// The least time between two readings of the stage that checkouts cause.
	peekEvery = time.Second
	// The same while a fallback version is active. The cached version is then a rejected one, so
	// the stage is refreshed. The cache limits these refreshes too.
	peekInRotation = 5 * time.Second
	// A query fails if the pool finds three bad connections in a row. So between two connections
	// that it closes, the superseder lets this many checkouts pass, or waits this long.
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
	passed  int              // number of checkouts since then
	proving bool             // prove has a login under way
	pause   *backoff.Backoff // until the next login of prove
}

// check returns the func that a connection calls at each checkout. version is the id of the version
// with which the connection was opened. The func reports whether to close the connection. It does so
// only if the server has accepted another version, because until then the connection may be needed.
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

// mayClose reports whether one more superseded connection may be closed now.
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

// peek reads the stage in the background, if that is due. No checkout waits for it.
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

// prove opens a connection in the background and closes it, to learn whether the server accepts the
// newer version. It does nothing if that is under way, or has failed a short time ago.
func (s *superseder) prove() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proving || s.pause.Wait(time.Now()) > 0 {
		return
	}
	s.proving = true
	pause := s.pause // does not change until proving is false again
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

// inBackground runs f. The program has not asked for f, so a panic of f must not end the program.
func (s *superseder) inBackground(what string, f func(context.Context)) {
	ctx, cancel := context.WithTimeout(context.Background(), DefaultConnectTimeout)
	defer cancel()
	defer s.resolver.reader.logPanic(context.Background(), what)
	f(ctx)
}
