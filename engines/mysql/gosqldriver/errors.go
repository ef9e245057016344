package gosqldriver

import (
	"errors"
	"slices"

	gomysql "github.com/go-sql-driver/mysql"
)

// Error numbers of
// https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html
// and https://mariadb.com/kb/en/mariadb-error-code-reference/
const (
	accessDenied           = 1045 // ER_ACCESS_DENIED_ERROR
	accessDeniedNoPassword = 1698 // ER_ACCESS_DENIED_NO_PASSWORD_ERROR
	badDatabase            = 1049 // ER_BAD_DB_ERROR
	databaseDenied         = 1044 // ER_DBACCESS_DENIED_ERROR
	accountLocked          = 3118 // ER_ACCOUNT_HAS_BEEN_LOCKED
	accountLockedInMariaDB = 4151 // the same
	passwordLock           = 3955 // the number of FAILED_LOGIN_ATTEMPTS is reached
	tooManyWrong           = 4150 // the same in MariaDB, for max_password_errors
)

// Rejected reports whether the server rejected the credentials: errors 1045 and 1698. The server
// also sends 1045 for a user that does not exist, that may not connect from this host, or that must
// use TLS. These are no rejections: an account that is locked, a password that has expired (1862),
// and an error about the database (1044, 1049).
func (e Engine) Rejected(err error) bool {
	var me *gomysql.MySQLError
	return errors.As(err, &me) && (me.Number == accessDenied || me.Number == accessDeniedNoPassword)
}

// NoDatabase reports whether the server has no database of that name: error 1049, or 1044 if the
// user may not see whether there is one.
func (e Engine) NoDatabase(err error) bool {
	var me *gomysql.MySQLError
	return errors.As(err, &me) && (me.Number == badDatabase || me.Number == databaseDenied)
}

// AccountLocked reports whether the account is locked: errors 3118 and 4151 or, after too many
// wrong passwords, 3955 and 4150.
func (e Engine) AccountLocked(err error) bool {
	var me *gomysql.MySQLError
	return errors.As(err, &me) && slices.Contains([]uint16{accountLocked, accountLockedInMariaDB, passwordLock, tooManyWrong}, me.Number)
}
