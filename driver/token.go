package driver

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// A TokenRequest says what a token is for. [Options].Token gets it.
type TokenRequest struct {
	Host     string   // host that is dialled; a list of hosts if the data source name has one
	Port     int      // of Host
	User     string   // the secret's user; empty if the secret has none
	Location Location // of the data source name
	SecretID string   // the secret's ARN if the source tells it; otherwise as in the data source name
}

// A Token is what a login sends in place of the secret's password.
type Token struct {
	// User is the user to log in with. Empty means TokenRequest.User. One of the two must be set.
	User string

	// Password is the token itself, made with [NewPassword]. It must not be empty.
	Password Password

	// Expires is the time from which the server no longer accepts the token. Connect calls for
	// the same host, port and user of the secret reuse the token until two minutes before
	// Expires. Zero, or a time within the next two minutes, means that it is not reused: only the
	// Connect calls that waited for it together use it. TokenRequest.User counts for the reuse,
	// not User.
	Expires time.Time
}

// A token is no longer sent this long before it expires: the login has to arrive in time, and the
// server's clock may be ahead.
const tokenReserve = 2 * time.Minute

// The least time between two INFO records of replaced tokens. The others have level DEBUG.
const replacedEvery = time.Minute

// A tokenKey tells for which logins a token is reused.
type tokenKey struct {
	host string
	port int
	user string
}

// tokens makes the tokens that a connector sends in place of the secret's password, and keeps them
// for reuse. For each key it makes one at a time, in a separate goroutine, for all Connect calls that
// wait for it.
type tokens struct {
	name    string // of the func that makes them, for errors
	remedy  string // what the user should check if the server rejects a new token
	make    func(context.Context, TokenRequest) (Token, error)
	timeout time.Duration // for making one token; 0 or negative = none

	replacedDue atomic.Int64 // when the next INFO record of a replaced token is due, by reader.clock

	mu   sync.Mutex
	kept map[tokenKey]*tokenSlot
}

// A tokenSlot is the state for one key. tokens.mu guards it.
type tokenSlot struct {
	token   *Token       // the last one that was made; nil if there is none, or the server rejected it
	making  *tokenMaking // the one that is under way, or nil
	failure error        // of the last making; nil if that succeeded
}

// A tokenMaking makes one token. token and err are set before done is closed.
type tokenMaking struct {
	done    chan struct{}
	cancel  context.CancelFunc
	waiters int // guarded by tokens.mu
	token   *Token
	err     error
}

// get returns a token. reused reports whether an earlier call has got the same token. If a new one
// is needed, get waits for it until ctx ends.
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

// lasts reports whether a token may be reused. It compares wall clock times, because the monotonic
// clock may stand still while a machine is frozen.
func (t *Token) lasts() bool {
	return t != nil && time.Now().Round(0).Before(t.Expires.Add(-tokenReserve))
}

// slot returns the slot of a key. Before it adds one, it deletes those without a usable token and
// without a making. s.mu is held.
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
		// If the func ignores its context, the callers stop waiting for it.
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

// run calls the func. The error tells only the type of a panic, because its text may hold a token.
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
		err = fmt.Errorf("neither the secret nor %s names a user: add a user to the secret, or set Token.User", s.name)
	}
	if t.User == "" {
		t.User = r.User
	}
	t.Expires = t.Expires.Round(0)
}

// end records the result of a making, unless the making is over. After a failure, the next Connect
// call begins another one.
func (s *tokens) end(slot *tokenSlot, m *tokenMaking, t *Token, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		slot.failure = err // also if nobody waits for the making any more
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

// giveUp returns the error of a caller whose context has ended. If it was the last one that waited
// for the making, the making is cancelled.
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

// drop removes a token that the server has rejected.
func (s *tokens) drop(r TokenRequest, t *Token) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slot := s.kept[tokenKey{r.Host, r.Port, r.User}]; slot != nil && slot.token == t {
		slot.token = nil
	}
}

// A tokenError says that there is no token to log in with. It says nothing about the secret.
type tokenError struct {
	address string
	err     error
	before  error // the server's error for the token that was to be replaced, or nil
}

func (e *tokenError) Error() string {
	text := "get a token for " + e.address + ": " + e.err.Error()
	if e.before != nil {
		text += "; the server rejected the token that was reused: " + e.before.Error()
	}
	return text
}

func (e *tokenError) Unwrap() []error {
	if e.before == nil {
		return []error{e.err}
	}
	return []error{e.err, e.before}
}

// isTokenError reports whether a login failed because there was no token.
func isTokenError(err error) bool {
	if err == nil {
		return false // and allocate nothing
	}
	e := (*tokenError)(nil)
	return errors.As(err, &e)
}
