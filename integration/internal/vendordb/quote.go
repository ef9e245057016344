package vendordb

import (
	"errors"
	"strings"
)

// SQLServerName quotes a name for a statement: "[a]]b]".
func SQLServerName(name string) string { return "[" + strings.ReplaceAll(name, "]", "]]") + "]" }

// SQLServerString quotes a string for a statement: "N'it”s'". A backslash before the end
// of a line, and both, would be left out by the server.
func SQLServerString(s string) string { return "N'" + strings.ReplaceAll(s, "'", "''") + "'" }

// OracleName returns a user's name as Oracle stores it: in upper case, unless it is in double
// quotes.
func OracleName(user string) string {
	if inner, ok := strings.CutPrefix(user, `"`); ok {
		if inner, ok = strings.CutSuffix(inner, `"`); ok {
			return inner
		}
	}
	return strings.ToUpper(user)
}

// ErrOracleQuote says that a name or a password cannot be quoted.
var ErrOracleQuote = errors.New("a double quote or a NUL, which no name and no password of Oracle has")

// OracleQuote quotes a name, or a password, for a statement.
func OracleQuote(name string) (string, error) {
	if strings.ContainsAny(name, "\"\x00") {
		return "", ErrOracleQuote
	}
	return `"` + name + `"`, nil
}

// OracleString quotes a string for a statement: "'it”s'".
func OracleString(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
