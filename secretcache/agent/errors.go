package agent

import (
	"slices"
	"strconv"
	"strings"
)

// An Error is the error of every method of a [Source]. It holds no part of a secret's value,
// and not the token.
type Error struct {
	Server   string // "Secrets Manager Agent at 127.0.0.1:2773", "Lambda extension at …"
	SecretID string // as the caller asked for it; empty if it is not a secret's id
	Status   int    // of the HTTP answer; zero if there was none
	Kind     error  // the sentinel of package secretcache that applies, or nil
	Err      error  // the cause; errors.As finds the errors in it
}

// Error returns which secret was asked for, and why the server did not return it.
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

// present returns the errors that are not nil.
func present(errs ...error) []error {
	return slices.DeleteFunc(errs, func(err error) bool { return err == nil })
}

// A class says whether another attempt may work after a failure.
type class int

const (
	final    class = iota // no other attempt will work
	away                  // there is no server yet
	badToken              // the server did not accept the token; it may have changed by now
	busy                  // too many requests or connections
	broken                // no answer, or an answer that says that something is broken
	hung                  // no answer in time
	ended                 // the caller's context ended
)

// A failure says why an attempt returned no secret. It is immutable.
type failure struct {
	class
	status int
	kind   error // a sentinel of secretcache, or nil
	text   string
	err    error    // callers may match it; nil if there is none
	prev   *failure // of the attempt before, if the context ended after that attempt
}

// lasts reports whether the next fetch is likely to fail in the same way. A timeout does not
// count, because one bad connection may be the reason.
func (f *failure) lasts() bool { return f.class == busy || f.class == broken }

// reason returns the text of the failure for an error.
func (f *failure) reason() string {
	if f.kind == nil {
		return f.text
	}
	return f.kind.Error() + ": " + f.text
}

// A cause is the error of a failure: its text, and the errors that callers may match. The
// rest of net/http's errors is dropped, because it may be an answer.
type cause struct {
	text string
	errs []error
}

func (c *cause) Error() string   { return c.text }
func (c *cause) Unwrap() []error { return c.errs }

// error makes the error for a failure after this number of attempts.
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
