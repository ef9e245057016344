package mssqldb_test

import (
	"maps"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/microsoft/go-mssqldb/msdsn"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/sqlserver/mssqldb"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/configtest"
)

// withTLS returns the parameters of a URL without encrypt.
func withTLS(kv ...string) map[string]string {
	m := pairs(kv...)
	m["encrypt"] = "true"
	return m
}

// The meaning of the properties is tested in guide_test.go.
func TestParseURL(t *testing.T) {
	const arn = "arn:aws:secretsmanager:us-west-2:123456789012:secret:a/b-a1b2c3"
	cases := []configtest.URLCase{
		{"sqlserver://example.com:1434;databaseName=app;user=prod/app/db", driver.URL{SecretID: "prod/app/db", Host: "example.com", Port: 1434, Database: "app"}},
		{"sqlserver://example.com;user=" + arn, driver.URL{SecretID: arn, Host: "example.com"}},
		{"sqlserver://;user=id", driver.URL{SecretID: "id"}},
		{"sqlserver://;user=id;;databaseName=app;", driver.URL{SecretID: "id", Database: "app"}},
		{"sqlserver://h; user = id ; DATABASE = app ", driver.URL{SecretID: "id", Host: "h", Database: "app"}},
		{"sqlserver://h;user={id};databaseName={a;b}}c{ } ; ", driver.URL{SecretID: "id", Host: "h", Database: "a;b}c{ "}},
		{"sqlserver://h;databaseName=100%25;user=id", driver.URL{SecretID: "id", Host: "h", Database: "100%25"}},
		{"sqlserver://h;databaseName=a b=c;user=id", driver.URL{SecretID: "id", Host: "h", Database: "a b=c"}},
		{"sqlserver://[::1]:1435;user=id", driver.URL{SecretID: "id", Host: "::1", Port: 1435}},
		{"sqlserver://[::1];user=id", driver.URL{SecretID: "id", Host: "::1"}},
		{"sqlserver://;serverName=::1;portNumber=1435;user=id", driver.URL{SecretID: "id", Host: "::1", Port: 1435}},
		{`sqlserver://;serverName=[::1]\I1;user=id`, driver.URL{SecretID: "id", Host: "::1", Params: withTLS("instance", "I1")}},
		{"sqlserver://;server=h;port=1435;user=id", driver.URL{SecretID: "id", Host: "h", Port: 1435}},
		{`sqlserver://h\INST_1$;user=id`, driver.URL{SecretID: "id", Host: "h", Params: withTLS("instance", "INST_1$")}},
		{`sqlserver://h\INST:1500;user=id`, driver.URL{SecretID: "id", Host: "h", Port: 1500}},
		{`sqlserver://h\INST;portNumber=1500;user=id`, driver.URL{SecretID: "id", Host: "h", Port: 1500}},
		{"sqlserver://h:1500;instanceName=INST;user=id", driver.URL{SecretID: "id", Host: "h", Port: 1500}},
		{"sqlserver://h;user=id;stage={AWS;X};region=r", driver.URL{SecretID: "id", Host: "h", Params: withTLS("stage", "AWS;X", "region", "r")}},
		{"sqlserver://h;user=id;dialtimeout=4;timezone=UTC;certificate=/a.pem", driver.URL{SecretID: "id", Host: "h", Params: withTLS("dial timeout", "4", "timezone", "UTC", "certificate", "/a.pem")}},
	}
	for i := range cases {
		if cases[i].Want.Params == nil {
			cases[i].Want.Params = withTLS()
		}
	}
	configtest.ParseURL(t, mssqldb.Engine{}, configtest.Own, cases)
}

