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

// CheckParams checks parameters: those of go-mssqldb, case and spaces ignored.
func (e Engine) CheckParams(params map[string]string) error { return words.Check(params) }

// words are what go-mssqldb and mssql-jdbc call things.
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

// passed are parameters of msdsn.Parse of go-mssqldb v1.11.2, which gets them as they are.
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

// read are parameters that are read here: the rest of msdsn.Parse's but for those in refused,
// and two of our own.
var read = map[string]vocabulary.Param{
	"applicationintent":      {Check: word("readonly", "readwrite")},
	"certificate":            {Check: certificate, File: true},
	"columnencryption":       {Check: enabledOrNot},
	"encrypt":                {Check: word("true", "mandatory", "yes", "1", "t", "strict", "false", "optional", "no", "0", "f", "disable")},
	"hostnameincertificate":  {Check: vocabulary.Match("a host name or an IP address", isHost)},
	"instance":               {Check: vocabulary.Match("the name of an instance", jdbcurl.IsInstance)}, // part of "server" in go-mssqldb
	"logintimeout":           {Check: seconds},                                                         // the JDBC driver's
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

// refused are parameters that the driver knows and we do not take, with the reason.
var refused = map[string]string{
	"authenticator":      byUser,
	"clientcertificate":  noClientCertificate,
	"clientkey":          noClientCertificate,
	"failoverport":       useListener,
	"failoverpartnerspn": useListener,
	"fedauth":            "the secret's user and password are what logs in",
	"krb5-*":             byUser,
	"pipe":               "connections are TCP's",
	"protocol":           "connections are TCP's",
	"ssl-cert":           noClientCertificate, // as MySQL and PostgreSQL name it
	"ssl-key":            noClientCertificate,
	"sslcert":            noClientCertificate,
	"sslkey":             noClientCertificate,
}

const (
	byUser      = "a user of the form DOMAIN\\name is logged in with NTLM; another way is for Engine.Configure to set"
	useListener = "a rejected login would be repeated at the partner; use the availability group's listener"

	// PRELOGIN has a flag, 0x80, by which a client offers one. SQL Server asks for none without.
	noClientCertificate = "go-mssqldb cannot offer SQL Server a client's certificate; for a proxy that asks for one, driver.Options.TLS takes it"
)

// meant are names of ADO.NET's. Without spaces they are mssql-jdbc's.
var meant = map[string]string{
	"applicationname":         "app name",
	"columnencryptionsetting": "columnencryption",
	"connecttimeout":          "logintimeout",
}

// plain is how parameters are told apart: go-mssqldb does not care about case, nor do we
// about spaces. It returns go-mssqldb's spelling.
func plain(name string) string {
	name = strings.ReplaceAll(strings.ToLower(name), " ", "")
	return cmp.Or(spelling[name], name)
}

// spelling has the names in passed by what is left of them without spaces.
var spelling = func() map[string]string {
	spelling := map[string]string{}
	for name := range passed {
		spelling[strings.ReplaceAll(name, " ", "")] = name
	}
	return spelling
}()

// maxName is how many UTF-16 units a name in a login may have, sysname's length.
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

// word takes one of a few words, case ignored.
func word(words ...string) func(string) error {
	check := vocabulary.OneOf(words...)
	return func(v string) error { return check(strings.ToLower(v)) }
}

func isHost(v string) bool {
	_, err := jdbcurl.ParseHost(v)
	return err == nil
}

// verifying are the parameters that say how to verify.
var verifying = []string{"certificate", "servercertificate", "hostnameincertificate"}

// isSet reports whether one of a few parameters is given.
func isSet(p map[string]string, names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool { _, ok := p[name]; return ok })
}

// contradiction refuses parameters of which one would be without effect.
func contradiction(p map[string]string) error {
	for _, name := range verifying {
		if !isSet(p, name) {
			continue
		}
		switch {
		case encryption(p) == "disable":
			return fmt.Errorf(`parameter %q says how to verify, and "encrypt" that there is no encryption`, name)
		case boolText(p["trustservercertificate"]) == "true" && encryption(p) != "strict":
			return fmt.Errorf(`parameter %q says how to verify, and "trustservercertificate" not to`, name)
		case name != "servercertificate" && p["servercertificate"] != "":
			return fmt.Errorf(`parameters %q and "servercertificate" exclude each other`, name)
		}
	}
	return nil
}

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

