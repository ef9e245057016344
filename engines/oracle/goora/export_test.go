package goora

import (
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
)

// Words is the vocabulary of this package.
var Words = words

// Attempts tells what of a Login is not in go-ora's configuration.
func Attempts(lg driver.Login) (connectTimeout, dialTimeout time.Duration, loadBalance bool) {
	s := lg.(*login).settings
	return s.connectTimeout, s.dialTimeout, s.loadBalance
}
