package db2

import (
	"errors"
	"fmt"
	"strings"

	"github.com/sqlsecrets/sqlsecrets/driver"
)

// A connString is one of IBM's CLI: KEYWORD=value;KEYWORD=value;. It has no quoting: a
// value goes up to the next ";", and the first of two equal keywords counts. What would
// not arrive as it is is an error, the first of which is kept.
type connString struct {
	text string
	err  error
}

// add adds a keyword with a value, which errors call what and do not quote.
func (s *connString) add(what, keyword, value string) {
	if err := verbatim(value); err != nil && s.err == nil {
		s.err = fmt.Errorf("the %s cannot be part of a connection string of Db2: it %w", what, err)
	}
	s.text += keyword + "=" + value + ";"
}

// addPassword adds a password, for which IBM documents what the CLI driver takes:
// https://www.ibm.com/docs/en/db2/11.5?topic=clpplus-password-rules-drivers
func (s *connString) addPassword(p driver.Password) {
	if i := strings.IndexFunc(p.Reveal(), func(r rune) bool { return r < 0x20 || r > 0x7e }); i >= 0 && s.err == nil {
		s.err = errors.New("the password cannot be part of a connection string of Db2: it has a character other than ASCII's 0x20 to 0x7e")
	}
	s.add("password", "PWD", p.Reveal())
}

func (s connString) String() string { return s.text }

// verbatim returns an error, which begins with a verb, if a value would not arrive as
// it is, or if it is not certain that it does.
func verbatim(value string) error {
	switch {
	case strings.Contains(value, ";"):
		return errors.New(`has a ";", which ends a value and cannot be quoted`)
	case strings.IndexFunc(value, func(r rune) bool { return r < 0x20 || r == 0x7f }) >= 0:
		return errors.New("has a control character")
	case strings.TrimSpace(value) != value:
		return errors.New("begins or ends with a space, which Db2 takes away")
	case strings.HasPrefix(value, "{") || strings.HasPrefix(value, `"`) || strings.HasPrefix(value, "'"):
		// ODBC quotes values in braces, other interfaces of IBM's in quotation marks. The
		// CLI's documentation says nothing of either, and a password that is misread
		// locks the account.
		return errors.New("begins with a brace or a quotation mark, which some drivers take for quoting")
	}
	return nil
}
