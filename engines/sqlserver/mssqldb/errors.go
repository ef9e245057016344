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
	noDatabase        = 4060  // the requested database
	noSuchDatabase    = 911   // the same, from Babelfish on Aurora
	noDefaultDatabase = 4064  // the default database of the user
	lockedOut         = 18486
)

// Rejected reports whether the server rejected the credentials: error 18456 or, for a Windows
// login, 18452. If 4060, 911 or 4064 comes before it, 18456 is about a database and the password
// was right. These are no rejections: an account that is disabled (18470) or locked (18486), and a
// password that has expired (18487) or must be changed (18488).
func (e Engine) Rejected(err error) bool {
	var me mssql.Error
	return errors.As(err, &me) && (me.Number == loginFailed || me.Number == untrustedDomain) &&
		!has(me, noDatabase, noSuchDatabase, noDefaultDatabase)
}

// NoDatabase reports whether the server has no database of that name, or the user may not use it:
// error 4060, and 911 from Babelfish.
func (e Engine) NoDatabase(err error) bool {
	var me mssql.Error
	return errors.As(err, &me) && has(me, noDatabase, noSuchDatabase)
}

// AccountLocked reports whether the login is locked out: error 18486.
func (e Engine) AccountLocked(err error) bool {
	var me mssql.Error
	return errors.As(err, &me) && has(me, lockedOut)
}

// has reports whether any error of a response has one of the numbers. The driver returns the last
// error, and all of them in All.
func has(me mssql.Error, numbers ...int32) bool {
	return slices.ContainsFunc(append([]mssql.Error{me}, me.All...), func(e mssql.Error) bool { return slices.Contains(numbers, e.Number) })
}
