package redshift

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/postgres/pgxv5"
	"github.com/sqlsecrets/sqlsecrets/internal/jdbcurl"
)

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
func (e Engine) ParseURL(url string, own func(property string) bool) (u driver.URL, err error) {
	if strings.HasPrefix(url, "redshift:iam:") {
		return u, errors.New(`"redshift:iam:" logs in with IAM, not with a secret; write "redshift:"`)
	}
	// Split ends at a "?"; without one the JDBC driver ends at the first ";".
	if !strings.Contains(url, "?") {
		url = strings.Replace(url, ";", "?", 1)
	}
	parts := jdbcurl.Split(url)
	props, err := jdbcurl.Properties(strings.ReplaceAll(parts.Query, ";", "&"))
	if err != nil {
		return u, err
	}
	// First of all, since other errors may quote what follows a "&" in a password.
	if err := jdbcurl.CheckCredentials(props); err != nil {
		return u, err
	}
	if strings.IndexByte(parts.Authority, ',') >= 0 {
		return u, errors.New("the URL has several hosts, of which Redshift has none")
	}
	if u.Host, u.Port, err = jdbcurl.SplitHostPort(parts.Authority); err != nil {
		return u, err
	}
	if strings.IndexByte(parts.Path, '/') >= 0 {
		return u, errors.New(`the URL has a "/" too many; write "%2F" for one in the database's name`)
	}
	if u.Database, err = jdbcurl.Unescape(parts.Path); err != nil {
		return u, fmt.Errorf("the database's name: %w", err)
	}
	t := translation{Params: jdbcurl.Params{Values: map[string]string{}}}
	for _, p := range props {
		switch {
		case p.Name == "user":
			u.SecretID = p.Value
		case own(p.Name):
			err = t.Set(p.Name, p.Name, p.Value)
		default:
			err = t.property(p)
		}
		if err != nil {
			return u, err
		}
	}
	if u.SecretID == "" {
		return u, errors.New(`the URL has no "user"; it is the id of the secret`)
	}
	u.Params = t.finish()
	return u, nil
}

// A translation turns properties into parameters.
type translation struct {
	jdbcurl.Params
	ssl   string // the sslmode that ssl asks for
	login string // loginTimeout
}

func (t *translation) property(p jdbcurl.Property) error {
	name := strings.ToLower(p.Name)
	if p.Bare && name != "ssl" {
		// Not quoted: it may be what follows a "&" in a value.
		return errors.New("a property has no value")
	}
	switch name {
	case "ssl":
		switch strings.ToLower(p.Value) {
		case "", "true":
			t.ssl = "verify-full"
		case "false":
			t.ssl = "disable"
		default:
			return fmt.Errorf("property %q: it has to be true or false", p.Name)
		}
		return nil
	case "logintimeout":
		v, err := seconds(p.Value)
		if err != nil {
			return fmt.Errorf("property %q: %w", p.Name, err)
		}
		t.login = v
		return nil
	}
	if reason, ok := withoutCounterpart[name]; ok {
		return fmt.Errorf("property %q: it has no counterpart; %s", p.Name, reason)
	}
	known, ok := properties[name]
	if !ok {
		return t.Set(p.Name, p.Name, p.Value) // CheckParams knows it or not
	}
	return t.Translate(p.Name, p.Value, known.param, known.translate, nil)
}

// finish settles what depends on two properties, as the JDBC driver does.
func (t *translation) finish() map[string]string {
	if _, ok := t.Values["sslmode"]; !ok && t.ssl != "" {
		t.Values["sslmode"] = t.ssl
	}
	if t.login != "" {
		t.Values["connect_timeout"] = t.login
	}
	return t.Values
}

// A property is one of the JDBC driver's.
type property struct {
	param     string                             // its counterpart
	translate func(value string) (string, error) // "" sets nothing; nil: the value stays
}

