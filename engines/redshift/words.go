package redshift

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/driver/vocabulary"
	"github.com/sqlsecrets/sqlsecrets/engines/postgres/pgxv5"
	"github.com/sqlsecrets/sqlsecrets/internal/jdbcurl"
)

// CheckParams checks parameters: those of pgx that make sense with Redshift, and
// Redshift's settings by the name that SET has for them, case ignored.
func (e Engine) CheckParams(params map[string]string) error { return words.Check(params) }

// ParseURL parses a URL as Amazon Redshift's JDBC driver 2.1 has it:
//
//	redshift://host:port/database?user=<secret id>&name=value
//	redshift://host:port/database;user=<secret id>;name=value
//
// All but the user may be missing. Properties are separated by "&" or ";", and their
// names are in any case but the Connector's own. Values and the database are
// percent-decoded; "+" is itself, unlike in the JDBC driver.
//
// A property is the JDBC driver's, and then translated, or a parameter that
// CheckParams knows. One without a counterpart is an error.
func (e Engine) ParseURL(url string, own func(property string) bool) (driver.URL, error) {
	if strings.HasPrefix(url, "redshift:iam:") {
		return driver.URL{}, errors.New(`"redshift:iam:" logs in with IAM, not with a secret; write "redshift:"`)
	}
	// Without a "?" the JDBC driver ends the path at the first ";".
	if !strings.Contains(url, "?") {
		url = strings.Replace(url, ";", "?", 1)
	}
	address, query, _ := strings.Cut(url, "?")
	return words.ParseURL(address+"?"+strings.ReplaceAll(query, ";", "&"), own)
}

// words are what pgx, the JDBC driver and Redshift call things.
var words = &vocabulary.Vocabulary{
	Vendor:     "pgx",
	Params:     params(),
	Refused:    refused,
	Meant:      map[string]string{"timeout": "connect_timeout", "usessl": "sslmode", "encrypt": "sslmode", "tls": "sslmode"},
	Server:     &vocabulary.Settings{Names: settings},
	Properties: properties(),
	AnyCase:    true,
	Together:   checkTogether,
	Hosts:      oneHost,
	Finish:     finish,
}

func oneHost(authority string) (host string, port int, err error) {
	if strings.IndexByte(authority, ',') >= 0 {
		return "", 0, errors.New("the URL has several hosts, of which Redshift has none")
	}
	return jdbcurl.SplitHostPort(authority)
}

const queryMode = "default_query_exec_mode"

// pgxParams are pgx's parameters that make sense with Redshift.
var pgxParams = []string{
	"connect_timeout", queryMode, "description_cache_capacity", "options", "sslcert", "sslcertmode",
	"sslkey", "sslmode", "sslrootcert", "sslsni", "statement_cache_capacity",
}

// params returns pgxParams. PostgreSQL's engine checks most values, together.
func params() map[string]vocabulary.Param {
	params := map[string]vocabulary.Param{}
	for _, name := range pgxParams {
		params[name] = vocabulary.Param{}
	}
	for _, name := range []string{"sslmode", "connect_timeout"} { // the error is to name the property
		params[name] = vocabulary.Param{Check: func(v string) error { return asPostgres(name, v) }}
	}
	for _, name := range []string{"sslcert", "sslkey", "sslrootcert"} {
		params[name] = vocabulary.Param{File: true}
	}
	return params
}

// refused are those of PostgreSQL that Redshift does not have, with the reason.
var refused = map[string]string{
	"channel_binding":      "Redshift has no SCRAM, whose part it is",
	"require_auth":         "Redshift's methods are not among those that it can name",
	"krbsrvname":           "Redshift has no Kerberos",
	"krbspn":               "Redshift has no Kerberos",
	"max_protocol_version": "Redshift speaks 3.0 only",
	"min_protocol_version": "Redshift speaks 3.0 only",
	"sslnegotiation":       "Redshift waits for the request for TLS, as PostgreSQL before 17",
	"target_session_attrs": "Redshift has one endpoint, and nothing that would answer",
}

