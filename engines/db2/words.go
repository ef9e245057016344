package db2

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/driver/vocabulary"
	"github.com/sqlsecrets/sqlsecrets/internal/jdbcurl"
)

const (
	hostnameValidation = "SSLClientHostnameValidation"
	security           = "Security"
	securitySSL        = "SSL"
	securityNone       = "NONE" // our own value: no TLS, even if the secret asks for it; the driver does not get it
)

// CheckParams checks parameters. They are keywords of IBM's CLI driver, in the spelling of its
// documentation.
func (e Engine) CheckParams(params map[string]string) error { return words.Check(params) }

// words has the names that IBM's CLI driver and IBM's JDBC driver, JCC, use.
var words = &vocabulary.Vocabulary{
	Vendor:     "IBM's CLI driver",
	Params:     params,
	Properties: properties,
	Together:   checkTogether,
}

var (
	text    = vocabulary.Param{Check: checkText}
	file    = vocabulary.Param{Check: checkText, File: true}
	seconds = vocabulary.Param{Check: vocabulary.Number("a number of seconds", 1, math.MaxInt32)}
)

// params are the keywords of the CLI driver that may be given. They are from
// https://www.ibm.com/docs/en/db2/11.5?topic=odbc-cliodbc-configuration-keywords-listing.
// Missing are the keywords for the address and the user, for other ways to log in, and for what
// database/sql decides itself.
var params = map[string]vocabulary.Param{
	"Authentication":       {Check: vocabulary.OneOf("SERVER", "SERVER_ENCRYPT", "SERVER_ENCRYPT_AES")},
	"ClientAcctStr":        text,
	"ClientApplName":       text,
	"ClientUserID":         text, // for accounting; it does not log in
	"ClientWrkStnName":     text,
	"ConnectTimeout":       seconds,
	"CurrentPackageSet":    text,
	"CurrentSchema":        text,
	"ProgramName":          text,
	"QueryTimeoutInterval": seconds,
	"ReceiveTimeout":       seconds,
	"SSLClientKeystash":    file,
	"SSLClientKeystoredb":  file,
	"SSLServerCertificate": file,
	security:               {Check: vocabulary.OneOf(securitySSL, securityNone)},
	"TxnIsolation":         {Check: vocabulary.OneOf("1", "2", "4", "8", "32")},
	hostnameValidation:     {Check: vocabulary.OneOf("Basic", "OFF")},
}

// properties are the properties of JCC that have a counterpart, and common ones that need none.
// They are from
// https://www.ibm.com/docs/en/db2/11.5?topic=information-properties-data-server-driver-jdbc-sqlj.
var properties = map[string]vocabulary.Property{
	"blockingReadConnectionTimeout": {Param: "ReceiveTimeout", Translate: notZero},
	"clientAccountingInformation":   {Param: "ClientAcctStr"},
	"clientApplicationInformation":  {Param: "ClientApplName"},
	"clientProgramName":             {Param: "ProgramName"},
	"clientUser":                    {Param: "ClientUserID"},
	"clientWorkstation":             {Param: "ClientWrkStnName"},
	"currentPackageSet":             {Param: "CurrentPackageSet"},
	"currentSchema":                 {Param: "CurrentSchema"},
	"defaultIsolationLevel":         {Param: "TxnIsolation"}, // the numbers are the same
	"loginTimeout":                  {Param: "ConnectTimeout", Translate: notZero},
	"queryTimeoutInterval":          {Param: "QueryTimeoutInterval"},
	"securityMechanism":             vocabulary.Choose("Authentication", "3", "SERVER", "7", "SERVER_ENCRYPT", "9", "SERVER_ENCRYPT"),
	"sslCertLocation":               {Param: "SSLServerCertificate"},
	"sslClientHostnameValidation":   vocabulary.Choose(hostnameValidation, "BASIC", "Basic", "OFF", "OFF"),
	"sslConnection":                 vocabulary.Choose(security, "true", securitySSL, "false", securityNone),

	// Properties about caches and reading in Java.
	"deferPrepares":           vocabulary.Only("", "true", "false"),
	"fullyMaterializeLobData": vocabulary.Only("", "true", "false"),
	"maxStatements":           vocabulary.NoEffect(vocabulary.Number("a number", 0, math.MaxInt32)),

	"driverType":                             vocabulary.Only("", "4"),
	"progressiveStreaming":                   vocabulary.Only("", "1", "2"),
	"retrieveMessagesFromServerOnGetMessage": vocabulary.Only("", "true", "false"),

	"databaseName":          vocabulary.None("give it in the URL's own place"),
	"portNumber":            vocabulary.None("give it in the URL's own place"),
	"serverName":            vocabulary.None("give it in the URL's own place"),
	"sslTrustStoreLocation": vocabulary.None("give SSLServerCertificate or SSLClientKeystoredb"),
	"sslTrustStorePassword": vocabulary.None("give SSLServerCertificate or SSLClientKeystoredb"),
	"sslKeyStoreLocation":   vocabulary.None("give SSLClientKeystoredb"),
	"sslKeyStorePassword":   vocabulary.None("give SSLClientKeystash"),
	"traceFile":             vocabulary.None("traces of CLI show passwords"),
	"traceLevel":            vocabulary.None("traces of CLI show passwords"),
}

