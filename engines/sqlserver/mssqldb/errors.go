package mssqldb

import (
	"errors"
	"slices"

	mssql "github.com/microsoft/go-mssqldb"
)

// Error numbers of
// https://learn.microsoft.com/sql/relational-databases/errors-events/database-engine-events-and-errors
const (
	loginFailed       = 18456
	untrustedDomain   = 18452 // a Windows login
	noDatabase        = 4060  // that was asked for
	noSuchDatabase    = 911   // likewise, of Babelfish and Aurora
	noDefaultDatabase = 4064  // of the user
	lockedOut         = 18486
)

// Rejected reports whether the server refused the credentials, which it says with
// error 18456 or, to a Windows login, 18452. With 4060, 911 or 4064 before it 18456 is about a
// database: the login was right. Not rejected: an account that is disabled (18470) or
// locked (18486), or whose password has expired (18487) or must be changed (18488).
func (e Engine) Rejected(err error) bool {
	var me mssql.Error
	return errors.As(err, &me) && (me.Number == loginFailed || me.Number == untrustedDomain) &&
		!has(me, noDatabase, noSuchDatabase, noDefaultDatabase)
}

// NoDatabase reports whether the server has no database of the name, or none that the
// user may enter: error 4060, and 911 behind Babelfish.
func (e Engine) NoDatabase(err error) bool {
	var me mssql.Error
	return errors.As(err, &me) && has(me, noDatabase, noSuchDatabase)
}

// AccountLocked reports whether the login is locked out: error 18486.
func (e Engine) AccountLocked(err error) bool {
	var me mssql.Error
	return errors.As(err, &me) && has(me, lockedOut)
}

// has looks for numbers in all errors of a response; the last stands for them.
func has(me mssql.Error, numbers ...int32) bool {
	return slices.ContainsFunc(append([]mssql.Error{me}, me.All...), func(e mssql.Error) bool { return slices.Contains(numbers, e.Number) })
}
