package mssqldb

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sqlsecrets/sqlsecrets/internal/jdbcurl"
)

// A rule says which values a parameter may have.
type rule struct {
	name   string // go-mssqldb's
	ok     func(value string) bool
	want   string // for the error: "true or false"
	parsed bool   // go-mssqldb parses it; others are read here
}

// maxName is how many UTF-16 units a name in a login may have, sysname's length.
const maxName = 128

func boolean(name string, parsed bool) rule {
	return rule{name, func(v string) bool { _, err := parseBool(v); return err == nil }, "true or false", parsed}
}

func seconds(name string, parsed bool) rule {
	return rule{name, func(v string) bool { _, err := strconv.ParseUint(v, 10, 31); return err == nil }, "a number of seconds", parsed}
}

func file(name string) rule {
	return rule{name, func(v string) bool {
		return strings.HasSuffix(strings.ToLower(v), ".pem") || strings.HasSuffix(strings.ToLower(v), ".der")
	}, "a file whose name ends in .pem or .der", false}
}

func text(name string) rule {
	return rule{name, func(v string) bool { return v != "" && units(v) <= maxName }, "of 1 to 128 characters", true}
}

// oneOf takes words, case ignored.
func oneOf(name string, parsed bool, words ...string) rule {
	return rule{name, func(v string) bool { return slices.Contains(words, strings.ToLower(v)) }, "one of " + strings.Join(words, ", "), parsed}
}

// rules are the parameters of msdsn.Parse of go-mssqldb v1.11.2, but for those in
// refused, and two of our own, by their names in lower case and without spaces:
// go-mssqldb ignores what it does not know.
var rules = index(
	text("app name"),
	oneOf("applicationintent", false, "readonly", "readwrite"),
	file("certificate"),
	rule{"columnencryption", func(v string) bool { return enabled(v) != "" }, "true, false, enabled or disabled", false},
	seconds("connection timeout", true),
	seconds("dial timeout", true),
	boolean("disableretry", true),
	oneOf("encrypt", false, "true", "mandatory", "yes", "1", "t", "strict", "false", "optional", "no", "0", "f", "disable"),
	boolean("epa enabled", true),
	boolean("guid conversion", true),
	rule{"hostnameincertificate", func(v string) bool { _, err := jdbcurl.ParseHost(v); return err == nil }, "a host name or an IP address", false},
	rule{"instance", isInstance, "the name of an instance", false}, // part of "server" in go-mssqldb
	seconds("keepalive", true),
	rule{"log", func(v string) bool { _, err := strconv.ParseUint(v, 10, 16); return err == nil }, "a number", true},
	seconds("logintimeout", false), // the JDBC driver's
	rule{"multisubnetfailover", func(v string) bool { return enabled(v) != "" }, "true, false, enabled or disabled", false},
	boolean("notraceid", true),
	rule{"packet size", func(v string) bool {
		n, err := strconv.ParseUint(v, 10, 16)
		return err == nil && n >= 512 && n <= 32767
	}, "from 512 to 32767", true},
	file("servercertificate"),
	text("serverspn"),
	rule{"timezone", func(v string) bool { return v != "" }, "the name of a time zone", true},
	oneOf("tlsmin", false, "1.0", "1.1", "1.2", "1.3"),
	boolean("trustservercertificate", false),
	text("workstation id"),
)

func index(list ...rule) map[string]rule {
	m := map[string]rule{}
	for _, r := range list {
		m[plain(r.name)] = r
	}
	return m
}

// refused are parameters that the driver knows and we do not take, with the reason.
var refused = map[string]string{
	"authenticator":      "a user of the form DOMAIN\\name is logged in with NTLM; another way is for Engine.Configure to set",
	"failoverport":       "a rejected login would be repeated at the partner; use the availability group's listener",
	"failoverpartnerspn": "a rejected login would be repeated at the partner; use the availability group's listener",
	"fedauth":            "the secret's user and password are what logs in",
	"pipe":               "connections are TCP's",
	"protocol":           "connections are TCP's",
}

// CheckParams checks parameters: those of go-mssqldb, case and spaces ignored.
func (e Engine) CheckParams(params map[string]string) error {
	_, err := readParams(params)
	return err
}

