package mssqldb

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/sqlsecrets/sqlsecrets/driver/vocabulary"
	"github.com/sqlsecrets/sqlsecrets/internal/jdbcurl"
)

// CheckParams checks parameters. They are the parameters of go-mssqldb; case and spaces in their
// names do not matter.
func (e Engine) CheckParams(params map[string]string) error { return words.Check(params) }

// words has the names that go-mssqldb and mssql-jdbc use.
var words = &vocabulary.Vocabulary{
	Vendor:        "go-mssqldb",
	Params:        params,
	Refused:       refused,
	Meant:         meant,
	Fold:          plain,
	Properties:    properties,
	AnyCase:       true,
	AnyCaseValues: true,
	Absent:        absent,
	Together:      contradiction,
	Finish:        finish,
}

// passed are parameters of msdsn.Parse in go-mssqldb v1.11.2. msdsn.Parse gets them unchanged.
var passed = map[string]vocabulary.Param{
	"app name":           {Check: text},
	"connection timeout": {Check: seconds},
	"dial timeout":       {Check: seconds},
	"disableretry":       {Check: boolean},
	"epa enabled":        {Check: boolean},
	"guid conversion":    {Check: boolean},
	"keepalive":          {Check: seconds},
	"log":                {Check: vocabulary.Number("a number", 0, math.MaxUint16)},
	"notraceid":          {Check: boolean},
	"packet size":        {Check: vocabulary.Number("from 512 to 32767", 512, 32767)},
	"serverspn":          {Check: text},
	"timezone":           {Check: vocabulary.Match("the name of a time zone", func(v string) bool { return v != "" })},
	"workstation id":     {Check: text},
}

// read are parameters that this package reads: the other parameters of msdsn.Parse, without those
// in refused, and two of our own.
var read = map[string]vocabulary.Param{
	"applicationintent":      {Check: word("readonly", "readwrite")},
	"certificate":            {Check: certificate, File: true},
	"columnencryption":       {Check: enabledOrNot},
	"encrypt":                {Check: word("true", "mandatory", "yes", "1", "t", "strict", "false", "optional", "no", "0", "f", "disable")},
	"hostnameincertificate":  {Check: vocabulary.Match("a host name or an IP address", isHost)},
	"instance":               {Check: vocabulary.Match("the name of an instance", jdbcurl.IsInstance)}, // part of "server" in go-mssqldb
	"logintimeout":           {Check: seconds},                                                         // a parameter of the JDBC driver
	"multisubnetfailover":    {Check: enabledOrNot},
	"servercertificate":      {Check: certificate, File: true},
	"tlsmin":                 {Check: word("1.0", "1.1", "1.2", "1.3")},
	"trustservercertificate": {Check: boolean},
}

var params = func() map[string]vocabulary.Param {
	params := maps.Clone(passed)
	maps.Copy(params, read)
	return params
}()

// refused are parameters of the driver that are an error here, with the reason.
var refused = map[string]string{
	"authenticator":      byUser,
	"clientcertificate":  noClientCertificate,
	"clientkey":          noClientCertificate,
	"failoverport":       useListener,
	"failoverpartnerspn": useListener,
	"fedauth":            "the login uses the user and the password of the secret",
	"krb5-*":             byUser,
	"pipe":               "connections use TCP",
	"protocol":           "connections use TCP",
	"ssl-cert":           noClientCertificate, // this and the next ones: the names for MySQL and PostgreSQL
	"ssl-key":            noClientCertificate,
	"sslcert":            noClientCertificate,
	"sslkey":             noClientCertificate,
}

const (
	byUser      = "a user of the form DOMAIN\\name logs in with NTLM; set another method in Engine.Configure"
	useListener = "a rejected login would be repeated at the partner: use the availability group's listener"

	// A client offers a certificate by the flag 0x80 in PRELOGIN. Without that flag, SQL Server
	// does not ask for one.
	noClientCertificate = "go-mssqldb cannot offer SQL Server a certificate of the client: set it in driver.Options.TLS if a proxy asks for one"
)

// meant has names of ADO.NET, with the parameter that the user means. Without spaces they are names
// of mssql-jdbc.
var meant = map[string]string{
	"applicationname":         "app name",
	"columnencryptionsetting": "columnencryption",
	"connecttimeout":          "logintimeout",
}

// plain returns go-mssqldb's spelling of a parameter's name. go-mssqldb ignores case, and this
// package also ignores spaces.
func plain(name string) string {
	name = strings.ReplaceAll(strings.ToLower(name), " ", "")
	return cmp.Or(spelling[name], name)
}

// spelling has the names in passed, by their form without spaces.
var spelling = func() map[string]string {
	spelling := map[string]string{}
	for name := range passed {
		spelling[strings.ReplaceAll(name, " ", "")] = name
	}
	return spelling
}()

// maxName is how many UTF-16 units a name in a login may have: the length of sysname.
const maxName = 128

