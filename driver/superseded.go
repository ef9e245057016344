package driver

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sqlsecrets/sqlsecrets/internal/backoff"
	"github.com/sqlsecrets/sqlsecrets/internal/clock"
)

const (
	// How often the stage is read for connections that are handed out.
	peekEvery = time.Second
	// How often it is read past the cache, to see the end of a rotation: from the first to
	// the second, doubling.
	rotationBase, rotationMax = 2 * time.Second, 30 * time.Second
)

// A query for which a pool finds three bad connections in a row fails. So after one is
// closed, this many checkouts of others that are due are let pass, or this much time.
const (
	closeAfter = 64
	closeEvery = time.Second
)

// A superseder decides whether a pool is to close a connection whose version is superseded.
type superseder struct {
	resolver *resolver
	clock    *clock.Clock
	log      *slog.Logger
	connect  func(context.Context) error // opens a connection and closes it

	peekDue  atomic.Int64 // by clock
	peeking  atomic.Bool
	rotation *backoff.Backoff // of readings in a rotation; used while peeking is set

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
		superseded, proven := s.resolver.isSuperseded(version)
		switch {
		case !superseded:
			return false
		case !proven:
			s.prove()
			return false
		case !s.mayClose():
			return false
		}
		s.log.Info("a connection is closed whose version of the secret is superseded",
			"secret", login.SecretID, "version", login.Version, "address", login.Address)
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

// peek has the stage read in the background. No checkout waits for that: the next one
// knows.
func (s *superseder) peek() {
	now, due := int64(s.clock.Now()), s.peekDue.Load()
	if now < due || s.peeking.Load() || !s.peekDue.CompareAndSwap(due, now+int64(peekEvery)) || !s.peeking.CompareAndSwap(false, true) {
		return
	}
	go s.inBackground("reading the secret", func(ctx context.Context) {
		defer s.peeking.Store(false)
		if !s.resolver.rotating() {
			s.rotation = nil
			s.resolver.peek(ctx, false)
			return
		}
		now := time.Now()
		if s.rotation.Wait(now) > 0 {
			return
		}
		if s.rotation != nil { // the stage was read when the rotation was met
			s.resolver.peek(ctx, true)
		}
		s.rotation = s.rotation.Next(now, rotationBase, rotationMax)
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
	go s.inBackground("logging in with a newer version of the secret", func(ctx context.Context) {
		worked := false
		defer func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.proving = false
			if worked {
				s.pause = nil
			}
			s.pause = s.pause.Next(time.Now(), refreshBase, refreshMax) // the gate spaces the logins
		}()
		worked = s.connect(ctx) == nil
	})
}

// inBackground runs f, which the program has not asked for: its panic must not end the
// program.
func (s *superseder) inBackground(what string, f func(context.Context)) {
	ctx, cancel := context.WithTimeout(context.Background(), DefaultConnectTimeout)
	defer cancel()
	defer func() {
		if p := recover(); p != nil { // its text may hold a secret
			s.log.Error("panic while "+what, "secret", s.resolver.reader.id, "type", fmt.Sprintf("%T", p))
		}
	}()
	f(ctx)
}
