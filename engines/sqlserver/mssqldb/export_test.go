package mssqldb

import (
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
)

// Words is the vocabulary of this package.
var Words = words

// Attempts tells what of a Login is not in go-mssqldb's configuration: whether a server
// without encryption is logged in to, and the time for a login.
func Attempts(lg driver.Login) (plaintext bool, timeout time.Duration) {
	l := lg.(*login)
	return l.plaintext, l.timeout
}