// properties are those that RedshiftProperty.java knows (2.1), in lower case, with a
// counterpart. What makes no difference in Go sets nothing.
var properties = map[string]property{
	"applicationname":    {param: "application_name"},
	"authmech":           {"sslmode", sslMode}, // an older name of it
	"connecttimeout":     {"connect_timeout", seconds},
	"connectiontimezone": {"timezone", timeZone},
	"currentschema":      {param: "search_path"},
	"options":            {param: "options"},
	"querygroup":         {param: "query_group"},
	"sslcert":            {param: "sslcert"},
	"sslkey":             {param: "sslkey"},
	"sslmode":            {"sslmode", sslMode},
	"sslrootcert":        {param: "sslrootcert"},
	"preferquerymode": {queryMode, choose(map[string]string{
		"extended": "", "extendedCacheEverything": "cache_statement"})},

	"compression":      {"", choose(map[string]string{"off": ""})},
	"iamauth":          {"", choose(map[string]string{"false": ""})},
	"isserverless":     {"", choose(map[string]string{"true": "", "false": ""})}, // IAM's, but says nothing of it
	"loadbalancehosts": {"", choose(map[string]string{"false": ""})},
	"protocolversion":  {"", choose(map[string]string{"3": ""})},
	"readonly":         {"", choose(map[string]string{"false": ""})},
	"preparethreshold": {"", noEffect}, // pgx's mode decides
	"sockettimeout":    {"", noTimeout},
	"targetservertype": {"", choose(map[string]string{"any": ""})},
	"tcpkeepalive":     {"", choose(map[string]string{"true": "", "false": ""})}, // Go has it on
}

// withoutCounterpart are the rest, with what there is instead.
var withoutCounterpart = byName(map[string]string{
	"it is IAM's, and the secret has user and password": `
		accesskeyid allowdbuseroverride app_id app_name authprofile autocreate client_id client_secret clusterid
		dbgroups dbgroupsfilter dbuser endpointurl forcelowercase groupfederation iamdisablecache iamduration
		identity_namespace idc_client_display_name idc_region idp_host idp_port idp_response_timeout idp_tenant inifile
		inisection issuer_url listen_port login_url logintorp partner_spid plugin_name preferred_role profile
		providername rolearn rolesessionname scope secretaccesskey serverlessacctid serverlessworkgroup sessiontoken
		stsendpointurl token token_type webidentitytoken`,
	"driver.Options.Logger takes a logger": `dsiloglevel loglevel logpath maxlogfilecount maxlogfilesize`,
	"driver.Options.TLS has all of it": `sslfactory sslfactoryarg sslhostnameverifier sslpassword sslpasswordcallback
		ssl_insecure ssltruststorepath ssltruststore`,
	"Engine.Configure sets a dialer": `socketfactory socketfactoryarg`,
	"pgx has no such thing": `
		allowencodingchanges assumeminserverversion autosave binarytransfer binarytransferdisable binarytransferenable
		blockingrowsmode cancelsignaltimeout cleanupsavepoints databasemetadatacachefields databasemetadatacachefieldsmib
		databasemetadatacurrentdbonly defaultrowfetchsize disablecolumnsanitiser disableisvalidquery enablefetchringbuffer
		enablegeneratedname enablemultisqlsupport enablestatementcache escapesyntaxcallmode fetchringbuffersize gsslib
		hideunprivilegedobjects hostrecheckseconds jaasapplicationname jaaslogin kerberosservername logservererrordetail
		logunclosedconnections maxresultbuffer maxwarningcount overrideschemapatterntype preparedstatementcachequeries
		preparedstatementcachesizemib raiseexceptiononsilentrollback readonlymode receivebuffersize
		rewritebatchedinserts rewritebatchedinsertssize sendbuffersize sspiserviceclass stringtype unknownlength
		usespnego`,
})

// byName turns lists of names by reason into reasons by name.
func byName(lists map[string]string) map[string]string {
	reasons := map[string]string{}
	for reason, names := range lists {
		for _, name := range strings.Fields(names) {
			reasons[name] = reason
		}
	}
	return reasons
}

func sslMode(v string) (string, error) { return asPostgres("sslmode", strings.ToLower(v)) }

// seconds is a time, in which 0 is none.
func seconds(v string) (string, error) {
	v, err := asPostgres("connect_timeout", v)
	if err != nil || strings.Trim(v, "0") == "" {
		return "", err
	}
	return v, nil
}

// asPostgres checks a value by PostgreSQL's rule for a parameter. Its error does not name
// that, since the property is what has been given.
func asPostgres(param, value string) (string, error) {
	err := pgxv5.Engine{}.CheckParams(map[string]string{param: value})
	if err != nil {
		_, reason, _ := strings.Cut(err.Error(), ": ") // after parameter "…"
		return "", errors.New(reason)
	}
	return value, nil
}

// choose translates a fixed set of values.
func choose(values map[string]string) func(string) (string, error) {
	return func(v string) (string, error) {
		value, ok := values[v]
		if !ok {
			return "", errors.New("a value without a counterpart")
		}
		return value, nil
	}
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

func noEffect(v string) (string, error) {
	if _, err := strconv.Atoi(v); err != nil {
		return "", errors.New("it has to be a number")
	}
	return "", nil
}

func noTimeout(v string) (string, error) {
	if v != "0" {
		return "", errors.New("it has no counterpart; the context of a query ends it")
	}
	return "", nil
}
