package driver

import (
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strconv"
)

// Conditions that callers match with [errors.Is]. The errors of a [Secrets], such as
// secretcache.ErrNotFound, secretcache.ErrAccessDenied and secretcache.ErrThrottled, match too.
var (
	// ErrAuthFailed says that the server rejected every credential of the secret that was due.
	// Credentials that the server has rejected before are not due until a pause is over. A locked
	// account is another error; see AccountLocked.
	ErrAuthFailed = errors.New("credentials rejected")
	// ErrMalformedSecret says that the secret's value is not a JSON object, or that one of its
	// keys is missing or has a value that cannot be used.
	ErrMalformedSecret = errors.New("malformed secret")
	// ErrEngineMismatch says that the key "engine" of the secret, or the data source name, is for
	// another kind of database than the driver.
	ErrEngineMismatch = errors.New("wrong engine")
	// ErrBadDSN says that the data source name cannot be used. The error does not quote the data
	// source name, which may contain a password by mistake.
	ErrBadDSN = errors.New("bad data source name")
)

// An Error is the error of every call of this package that fails. Find it with [errors.As].
type Error struct {
	Op       string // what failed: "parse data source name", "get secret", "connect with secret"
	SecretID string // as in the data source name; empty if that could not be parsed
	Version  string // id of the version of the secret that was used last; empty if there was none
	Kind     error  // ErrAuthFailed, ErrMalformedSecret, ErrEngineMismatch, ErrBadDSN, or nil
	Err      error  // the cause, or nil; errors.As finds the vendor's error in it
}

// Error returns one line. It holds no password, neither from the secret nor from the data source
// name. The server's own text in it may name the user. docs/rotation.md, "How to read an error",
// explains the parts of the line.
func (e *Error) Error() string {
	text := e.Op
	if e.SecretID != "" {
		text += " " + strconv.Quote(e.SecretID)
	}
	if tried := (*triedError)(nil); e.Version != "" && !errors.As(e.Err, &tried) { // a triedError names each version itself
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

// newError returns the error of an operation on a secret. If cause is an *Error without Op, as
// parseSecret and engines return it, the new error takes over its Kind and its Err.
func newError(op, secretID, version string, cause error) error {
	e := &Error{Op: op, SecretID: secretID, Version: version}
	if inner := (*Error)(nil); errors.As(cause, &inner) && inner.Op == "" {
		e.Kind, cause = inner.Kind, inner.Err
	}
	e.Err = notBadConn(cause)
	return e
}

// plain returns an error with the text of err, but without operation and secret. The result does
// not match the Kind of an *Error.
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

// notBadConn returns err. If err matches [sqldriver.ErrBadConn], it returns an error with the same
// text that does not match. Otherwise database/sql would repeat the Connect call, and so log in
// three times with a password that may be wrong.
func notBadConn(err error) error {
	if errors.Is(err, sqldriver.ErrBadConn) {
		return &maskedError{err, sqldriver.ErrBadConn}
	}
	return err
}

// A maskedError is err, but does not match hidden.
type maskedError struct{ err, hidden error }

func (e *maskedError) Error() string { return e.err.Error() }

func (e *maskedError) Is(target error) bool {
	return target != e.hidden && errors.Is(e.err, target)
}

func (e *maskedError) As(target any) bool { return errors.As(e.err, target) }
