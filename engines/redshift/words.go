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

// CheckParams checks parameters. They are the parameters of pgx that make sense with Redshift, and
// the settings of Redshift under the names that SET uses, in upper or lower case.
func (e Engine) CheckParams(params map[string]string) error { return words.Check(params) }

// ParseURL parses a URL in the form of Amazon Redshift's JDBC driver 2.1:
//
//	redshift://host:port/database?user=<secret id>&name=value
//	redshift://host:port/database;user=<secret id>;name=value
//
// Only the user is required. Properties are separated by "&" or ";". The names of the JDBC driver's
// properties may be in upper or lower case. Values and the database are percent-decoded. A "+"
// stays a "+", unlike in the JDBC driver.
//
// A property of the JDBC driver is translated, or is an error if there is no counterpart. A
// parameter that CheckParams accepts is taken under its own name.
func (e Engine) ParseURL(url string, own func(property string) bool) (driver.URL, error) {
	if strings.HasPrefix(url, "redshift:iam:") {
		return driver.URL{}, errors.New(`"redshift:iam:" logs in with IAM, not with a secret: write "redshift:"`)
	}
	// Without a "?" the JDBC driver ends the path at the first ";".
	if !strings.Contains(url, "?") {
		url = strings.Replace(url, ";", "?", 1)
	}
	address, query, _ := strings.Cut(url, "?")
	return words.ParseURL(address+"?"+strings.ReplaceAll(query, ";", "&"), own)
}

// words has the names that pgx, the JDBC driver and Redshift use.
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
		return "", 0, errors.New("the URL has several hosts, and Redshift has one endpoint: give one host")
	}
	return jdbcurl.SplitHostPort(authority)
}

const queryMode = "default_query_exec_mode"

// pgxParams are the parameters of pgx that make sense with Redshift.
var pgxParams = []string{
	"connect_timeout", queryMode, "description_cache_capacity", "options", "sslcert", "sslcertmode",
	"sslkey", "sslmode", "sslrootcert", "sslsni", "statement_cache_capacity",
}

// params returns pgxParams. The engine for PostgreSQL checks most of their values, in
// checkTogether.
func params() map[string]vocabulary.Param {
	params := map[string]vocabulary.Param{}
	for _, name := range pgxParams {
		params[name] = vocabulary.Param{}
	}
	for _, name := range []string{"sslmode", "connect_timeout"} { // checked here so that the error names the property
		params[name] = vocabulary.Param{Check: func(v string) error { return asPostgres(name, v) }}
	}
	for _, name := range []string{"sslcert", "sslkey", "sslrootcert"} {
		params[name] = vocabulary.Param{File: true}
	}
	return params
}

// refused are parameters for PostgreSQL that are an error with Redshift, with the reason.
var refused = map[string]string{
	"channel_binding":      "it is part of SCRAM, which Redshift does not have",
	"require_auth":         "it cannot name the methods that Redshift uses",
	"krbsrvname":           "Redshift has no Kerberos",
	"krbspn":               "Redshift has no Kerberos",
	"max_protocol_version": "Redshift speaks 3.0 only",
	"min_protocol_version": "Redshift speaks 3.0 only",
	"sslnegotiation":       "Redshift waits for the request for TLS, as PostgreSQL before 17 does",
	"target_session_attrs": "Redshift has one endpoint, and does not report whether it is read-only",
}

// settings are the settings in "Configuration reference" of the Amazon Redshift Database Developer
// Guide that a session may change, and those that Redshift's own drivers send when they connect
// (application_name, client_encoding), sorted.
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

// checkTogether lets the engine for PostgreSQL check the parameters of pgx.
func checkTogether(params map[string]string) error {
	if params[queryMode] == "simple_protocol" {
		return errors.New(`parameter "` + queryMode + `": simple_protocol does not work with Redshift: pgx fails every query with arguments, because Redshift does not report standard_conforming_strings`)
	}
	pgx, _ := split(params)
	return pgxv5.Engine{}.CheckParams(pgx)
}

// split returns the parameters of pgx, with the default query mode if none is given, and the
// settings of the server.
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

