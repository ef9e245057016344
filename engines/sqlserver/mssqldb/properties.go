package mssqldb

import (
	"errors"
	"strconv"
	"strings"
)

// A property is one of the JDBC driver's.
type property struct {
	param     string                             // its counterpart
	translate func(value string) (string, error) // "" sets nothing; nil: the value stays
}

// properties are those of mssql-jdbc (SQLServerDriver.java, 13.3) that go-mssqldb has,
// under other names or the same, and those that make no difference in Go, in lower case.
// Where to connect is read elsewhere.
var properties = map[string]property{
	"applicationname":         {param: "app name"},
	"app":                     {param: "app name"},
	"applicationintent":       {param: "applicationintent"},
	"encrypt":                 {param: "encrypt"},
	"trustservercertificate":  {param: "trustservercertificate"},
	"hostnameincertificate":   {param: "hostnameincertificate"},
	"servercertificate":       {param: "servercertificate"},
	"logintimeout":            {"logintimeout", zeroIsNone},
	"connecttimeout":          {"logintimeout", zeroIsNone},
	"sockettimeout":           {"connection timeout", milliseconds},
	"multisubnetfailover":     {param: "multisubnetfailover"},
	"packetsize":              {"packet size", packetSize},
	"workstationid":           {param: "workstation id"},
	"serverspn":               {param: "serverspn"},
	"columnencryptionsetting": {param: "columnencryption"},
	"columnencryption":        {param: "columnencryption"},

	"integratedsecurity":            {"", only("", "false", "no")},
	"trusted_connection":            {"", only("", "false", "no")},
	"authentication":                {"", only("", "notspecified", "sqlpassword")},
	"authenticationscheme":          {"", only("a user of the form DOMAIN\\name is logged in with NTLM", "nativeauthentication")},
	"sendstringparametersasunicode": {"", only("wrap strings in mssql.VarChar", "true")},
	"selectmethod":                  {"", only("", "direct")},
	"responsebuffering":             {"", only("", "adaptive", "full")},
	"lastupdatecount":               {"", only("", "true")},
	"xopenstates":                   {"", only("", "true", "false")},
	"disablestatementpooling":       {"", only("", "true", "false")},
	"sslprotocol":                   {"", only("tlsmin says which version is the lowest", "tls")},
	"querytimeout":                  {"", only("give queries a context with a deadline", "-1", "0")},
	"cancelquerytimeout":            {"", only("", "-1")},
	"locktimeout":                   {"", only("Engine.SessionInitSQL can SET LOCK_TIMEOUT", "-1")},
	"quotedidentifier":              {"", only("Engine.SessionInitSQL can SET it", "on")},
	"quotedid":                      {"", only("Engine.SessionInitSQL can SET it", "on")},
	"concatnullyieldsnull":          {"", only("Engine.SessionInitSQL can SET it", "on")},
	"connectretrycount":             {"", only("database/sql replaces connections that broke", "0", "1")},
	"fips":                          {"", only("", "false")},
	"replication":                   {"", only("", "false")},

	"transparentnetworkipresolution": {"", only("", "true", "false")},
	"failoverpartner":                {"", none("name the availability group's listener and set multiSubnetFailover")},
	"defaulttransactionisolation":    {"", none("BeginTx takes it")},
	"socketfactoryclass":             {"", none("Engine.Dial makes connections")},
	"socketfactoryconstructorarg":    {"", none("Engine.Dial makes connections")},
	"truststore":                     {"", none("driver.Options.TLS names authorities")},
	"truststorepassword":             {"", none("driver.Options.TLS names authorities")},
	"truststoretype":                 {"", none("driver.Options.TLS names authorities")},
	"trustmanagerclass":              {"", none("driver.Options.TLS can verify")},
	"trustmanagerconstructorarg":     {"", none("driver.Options.TLS can verify")},
	"clientcertificate":              {"", none("driver.Options.TLS takes a certificate")},
	"clientkey":                      {"", none("driver.Options.TLS takes a certificate")},
	"clientkeypassword":              {"", none("driver.Options.TLS takes a certificate")},
	"domain":                         {"", none("the secret's user is DOMAIN\\name then")},
	"domainname":                     {"", none("the secret's user is DOMAIN\\name then")},
}

// withoutCounterpart are the rest of that driver's properties, in lower case.
var withoutCounterpart = strings.Fields(strings.ToLower(`
	AADSecurePrincipalId AADSecurePrincipalSecret accessToken accessTokenCallback
	accessTokenCallbackClass bulkCopyForBatchInsertAllowEncryptedValueModifications
	bulkCopyForBatchInsertBatchSize bulkCopyForBatchInsertCheckConstraints
	bulkCopyForBatchInsertFireTriggers bulkCopyForBatchInsertKeepIdentity
	bulkCopyForBatchInsertKeepNulls bulkCopyForBatchInsertTableLock cacheBulkCopyMetadata
	calcBigDecimalPrecision connectRetryInterval datetimeParameterType delayLoadingLobs
	enablePrepareOnFirstPreparedStatementCall enclaveAttestationProtocol enclaveAttestationUrl
	gsscredential ignoreOffsetOnDateTimeOffsetConversion iPAddressPreference
	jaasConfigurationName keyStoreAuthentication keyStoreLocation keyStorePrincipalId
	keyStoreSecret keyVaultProviderClientId keyVaultProviderClientKey maxResultBuffer msiClientId
	prepareMethod realm retryConn retryExec sendTemporalDataTypesAsStringForBulkCopy
	sendTimeAsDatetime serverNameAsACE serverPreparedStatementDiscardThreshold
	statementPoolingCacheSize useBulkCopyForBatchInsert useDefaultGSSCredential
	useDefaultJaasConfig useFmtOnly vectorTypeSupport
`))

func none(hint string) func(string) (string, error) {
	return func(string) (string, error) {
		if hint == "" {
			return "", errors.New("it has no counterpart in go-mssqldb")
		}
		return "", errors.New("it has no counterpart in go-mssqldb; " + hint)
	}
}

// only takes values, case ignored, that are what go-mssqldb does.
func only(hint string, values ...string) func(string) (string, error) {
	return func(v string) (string, error) {
		for _, ok := range values {
			if strings.EqualFold(v, ok) {
				return "", nil
			}
		}
		return none(hint)(v)
	}
}

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
