package db2

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/sqlsecrets/sqlsecrets/driver"
)

// A diagnostic is one record of a driver's error, with the fields of go_ibm_db.DiagRecord.
type diagnostic struct {
	State       string // SQLSTATE
	NativeError int    // SQLCODE
	Message     string
}

// SQLCODEs of
// https://www.ibm.com/docs/en/db2/11.5?topic=messages-sql28000-sql33999 and
// https://www.ibm.com/docs/en/db2/11.5?topic=messages-sql0500-sql0999
const (
	codeDatabaseNotFound     = -1013  // the client finds no database of that alias or name
	codeDatabaseNotAtServer  = -30061 // the server finds none
	codeSecurityProcessing   = -30082
	stateNotEstablished      = "08001" // of -30082, and of -30081 for the network
	stateUndefinedDatabase   = "42705" // of -1013
	stateEstablishedRejected = "08004" // of -30061
)

// Rejected reports whether the server rejected the credentials. SQLCODE -30082 is for everything
// about security, so the reason decides. These reasons are rejections:
//
//	24 user name or password invalid    15 failed at the server
//	 2 password invalid                  6 user id invalid (Db2 for z/OS)
//
// These are not: 1 (the password has expired), 7 (the user is revoked), 17 and 19 (the method of
// authentication).
func (e Engine) Rejected(err error) bool { return hasReason(err, "24", "15", "2", "6") }

// AccountLocked reports whether the user is revoked: reason 7 of SQLCODE -30082. Db2 for z/OS
// revokes a user after some wrong passwords.
func (e Engine) AccountLocked(err error) bool { return hasReason(err, "7") }

// hasReason reports whether err's tree has a diagnostic of SQLCODE -30082 with one of the reasons.
func hasReason(err error, reasons ...string) bool {
	return anyDiagnostic(err, func(d diagnostic) bool {
		if d.NativeError != codeSecurityProcessing || d.State != stateNotEstablished {
			return false
		}
		m := reason.FindStringSubmatch(d.Message)
		return m != nil && slices.Contains(reasons, m[1])
	})
}

// reason finds the code of the reason. Only the message has it: it is the first number there, in
// every language.
var reason = regexp.MustCompile(`SQL30082N\D*(\d+)`)

// NoDatabase reports whether there is no database of that name: SQLCODE -1013 or -30061.
func (e Engine) NoDatabase(err error) bool {
	return anyDiagnostic(err, func(d diagnostic) bool {
		return d.NativeError == codeDatabaseNotFound && d.State == stateUndefinedDatabase ||
			d.NativeError == codeDatabaseNotAtServer && d.State == stateEstablishedRejected
	})
}

// anyDiagnostic reports whether is returns true for any diagnostic in err's tree.
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

// diagnostics returns the diagnostics of an error that looks like *go_ibm_db.Error: a struct with a
// field Diag, which is a slice of structs with State, NativeError and Message. It uses reflection,
// because package go_ibm_db cannot be imported without cgo.
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

// A hiddenError replaces an error of the driver that shows the password, for example because it
// quotes the connection string. It has the diagnostics without the password.
type hiddenError struct {
	Diag []diagnostic
}

func (e *hiddenError) Error() string {
	parts := []string{"the error of the Db2 driver is hidden, because it shows the password"}
	for _, d := range e.Diag {
		parts = append(parts, fmt.Sprintf("SQLCODE %d, SQLSTATE %s: %s", d.NativeError, d.State, d.Message))
	}
	return strings.Join(parts, "; ")
}

// hide returns err, or a hiddenError if err shows the password. Errors of go_ibm_db do not show it.
// A password of less than six characters may be in a text by chance, so hide looks for it only in
// the form that a connection string has.
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
