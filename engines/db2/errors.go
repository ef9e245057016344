package db2

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/sqlsecrets/sqlsecrets/driver"
)

// A diagnostic is one of a driver's error, as go_ibm_db.DiagRecord has it.
type diagnostic struct {
	State       string // SQLSTATE
	NativeError int    // SQLCODE
	Message     string
}

// SQLCODEs of
// https://www.ibm.com/docs/en/db2/11.5?topic=messages-sql28000-sql33999 and
// https://www.ibm.com/docs/en/db2/11.5?topic=messages-sql0500-sql0999
const (
	codeDatabaseNotFound     = -1013  // the alias or name, at the client
	codeDatabaseNotAtServer  = -30061 // at the server
	codeSecurityProcessing   = -30082
	stateNotEstablished      = "08001" // of -30082, and of -30081 for the network
	stateUndefinedDatabase   = "42705" // of -1013
	stateEstablishedRejected = "08004" // of -30061
)

// Rejected reports whether the server refused the credentials: SQLCODE -30082, which is
// for all that is about security, with one of the reasons
//
//	24 user name or password invalid    15 failed at the server
//	 2 password invalid                  6 user id invalid (Db2 for z/OS)
//
// Not among them: 1 the password has expired, 7 the user is revoked, 17 and 19 the
// method of authentication.
func (e Engine) Rejected(err error) bool { return hasReason(err, "24", "15", "2", "6") }

// AccountLocked reports whether the user is revoked, as Db2 for z/OS does after some wrong
// passwords: reason 7 of SQLCODE -30082.
func (e Engine) AccountLocked(err error) bool { return hasReason(err, "7") }

// hasReason reports whether a diagnostic in a tree of errors is SQLCODE -30082 with one of the
// reasons.
func hasReason(err error, reasons ...string) bool {
	return anyDiagnostic(err, func(d diagnostic) bool {
		if d.NativeError != codeSecurityProcessing || d.State != stateNotEstablished {
			return false
		}
		m := reason.FindStringSubmatch(d.Message)
		return m != nil && slices.Contains(reasons, m[1])
	})
}

// reason finds the code of the reason, which stands nowhere but in the message. It is
// the first number there, in whatever language.
var reason = regexp.MustCompile(`SQL30082N\D*(\d+)`)

// NoDatabase reports whether there is no database of the name: SQLCODE -1013 or -30061.
func (e Engine) NoDatabase(err error) bool {
	return anyDiagnostic(err, func(d diagnostic) bool {
		return d.NativeError == codeDatabaseNotFound && d.State == stateUndefinedDatabase ||
			d.NativeError == codeDatabaseNotAtServer && d.State == stateEstablishedRejected
	})
}

// anyDiagnostic reports whether is says so of a diagnostic in a tree of errors.
func anyDiagnostic(err error, is func(diagnostic) bool) bool {
	if err == nil {
		return false
	}
	for _, d := range diagnostics(err) {
		if is(d) {
			return true
		}
	}
	switch err := err.(type) {
	case interface{ Unwrap() error }:
		return anyDiagnostic(err.Unwrap(), is)
	case interface{ Unwrap() []error }:
		for _, e := range err.Unwrap() {
			if anyDiagnostic(e, is) {
				return true
			}
		}
	}
	return false
}

// diagnostics reads them out of an error of the form of *go_ibm_db.Error, whose package
// cannot be imported without cgo: a struct with a field Diag, a slice of structs with
// State, NativeError and Message.
func diagnostics(err error) (ds []diagnostic) {
	v := reflect.Indirect(reflect.ValueOf(err))
	if v.Kind() != reflect.Struct {
		return nil
	}
	diag := v.FieldByName("Diag")
	if !diag.IsValid() || diag.Kind() != reflect.Slice {
		return nil
	}
	for i := range diag.Len() {
		r := reflect.Indirect(diag.Index(i))
		if r.Kind() != reflect.Struct {
			return nil
		}
		state, code, message := r.FieldByName("State"), r.FieldByName("NativeError"), r.FieldByName("Message")
		if state.Kind() != reflect.String || !code.IsValid() || !code.CanInt() || message.Kind() != reflect.String {
			return nil
		}
		ds = append(ds, diagnostic{state.String(), int(code.Int()), message.String()})
	}
	return ds
}

// A hiddenError stands for a driver's error that shows the password, as one may that
// quotes its connection string. It has the diagnostics without it.
type hiddenError struct {
	Diag []diagnostic
}

func (e *hiddenError) Error() string {
	parts := []string{"the Db2 driver's error is hidden, since it shows the password"}
	for _, d := range e.Diag {
		parts = append(parts, fmt.Sprintf("SQLCODE %d, SQLSTATE %s: %s", d.NativeError, d.State, d.Message))
	}
	return strings.Join(parts, "; ")
}

// hide returns err, or another error if it shows the password. go_ibm_db's do not. A
// password that is shorter than six characters is in any text by chance, and is looked
// for where a connection string has it.
func hide(err error, p driver.Password) error {
	password := p.Reveal()
	text := fmt.Sprintf("%v %+v %#v", err, err, err)
	if !strings.Contains(text, "PWD="+password) && (len(password) < 6 || !strings.Contains(text, password)) {
		return err
	}
	e := &hiddenError{diagnostics(err)}
	for i, d := range e.Diag {
		e.Diag[i].Message = strings.ReplaceAll(d.Message, password, "[redacted]")
		e.Diag[i].State = strings.ReplaceAll(d.State, password, "[redacted]")
	}
	return e
}