func TestParseURLFails(t *testing.T) {
	configtest.ParseURLFails(t, mssqldb.Engine{}, configtest.Own, []configtest.ErrorCase{
		{"sqlserver:h;user=id", "sqlserver://host"},
		{"sqlserver://h;user=id;password=s;CANARY", "a property has no value"},
		{"sqlserver://h;user=id;CANARY", "a property has no value"},
		{"sqlserver://h;user=id;CAN ARY=1", "an impossible name"},
		{"sqlserver://h;user=id;=CANARY", "an impossible name"},
		{"sqlserver://h;user=id;app={CANARY", `"app"`},
		{"sqlserver://h;user=id;app={CANARY}x", `"app"`},
		{"sqlserver://h;user=id;app=CANARY{x}", `"app"`},
		{"sqlserver://h;user=id;app=CANARY\x00", "NUL"},
		{`sqlserver://h:1433\CANARY;user=id`, "port before"},
		{`sqlserver://h\I:CANARY;user=id`, "port"},
		{`sqlserver://h\CAN ARY;user=id`, "instance"},
		{`sqlserver://h\;user=id`, "instance"},
		{"sqlserver://h1,CANARY;user=id", "several hosts"},
		{"sqlserver://h/CANARY;user=id", "host"},
		{"sqlserver://h?user=CANARY", "host"},
		{"sqlserver://{CANARY};user=id", "host"},
		{"sqlserver://h;user=id;serverName=CANARY", `"the URL's host" and "serverName"`},
		{"sqlserver://;user=id;serverName=a;server=CANARY", `"serverName" and "server"`},
		{"sqlserver://h:1;user=id;portNumber=2", `"portNumber"`},
		{`sqlserver://h\a;user=id;instanceName=b`, `"instanceName"`},
		{"sqlserver://h;user=id;databaseName=", "database"},
		{"sqlserver://h;user=id;app=a;applicationName=CANARY", `"app" and "applicationName"`},
	})
}

// Every property of SQLServerDriver.java is known: it is translated, has no effect, or is an error
// that says why.
func TestEveryProperty(t *testing.T) {
	for _, name := range strings.Fields(`applicationIntent applicationName prepareMethod failoverPartner
		hostNameInCertificate jaasConfigurationName responseBuffering selectMethod
		domain iPAddressPreference serverSpn realm socketFactoryClass
		socketFactoryConstructorArg trustStoreType trustStore trustStorePassword trustManagerClass
		trustManagerConstructorArg workstationID authenticationScheme authentication accessToken
		columnEncryptionSetting enclaveAttestationUrl enclaveAttestationProtocol keyStoreAuthentication
		keyStoreSecret keyStoreLocation sslProtocol msiClientId keyVaultProviderClientId
		keyVaultProviderClientKey keyStorePrincipalId clientCertificate clientKey clientKeyPassword
		AADSecurePrincipalId AADSecurePrincipalSecret maxResultBuffer encrypt serverCertificate
		datetimeParameterType accessTokenCallbackClass retryExec retryConn quotedIdentifier
		concatNullYieldsNull vectorTypeSupport defaultTransactionIsolation packetSize lockTimeout
		loginTimeout queryTimeout socketTimeout serverPreparedStatementDiscardThreshold
		statementPoolingCacheSize cancelQueryTimeout connectRetryCount connectRetryInterval
		bulkCopyForBatchInsertBatchSize disableStatementPooling integratedSecurity lastUpdateCount
		multiSubnetFailover replication serverNameAsACE sendStringParametersAsUnicode
		sendTimeAsDatetime TransparentNetworkIPResolution trustServerCertificate xopenStates fips
		enablePrepareOnFirstPreparedStatementCall cacheBulkCopyMetadata useBulkCopyForBatchInsert
		bulkCopyForBatchInsertCheckConstraints bulkCopyForBatchInsertFireTriggers
		bulkCopyForBatchInsertKeepIdentity bulkCopyForBatchInsertKeepNulls
		bulkCopyForBatchInsertTableLock bulkCopyForBatchInsertAllowEncryptedValueModifications
		useFmtOnly sendTemporalDataTypesAsStringForBulkCopy delayLoadingLobs
		ignoreOffsetOnDateTimeOffsetConversion useDefaultJaasConfig useDefaultGSSCredential
		calcBigDecimalPrecision gsscredential accessTokenCallback domainName trusted_connection app
		connectTimeout columnEncryption quotedId`) {
		_, err := mssqldb.Engine{}.ParseURL("sqlserver://h;user=id;"+name+"=?", configtest.NotOwn)
		if err == nil {
			if name != "applicationName" && name != "app" && name != "workstationID" && name != "serverSpn" {
				t.Errorf("property %q takes any value", name)
			}
		} else if !strings.Contains(err.Error(), `"`+name+`"`) {
			t.Errorf("property %q: %v", name, err)
		}
	}
}

