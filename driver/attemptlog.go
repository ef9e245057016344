package driver

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// An attemptLog is what was tried to find a version that the server accepts, in order.
// Errors tell it. It is immutable: add returns a new one.
type attemptLog []attempt

// An attempt is a login that was rejected or failed, or a reading of a stage that brought
// nothing.
type attempt struct {
	text     string
	err      error    // what the server or the source said, or nil
	key      loginKey // of the login; zero for a reading
	rejected bool
	at       time.Time
}

// rejectedAttempt is the attempt of a login that the server rejected.
func rejectedAttempt(c candidate, k loginKey, r rejection) attempt {
	return attempt{text: c.name() + " at " + k.address, err: r.err, key: k, rejected: true, at: r.at}
}

// add returns l with a at its end, or in place of what l says of the same login or
// reading.
func (l attemptLog) add(a attempt) attemptLog {
	same := func(b attempt) bool {
		return a.key == b.key && (a.key != loginKey{} || a.text == b.text)
	}
	l = slices.Clone(l)
	if i := slices.IndexFunc(l, same); i >= 0 {
		l[i] = a
		return l
	}
	return append(l, a)
}

// has reports whether l says something of a login with k.
func (l attemptLog) has(k loginKey) bool {
	return slices.ContainsFunc(l, func(a attempt) bool { return a.key == k && a.key != loginKey{} })
}

// anyRejected reports whether the server rejected a version.
func (l attemptLog) anyRejected() bool {
	return slices.ContainsFunc(l, func(a attempt) bool { return a.rejected })
}

// A triedError tells what was tried for a Connect call, and what the server said.
type triedError struct {
	log    attemptLog
	also   error     // why it ended, beside the log; or nil
	began  time.Time // the call, or its last round in a RotationWindow
	ended  time.Time
	logins int           // that the call sent
	took   time.Duration // from the call's begin to its end
}

func (e *triedError) Error() string {
	logins := "1 login"
	if e.logins != 1 {
		logins = fmt.Sprintf("%d logins", e.logins)
	}
	return fmt.Sprintf("%s (%s in %v)", e.log.text(e.also, e.began, e.ended), logins, round(e.took))
}

// text returns what was tried and why it ended, for a call that began and ended then.
func (l attemptLog) text(also error, began, ended time.Time) string {
	var parts []string
	for _, a := range l {
		text := a.text
		if a.at.Before(began) {
			ago := round(ended.Sub(a.at))
			if a.rejected {
				text += fmt.Sprintf(", rejected %v ago and not tried again yet", ago)
			} else {
				text += fmt.Sprintf(" (%v ago)", ago)
			}
		}
		if a.err != nil {
			text += ": " + a.err.Error()
		}
		parts = append(parts, text)
	}
	if also != nil {
		parts = append(parts, also.Error())
	}
	return strings.Join(parts, "; ")
}

// Unwrap returns the errors of the attempts, and why the call ended.
func (e *triedError) Unwrap() []error {
	var errs []error
	for _, a := range e.log {
		if a.err != nil {
			errs = append(errs, a.err)
		}
	}
	if e.also != nil {
		errs = append(errs, e.also)
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
