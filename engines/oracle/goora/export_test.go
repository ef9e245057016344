package goora

import (
	"maps"
	"slices"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
)

// The names in this package's tables.
var (
	Params     = slices.Sorted(maps.Keys(rules))
	Refused    = slices.Sorted(maps.Keys(refused))
	Properties = slices.Sorted(maps.Keys(properties))
)

// Plain is how parameters are told apart.
func Plain(name string) string { return canonical(name) }

// Attempts tells what of a Login is not in go-ora's configuration.
func Attempts(lg driver.Login) (connectTimeout, dialTimeout time.Duration, loadBalance bool) {
	s := lg.(*login).settings
	return s.connectTimeout, s.dialTimeout, s.loadBalance
}