// checkText checks a value that is written unchanged into the connection string.
func checkText(v string) error {
	if err := vocabulary.NotEmpty(v); err != nil {
		return err
	}
	if err := verbatim(v); err != nil {
		return fmt.Errorf("it cannot be part of a connection string of Db2: it %w", err)
	}
	return nil
}

// notZero drops a 0, which means no limit in JCC, because no limit is the default of the CLI
// driver.
func notZero(v string) (string, error) {
	if v == "0" {
		return "", nil
	}
	return v, vocabulary.NotEmpty(v)
}

// checkTogether checks parameters that depend on each other.
func checkTogether(params map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(params)) {
		if strings.HasPrefix(name, "SSL") && params[security] != securitySSL {
			return fmt.Errorf("parameter %q needs Security=SSL: without it there is no TLS", name)
		}
	}
	return nil
}

// ParseURL parses a URL in the form of IBM's JDBC driver, JCC:
//
//	db2://host:port/database:user=<secret id>;name=value;
//	db2:database:user=<secret id>;
//
// Only the user is required. The list of properties begins at the first ":" after the path. Nothing
// is percent-decoded, so a value cannot have a ";".
//
// A property of JCC is translated, or is an error if the CLI driver has no counterpart. A parameter
// that CheckParams accepts is taken under its own name.
func (e Engine) ParseURL(url string, own func(property string) bool) (driver.URL, error) {
	authority, path, hasPath := "", strings.TrimPrefix(url, "db2:"), true
	if rest, ok := strings.CutPrefix(path, "//"); ok {
		authority, path, hasPath = strings.Cut(rest, "/")
	}
	path, list, _ := strings.Cut(path, ":")
	pairs, err := split(list)
	if err != nil {
		return driver.URL{}, err
	}
	switch {
	case !hasPath && strings.Contains(authority, "="):
		return driver.URL{}, errors.New(`the URL has no "/" before its properties: write db2://host:port/database:name=value;`)
	case strings.IndexByte(authority, ',') >= 0:
		return driver.URL{}, errors.New("the URL has several hosts, and a connection string of Db2 has one: give one host; CLI reads alternate servers from db2dsdriver.cfg")
	case strings.ContainsAny(path, "/?=;"):
		return driver.URL{}, errors.New(`the name of the database has one of "/?=;": write db2://host:port/database:name=value;`)
	}
	t := words.NewTranslation()
	t.Database = path
	if t.Host, t.Port, err = jdbcurl.SplitHostPort(authority); err != nil {
		return driver.URL{}, err
	}
	return t.Translate(pairs, own)
}

// split splits a list of properties, which may end with a ";".
func split(list string) (pairs []vocabulary.Pair, err error) {
	seen := map[string]bool{}
	for pair := range strings.SplitSeq(list, ";") {
		if pair == "" {
			continue
		}
		name, value, ok := strings.Cut(pair, "=")
		switch {
		case !jdbcurl.IsName(name):
			return nil, errors.New("a property has an impossible name")
		case !ok:
			// The error does not quote it, because it may be the end of a value that has a ";".
			return nil, errors.New("a property has no value")
		case seen[name]:
			return nil, fmt.Errorf("property %q is given twice", name)
		}
		seen[name] = true
		pairs = append(pairs, vocabulary.Pair{Name: name, Value: value})
	}
	return pairs, nil
}
