package agent

import (
	"slices"
	"strconv"
	"strings"
)

// An Error is what every method of a [Source] returns. It holds nothing of a secret's
// value, and not the token.
type Error struct {
	Server   string // "Secrets Manager Agent at 127.0.0.1:2773", "Lambda extension at …"
	SecretID string // as it was asked for; empty if it is not a secret's id
	Status   int    // of the HTTP answer; zero without one
	Kind     error  // the sentinel of secretcache that applies, or nil
	Err      error  // the cause, of which errors.As finds the parts
}

// Error says which secret was asked for, and why the server did not give it.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("ask the " + e.Server + " for ")
	if e.SecretID == "" {
		b.WriteString("a secret")
	} else {
		b.WriteString(strconv.Quote(e.SecretID))
	}
	if e.Kind != nil {
		b.WriteString(": " + e.Kind.Error())
	}
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	return b.String()
}

// Unwrap returns the sentinel and the cause.
func (e *Error) Unwrap() []error { return present(e.Kind, e.Err) }

// present leaves out what is nil.
func present(errs ...error) []error {
	return slices.DeleteFunc(errs, func(err error) bool { return err == nil })
}

// A class is what a failed attempt means for the next one.
type class int

const (
	final    class = iota
	away           // there is no server yet: it may come
	badToken       // the token is not the server's: there may be another one by now
	busy           // too many requests, or connections
	broken         // no answer, or one that says that something is broken
	hung           // no answer in time
	ended          // the caller's context ended
)

// A failure is why an attempt brought nothing. It is immutable.
type failure struct {
	class
	status int
	kind   error // a sentinel of secretcache, or nil
	text   string
	err    error // that callers may match, or nil
	prev   *failure
}

// lasts reports whether a failure is likely to be the next fetch's as well. One that hangs
// is not: it may be one bad connection.
func (f *failure) lasts() bool { return f.class == busy || f.class == broken }

// reason is what the failure's error says of it.
func (f *failure) reason() string {
	if f.kind == nil {
		return f.text
	}
	return f.kind.Error() + ": " + f.text
}

// A cause is the error of a failure: its text, and what callers may match. What
// net/http's errors hold besides is dropped, for it may be an answer.
type cause struct {
	text string
	errs []error
}

func (c *cause) Error() string   { return c.text }
func (c *cause) Unwrap() []error { return c.errs }

// error makes the error of a failure after so many attempts.
func (s *Source) error(id string, f *failure, attempts int) *Error {
	c := &cause{text: f.text, errs: present(f.err)}
	if attempts > 1 && f.class != ended {
		c.text += " (" + strconv.Itoa(attempts) + " attempts)"
	}
	if f.prev != nil {
		c.text += "; before that: " + f.prev.reason()
		c.errs = present(f.err, f.prev.kind, f.prev.err)
	}
	return &Error{Server: s.name(), SecretID: id, Status: f.status, Kind: f.kind, Err: c}
}
