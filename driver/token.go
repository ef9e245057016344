package driver

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// A TokenRequest says what a token is for.
type TokenRequest struct {
	Host     string // that is dialled; a list, if the data source name has one
	Port     int
	User     string   // of the secret; empty if it has none
	Location Location // of the data source name
	SecretID string   // the secret's ARN if the source knows it, or else as the data source name has it
}

// A Token is what a login sends in place of the secret's password.
type Token struct {
	// User is as whom to log in. Empty means TokenRequest.User.
	User string

	// Password is the token itself. It must not be empty.
	Password Password

	// Expires is when the server accepts the token no more. Until two minutes before, later
	// Connect calls reuse it for the same host, port and user of the secret. Zero: only the
	// Connect calls that wait for it together use it.
	Expires time.Time
}

// tokenReserve is how long before its end a token is no longer sent: the login has to arrive,
// and the server's clock may be ahead.
const tokenReserve = 2 * time.Minute

// The least time between two records of tokens that were replaced. Others are at level DEBUG.
const replacedEvery = time.Minute

// A tokenKey is what a token is reused for.
type tokenKey struct {
	host string
	port int
	user string
}

// tokens are what a connector logs in with in place of the secret's password. It makes one at
// a time for each key, in a goroutine of its own, for all Connect calls that wait for it.
type tokens struct {
	name    string // what makes them, for errors
	remedy  string // what to check if the server rejects a new one
	make    func(context.Context, TokenRequest) (Token, error)
	timeout time.Duration // of one; 0 or negative = none

	replacedDue atomic.Int64 // when the next record of a replaced token is due, by reader.clock

	mu   sync.Mutex
	kept map[tokenKey]*tokenSlot
}

// A tokenSlot is what there is for one key. tokens.mu guards it.
type tokenSlot struct {
	token   *Token       // that was made last, until the server rejects it; or nil
	making  *tokenMaking // under way; or nil
	failure error        // of the last one, if that failed
}

// A tokenMaking makes one token. token and err are set before done is closed.
type tokenMaking struct {
	done    chan struct{}
	cancel  context.CancelFunc
	waiters int // guarded by tokens.mu
	token   *Token
	err     error
}

// get returns a token, and whether it is one that was made before. It waits for a new one until
// ctx ends.
func (s *tokens) get(ctx context.Context, r TokenRequest) (t *Token, reused bool, err error) {
	k := tokenKey{r.Host, r.Port, r.User}
	s.mu.Lock()
	slot := s.slot(k)
	if slot.token.lasts() {
		defer s.mu.Unlock()
		return slot.token, true, nil
	}
	m := slot.making
	if m == nil {
		m = s.begin(ctx, slot, r)
	}
	m.waiters++
	s.mu.Unlock()
	select {
	case <-m.done:
		return m.token, false, m.err
	case <-ctx.Done():
		return nil, false, s.giveUp(slot, m, ctx.Err())
	}
}

// lasts reports whether a token may be reused. Both times are the wall clock's, because a
// machine may have been frozen.
func (t *Token) lasts() bool {
	return t != nil && time.Now().Round(0).Before(t.Expires.Add(-tokenReserve))
}

// slot returns that of a key. A new one takes the place of those that have nothing any more.
// s.mu is held.
func (s *tokens) slot(k tokenKey) *tokenSlot {
	slot := s.kept[k]
	if slot == nil {
		for other, old := range s.kept {
			if old.making == nil && !old.token.lasts() {
				delete(s.kept, other)
			}
		}
		slot = &tokenSlot{}
		s.kept[k] = slot
	}
	return slot
}

// begin starts to make a token. s.mu is held.
func (s *tokens) begin(ctx context.Context, slot *tokenSlot, r TokenRequest) *tokenMaking {
	m := &tokenMaking{done: make(chan struct{})}
	ctx = context.WithoutCancel(ctx)
	stop := func() bool { return false }
	if s.timeout > 0 {
		ctx, m.cancel = context.WithTimeout(ctx, s.timeout)
		// The func may ignore its context: then nobody waits for it any more.
		stop = time.AfterFunc(s.timeout+abandonAfter, func() {
			s.end(slot, m, nil, fmt.Errorf("%s did not return within %v", s.name, s.timeout))
		}).Stop
	} else {
		ctx, m.cancel = context.WithCancel(ctx)
	}
	slot.making = m
	go func() {
		defer stop()
		s.run(ctx, slot, m, r)
	}()
	return m
}

// run calls the func. A panic's text may hold a token: only its type is told.
func (s *tokens) run(ctx context.Context, slot *tokenSlot, m *tokenMaking, r TokenRequest) {
	var t Token
	err := fmt.Errorf("%s ended its goroutine", s.name)
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%s panicked with a value of type %T", s.name, p)
		}
		s.end(slot, m, &t, err)
	}()
	t, err = s.make(ctx, r)
	switch {
	case err != nil:
	case t.Password.Reveal() == "":
		err = fmt.Errorf("%s returned an empty token", s.name)
	case t.User == "" && r.User == "":
		err = fmt.Errorf("neither the secret nor %s says as whom to log in: give the secret a user, or set Token.User", s.name)
	}
	if t.User == "" {
		t.User = r.User
	}
	t.Expires = t.Expires.Round(0)
}

// end notes what came of a making, unless that is over. After a failure the next Connect call
// begins another one.
func (s *tokens) end(slot *tokenSlot, m *tokenMaking, t *Token, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		slot.failure = err // also of one that nobody has waited for
	}
	if slot.making != m {
		return
	}
	slot.making, m.err = nil, err
	if err == nil {
		m.token, slot.token, slot.failure = t, t, nil
	}
	close(m.done)
	m.cancel()
}

// giveUp returns the error of a caller whose context has ended. A making that nobody waits for is
// cancelled.
func (s *tokens) giveUp(slot *tokenSlot, m *tokenMaking, err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.waiters--; m.waiters == 0 && slot.making == m {
		slot.making = nil
		m.cancel()
	}
	if slot.failure != nil {
		return fmt.Errorf("%w; the last attempt failed: %w", err, slot.failure)
	}
	return err
}

// drop forgets a token that the server rejects.
func (s *tokens) drop(r TokenRequest, t *Token) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slot := s.kept[tokenKey{r.Host, r.Port, r.User}]; slot != nil && slot.token == t {
		slot.token = nil
	}
}

// A tokenError says that there is no token to log in with, which says nothing about the secret.
type tokenError struct {
	address string
	err     error
	before  error // what the server said to the token that was to be replaced, or nil
}

func (e *tokenError) Error() string {
	text := "get a token for " + e.address + ": " + e.err.Error()
	if e.before != nil {
		text += "; the server rejected the one that was reused: " + e.before.Error()
	}
	return text
}

func (e *tokenError) Unwrap() []error {
	if e.before == nil {
		return []error{e.err}
	}
	return []error{e.err, e.before}
}

// isTokenError reports whether there was no token to log in with.
func isTokenError(err error) bool {
	if err == nil {
		return false // and allocate nothing
	}
	e := (*tokenError)(nil)
	return errors.As(err, &e)
}