// properties returns the properties in RedshiftProperty.java (2.1), by their names in lower case. A
// property that makes no difference in Go sets nothing.
func properties() map[string]vocabulary.Property {
	properties := map[string]vocabulary.Property{
		"applicationname":    {Param: "application_name"},
		"authmech":           {Param: "sslmode", Translate: lower}, // an older name of sslmode
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
		"isserverless":     vocabulary.Only("", "true", "false"), // it is about IAM, but asks for nothing
		"loadbalancehosts": vocabulary.Only("", "false"),
		"protocolversion":  vocabulary.Only("", "3"),
		"readonly":         vocabulary.Only("", "false"),
		"preparethreshold": vocabulary.NoEffect(number), // the query mode decides
		"sockettimeout":    vocabulary.Only("give queries a context with a deadline", "0"),
		"targetservertype": vocabulary.Only("", "any"),
		"tcpkeepalive":     vocabulary.Only("", "true", "false"), // Go has keep-alive on by default

		// Values that ask for the JDBC driver's default, or for what pgx does anyway. pgx lets the
		// server infer the types of parameters. The server then accepts more than it does for
		// varchar, the JDBC driver's default.
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
	toLogger = "set a logger in driver.Options.Logger"

	// Numbers and switches that change only the speed.
	speed = `
		blockingrowsmode databasemetadatacachefields databasemetadatacachefieldsmib defaultrowfetchsize
		hostrecheckseconds preparedstatementcachequeries preparedstatementcachesizemib receivebuffersize
		rewritebatchedinsertssize sendbuffersize`
	speedSwitches = "disablecolumnsanitiser enablefetchringbuffer enablestatementcache rewritebatchedinserts"
)

var number = vocabulary.Number("a number", -1, math.MaxInt32)

// absent are the properties without a counterpart, by what to use instead.
var absent = map[string]string{
	"it is for logins by IAM, and the secret has user and password": `
		accesskeyid allowdbuseroverride app_id app_name authprofile autocreate client_id client_secret clusterid
		dbgroups dbgroupsfilter dbuser endpointurl forcelowercase groupfederation iamdisablecache iamduration
		identity_namespace idc_client_display_name idc_region idp_host idp_port idp_response_timeout idp_tenant inifile
		inisection issuer_url listen_port login_url logintorp partner_spid plugin_name preferred_role
		providername rolearn rolesessionname scope secretaccesskey serverlessacctid serverlessworkgroup sessiontoken
		stsendpointurl token token_type webidentitytoken`,
	toLogger: `logpath maxlogfilecount maxlogfilesize`,
	"set it in driver.Options.TLS": `sslfactory sslfactoryarg sslhostnameverifier sslpassword sslpasswordcallback
		ssl_insecure ssltruststorepath ssltruststore`,
	"set a dialer in Engine.Configure": `socketfactory socketfactoryarg`,
	"": `
		assumeminserverversion binarytransfer binarytransferdisable binarytransferenable
		cancelsignaltimeout databasemetadatacurrentdbonly disableisvalidquery enablegeneratedname
		enablemultisqlsupport escapesyntaxcallmode fetchringbuffersize gsslib jaasapplicationname
		jaaslogin kerberosservername maxresultbuffer maxwarningcount overrideschemapatterntype
		raiseexceptiononsilentrollback sspiserviceclass unknownlength usespnego`,
}

// asPostgres checks a value by PostgreSQL's rule for a parameter. Its error does not name the
// parameter, because the user gave a property.
func asPostgres(param, value string) error {
	err := pgxv5.Engine{}.CheckParams(map[string]string{param: value})
	if err == nil {
		return nil
	}
	_, reason, _ := strings.Cut(err.Error(), ": ") // after parameter "…"
	return errors.New(reason)
}

func lower(v string) (string, error) { return strings.ToLower(v), nil }

// zeroIsNone translates a time limit. 0 means none.
func zeroIsNone(v string) (string, error) {
	if v != "" && strings.Trim(v, "0") == "" {
		return "", nil
	}
	return v, asPostgres("connect_timeout", v)
}

// timeZone translates the name of a time zone, or SERVER for that of the server. LOCAL, the JDBC
// driver's default, is the zone of the Java program.
func timeZone(v string) (string, error) {
	switch strings.ToUpper(v) {
	case "":
		return "", errors.New("it is empty")
	case "SERVER":
		return "", nil
	case "LOCAL":
		return "", errors.New("LOCAL has no counterpart: name the time zone")
	}
	return v, nil
}

// loginTimeout takes precedence over connectTimeout: finish copies the note over the parameter.
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

// finish settles what depends on two properties, as the JDBC driver does. sslmode takes precedence
// over ssl. Without both, the mode is verify-ca, which verifies the authority and not the name.
// These defaults are in RedshiftProperty.java and SslMode.java of
// https://github.com/aws/amazon-redshift-jdbc-driver.
func finish(t *vocabulary.Translation) error {
	if _, ok := t.Params["sslmode"]; ok {
		delete(t.Notes, "sslmode")
	} else if t.Notes["sslmode"] == "" {
		t.Notes["sslmode"] = "verify-ca"
	}
	maps.Copy(t.Params, t.Notes)
	return nil
}