var (
	boolean      = vocabulary.Match("true or false", func(v string) bool { _, err := parseBool(v); return err == nil })
	enabledOrNot = vocabulary.Match("true, false, enabled or disabled", func(v string) bool { return enabled(v) != "" })
	seconds      = vocabulary.Number("a number of seconds", 0, math.MaxInt32)
	text         = vocabulary.Match("of 1 to 128 characters", func(v string) bool { return v != "" && utf8.ValidString(v) && units(v) <= maxName })
	certificate  = vocabulary.Match("a file whose name ends in .pem or .der", func(v string) bool {
		v = strings.ToLower(v)
		return strings.HasSuffix(v, ".pem") || strings.HasSuffix(v, ".der")
	})
)

// word accepts one of a few words, in upper or lower case.
func word(words ...string) func(string) error {
	check := vocabulary.OneOf(words...)
	return func(v string) error { return check(strings.ToLower(v)) }
}

func isHost(v string) bool {
	_, err := jdbcurl.ParseHost(v)
	return err == nil
}

// verifying are the parameters that say how to verify the server.
var verifying = []string{"certificate", "servercertificate", "hostnameincertificate"}

// isSet reports whether at least one of the parameters is given.
func isSet(p map[string]string, names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool { _, ok := p[name]; return ok })
}

// contradiction returns an error for parameters that contradict each other, because one would have
// no effect.
func contradiction(p map[string]string) error {
	for _, name := range verifying {
		if !isSet(p, name) {
			continue
		}
		switch {
		case encryption(p) == "disable":
			return fmt.Errorf(`parameter %q says how to verify the server, and "encrypt" turns encryption off: leave one of them out`, name)
		case boolText(p["trustservercertificate"]) == "true" && encryption(p) != "strict":
			return fmt.Errorf(`parameter %q says how to verify the server, and "trustservercertificate" says not to verify it: leave one of them out`, name)
		case name != "servercertificate" && p["servercertificate"] != "":
			return fmt.Errorf(`parameters %q and "servercertificate" exclude each other: leave one of them out`, name)
		}
	}
	return nil
}

// parseBool accepts what go-mssqldb accepts: the spellings of strconv, yes and no.
func parseBool(v string) (bool, error) {
	switch strings.ToLower(v) {
	case "yes":
		return true, nil
	case "no":
		return false, nil
	}
	return strconv.ParseBool(v)
}

// boolText returns "true" or "false" for a boolean value that was checked before.
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

// Properties whose value makes no difference in Go.
var (
	trueOrFalse = vocabulary.NoEffect(boolean)
	number      = vocabulary.NoEffect(vocabulary.Number("a number", -1, math.MaxInt32))
)

