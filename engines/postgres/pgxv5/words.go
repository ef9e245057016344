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

// CheckParams checks parameters. They are the parameters of pgx and the settings of the server,
// under the names that SET uses, in upper or lower case. The name of a setting is not checked,
// because the server checks it. The exception is a name that may be a mistyped parameter about TLS
// or the login, such as sslMode: that is an error, and does not go to the server.
func (e Engine) CheckParams(params map[string]string) error { return words.Check(params) }

// ParseURL parses a URL in the form of PostgreSQL's JDBC driver, pgjdbc:
//
//	postgresql://host:port/database?user=<secret id>&name=value
//	postgresql://host:port,[::1]:port/database?…
//	postgresql:database?…
//
// Only the user is required. The "/" may be missing too, although pgjdbc requires it. Values and
// the database are percent-decoded. A "+" stays a "+", unlike in pgjdbc. URL.Host has several hosts
// as the URL has them; Prepare accepts that form.
//
// A property of pgjdbc is translated, or is an error if pgx has no counterpart. A parameter of pgx
// or a setting of the server is taken under its own name.
func (e Engine) ParseURL(url string, own func(property string) bool) (driver.URL, error) {
	return words.ParseURL(url, own)
}

// words has the names that pgx, pgjdbc and the server use.
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
		// These settings of PostgreSQL 10 to 18 look like a parameter about TLS or the login. A
		// session may change them.
		Harmless: []string{"password_encryption", "post_auth_delay", "ssl_renegotiation_limit"},
	},
}

// params are the parameters that pgx v5.13.0 itself reads from a connection string: the list
// notRuntimeParams in config.go of pgconn, and what pgx.ParseConfig takes out of RuntimeParams.
// Missing are host, port and database, which the Connector has; user; and those that may bring a
// password or another service (password, passfile, sslpassword, service, servicefile).
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

	// Command-line options of the server: "-c name=value -c …".
	"options": {},
}

// meant has names from other drivers, with the parameter of pgx that the user means.
var meant = map[string]string{
	"timeout": "connect_timeout", "connectiontimeout": "connect_timeout", "logintimeout": "connect_timeout",
	"usessl": "sslmode", "encrypt": "sslmode", "tls": "sslmode",
}

var (
	seconds    = vocabulary.Number("a number of seconds", 0, math.MaxInt32)
	statements = vocabulary.Number("a number of statements", 0, math.MaxInt32)
)

// refused are known parameters that are an error here, with the reason.
var refused = map[string]string{
	"sslpassword":           "a password does not belong in a data source name: give the key in driver.Options.TLS",
	"replication":           "database/sql cannot use a replication connection",
	"ssl":                   `give "sslmode"`,
	"session_authorization": "the user comes from the secret",
}

// checkMode checks sslmode.
func checkMode(v string) error {
	if v == "allow" {
		return errors.New("allow logs in without TLS first: give prefer")
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
		return errors.New(`parameters "sslcert" and "sslkey" need each other: give both`)
	}
	return nil
}

func checkTLS(params map[string]string) error {
	mode, hasMode := params["sslmode"]
	root, hasRoot := params["sslrootcert"]
	optional := mode == "prefer" || mode == "disable"
	switch {
	case root == system && hasMode && mode != "verify-full":
		// libpq returns an error too. pgx treats it as verify-full, even with sslmode=disable.
		return errors.New(`parameter "sslrootcert": system needs sslmode=verify-full`)
	case hasRoot && root != system && (!hasMode || optional):
		// libpq and pgx accept it and verify nothing.
		return errors.New(`parameter "sslrootcert" needs sslmode=verify-full or verify-ca, or nothing is verified`)
	case optional || !hasMode && root != system:
		return checkDirect(params)
	}
	return nil
}

// checkDirect is for parameters that do not require TLS. With them, sslnegotiation=direct is an
// error, as in libpq.
func checkDirect(params map[string]string) error {
	if params["sslnegotiation"] == "direct" {
		return errors.New(`parameter "sslnegotiation": direct needs sslmode=require, verify-ca or verify-full`)
	}
	return nil
}

func checkVersions(params map[string]string) error {
	if least := cmp.Or(params["min_protocol_version"], "3.0"); least != "3.0" && params["max_protocol_version"] == "3.0" {
		return errors.New(`parameter "min_protocol_version" is higher than "max_protocol_version"`)
	}
	return nil
}

// checkCaches returns an error for a cache of capacity 0 that pgx would use, because every query
// would fail.
func checkCaches(params map[string]string) error {
	switch exec := params["default_query_exec_mode"]; {
	case isZero(params["statement_cache_capacity"]) && (exec == "" || exec == "cache_statement"):
		return errors.New(`parameter "statement_cache_capacity": 0 needs a default_query_exec_mode other than cache_statement`)
	case isZero(params["description_cache_capacity"]) && exec == "cache_describe":
		return errors.New(`parameter "description_cache_capacity": 0 needs a default_query_exec_mode other than cache_describe`)
	}
	return nil
}

func isZero(value string) bool {
	n, err := strconv.Atoi(value)
	return err == nil && n == 0
}

// isRequireAuth checks a value as parseRequireAuth of pgconn does.
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

// checkSetting returns an error for an option of the protocol, because it is no setting of the
// session.
func checkSetting(name, _ string) error {
	if strings.HasPrefix(strings.ToLower(name), "_pq_.") {
		return errors.New("it is an option of the protocol, not a setting of the session")
	}
	return nil
}
