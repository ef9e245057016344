package db2

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/sqlsecrets/sqlsecrets/internal/jdbcurl"
)

const hostnameValidation = "SSLClientHostnameValidation"

// A rule says which values a parameter may have.
type rule struct {
	ok   func(value string) bool
	want string // for the error: "one of …"
}

func oneOf(values ...string) rule {
	return rule{func(v string) bool { return slices.Contains(values, v) }, "one of " + strings.Join(values, ", ")}
}

var (
	notEmpty = rule{func(v string) bool { return v != "" }, "not empty"}
	seconds  = rule{func(v string) bool {
		n, err := strconv.ParseUint(v, 10, 31)
		return err == nil && n > 0 && v[0] != '+'
	}, "a number of seconds"}
)

// rules are the CLI driver's keywords that may be given, of
// https://www.ibm.com/docs/en/db2/11.5?topic=odbc-cliodbc-configuration-keywords-listing.
// Not among them: what says where and as whom to connect, other ways to log in, and what
// database/sql decides itself.
var rules = map[string]rule{
	"Authentication":       oneOf("SERVER", "SERVER_ENCRYPT", "SERVER_ENCRYPT_AES"),
	"ClientAcctStr":        notEmpty,
	"ClientApplName":       notEmpty,
	"ClientUserID":         notEmpty, // for accounting; it does not log in
	"ClientWrkStnName":     notEmpty,
	"ConnectTimeout":       seconds,
	"CurrentPackageSet":    notEmpty,
	"CurrentSchema":        notEmpty,
	"ProgramName":          notEmpty,
	"QueryTimeoutInterval": seconds,
	"ReceiveTimeout":       seconds,
	"SSLClientKeystash":    notEmpty,
	"SSLClientKeystoredb":  notEmpty,
	"SSLServerCertificate": notEmpty,
	"Security":             oneOf("SSL"),
	"TxnIsolation":         oneOf("1", "2", "4", "8", "32"),
	hostnameValidation:     oneOf("Basic", "OFF"),
}

// CheckParams checks parameters, which are keywords of IBM's CLI driver in the spelling
// of its documentation.
func (e Engine) CheckParams(params map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(params)) {
		value := params[name]
		if _, ok := rules[name]; !ok {
			return unknown(name)
		}
		if err := checkValue(name, value); err != nil {
			return fmt.Errorf("parameter %q: %w", name, err)
		}
		if strings.HasPrefix(name, "SSL") && params["Security"] != "SSL" {
			return fmt.Errorf("parameter %q needs Security=SSL, or there is no TLS", name)
		}
	}
	return nil
}

// checkValue checks the value of a parameter.
func checkValue(name, value string) error {
	if rule, ok := rules[name]; ok && !rule.ok(value) {
		return fmt.Errorf("it has to be %s", rule.want)
	}
	if err := verbatim(value); err != nil {
		return fmt.Errorf("it cannot be part of a connection string of Db2: it %w", err)
	}
	return nil
}

func unknown(name string) error {
	if !jdbcurl.IsName(name) {
		return errors.New("a parameter has a name that none has")
	}
	if s := jdbcurl.Suggest(name, slices.Sorted(maps.Keys(rules))); s != "" {
		return fmt.Errorf("parameter %q is not known; did you mean %q?", name, s)
	}
	return fmt.Errorf("parameter %q is not known", name)
}