// settings are those that a session may change, of "Configuration reference" in the
// Amazon Redshift Database Developer Guide, and what Redshift's own drivers send
// when they connect (application_name, client_encoding), sorted.
var settings = []string{
	"analyze_threshold_percent",
	"application_name",
	"cast_super_null_on_error",
	"client_encoding",
	"datashare_break_glass_session_var",
	"datestyle",
	"default_geometry_encoding",
	"describe_field_name_in_uppercase",
	"downcase_delimited_identifier",
	"enable_case_sensitive_identifier",
	"enable_case_sensitive_super_attribute",
	"enable_numeric_rounding",
	"enable_result_cache_for_session",
	"enable_vacuum_boost",
	"error_on_nondeterministic_update",
	"extra_float_digits",
	"interval_forbid_composite_literals",
	"json_parse_dedup_attributes",
	"json_parse_truncate_strings",
	"json_serialization_enable",
	"json_serialization_parse_nested_strings",
	"max_concurrency_scaling_clusters",
	"max_cursor_result_set_size",
	"mv_enable_aqmv_for_session",
	"navigate_super_null_on_error",
	"parse_super_null_on_error",
	"pg_federation_repeatable_read",
	"query_group",
	"search_path",
	"spectrum_enable_pseudo_columns",
	"spectrum_query_maxerror",
	"statement_timeout",
	"stored_proc_log_min_messages",
	"timezone",
	"wlm_query_slot_count",
}

// checkTogether has PostgreSQL's engine check what is pgx's.
func checkTogether(params map[string]string) error {
	if params[queryMode] == "simple_protocol" {
		return errors.New(`parameter "` + queryMode + `": simple_protocol is not for Redshift, which does not report standard_conforming_strings: pgx refuses every query with arguments`)
	}
	pgx, _ := split(params)
	return pgxv5.Engine{}.CheckParams(pgx)
}

// split returns the parameters that are pgx's, with the default query mode, and the
// server's settings.
func split(params map[string]string) (pgx, settings map[string]string) {
	pgx, settings = map[string]string{queryMode: "exec"}, map[string]string{}
	for name, value := range params {
		if slices.Contains(pgxParams, name) {
			pgx[name] = value
		} else {
			settings[name] = value
		}
	}
	return pgx, settings
}

// properties returns those that RedshiftProperty.java knows (2.1), by name in lower case.
// What makes no difference in Go sets nothing.
func properties() map[string]vocabulary.Property {
	properties := map[string]vocabulary.Property{
		"applicationname":    {Param: "application_name"},
		"authmech":           {Param: "sslmode", Translate: lower}, // an older name of it
		"connecttimeout":     {Param: "connect_timeout", Translate: zeroIsNone},
		"connectiontimezone": {Param: "timezone", Translate: timeZone},
		"currentschema":      {Param: "search_path"},
		"logintimeout":       {Param: "connect_timeout", Apply: loginTimeout},
		"options":            {Param: "options"},
		"querygroup":         {Param: "query_group"},
		"ssl":                {Apply: ssl, Bare: true},
		"sslcert":            {Param: "sslcert"},
		"sslkey":             {Param: "sslkey"},
		"sslmode":            {Param: "sslmode", Translate: lower},
		"sslrootcert":        {Param: "sslrootcert"},
		"preferquerymode":    vocabulary.Choose(queryMode, "extended", "", "extendedCacheEverything", "cache_statement"),

		"compression":      vocabulary.Only("", "off"),
		"iamauth":          vocabulary.Only("", "false"),
		"isserverless":     vocabulary.Only("", "true", "false"), // IAM's, but says nothing of it
		"loadbalancehosts": vocabulary.Only("", "false"),
		"protocolversion":  vocabulary.Only("", "3"),
		"readonly":         vocabulary.Only("", "false"),
		"preparethreshold": vocabulary.NoEffect(number), // pgx's mode decides
		"sockettimeout":    vocabulary.Only("the context of a query ends it", "0"),
		"targetservertype": vocabulary.Only("", "any"),
		"tcpkeepalive":     vocabulary.Only("", "true", "false"), // Go has it on

		// What asks for the JDBC driver's default, or for what pgx does anyway. pgx leaves the
		// type of a parameter to the server, which accepts more than varchar, that default.
		"allowencodingchanges":    vocabulary.Only("pgx needs UTF8", "false"),
		"autosave":                vocabulary.Only("", "never"),
		"cleanupsavepoints":       vocabulary.Only("", "false"),
		"hideunprivilegedobjects": vocabulary.Only("", "false"),
		"loglevel":                vocabulary.Only(toLogger, "0", "OFF"),
		"dsiloglevel":             vocabulary.Only(toLogger, "0", "OFF"),
		"logservererrordetail":    vocabulary.Only("the detail is in a field of the error, not in its text", "true"),
		"logunclosedconnections":  vocabulary.Only("", "false"),
		"readonlymode":            vocabulary.Only("", "transaction"),
		"stringtype":              vocabulary.Only("", "unspecified", "varchar"),
	}
	for name := range strings.FieldsSeq(speed) {
		properties[name] = vocabulary.NoEffect(number)
	}
	for name := range strings.FieldsSeq(speedSwitches) {
		properties[name] = vocabulary.Only("", "true", "false")
	}
	for hint, names := range absent {
		for name := range strings.FieldsSeq(names) {
			properties[name] = vocabulary.None(hint)
		}
	}
	return properties
}

