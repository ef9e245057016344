// Package accounts keeps the users of a stand-in for a database server, and counts their
// logins.
package accounts

import (
	"sync"
	"testing"
)

// Accounts are the users of a server. The zero Accounts has no users. Some methods have a
// testing.TB, which they ignore, because the conformance suite needs that signature.
type Accounts struct {
	mu sync.Mutex
	m  map[string]*account
}

type account struct {
	password           string
	refused            bool
	accepted, rejected int
}

// A Tally counts a user's logins.
type Tally struct {
	Accepted int
	Rejected int // for the user's name or the password
	Failed   int // for another reason
}

// A Verdict is the result of a login.
type Verdict int

// Verdicts. With Good, the server accepts the login, unless it has another reason not to.
const (
	Good     Verdict = iota
	Rejected         // for the user's name or the password
	Refused          // for another reason
)

// get returns the account of a user, and makes it if there is none. The caller holds the lock.
func (a *Accounts) get(user string) *account {
	if a.m == nil {
		a.m = map[string]*account{}
	}
	if a.m[user] == nil {
		a.m[user] = &account{}
	}
	return a.m[user]
}

// SetPassword sets the password of a user, and makes the user if there is none.
func (a *Accounts) SetPassword(_ testing.TB, user, password string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.get(user).password = password
}

// Password returns the password of a user, and whether there is such a user.
func (a *Accounts) Password(user string) (password string, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.m[user] == nil {
		return "", false
	}
	return a.m[user].password, true
}

// Refuse makes the logins of a user fail for another reason than the password, if the password is
// right.
func (a *Accounts) Refuse(_ testing.TB, user string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.get(user).refused = true
}

// Check decides about a login, and counts it if it is rejected. right says whether the user exists
// and has that password.
func (a *Accounts) Check(user string, right bool) Verdict {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch u := a.m[user]; {
	case u == nil:
		return Rejected
	case !right:
		u.rejected++
		return Rejected
	case u.refused:
		return Refused
	}
	return Good
}

// Accept counts a login that was accepted.
func (a *Accounts) Accept(user string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.get(user).accepted++
}

// Logins returns how many logins of a user were accepted, and how many were rejected for the
// password.
func (a *Accounts) Logins(_ testing.TB, user string) (accepted, rejected int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if u := a.m[user]; u != nil {
		return u.accepted, u.rejected
	}
	return 0, 0
}
