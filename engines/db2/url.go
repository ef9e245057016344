package db2

import (
	"errors"
	"fmt"
	"strings"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/internal/jdbcurl"
)

// ParseURL parses a URL as IBM's JDBC driver, JCC, has it:
//
//	db2://host:port/database:user=<secret id>;name=value;
//	db2:database:user=<secret id>;
//
// All but the user may be missing. The list of properties begins at the first ":" after
// the path; nothing is percent-decoded, so no value has a ";".
//
// A property is JCC's, and then translated, or a parameter that CheckParams knows. One
// without a counterpart is an error.
func (e Engine) ParseURL(url string, own func(property string) bool) (u driver.URL, err error) {
	rest := strings.TrimPrefix(url, "db2:")
	var path, list string
	if authority, ok := strings.CutPrefix(rest, "//"); ok {
		if authority, path, ok = strings.Cut(authority, "/"); !ok && strings.Contains(authority, "=") {
			return u, errors.New(`the URL has no "/" before its properties; it is of the form db2://host:port/database:name=value;`)
		}
		if strings.IndexByte(authority, ',') >= 0 {
			return u, errors.New("the URL has several hosts, and a connection string of Db2 has one; CLI reads alternate servers from db2dsdriver.cfg")
		}
		if u.Host, u.Port, err = jdbcurl.SplitHostPort(authority); err != nil {
			return u, err
		}
	} else {
		path = rest
	}
	path, list, _ = strings.Cut(path, ":")
	props, err := properties(list)
	if err != nil {
		return u, err
	}
	// First of all, since other errors may quote what follows a ";" in a password.
	if err := jdbcurl.CheckCredentials(props); err != nil {
		return u, err
	}
	if strings.ContainsAny(path, "/?=;") {
		return u, errors.New(`the database's name has one of "/?=;"; the URL is of the form db2://host:port/database:name=value;`)
	}
	u.Database = path
	params := jdbcurl.Params{Values: map[string]string{}}
	for _, p := range props {
		known, ok := jcc[p.Name]
		switch {
		case p.Name == "user":
			u.SecretID = p.Value
		case own(p.Name) || !ok:
			err = params.Set(p.Name, p.Name, p.Value) // CheckParams knows it or not
		default:
			err = params.Translate(p.Name, p.Value, known.param, known.translate, checkValue)
		}
		if err != nil {
			return u, err
		}
	}
	if u.SecretID == "" {
		return u, errors.New(`the URL has no "user"; it is the id of the secret`)
	}
	u.Params = params.Values
	return u, nil
}

// properties splits a list, which may end with a ";".
func properties(list string) (props []jdbcurl.Property, err error) {
	seen := map[string]bool{}
	for pair := range strings.SplitSeq(list, ";") {
		if pair == "" {
			continue
		}
		name, value, ok := strings.Cut(pair, "=")
		switch {
		case !jdbcurl.IsName(name):
			return nil, errors.New(`a property has a name that none has`)
		case !ok:
			// Not quoted: it may be what follows a ";" in a value.
			return nil, errors.New("a property has no value")
		case seen[name]:
			return nil, fmt.Errorf("property %q is given twice", name)
		}
		seen[name] = true
		props = append(props, jdbcurl.Property{Name: name, Value: value})
	}
	return props, nil
}

// A property is one of JCC's.
type property struct {
	param     string                             // its counterpart
	translate func(value string) (string, error) // "" sets nothing; nil: the value stays
}

// jcc are its properties with a counterpart, of
// https://www.ibm.com/docs/en/db2/11.5?topic=information-properties-data-server-driver-jdbc-sqlj,
// and what people use and need not.
var jcc = map[string]property{
	"blockingReadConnectionTimeout":          {"ReceiveTimeout", notZero},
	"clientAccountingInformation":            {param: "ClientAcctStr"},
	"clientApplicationInformation":           {param: "ClientApplName"},
	"clientProgramName":                      {param: "ProgramName"},
	"clientUser":                             {param: "ClientUserID"},
	"clientWorkstation":                      {param: "ClientWrkStnName"},
	"currentPackageSet":                      {param: "CurrentPackageSet"},
	"currentSchema":                          {param: "CurrentSchema"},
	"databaseName":                           {"", none("the URL has a place for it")},
	"defaultIsolationLevel":                  {param: "TxnIsolation"}, // the numbers are the same
	"driverType":                             {"", choose(map[string]string{"4": ""})},
	"loginTimeout":                           {"ConnectTimeout", notZero},
	"portNumber":                             {"", none("the URL has a place for it")},
	"progressiveStreaming":                   {"", choose(map[string]string{"1": "", "2": ""})},
	"queryTimeoutInterval":                   {param: "QueryTimeoutInterval"},
	"securityMechanism":                      {"Authentication", choose(map[string]string{"3": "SERVER", "7": "SERVER_ENCRYPT", "9": "SERVER_ENCRYPT"})},
	"serverName":                             {"", none("the URL has a place for it")},
	"sslCertLocation":                        {param: "SSLServerCertificate"},
	"sslClientHostnameValidation":            {hostnameValidation, choose(map[string]string{"BASIC": "Basic", "OFF": "OFF"})},
	"sslConnection":                          {"Security", choose(map[string]string{"true": "SSL", "false": ""})},
	"sslTrustStoreLocation":                  {"", none("SSLServerCertificate or SSLClientKeystoredb does")},
	"sslTrustStorePassword":                  {"", none("SSLServerCertificate or SSLClientKeystoredb does")},
	"sslKeyStoreLocation":                    {"", none("SSLClientKeystoredb does")},
	"sslKeyStorePassword":                    {"", none("SSLClientKeystash does")},
	"traceFile":                              {"", none("CLI traces show passwords")},
	"traceLevel":                             {"", none("CLI traces show passwords")},
	"retrieveMessagesFromServerOnGetMessage": {"", choose(map[string]string{"true": "", "false": ""})},
}

func none(hint string) func(string) (string, error) {
	return func(string) (string, error) { return "", errors.New("it has no counterpart; " + hint) }
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

// notZero drops JCC's 0 for no bound, which is the CLI driver's default.
func notZero(v string) (string, error) {
	switch v {
	case "":
		return "", errors.New("it is empty")
	case "0":
		return "", nil
	}
	return v, nil
}
