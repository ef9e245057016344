package pgxv5

import (
	"reflect"
	"runtime"
	"strings"

	"github.com/sqlsecrets/sqlsecrets/driver"
)

// Words is the vocabulary of this package.
var Words = words

// SASLprep returns a password as SCRAM wants it.
func SASLprep(password string) string {
	if prepared, ok := saslprep(driver.NewPassword(password)); ok {
		return prepared.Reveal()
	}
	return password
}

// SplitMethods is splitMethods.
var SplitMethods = splitMethods

// Attempts tells what of a Login is not in pgx's configuration: whether a server without
// TLS is logged in to, and what server is wanted,
// by the name of pgx's function for it: "ReadWrite".
func Attempts(lg driver.Login) (plaintext bool, wanted string) {
	l := lg.(*login)
	if l.validate != nil {
		name := runtime.FuncForPC(reflect.ValueOf(l.validate).Pointer()).Name()
		_, wanted, _ = strings.Cut(name, ".ValidateConnectTargetSessionAttrs")
	}
	return l.hosts[0].plaintext, wanted
}
