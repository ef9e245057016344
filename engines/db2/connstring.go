package db2

import (
	"errors"
	"fmt"
	"strings"

	"github.com/sqlsecrets/sqlsecrets/driver"
)

// A connString is a connection string of IBM's CLI: KEYWORD=value;KEYWORD=value;. It has no
// quoting: a value ends at the next ";", and the first of two equal keywords counts. A value that
// would not arrive unchanged is an error. The connString keeps the first error.
type connString struct {
	text string
	err  error
}

// add adds a keyword with a value. what is the name of the value in errors, which do not quote the
// value.
func (s *connString) add(what, keyword, value string) {
	if err := verbatim(value); err != nil && s.err == nil {
		s.err = fmt.Errorf("the %s cannot be part of a connection string of Db2: it %w", what, err)
	}
	s.text += keyword + "=" + value + ";"
}

// addPassword adds a password. IBM documents which characters the CLI driver accepts:
// https://www.ibm.com/docs/en/db2/11.5?topic=clpplus-password-rules-drivers
func (s *connString) addPassword(p driver.Password) {
	if i := strings.IndexFunc(p.Reveal(), func(r rune) bool { return r < 0x20 || r > 0x7e }); i >= 0 && s.err == nil {
		s.err = errors.New("the password cannot be part of a connection string of Db2: it has a character outside ASCII 0x20 to 0x7e")
	}
	s.add("password", "PWD", p.Reveal())
}

func (s connString) String() string { return s.text }

// verbatim returns an error if a value would not arrive unchanged, or if that is uncertain. The
// text of the error begins with a verb.
func verbatim(value string) error {
	switch {
	case strings.Contains(value, ";"):
		return errors.New(`has a ";", which ends a value and cannot be quoted`)
	case strings.IndexFunc(value, func(r rune) bool { return r < 0x20 || r == 0x7f }) >= 0:
		return errors.New("has a control character")
	case strings.TrimSpace(value) != value:
		return errors.New("begins or ends with a space, which Db2 removes")
	case strings.HasPrefix(value, "{") || strings.HasPrefix(value, `"`) || strings.HasPrefix(value, "'"):
		// ODBC quotes values in braces, and other interfaces of IBM use quotation marks. The
		// documentation of the CLI mentions neither, and a password that is read wrongly may lock
		// the account.
		return errors.New("begins with a brace or a quotation mark, which some drivers treat as quoting")
	}
	return nil
}
