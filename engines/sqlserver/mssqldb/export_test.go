package mssqldb

import (
	"maps"
	"slices"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
)

// The names in this package's tables.
var (
	Params             = slices.Sorted(maps.Keys(rules))
	Refused            = slices.Sorted(maps.Keys(refused))
	Properties         = slices.Sorted(maps.Keys(properties))
	WithoutCounterpart = withoutCounterpart
)

// Plain is how names are compared.
func Plain(name string) string { return plain(name) }

// Attempts tells what of a Login is not in go-mssqldb's configuration: whether a server
// without encryption is logged in to, and the time for a login.
func Attempts(lg driver.Login) (plaintext bool, timeout time.Duration) {
	l := lg.(*login)
	return l.plaintext, l.timeout
}