// properties are the properties of mssql-jdbc (SQLServerDriver.java, 13.3) that go-mssqldb has
// under the same or another name, and those that make no difference in Go. Their names are in lower
// case. Only the properties for the address and the database have an Apply func.
var properties = map[string]vocabulary.Property{
	"servername":   {Apply: serverName},
	"server":       {Apply: serverName},
	"portnumber":   {Apply: place(portNumber)},
	"port":         {Apply: place(portNumber)},
	"instancename": {Apply: place("instance")},
	"databasename": {Apply: place("database")},
	"database":     {Apply: place("database")},

	"applicationname":         {Param: "app name"},
	"app":                     {Param: "app name"},
	"applicationintent":       {Param: "applicationintent"},
	"encrypt":                 {Param: "encrypt"},
	"trustservercertificate":  {Param: "trustservercertificate"},
	"hostnameincertificate":   {Param: "hostnameincertificate"},
	"servercertificate":       {Param: "servercertificate"},
	"logintimeout":            {Param: "logintimeout", Translate: zeroIsNone},
	"connecttimeout":          {Param: "logintimeout", Translate: zeroIsNone},
	"sockettimeout":           {Param: "connection timeout", Translate: milliseconds},
	"multisubnetfailover":     {Param: "multisubnetfailover"},
	"packetsize":              {Param: "packet size", Translate: packetSize},
	"workstationid":           {Param: "workstation id"},
	"serverspn":               {Param: "serverspn"},
	"columnencryptionsetting": {Param: "columnencryption"},
	"columnencryption":        {Param: "columnencryption"},

	"integratedsecurity":            vocabulary.Only("", "false", "no"),
	"trusted_connection":            vocabulary.Only("", "false", "no"),
	"authentication":                vocabulary.Only("", "notspecified", "sqlpassword"),
	"authenticationscheme":          vocabulary.Only("a user of the form DOMAIN\\name logs in with NTLM", "nativeauthentication"),
	"sendstringparametersasunicode": vocabulary.Only("wrap strings in mssql.VarChar", "true"),
	"selectmethod":                  vocabulary.Only("", "direct"),
	"responsebuffering":             vocabulary.Only("", "adaptive", "full"),
	"lastupdatecount":               vocabulary.Only("", "true"),
	"xopenstates":                   vocabulary.Only("", "true", "false"),
	"disablestatementpooling":       vocabulary.Only("", "true", "false"),
	"sslprotocol":                   {Param: "tlsmin", Values: map[string]string{"tls": "", "tlsv1.2": "1.2"}, Hint: "give the lowest version by tlsmin"},
	"querytimeout":                  vocabulary.Only("give queries a context with a deadline", "-1", "0"),
	"cancelquerytimeout":            vocabulary.Only("", "-1"),
	"locktimeout":                   vocabulary.Only("set LOCK_TIMEOUT in Engine.SessionInitSQL", "-1"),
	"quotedidentifier":              vocabulary.Only("set it in Engine.SessionInitSQL", "on"),
	"quotedid":                      vocabulary.Only("set it in Engine.SessionInitSQL", "on"),
	"concatnullyieldsnull":          vocabulary.Only("set it in Engine.SessionInitSQL", "on"),
	"connectretrycount":             vocabulary.Only("database/sql replaces connections that broke", "0", "1"),
	"fips":                          vocabulary.Only("", "false"),
	"replication":                   vocabulary.Only("", "false"),

	// Properties about caches, batches and metadata in Java.
	"bulkcopyforbatchinsert*":                   trueOrFalse,
	"bulkcopyforbatchinsertbatchsize":           number,
	"cachebulkcopymetadata":                     trueOrFalse,
	"connectretryinterval":                      number,
	"delayloadinglobs":                          trueOrFalse,
	"enableprepareonfirstpreparedstatementcall": trueOrFalse,
	"maxresultbuffer":                           vocabulary.Only("", "-1"),
	"preparemethod":                             vocabulary.Only("", "prepexec", "prepare", "none"),
	"serverpreparedstatementdiscardthreshold":   number,
	"statementpoolingcachesize":                 number,
	"usebulkcopyforbatchinsert":                 trueOrFalse,
	"usefmtonly":                                trueOrFalse,

	"transparentnetworkipresolution": vocabulary.Only("", "true", "false"),
	"failoverpartner":                vocabulary.None("name the availability group's listener and set multiSubnetFailover"),
	"defaulttransactionisolation":    vocabulary.None("give it to BeginTx"),
	"socketfactoryclass":             vocabulary.None("set Engine.Dial"),
	"socketfactoryconstructorarg":    vocabulary.None("set Engine.Dial"),
	"truststore":                     vocabulary.None("give certificate authorities by certificate, which names a file in PEM, or in driver.Options.TLS"),
	"truststorepassword":             vocabulary.None("give certificate authorities by certificate, which names a file in PEM, or in driver.Options.TLS"),
	"truststoretype":                 vocabulary.None("give certificate authorities by certificate, which names a file in PEM, or in driver.Options.TLS"),
	"trustmanagerclass":              vocabulary.None("verify in driver.Options.TLS"),
	"trustmanagerconstructorarg":     vocabulary.None("verify in driver.Options.TLS"),
	"clientcertificate":              vocabulary.None(noClientCertificate),
	"clientkey":                      vocabulary.None(noClientCertificate),
	"clientkeypassword":              vocabulary.None(noClientCertificate),
	"domain":                         vocabulary.None("give the secret a user of the form DOMAIN\\name"),
	"domainname":                     vocabulary.None("give the secret a user of the form DOMAIN\\name"),
}

// absent are all other properties of that driver. They have no counterpart in go-mssqldb.
const absent = `
	AADSecurePrincipalId AADSecurePrincipalSecret accessToken accessTokenCallback
	accessTokenCallbackClass calcBigDecimalPrecision datetimeParameterType
	enclaveAttestationProtocol enclaveAttestationUrl gsscredential
	ignoreOffsetOnDateTimeOffsetConversion iPAddressPreference jaasConfigurationName
	keyStoreAuthentication keyStoreLocation keyStorePrincipalId keyStoreSecret
	keyVaultProviderClientId keyVaultProviderClientKey msiClientId realm retryConn retryExec
	sendTemporalDataTypesAsStringForBulkCopy sendTimeAsDatetime serverNameAsACE
	useDefaultGSSCredential useDefaultJaasConfig vectorTypeSupport
`

// zeroIsNone translates a number. 0 means none or the default.
func zeroIsNone(v string) (string, error) {
	switch v {
	case "":
		return "", errors.New("it is empty")
	case "0":
		return "", nil
	}
	return v, nil
}

// milliseconds translates a time limit to seconds. 0 means none.
func milliseconds(v string) (string, error) {
	n, err := strconv.ParseUint(v, 10, 31)
	if err != nil {
		return "", errors.New("it has to be a number of milliseconds")
	}
	if n == 0 {
		return "", nil
	}
	return strconv.FormatUint((n+999)/1000, 10), nil
}

// packetSize translates a size. 0 and -1 mean the default.
func packetSize(v string) (string, error) {
	if v == "-1" {
		return "", nil
	}
	return zeroIsNone(v)
}
