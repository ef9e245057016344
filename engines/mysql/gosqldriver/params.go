package gosqldriver

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sqlsecrets/sqlsecrets/internal/jdbcurl"
)

// A rule says which values a parameter may have, and how it is written in a data
// source name of go-sql-driver/mysql.
type rule struct {
	ok     func(value string) bool
	want   string // for the error: "true or false"
	escape bool   // the driver unescapes it; others have no character that it could mean
}

var (
	boolean  = rule{func(v string) bool { _, ok := parseBool(v); return ok }, "true or false", false}
	duration = rule{func(v string) bool {
		d, err := time.ParseDuration(v)
		return err == nil && d >= 0
	}, "a duration as 30s or 1m is", false}
	notEmpty = rule{func(v string) bool { return v != "" }, "not empty", true}
)

// rules are the parameters of parseDSNParams in dsn.go of go-sql-driver/mysql
// v1.10.1, but for those in refused. Everything else is a variable of the session
// to that driver, in its own spelling or not.
var rules = map[string]rule{
	"allowCleartextPasswords": boolean,
	"allowNativePasswords":    boolean,
	"charset":                 {func(v string) bool { return isWords(v, ',') }, "a list of character sets", false},
	"checkConnLiveness":       boolean,
	"clientFoundRows":         boolean,
	"collation":               {func(v string) bool { return isWords(v, 0) }, "a collation", false},
	"columnsWithAlias":        boolean,
	"compress":                boolean,
	"connectionAttributes":    notEmpty,
	"interpolateParams":       boolean,
	"loc":                     notEmpty,
	"maxAllowedPacket": {func(v string) bool {
		n, err := strconv.ParseInt(v, 10, 32)
		return err == nil && n >= 0
	}, "a number of bytes", false},
	"multiStatements": boolean,
	"parseTime":       boolean,
	"readTimeout":     duration,
	"rejectReadOnly":  boolean,
	"serverPubKey":    notEmpty,
	"timeTruncate":    duration,
	"timeout":         duration,
	"tls":             notEmpty,
	"writeTimeout":    duration,
}

// refused are parameters that the driver knows and we do not take, with the reason.
var refused = map[string]string{
	"allowAllFiles":            "any server may then ask for any file; name files with mysql.RegisterLocalFile, or set it in Engine.Configure",
	"allowFallbackToPlaintext": "tls=preferred says so",
	"allowOldPasswords":        "a password is easily had from what it sends; use mysql_native_password or caching_sha2_password",
	"strict":                   "go-sql-driver/mysql has it no more; set sql_mode",
}

// CheckParams checks parameters: those of go-sql-driver/mysql, and the server's
// system variables and a user's own (with "@"), case ignored as the server does. As
// with that driver alone, the value of a variable is SQL: a string has quotes. A
// variable of Aurora, whose name begins with "aurora_", is not looked up. What
// is not known is refused here rather than by the server, since a mistyped TLS=true
// would look like a variable.
func (e Engine) CheckParams(params map[string]string) error {
	seen := map[string]string{} // variables in lower case
	for _, name := range slices.Sorted(maps.Keys(params)) {
		value := params[name]
		if strings.IndexByte(value, 0) >= 0 {
			return fmt.Errorf("parameter %q: a NUL character", name)
		}
		if _, ok := rules[name]; ok {
			if err := checkValue(name, value); err != nil {
				return fmt.Errorf("parameter %q: %w", name, err)
			}
			continue
		}
		if reason, ok := refused[name]; ok {
			return fmt.Errorf("parameter %q is not allowed: %s", name, reason)
		}
		if !isVariable(name) {
			return unknown(name)
		}
		if value == "" {
			return fmt.Errorf("parameter %q: it has to be a value in SQL", name)
		}
		lower := strings.ToLower(name)
		if other, ok := seen[lower]; ok {
			return fmt.Errorf("parameters %q and %q are the same variable", other, name)
		}
		seen[lower] = name
	}
	if on, _ := parseBool(params["allowCleartextPasswords"]); on {
		if mode := tlsMode(params["tls"]); mode == "false" || mode == "preferred" {
			return errCleartext
		}
	}
	return nil
}

// checkValue checks the value of a parameter of go-sql-driver/mysql; any other name it
// takes.
func checkValue(name, value string) error {
	if rule, ok := rules[name]; ok && !rule.ok(value) {
		return fmt.Errorf("it has to be %s", rule.want)
	}
	return nil
}

var errCleartext = errors.New(`parameter "allowCleartextPasswords" needs tls=true, or another that makes TLS required`)

// parseBool is readBool of go-sql-driver/mysql.
func parseBool(s string) (value, ok bool) {
	switch s {
	case "1", "true", "TRUE", "True":
		return true, true
	case "0", "false", "FALSE", "False":
		return false, true
	}
	return false, false
}

// tlsMode returns "true", "false", "skip-verify" or "preferred" for what the driver
// takes for one of them, other values as they are.
func tlsMode(value string) string {
	if on, ok := parseBool(value); ok {
		return strconv.FormatBool(on)
	}
	if lower := strings.ToLower(value); lower == "skip-verify" || lower == "preferred" {
		return lower
	}
	return value
}

// isWords reports whether s is words of letters, digits and "_" with separators
// between. The driver writes them into a statement as they are.
func isWords(s string, separator rune) bool {
	word := false
	for _, r := range s {
		switch {
		case r == '_' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9':
			word = true
		case r == separator && word:
			word = false
		default:
			return false
		}
	}
	return word
}

// isVariable reports whether name may be a variable of a session.
func isVariable(name string) bool {
	if user, ok := strings.CutPrefix(name, "@"); ok {
		return jdbcurl.IsName(user) && !strings.ContainsAny(user, "@-")
	}
	lower := strings.ToLower(name)
	if strings.HasPrefix(lower, "aurora_") {
		return isWords(name, 0)
	}
	_, ok := slices.BinarySearch(variables, lower)
	return ok
}

func unknown(name string) error {
	if !jdbcurl.IsName(name) {
		return errors.New("a parameter has a name that none has")
	}
	if p, ok := properties[name]; ok && p.param != "" {
		return fmt.Errorf("parameter %q is not known; did you mean %q?", name, p.param)
	}
	switch strings.ToLower(name) {
	case "ssl", "sslmode", "ssl_mode", "ssl-mode", "usessl", "requiressl", "verifyservercertificate":
		return fmt.Errorf("parameter %q is not known; did you mean \"tls\"?", name)
	}
	known := append(slices.Sorted(maps.Keys(rules)), variables...)
	if s := jdbcurl.Suggest(name, known); s != "" {
		return fmt.Errorf("parameter %q is not known; did you mean %q?", name, s)
	}
	return fmt.Errorf("parameter %q is not known", name)
}

// query writes parameters as ParseDSN reads them.
func query(params map[string]string) string {
	var b strings.Builder
	for i, name := range slices.Sorted(maps.Keys(params)) {
		if i > 0 {
			b.WriteByte('&')
		}
		value := params[name]
		if rule, ok := rules[name]; !ok || rule.escape {
			value = url.QueryEscape(value)
		}
		b.WriteString(name + "=" + value)
	}
	return b.String()
}