const (
	toLogger = "driver.Options.Logger takes a logger"

	// Numbers and switches by which nothing but the speed changes.
	speed = `
		blockingrowsmode databasemetadatacachefields databasemetadatacachefieldsmib defaultrowfetchsize
		hostrecheckseconds preparedstatementcachequeries preparedstatementcachesizemib receivebuffersize
		rewritebatchedinsertssize sendbuffersize`
	speedSwitches = "disablecolumnsanitiser enablefetchringbuffer enablestatementcache rewritebatchedinserts"
)

var number = vocabulary.Number("a number", -1, math.MaxInt32)

// absent are the properties without a counterpart, by what there is instead.
var absent = map[string]string{
	"it is IAM's, and the secret has user and password": `
		accesskeyid allowdbuseroverride app_id app_name authprofile autocreate client_id client_secret clusterid
		dbgroups dbgroupsfilter dbuser endpointurl forcelowercase groupfederation iamdisablecache iamduration
		identity_namespace idc_client_display_name idc_region idp_host idp_port idp_response_timeout idp_tenant inifile
		inisection issuer_url listen_port login_url logintorp partner_spid plugin_name preferred_role
		providername rolearn rolesessionname scope secretaccesskey serverlessacctid serverlessworkgroup sessiontoken
		stsendpointurl token token_type webidentitytoken`,
	toLogger: `logpath maxlogfilecount maxlogfilesize`,
	"driver.Options.TLS has all of it": `sslfactory sslfactoryarg sslhostnameverifier sslpassword sslpasswordcallback
		ssl_insecure ssltruststorepath ssltruststore`,
	"Engine.Configure sets a dialer": `socketfactory socketfactoryarg`,
	"": `
		assumeminserverversion binarytransfer binarytransferdisable binarytransferenable
		cancelsignaltimeout databasemetadatacurrentdbonly disableisvalidquery enablegeneratedname
		enablemultisqlsupport escapesyntaxcallmode fetchringbuffersize gsslib jaasapplicationname
		jaaslogin kerberosservername maxresultbuffer maxwarningcount overrideschemapatterntype
		raiseexceptiononsilentrollback sspiserviceclass unknownlength usespnego`,
}

// asPostgres checks a value by PostgreSQL's rule for a parameter. Its error does not name
// that, since the property is what has been given.
func asPostgres(param, value string) error {
	err := pgxv5.Engine{}.CheckParams(map[string]string{param: value})
	if err == nil {
		return nil
	}
	_, reason, _ := strings.Cut(err.Error(), ": ") // after parameter "…"
	return errors.New(reason)
}

func lower(v string) (string, error) { return strings.ToLower(v), nil }

// zeroIsNone is a time, in which 0 is none.
func zeroIsNone(v string) (string, error) {
	if v != "" && strings.Trim(v, "0") == "" {
		return "", nil
	}
	return v, asPostgres("connect_timeout", v)
}

// timeZone is a name, or SERVER for the server's own. The JDBC driver's default, LOCAL,
// is Java's.
func timeZone(v string) (string, error) {
	switch strings.ToUpper(v) {
	case "":
		return "", errors.New("it is empty")
	case "SERVER":
		return "", nil
	case "LOCAL":
		return "", errors.New("LOCAL has no counterpart; name the time zone")
	}
	return v, nil
}

// loginTimeout takes precedence over connectTimeout.
func loginTimeout(t *vocabulary.Translation, p vocabulary.Pair) error {
	v, err := zeroIsNone(p.Value)
	if err != nil {
		return fmt.Errorf("property %q: %w", p.Name, err)
	}
	if v != "" {
		t.Notes["connect_timeout"] = v
	}
	return nil
}

func ssl(t *vocabulary.Translation, p vocabulary.Pair) error {
	switch strings.ToLower(p.Value) {
	case "", "true":
		t.Notes["sslmode"] = "verify-full"
	case "false":
		t.Notes["sslmode"] = "disable"
	default:
		return fmt.Errorf("property %q: it has to be true or false", p.Name)
	}
	return nil
}

// finish settles what depends on two properties, as the JDBC driver does: sslmode takes
// precedence over ssl. Without either, ssl is true, which is to verify the authority and not
// the name: RedshiftProperty.java and SslMode.java of
// https://github.com/aws/amazon-redshift-jdbc-driver have these defaults.
func finish(t *vocabulary.Translation) error {
	if _, ok := t.Params["sslmode"]; ok {
		delete(t.Notes, "sslmode")
	} else if t.Notes["sslmode"] == "" {
		t.Notes["sslmode"] = "verify-ca"
	}
	maps.Copy(t.Params, t.Notes)
	return nil
}
