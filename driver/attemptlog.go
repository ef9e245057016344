package driver

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// An attemptLog lists what was tried to find a version that the server accepts, in order. Error texts
// show it. It is immutable: add returns a new one.
type attemptLog []attempt

// An attempt is a login that was rejected or failed, a reading of a stage that found no usable
// version, or a wait that a context ended.
type attempt struct {
	text     string
	err      error     // the server's or the source's error, or nil
	key      loginKey  // of a login; zero for others
	version  string    // if open: the id of the version that the error names
	rejected bool      // the server rejected the login
	open     bool      // it is a login, and the server has said nothing about its credentials
	at       time.Time // when it happened; if it is zero, add sets it
}

// rejectedAttempt returns the attempt of a login that the server rejected at v.at.
func rejectedAttempt(c candidate, v verdict) attempt {
	return attempt{text: c.target.address + " rejected " + c.name(), err: v.err, key: c.key(), rejected: true, at: v.at}
}

// add returns l with a at its end. If l has an attempt for the same login or with the same text, a
// replaces that one.
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

// has reports whether l has an attempt for the login k.
func (l attemptLog) has(k loginKey) bool {
	return slices.ContainsFunc(l, func(a attempt) bool { return a.key == k })
}

// verdict returns ErrAuthFailed if the server rejected all credentials that were due. If a login is
// open, it returns the version of that login, and nil.
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

// text returns what was tried, as text for a call that began and ended at these times.
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

// A triedError lists what was tried for a Connect call, with the errors of the server and the source.
type triedError struct {
	log          attemptLog
	began, ended time.Time     // of the call; with RotationWindow, of its last round
	logins       int           // how many the call sent
	took         time.Duration // how long the whole call took
	toCheck      string        // what the user should check after a rejection
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

// round rounds d for an error text.
func round(d time.Duration) time.Duration {
	if d > time.Second {
		return d.Round(10 * time.Millisecond)
	}
	return d.Round(10 * time.Microsecond)
}