// Whatever a URL contains, the driver gets the host, port, instance and database that were parsed,
// and encryption as the parameters say.
func FuzzParseURL(f *testing.F) {
	for _, s := range []string{
		"sqlserver://h:1;databaseName=db;user=id", "sqlserver://h;databaseName={a}};encrypt=disable};user=id;encrypt=true", `sqlserver://[::1]\I;user=id;app={;encrypt={disable}}`,
		"sqlserver://;serverName=::1;portNumber=3;user=id;encrypt=strict", "sqlserver://h;user=id;workstationID=};protocol={np;password={x;user id={y",
		"sqlserver://h;database=a/b?encrypt=disable#;user=a/b;trustServerCertificate=true", "sqlserver://h;user=id;timezone=UTC;serverSpn=a;columnEncryption=Enabled",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := mssqldb.Engine{}.ParseURL(raw, configtest.NotOwn)
		if err != nil {
			return
		}
		ep := configtest.EndpointOf(t, mssqldb.Engine{}, u)
		c, err := capture(t, ep)
		if err != nil {
			return // what is installed or unknown
		}
		port := uint64(ep.Port)
		if u.Params["instance"] != "" {
			port = 0
		}
		if c.Host != ep.Host || c.Port != port || c.Instance != u.Params["instance"] || c.Database != u.Database || c.User != "" || c.Password != "" ||
			c.ChangePassword != "" || c.FailOverPartner != "" || strings.Join(c.Protocols, ",") != "tcp" {
			t.Errorf("%s:%d, %s, %s, want %+v", c.Host, c.Port, c.Instance, c.Database, ep)
		}
		want := map[string]msdsn.Encryption{"strict": msdsn.EncryptionStrict, "disable": msdsn.EncryptionDisabled}
		for _, off := range []string{"false", "optional", "no", "0", "f"} {
			want[off] = msdsn.EncryptionOff
		}
		encryption, ok := want[strings.ToLower(u.Params["encrypt"])]
		if !ok {
			encryption = msdsn.EncryptionRequired
		}
		if c.Encryption != encryption {
			t.Errorf("encryption %d with encrypt=%s", c.Encryption, u.Params["encrypt"])
		}
		if trust := u.Params["trustservercertificate"]; c.TLSConfig != nil && c.TLSConfig.InsecureSkipVerify && trust == "" && u.Params["servercertificate"] == "" {
			t.Error("nothing is verified")
		}
		if name := u.Params["app name"]; name != "" && c.AppName != name {
			t.Errorf("application %q, want %q", c.AppName, name)
		}
	})
}

// Every value reaches the driver unchanged.
func FuzzParams(f *testing.F) {
	f.Add("db", "value")
	f.Add("a;encrypt={disable}", "};encrypt={disable")
	f.Add("{", "}")
	f.Fuzz(func(t *testing.T, database, value string) {
		if strings.ContainsRune(database+value, 0) || value == "" || !utf8.ValidString(database) || !utf8.ValidString(value) || len(database) > 128 || len(value) > 128 {
			return
		}
		params := pairs("app name", value, "workstation id", value, "serverspn", value, "encrypt", "true")
		c, err := capture(t, driver.Endpoint{Host: "h", Port: 1, Database: database, Params: maps.Clone(params)})
		if err != nil {
			t.Fatal(err)
		}
		if c.Host != "h" || c.Port != 1 || c.Database != database || c.TLSConfig == nil || c.TLSConfig.ServerName != "h" || c.TLSConfig.InsecureSkipVerify ||
			c.Encryption != msdsn.EncryptionRequired || c.AppName != value || c.Workstation != value || c.ServerSPN != value {
			t.Errorf("%q and %q became %s, %s, %s, %s", database, value, c.Database, c.AppName, c.Workstation, c.ServerSPN)
		}
	})
}
