package goora

import (
	"errors"
	"strings"

	"github.com/sijms/go-ora/v2/network"
)

// Error numbers of https://docs.oracle.com/en/error-help/db/
const (
	nullPassword    = 1005  // null password given; logon denied
	badCredentials  = 1017  // invalid username/password; logon denied
	wrongPassword   = 9911  // incorrect user password
	unknownSID      = 12505 // the listener does not currently know of the SID
	unknownService  = 12514 // the listener does not currently know of the service
	accountLocked   = 28000 // the account is locked
	noPosition      = " error occur at position: "
	maxErrorMessage = 512
)

// Rejected reports whether the server rejected the credentials: ORA-01017, 01005 and 09911. The
// server also sends 01017 for a user that does not exist. These are no rejections: an account that
// is locked, a password that has expired (28001), and a user who may not create sessions (1045).
func (e Engine) Rejected(err error) bool {
	switch errorCode(err) {
	case badCredentials, nullPassword, wrongPassword:
		return true
	}
	return false
}

// NoDatabase reports whether the listener knows no service or SID of that name: ORA-12514 and
// 12505. A listener also sends them while the database starts.
func (e Engine) NoDatabase(err error) bool {
	code := errorCode(err)
	return code == unknownService || code == unknownSID
}

// AccountLocked reports whether the account is locked: ORA-28000.
func (e Engine) AccountLocked(err error) bool { return errorCode(err) == accountLocked }

func errorCode(err error) int {
	var oe *network.OracleError
	if !errors.As(err, &oe) {
		return 0
	}
	return oe.ErrCode
}

// A serverError shows an error of the server in one line, without the position that go-ora adds.
type serverError struct{ err *network.OracleError }

func (e *serverError) Unwrap() error { return e.err }

func (e *serverError) Error() string {
	text, _, _ := strings.Cut(e.err.Error(), noPosition)
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > maxErrorMessage {
		text = strings.ToValidUTF8(text[:maxErrorMessage], "") + "…"
	}
	return text
}
