package driver

import (
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strconv"
)

// Conditions that callers match with [errors.Is].
var (
	// ErrAuthFailed says that the server rejected every credential that the
	// secret offers.
	ErrAuthFailed = errors.New("credentials rejected")
	// ErrMalformedSecret says that the secret is not a JSON object, or that a key
	// is missing or has the wrong type.
	ErrMalformedSecret = errors.New("malformed secret")
	// ErrEngineMismatch says that the secret's "engine" or the URL is another
	// database's.
	ErrEngineMismatch = errors.New("wrong engine")
	// ErrBadDSN says that the data source name cannot be used. Its errors do not
	// quote the data source name, which may hold a password by mistake.
	ErrBadDSN = errors.New("bad data source name")
)

// An Error is what every failing call of this package returns.
type Error struct {
	Op       string // what was done: "parse data source name", "get secret", "connect"
	SecretID string // empty if the data source name did not parse
	Version  string // id of the secret's version that was used last; empty if none was
	Kind     error  // one of this package's sentinels, or nil
	Err      error  // the cause, or nil; the vendor's error is in its tree
}

// Error returns one line without any value of a secret.
func (e *Error) Error() string {
	text := e.Op
	if e.SecretID != "" {
		text += " " + strconv.Quote(e.SecretID)
	}
	if tried := (*triedError)(nil); e.Version != "" && !errors.As(e.Err, &tried) { // which names each version
		text += " (version " + e.Version + ")"
	}
	for _, err := range e.Unwrap() {
		text += ": " + err.Error()
	}
	return text
}

// Unwrap returns Kind and Err.
func (e *Error) Unwrap() []error {
	return slices.DeleteFunc([]error{e.Kind, e.Err}, func(err error) bool { return err == nil })
}

// newError returns the error of an operation on a secret. An *Error that does not name its
// own, as those of parseSecret and of engines, is the cause of it and gives it its Kind.
func newError(op, secretID, version string, cause error) error {
	e := &Error{Op: op, SecretID: secretID, Version: version}
	if inner := (*Error)(nil); errors.As(cause, &inner) && inner.Op == "" {
		e.Kind, cause = inner.Kind, inner.Err
	}
	e.Err = notBadConn(cause)
	return e
}

// plain returns what err says without operation and secret. It does not match the Kind of
// an *Error.
func plain(err error) error {
	e := (*Error)(nil)
	switch {
	case !errors.As(err, &e):
		return err
	case e.Kind == nil:
		return e.Err
	}
	return fmt.Errorf("%v: %w", e.Kind, e.Err)
}

// notBadConn returns err, or, where it matches [sqldriver.ErrBadConn], an error
// with the same text that does not: database/sql would connect again, and log
// in three times with a password that may be wrong.
func notBadConn(err error) error {
	if errors.Is(err, sqldriver.ErrBadConn) {
		return &maskedError{err, sqldriver.ErrBadConn}
	}
	return err
}

// A maskedError hides that its tree matches an error.
type maskedError struct{ err, hidden error }

func (e *maskedError) Error() string { return e.err.Error() }

func (e *maskedError) Is(target error) bool {
	return target != e.hidden && errors.Is(e.err, target)
}

func (e *maskedError) As(target any) bool { return errors.As(e.err, target) }