// readParams returns the parameters by their names in rules.
func readParams(params map[string]string) (map[string]string, error) {
	p, names := map[string]string{}, map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(params)) {
		value, key := params[name], plain(name)
		if _, ok := rules[key]; !ok {
			return nil, unknown(name)
		}
		if other, ok := names[key]; ok {
			return nil, fmt.Errorf("parameters %q and %q are the same", other, name)
		}
		if err := checkValue(key, value); err != nil {
			return nil, fmt.Errorf("parameter %q: %w", name, err)
		}
		p[key], names[key] = value, name
	}
	return p, contradiction(p)
}

// checkValue checks the value of a parameter; any other name it takes.
func checkValue(name, value string) error {
	r, ok := rules[plain(name)]
	if ok && (!utf8.ValidString(value) || strings.IndexByte(value, 0) >= 0 || !r.ok(value)) {
		return fmt.Errorf("it has to be %s", r.want)
	}
	return nil
}

// contradiction refuses parameters of which one would be without effect.
func contradiction(p map[string]string) error {
	trust := "false"
	if v, ok := p["trustservercertificate"]; ok {
		trust = boolText(v)
	}
	for _, name := range []string{"certificate", "servercertificate", "hostnameincertificate"} {
		if _, ok := p[name]; !ok {
			continue
		}
		switch {
		case encryption(p) == "disable":
			return fmt.Errorf(`parameter %q says how to verify, and "encrypt" that there is no encryption`, name)
		case trust == "true" && encryption(p) != "strict":
			return fmt.Errorf(`parameter %q says how to verify, and "trustservercertificate" not to`, name)
		case name != "servercertificate" && p["servercertificate"] != "":
			return fmt.Errorf(`parameters %q and "servercertificate" exclude each other`, name)
		}
	}
	return nil
}

// plain is how parameters are told apart: go-mssqldb does not care about case.
func plain(name string) string { return strings.ReplaceAll(strings.ToLower(name), " ", "") }

// parseBool knows what go-mssqldb does: strconv's spellings, yes and no.
func parseBool(v string) (bool, error) {
	switch strings.ToLower(v) {
	case "yes":
		return true, nil
	case "no":
		return false, nil
	}
	return strconv.ParseBool(v)
}

// boolText returns "true" or "false" for a boolean that was checked.
func boolText(v string) string {
	on, _ := parseBool(v)
	return strconv.FormatBool(on)
}

// enabled returns "true" or "false", or "" for another value.
func enabled(v string) string {
	switch strings.ToLower(v) {
	case "enabled":
		return "true"
	case "disabled":
		return "false"
	}
	if _, err := parseBool(v); err != nil {
		return ""
	}
	return boolText(v)
}

// isInstance reports whether s may be an instance's name: letters, digits and a few
// others, of which none means anything in a list.
func isInstance(s string) bool {
	return s != "" && len(s) <= 64 && strings.IndexFunc(s, func(r rune) bool {
		return !strings.ContainsRune("_$#&-", r) && !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r >= 0xc0)
	}) < 0
}

// units counts the UTF-16 units of a text.
func units(s string) int {
	n := 0
	for _, r := range s {
		n++
		if r > 0xffff {
			n++
		}
	}
	return n
}

func unknown(name string) error {
	key := plain(name)
	if !jdbcurl.IsName(key) {
		return errors.New("a parameter has a name that none has")
	}
	if reason, ok := refused[key]; ok {
		return fmt.Errorf("parameter %q is not allowed: %s", name, reason)
	}
	if strings.HasPrefix(key, "krb5-") {
		return fmt.Errorf("parameter %q is not allowed: %s", name, refused["authenticator"])
	}
	if p, ok := properties[key]; ok && p.param != "" {
		return fmt.Errorf("parameter %q is not known; did you mean %q?", name, p.param)
	}
	var known []string
	for _, r := range rules {
		known = append(known, r.name)
	}
	slices.Sort(known)
	if s := jdbcurl.Suggest(key, known); s != "" {
		return fmt.Errorf("parameter %q is not known; did you mean %q?", name, s)
	}
	return fmt.Errorf("parameter %q is not known", name)
}

// duration returns a parameter that was checked to be a number of seconds.
func duration(v string) time.Duration {
	n, _ := strconv.Atoi(v)
	return time.Duration(n) * time.Second
}
