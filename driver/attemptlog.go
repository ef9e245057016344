package driver

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// An attemptLog is what was tried to find a version that the server accepts, in order.
// Error texts show it. It is immutable: add returns a new one.
type attemptLog []attempt

// An attempt is a login that was rejected or failed, a reading of a stage that brought
// nothing, or a wait that ended.
type attempt struct {
	text     string
	err      error     // what the server or the source said, or nil
	key      loginKey  // of a login; else zero
	version  string    // of a login that is open: the id that the error names
	rejected bool      // the server rejected the login
	open     bool      // the login ended without the server's word on the credentials
	at       time.Time // add sets it if it is zero
}

// rejectedAttempt is a login that the server rejected at v.at.
func rejectedAttempt(c candidate, v verdict) attempt {
	return attempt{text: c.target.address + " rejected " + c.name(), err: v.err, key: c.key(), rejected: true, at: v.at}
}

// add returns l with a at its end. If l has an attempt with the same login or text, a
// replaces it.
func (l attemptLog) add(a attempt) attemptLog {
	if a.at.IsZero() {
		a.at = time.Now()
	}
	l = slices.Clone(l)
	if i := slices.IndexFunc(l, func(b attempt) bool { return a.key == b.key && (a.key != loginKey{} || a.text == b.text) }); i >= 0 {
		l[i] = a
		return l
	}
	return append(l, a)
}

// has reports whether l has a login with k.
func (l attemptLog) has(k loginKey) bool {
	return slices.ContainsFunc(l, func(a attempt) bool { return a.key == k })
}

// verdict returns ErrAuthFailed if the server rejected all credentials that were due. If a
// login is open, it returns that login's version and nil.
func (l attemptLog) verdict() (version string, kind error) {
	for _, a := range l {
		switch {
		case a.open:
			return a.version, nil
		case a.rejected:
			kind = ErrAuthFailed
		}
	}
	return "", kind
}

// text returns what was tried, for a call that began and ended then.
func (l attemptLog) text(began, ended time.Time) string {
	var parts []string
	for _, a := range l {
		ago := round(ended.Sub(a.at))
		switch {
		case !a.at.Before(began):
		case a.rejected:
			a.text += fmt.Sprintf(" %v ago, and it is not sent again yet", ago)
		default:
			a.text += fmt.Sprintf(" (%v ago)", ago)
		}
		if a.err != nil {
			a.text += ": " + a.err.Error()
		}
		parts = append(parts, a.text)
	}
	return strings.Join(parts, "; ")
}

// A triedError tells what was tried for a Connect call, and what the server said.
type triedError struct {
	log          attemptLog
	began, ended time.Time     // the call, or its last round in a RotationWindow
	logins       int           // that the call sent
	took         time.Duration // from the call's begin to its end
	toCheck      string        // what to do about a rejection
}

func (e *triedError) Error() string {
	logins := "1 login"
	if e.logins != 1 {
		logins = fmt.Sprintf("%d logins", e.logins)
	}
	text := e.log.text(e.began, e.ended)
	if _, kind := e.log.verdict(); kind == ErrAuthFailed {
		text += "; " + e.toCheck
	}
	return fmt.Sprintf("%s (%s in %v)", text, logins, round(e.took))
}

// Unwrap returns the errors of the attempts.
func (e *triedError) Unwrap() (errs []error) {
	for _, a := range e.log {
		if a.err != nil {
			errs = append(errs, a.err)
		}
	}
	return errs
}

// round returns d with as many digits as a text needs.
func round(d time.Duration) time.Duration {
	if d > time.Second {
		return d.Round(10 * time.Millisecond)
	}
	return d.Round(10 * time.Microsecond)
}