// Properties of which no value makes a difference in Go.
var (
	trueOrFalse = vocabulary.NoEffect(boolean)
	number      = vocabulary.NoEffect(vocabulary.Number("a number", -1, math.MaxInt32))
)

// properties are those of mssql-jdbc (SQLServerDriver.java, 13.3) that go-mssqldb has,
// under other names or the same, and those that make no difference in Go, in lower case.
// Those that say where to connect have an Apply, and no others.
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
	"authenticationscheme":          vocabulary.Only("a user of the form DOMAIN\\name is logged in with NTLM", "nativeauthentication"),
	"sendstringparametersasunicode": vocabulary.Only("wrap strings in mssql.VarChar", "true"),
	"selectmethod":                  vocabulary.Only("", "direct"),
	"responsebuffering":             vocabulary.Only("", "adaptive", "full"),
	"lastupdatecount":               vocabulary.Only("", "true"),
	"xopenstates":                   vocabulary.Only("", "true", "false"),
	"disablestatementpooling":       vocabulary.Only("", "true", "false"),
	"sslprotocol":                   {Param: "tlsmin", Values: map[string]string{"tls": "", "tlsv1.2": "1.2"}, Hint: "tlsmin says which version is the lowest"},
	"querytimeout":                  vocabulary.Only("give queries a context with a deadline", "-1", "0"),
	"cancelquerytimeout":            vocabulary.Only("", "-1"),
	"locktimeout":                   vocabulary.Only("Engine.SessionInitSQL can SET LOCK_TIMEOUT", "-1"),
	"quotedidentifier":              vocabulary.Only("Engine.SessionInitSQL can SET it", "on"),
	"quotedid":                      vocabulary.Only("Engine.SessionInitSQL can SET it", "on"),
	"concatnullyieldsnull":          vocabulary.Only("Engine.SessionInitSQL can SET it", "on"),
	"connectretrycount":             vocabulary.Only("database/sql replaces connections that broke", "0", "1"),
	"fips":                          vocabulary.Only("", "false"),
	"replication":                   vocabulary.Only("", "false"),

	// What caches, batches and reads meta-data in Java alone.
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
	"defaulttransactionisolation":    vocabulary.None("BeginTx takes it"),
	"socketfactoryclass":             vocabulary.None("Engine.Dial makes connections"),
	"socketfactoryconstructorarg":    vocabulary.None("Engine.Dial makes connections"),
	"truststore":                     vocabulary.None("certificate names a file of authorities in PEM, and driver.Options.TLS takes some"),
	"truststorepassword":             vocabulary.None("certificate names a file of authorities in PEM, and driver.Options.TLS takes some"),
	"truststoretype":                 vocabulary.None("certificate names a file of authorities in PEM, and driver.Options.TLS takes some"),
	"trustmanagerclass":              vocabulary.None("driver.Options.TLS can verify"),
	"trustmanagerconstructorarg":     vocabulary.None("driver.Options.TLS can verify"),
	"clientcertificate":              vocabulary.None(noClientCertificate),
	"clientkey":                      vocabulary.None(noClientCertificate),
	"clientkeypassword":              vocabulary.None(noClientCertificate),
	"domain":                         vocabulary.None("the secret's user is DOMAIN\\name then"),
	"domainname":                     vocabulary.None("the secret's user is DOMAIN\\name then"),
}

// absent are the rest of that driver's properties.
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

// zeroIsNone translates a number, in which 0 is none or the default.
func zeroIsNone(v string) (string, error) {
	switch v {
	case "":
		return "", errors.New("it is empty")
	case "0":
		return "", nil
	}
	return v, nil
}

// milliseconds translates a time, in which 0 is none, to seconds.
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

// packetSize translates a size, in which 0 and -1 are the default.
func packetSize(v string) (string, error) {
	if v == "-1" {
		return "", nil
	}
	return zeroIsNone(v)
}
