package pgxv5

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/sqlsecrets/sqlsecrets/internal/jdbcurl"
)

// A rule says which values a parameter may have.
type rule struct {
	ok   func(value string) bool
	want string // for the error: "one of …"
}

func oneOf(values ...string) rule {
	return rule{func(v string) bool { return slices.Contains(values, v) }, "one of " + strings.Join(values, ", ")}
}

func number(want string) rule {
	return rule{func(v string) bool {
		n, err := strconv.ParseInt(v, 10, 32)
		return err == nil && n >= 0 && v[0] != '+'
	}, want}
}

var (
	anything = rule{func(string) bool { return true }, ""}
	notEmpty = rule{func(v string) bool { return v != "" }, "not empty"}
)

// rules are the parameters that pgx itself reads out of a connection string: the
// list notRuntimeParams in pgconn's config.go and what pgx.ParseConfig takes out
// of RuntimeParams, of v5.12.0. Not among them: host, port and database, which the
// Connector has, user and all that may bring a password or another service
// (password, passfile, sslpassword, service, servicefile).
var rules = map[string]rule{
	"sslmode":                    oneOf("disable", "prefer", "require", "verify-ca", "verify-full"),
	"sslrootcert":                notEmpty,
	"sslcert":                    notEmpty,
	"sslkey":                     notEmpty,
	"sslcertmode":                oneOf("disable", "allow", "require"),
	"sslnegotiation":             oneOf("postgres", "direct"),
	"sslsni":                     oneOf("0", "1"),
	"channel_binding":            oneOf("disable", "prefer", "require"),
	"require_auth":               {isRequireAuth, "a list of password, md5, gss, sspi, scram-sha-256, oauth, none, all or none of them with \"!\""},
	"krbsrvname":                 anything,
	"krbspn":                     anything,
	"connect_timeout":            number("a number of seconds"),
	"target_session_attrs":       oneOf("any", "read-write", "read-only", "primary", "standby", "prefer-standby"),
	"min_protocol_version":       oneOf("3.0", "3.2", "latest"),
	"max_protocol_version":       oneOf("3.0", "3.2", "latest"),
	"default_query_exec_mode":    oneOf("cache_statement", "cache_describe", "describe_exec", "exec", "simple_protocol"),
	"statement_cache_capacity":   number("a number of statements"),
	"description_cache_capacity": number("a number of statements"),

	// The server's own, not a setting: "-c name=value -c …".
	"options": anything,
}

// refused are parameters that are known and not taken, with the reason.
var refused = map[string]string{
	"sslpassword": "a password does not belong in a data source name; give the key in driver.Options.TLS",
	"replication": "a replication connection is not one for database/sql",
	"ssl":         `it is spelt "sslmode"`,
}

// CheckParams checks parameters: those of pgx, and the server's settings by the
// name that SET has for them, case ignored as the server does. A setting of an
// extension, whose name has a dot, is not looked up, nor is one of Aurora's, whose
// names begin with "apg_" or "aurora_". Settings that are not known are refused
// here rather than by the server, since a mistyped sslMode would look like one.
func (e Engine) CheckParams(params map[string]string) error {
	settings := map[string]string{} // in lower case
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
		if !isSetting(name) {
			return unknown(name)
		}
		lower := strings.ToLower(name)
		if other, ok := settings[lower]; ok {
			return fmt.Errorf("parameters %q and %q are the same setting", other, name)
		}
		settings[lower] = name
	}
	return checkTogether(params)
}

// checkValue checks the value of a parameter of pgx; any other name it takes.
func checkValue(name, value string) error {
	rule, ok := rules[name]
	switch {
	case name == "sslmode" && value == "allow":
		return errors.New("allow logs in without TLS first; use prefer")
	case ok && !rule.ok(value):
		return fmt.Errorf("it has to be %s", rule.want)
	}
	return nil
}

// checkTogether checks parameters that depend on each other.
func checkTogether(params map[string]string) error {
	mode, hasMode := params["sslmode"]
	root, hasRoot := params["sslrootcert"]
	_, hasCert := params["sslcert"]
	_, hasKey := params["sslkey"]
	switch {
	case hasCert != hasKey:
		return errors.New(`parameters "sslcert" and "sslkey" go together`)
	case root == "system" && hasMode && mode != "verify-full":
		// So libpq. pgx takes it for verify-full, even over disable.
		return errors.New(`parameter "sslrootcert": system needs sslmode=verify-full`)
	case hasRoot && root != "system" && (!hasMode || mode == "prefer" || mode == "disable"):
		// libpq and pgx take it and verify nothing.
		return errors.New(`parameter "sslrootcert" needs sslmode=verify-full or verify-ca, or nothing is verified`)
	case params["sslnegotiation"] == "direct" && (mode == "prefer" || mode == "disable"):
		return errors.New(`parameter "sslnegotiation": direct needs sslmode=require, verify-ca or verify-full`)
	case params["max_protocol_version"] == "3.0" && params["min_protocol_version"] != "" && params["min_protocol_version"] != "3.0":
		return errors.New(`parameter "min_protocol_version" is more than "max_protocol_version"`)
	}
	// pgx fails every query then.
	switch exec := params["default_query_exec_mode"]; {
	case isZero(params["statement_cache_capacity"]) && (exec == "" || exec == "cache_statement"):
		return errors.New(`parameter "statement_cache_capacity": 0 needs another default_query_exec_mode than cache_statement`)
	case isZero(params["description_cache_capacity"]) && exec == "cache_describe":
		return errors.New(`parameter "description_cache_capacity": 0 needs another default_query_exec_mode than cache_describe`)
	}
	return nil
}

func isZero(value string) bool {
	n, err := strconv.Atoi(value)
	return err == nil && n == 0
}

// isRequireAuth is pgconn's parseRequireAuth.
func isRequireAuth(value string) bool {
	if value == "" {
		return true
	}
	seen := map[string]bool{}
	list := strings.Split(value, ",")
	for _, m := range list {
		m = strings.TrimSpace(m)
		name, negated := strings.CutPrefix(m, "!")
		if negated != strings.HasPrefix(strings.TrimSpace(list[0]), "!") || seen[name] {
			return false
		}
		seen[name] = true
		switch name {
		case "password", "md5", "gss", "sspi", "scram-sha-256", "oauth", "none":
		default:
			return false
		}
	}
	return true
}

// isSetting reports whether name may be a setting of the server.
func isSetting(name string) bool {
	lower := strings.ToLower(name)
	if strings.HasPrefix(lower, "_pq_.") { // an option of the protocol, not of the session
		return false
	}
	if strings.Contains(lower, ".") {
		return jdbcurl.IsName(name)
	}
	for _, prefix := range []string{"apg_", "aurora_"} {
		if strings.HasPrefix(lower, prefix) {
			return jdbcurl.IsName(name)
		}
	}
	_, ok := slices.BinarySearch(settings, lower)
	return ok
}

func unknown(name string) error {
	if !jdbcurl.IsName(name) {
		return errors.New("a parameter has a name that none has")
	}
	if p, ok := properties[name]; ok && p.param != "" {
		return fmt.Errorf("parameter %q is not known; did you mean %q?", name, p.param)
	}
	known := append(slices.Sorted(maps.Keys(rules)), settings...)
	if s := jdbcurl.Suggest(name, known); s != "" {
		return fmt.Errorf("parameter %q is not known; did you mean %q?", name, s)
	}
	return fmt.Errorf("parameter %q is not known", name)
}
