package mssqldb

import (
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
)

// Words is the vocabulary of this package.
var Words = words

// Attempts returns the parts of a Login that are not in go-mssqldb's configuration: whether a login
// may go to a server without encryption, and the time limit of a login.
func Attempts(lg driver.Login) (plaintext bool, timeout time.Duration) {
	l := lg.(*login)
	return l.plaintext, l.timeout
}
