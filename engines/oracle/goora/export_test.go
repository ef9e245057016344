package goora

import (
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
)

// Words is the vocabulary of this package.
var Words = words

// Attempts returns the parts of a Login that are not in go-ora's configuration.
func Attempts(lg driver.Login) (connectTimeout, dialTimeout time.Duration, loadBalance bool) {
	s := lg.(*login).settings
	return s.connectTimeout, s.dialTimeout, s.loadBalance
}
