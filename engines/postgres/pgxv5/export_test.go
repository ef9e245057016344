package pgxv5

import (
	"reflect"
	"runtime"
	"strings"

	"github.com/sqlsecrets/sqlsecrets/driver"
)

// Words is the vocabulary of this package.
var Words = words

// SASLprep returns a password as SCRAM needs it.
func SASLprep(password string) string {
	if prepared, ok := saslprep(driver.NewPassword(password)); ok {
		return prepared.Reveal()
	}
	return password
}

// SplitMethods is splitMethods.
var SplitMethods = splitMethods

// Attempts returns the parts of a Login that are not in pgx's configuration: whether a login may go
// to a server without TLS, and which server it asks for, by the name of pgx's function, such as
// "ReadWrite".
func Attempts(lg driver.Login) (plaintext bool, wanted string) {
	l := lg.(*login)
	if l.validate != nil {
		name := runtime.FuncForPC(reflect.ValueOf(l.validate).Pointer()).Name()
		_, wanted, _ = strings.Cut(name, ".ValidateConnectTargetSessionAttrs")
	}
	return l.hosts[0].plaintext, wanted
}
