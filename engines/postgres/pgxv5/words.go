package pgxv5

import (
	"cmp"
	"errors"
	"math"
	"strconv"
	"strings"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/driver/vocabulary"
)

// CheckParams checks parameters: those of pgx, and the server's settings by the name that
// SET has for them, case ignored as the server does. A setting is not looked up, unless
// its name may be a mistake for a parameter about TLS or the login: a mistyped sslMode must
// not go to the server.
func (e Engine) CheckParams(params map[string]string) error { return words.Check(params) }

// ParseURL parses a URL as PostgreSQL's JDBC driver, pgjdbc, has it:
//
//	postgresql://host:port/database?user=<secret id>&name=value
//	postgresql://host:port,[::1]:port/database?…
//	postgresql:database?…
//
// All but the user may be missing, the "/" too, which pgjdbc insists on. Values
// and the database are percent-decoded; "+" is itself, unlike in pgjdbc. Several
// hosts come back in URL.Host as the URL has them, which is a form that Prepare
// takes.
//
// A property is pgjdbc's, and then translated, or pgx's parameter or a setting of
// the server under its own name. One of pgjdbc's without a counterpart is an error.
func (e Engine) ParseURL(url string, own func(property string) bool) (driver.URL, error) {
	return words.ParseURL(url, own)
}

// words are what pgx, pgjdbc and the server call things.
var words = &vocabulary.Vocabulary{
	Vendor:     "pgx",
	Params:     params,
	Refused:    refused,
	Meant:      meant,
	Properties: properties,
	Absent:     absent,
	Together:   checkTogether,
	Hosts:      parseAuthority,
	Finish:     finish,
	Server: &vocabulary.Settings{
		Check: checkSetting,
		// Of those of PostgreSQL 10 to 18 that a session may change.
		Harmless: []string{"password_encryption", "post_auth_delay", "ssl_renegotiation_limit"},
	},
}

// params are the parameters that pgx itself reads out of a connection string: the
// list notRuntimeParams in pgconn's config.go and what pgx.ParseConfig takes out
// of RuntimeParams, of v5.13.0. Not among them: host, port and database, which the
// Connector has, user and all that may bring a password or another service
// (password, passfile, sslpassword, service, servicefile).
var params = map[string]vocabulary.Param{
	"sslmode":                    {Check: checkMode},
	"sslrootcert":                {File: true}, // or system
	"sslcert":                    {File: true},
	"sslkey":                     {File: true},
	"sslcertmode":                {Check: vocabulary.OneOf("disable", "allow", "require")},
	"sslnegotiation":             {Check: vocabulary.OneOf("postgres", "direct")},
	"sslsni":                     {Check: vocabulary.OneOf("0", "1")},
	"channel_binding":            {Check: vocabulary.OneOf("disable", "prefer", "require")},
	"require_auth":               {Check: vocabulary.Match(`a list of password, md5, gss, sspi, scram-sha-256, oauth, none, all or none of them with "!"`, isRequireAuth)},
	"krbsrvname":                 {},
	"krbspn":                     {},
	"connect_timeout":            {Check: seconds},
	"target_session_attrs":       {Check: vocabulary.OneOf("any", "read-write", "read-only", "primary", "standby", "prefer-standby")},
	"min_protocol_version":       {Check: vocabulary.OneOf("3.0", "3.2", "latest")},
	"max_protocol_version":       {Check: vocabulary.OneOf("3.0", "3.2", "latest")},
	"default_query_exec_mode":    {Check: vocabulary.OneOf("cache_statement", "cache_describe", "describe_exec", "exec", "simple_protocol")},
	"statement_cache_capacity":   {Check: statements},
	"description_cache_capacity": {Check: statements},

	// The server's own, not a setting: "-c name=value -c …".
	"options": {},
}

// meant are names that people bring along from other drivers.
var meant = map[string]string{
	"timeout": "connect_timeout", "connectiontimeout": "connect_timeout", "logintimeout": "connect_timeout",
	"usessl": "sslmode", "encrypt": "sslmode", "tls": "sslmode",
}

var (
	seconds    = vocabulary.Number("a number of seconds", 0, math.MaxInt32)
	statements = vocabulary.Number("a number of statements", 0, math.MaxInt32)
)

// refused are parameters that are known and not taken, with the reason.
var refused = map[string]string{
	"sslpassword":           "a password does not belong in a data source name; give the key in driver.Options.TLS",
	"replication":           "a replication connection is not one for database/sql",
	"ssl":                   `it is spelt "sslmode"`,
	"session_authorization": "the secret says as whom to connect",
}

// checkMode checks sslmode.
func checkMode(v string) error {
	if v == "allow" {
		return errors.New("allow logs in without TLS first; use prefer")
	}
	return vocabulary.OneOf("disable", "prefer", "require", "verify-ca", "verify-full")(v)
}

// checkTogether checks parameters that depend on each other.
func checkTogether(params map[string]string) error {
	return cmp.Or(checkPair(params), checkTLS(params), checkVersions(params), checkCaches(params))
}

func checkPair(params map[string]string) error {
	_, hasCert := params["sslcert"]
	_, hasKey := params["sslkey"]
	if hasCert != hasKey {
		return errors.New(`parameters "sslcert" and "sslkey" go together`)
	}
	return nil
}

func checkTLS(params map[string]string) error {
	mode, hasMode := params["sslmode"]
	root, hasRoot := params["sslrootcert"]
	optional := mode == "prefer" || mode == "disable"
	switch {
	case root == system && hasMode && mode != "verify-full":
		// So libpq. pgx takes it for verify-full, even over disable.
		return errors.New(`parameter "sslrootcert": system needs sslmode=verify-full`)
	case hasRoot && root != system && (!hasMode || optional):
		// libpq and pgx take it and verify nothing.
		return errors.New(`parameter "sslrootcert" needs sslmode=verify-full or verify-ca, or nothing is verified`)
	case optional || !hasMode && root != system:
		return checkDirect(params)
	}
	return nil
}

// checkDirect is for parameters that do not require TLS, which libpq takes for an error with a
// handshake that begins at once.
func checkDirect(params map[string]string) error {
	if params["sslnegotiation"] == "direct" {
		return errors.New(`parameter "sslnegotiation": direct needs sslmode=require, verify-ca or verify-full`)
	}
	return nil
}

func checkVersions(params map[string]string) error {
	if least := cmp.Or(params["min_protocol_version"], "3.0"); least != "3.0" && params["max_protocol_version"] == "3.0" {
		return errors.New(`parameter "min_protocol_version" is more than "max_protocol_version"`)
	}
	return nil
}

// checkCaches refuses a cache of no statements that pgx would use: every query would fail.
func checkCaches(params map[string]string) error {
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

// checkSetting refuses an option of the protocol, which is not one of the session.
func checkSetting(name, _ string) error {
	if strings.HasPrefix(strings.ToLower(name), "_pq_.") {
		return errors.New("it is an option of the protocol, not a setting of the session")
	}
	return nil
}
