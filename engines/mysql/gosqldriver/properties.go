package gosqldriver

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/sqlsecrets/sqlsecrets/driver/vocabulary"
)

// properties are the properties of Connector/J (PropertyKey.java, 9.1) and of MariaDB's driver
// (Configuration.java, 3.5) that go-sql-driver/mysql has under other names, and those that make no
// difference in Go.
var properties = map[string]vocabulary.Property{
	"sslMode":             {Param: "tls", Translate: sslMode},
	"connectTimeout":      {Param: "timeout", Translate: milliseconds},
	"socketTimeout":       {Param: "readTimeout", Translate: milliseconds},
	"allowMultiQueries":   {Param: "multiStatements", Translate: sameBool},
	"useCompression":      {Param: "compress", Translate: sameBool},
	"useAffectedRows":     {Param: "clientFoundRows", Translate: oppositeBool},
	"useServerPrepStmts":  {Param: "interpolateParams", Translate: oppositeBool},
	"connectionCollation": {Param: "collation"},
	"characterEncoding":   {Param: "charset", Translate: func(v string) (string, error) { return "utf8mb4", utf8Only(v) }},
	"characterSetResults": vocabulary.NoEffect(utf8Only),
	"connectionTimeZone":  {Param: "loc", Translate: timeZone},
	"serverTimezone":      {Param: "loc", Translate: timeZone},
	"sessionVariables":    {Apply: sessionVariables},
	"serverSslCert":       {Param: paramCA, Translate: certificateFile},

	"useSSL":                         {Param: "tls", Apply: legacyTLS},
	"useSsl":                         {Param: "tls", Apply: legacyTLS},
	"requireSSL":                     {Param: "tls", Apply: legacyTLS},
	"verifyServerCertificate":        {Param: "tls", Apply: legacyTLS},
	"trustServerCertificate":         {Param: "tls", Apply: legacyTLS},
	"disableSslHostnameVerification": {Param: "tls", Apply: legacyTLS},

	"useUnicode":                       only(true, ""),
	"tcpKeepAlive":                     only(true, "set a dialer in Engine.Configure"),
	"tcpNoDelay":                       only(true, "set a dialer in Engine.Configure"),
	"autoReconnect":                    only(false, "database/sql replaces connections that broke"),
	"allowPublicKeyRetrieval":          only(true, "go-sql-driver/mysql asks a server without TLS for its key, unless serverPubKey names one"),
	"allowLoadLocalInfile":             only(false, "name files with mysql.RegisterLocalFile"),
	"allowLocalInfile":                 only(false, "name files with mysql.RegisterLocalFile"),
	"allowUrlInLocalInfile":            only(false, "name readers with mysql.RegisterReaderHandler"),
	"permitMysqlScheme":                {Bare: true, Translate: func(string) (string, error) { return "", nil }},
	"forceConnectionTimeZoneToSession": only(false, "set the variable time_zone"),

	// Properties about caches, batches, logs and metadata in Java.
	"cacheCallableStmts":            anyBool,
	"cachePrepStmts":                anyBool,
	"cacheResultSetMetadata":        anyBool,
	"cacheServerConfiguration":      anyBool,
	"callableStmtCacheSize":         anyNumber,
	"dontTrackOpenResources":        anyBool,
	"elideSetAutoCommits":           anyBool,
	"failOverReadOnly":              anyBool,
	"maintainTimeStats":             anyBool,
	"metadataCacheSize":             anyNumber,
	"noAccessToProcedureBodies":     anyBool,
	"nullCatalogMeansCurrent":       anyBool,
	"nullDatabaseMeansCurrent":      anyBool,
	"passwordCharacterEncoding":     vocabulary.NoEffect(utf8Only),
	"prepStmtCacheSize":             anyNumber,
	"prepStmtCacheSqlLimit":         anyNumber,
	"rewriteBatchedStatements":      anyBool,
	"useBatchMultiSend":             anyBool, // this one and two others are of MariaDB's driver 2, for Aurora
	"useBatchMultiSendNumber":       anyNumber,
	"useBulkStmts":                  anyBool,
	"useInformationSchema":          anyBool,
	"useLocalSessionState":          anyBool,
	"useLocalTransactionState":      anyBool,
	"useMysqlMetadata":              anyBool,
	"usePipelineAuth":               anyBool,
	"useReadAheadInput":             anyBool,
	"useUnbufferedInput":            anyBool,
	"autoReconnectForPools":         only(false, "database/sql replaces connections that broke"),
	"createDatabaseIfNotExist":      only(false, "create the database first"),
	"dumpQueriesOnException":        only(false, ""),
	"gatherPerfMetrics":             only(false, ""),
	"interactiveClient":             only(false, "set the variable wait_timeout"),
	"jdbcCompliantTruncation":       only(false, "set the variable sql_mode, with STRICT_TRANS_TABLES in it"),
	"logSlowQueries":                only(false, ""),
	"pool":                          only(false, "database/sql has a pool"),
	"profileSQL":                    only(false, ""),
	"sendFractionalSeconds":         only(true, "give timeTruncate=1s"),
	"tinyInt1isBit":                 only(false, "scan it into a bool"),
	"transformedBitIsBoolean":       only(false, "scan it into a bool"),
	"useJDBCCompliantTimezoneShift": only(true, "set loc"),
	"useLegacyDatetimeCode":         only(false, "set loc"),
	"useUsageAdvisor":               only(false, ""),
	"yearIsDateType":                only(false, "a year is a number in Go"),
	"zeroDateTimeBehavior":          vocabulary.NoEffect(zeroDate),
	"enabledSslProtocolSuites":      vocabulary.NoEffect(tlsVersions),
	"enabledTLSProtocols":           vocabulary.NoEffect(tlsVersions),
	"tlsVersions":                   vocabulary.NoEffect(tlsVersions),
	"maxPoolSize":                   vocabulary.None("set it on sql.DB"),
	"minPoolSize":                   vocabulary.None("set it on sql.DB"),
	"maxIdleTime":                   vocabulary.None("set it on sql.DB"),

	"transactionIsolation":         vocabulary.None("set the variable transaction_isolation, in MariaDB 10 tx_isolation"),
	"timezone":                     vocabulary.None("set loc, and the variable time_zone"),
	"socketFactory":                vocabulary.None("set a dialer in Engine.Configure"),
	"localSocketAddress":           vocabulary.None("set a dialer in Engine.Configure"),
	"trustStore":                   vocabulary.None("give a file of certificate authorities in PEM by ssl-ca; keytool -exportcert -rfc writes one"),
	"trustCertificateKeyStoreUrl":  vocabulary.None("give a file of certificate authorities in PEM by ssl-ca; keytool -exportcert -rfc writes one"),
	"clientCertificateKeyStoreUrl": vocabulary.None("give files in PEM by ssl-cert and ssl-key"),
	"keyStore":                     vocabulary.None("give files in PEM by ssl-cert and ssl-key"),
	"serverRSAPublicKeyFile":       vocabulary.None("give a name registered by mysql.RegisterServerPubKey in serverPubKey"),
	"serverRsaPublicKeyFile":       vocabulary.None("give a name registered by mysql.RegisterServerPubKey in serverPubKey"),
}

// absent are all other properties of the two drivers. They have no counterpart in
// go-sql-driver/mysql.
const absent = `
	address allowLoadLocalInfileInPath allowNanAndInf allowReplicaDownConnections
	allowSourceDownConnections alwaysSendSetIsolation authenticationOpenidConnectCallbackHandler
	authenticationPlugins authenticationWebAuthnCallbackHandler autoClosePStmtStreams
	autoGenerateTestcaseScript autoSlowLog blankTableNameMeta blobsAreStrings blobSendChunkSize
	cacheCodecs cacheDefaultTimezone cacheDefaultTimeZone clientCertificateKeyStorePassword
	clientCertificateKeyStoreType clientInfoProvider clobberStreamingResults clobCharacterEncoding
	compensateOnDuplicateKeyUpdateCounts connectionLifecycleInterceptors continueBatchOnError
	credentialType customCharsetMapping databaseTerm defaultAuthenticationPlugin defaultFetchSize
	detectCustomCollations disabledAuthenticationPlugins disablePipeline
	disconnectOnExpiredPasswords dnsSrv dontCheckOnDuplicateKeyUpdateInSQL emptyStringsConvertToZero
	emulateLocators emulateUnsupportedPstmts enabledSslCipherSuites enabledSSLCipherSuites
	enableEscapeProcessing enablePacketDebug enableQueryTimeouts exceptionInterceptors
	explainSlowQueries fallbackToSystemKeyStore fallbackToSystemTrustStore fipsCompliantJsse
	functionsNeverReturnBlobs galeraAllowedState generateSimpleParameterMetadata geometryDefaultType
	getProceduresReturnsFunctions ha.enableJMX ha.loadBalanceStrategy haEnableJMX
	haLoadBalanceStrategy holdResultsOpenOverStatementClose idTokenFile ignoreNonTxTables
	includeInnodbStatusInDeadlockExceptions includeThreadDumpInDeadlockExceptions
	includeThreadNamesAsStatementComment initialTimeout initSql KeyManagerFactoryProvider
	keyPassword keyStorePassword keyStoreProvider keyStoreType largeRowSizeThreshold
	ldapServerHostname loadBalanceAutoCommitStatementRegex loadBalanceAutoCommitStatementThreshold
	loadBalanceBlocklistTimeout loadBalanceConnectionGroup loadBalanceExceptionChecker
	loadBalanceHostRemovalGracePeriod loadBalancePingTimeout loadBalanceSQLExceptionSubclassFailover
	loadBalanceSQLStateFailover loadBalanceValidateConnectionOnSwapServer localSocket
	locatorFetchBufferSize logger logXaCommands maxByteArrayAsHex maxQuerySizeToLog maxReconnects
	maxRows metaExportedKeys namedPipePath netTimeoutForStreamingResults noDatetimeStringSync
	ociConfigFile ociConfigProfile oldModeNoPrecisionTimestamp openTelemetry
	overrideSupportsIntegrityEnhancementFacility packetDebugBufferSize padCharsWithSpace paranoid
	parseInfoCacheFactory path pedantic permitNoResults permitRedirect
	pinGlobalTxToPhysicalConnection pipe poolName poolValidMinDelay
	populateInsertRowWithDefaultValues preserveInstants priority processEscapeCodesForPrepStmts
	profilerEventHandler propertiesTransform protocol pureLocalDateTime queriesBeforeRetrySource
	queryInfoCacheFactory queryInterceptors queryTimeoutKillsConnection readFromSourceWhenNoReplicas
	readOnlyPropagatesToServer reconnectAtTxEnd registerJmxPool replicationConnectionGroup
	reportMetricsIntervalMillis resourceId restrictedAuth resultSetSizeThreshold retriesAllDown
	returnMultiValuesGeneratedIds rollbackOnPooledClose scrollTolerantForwardOnly
	secondsBeforeRetrySource selfDestructOnPingMaxOperations selfDestructOnPingSecondsLifetime
	sendFractionalSecondsForTime serverAffinityOrder serverConfigCacheFactory servicePrincipalName
	slowQueryThresholdMillis slowQueryThresholdNanos socksProxyHost socksProxyPort
	socksProxyRemoteDns sslContextProvider strictUpdates tcpAbortiveClose tcpKeepCount tcpKeepIdle
	tcpKeepInterval tcpRcvBuf tcpSndBuf tcpTrafficClass tlsCiphersuites tlsSocketType traceProtocol
	trackSessionState transactionReplay transactionReplaySize treatMysqlDatetimeAsTimestamp
	treatUtilDateAsTimestamp trustCertificateKeyStorePassword trustCertificateKeyStoreType
	trustManagerFactoryProvider trustStorePassword trustStoreType type ultraDevHack
	useBulkStmtsForInserts useCatalogTerm useColumnNamesInFindColumn useConfigs useCursorFetch
	useHostsInPrivileges useIpForKillQuery useNanosForElapsedTime useOldAliasMetadataBehavior
	useOnlyServerErrorMessages useResetConnection useStreamLengthsInPrepStmts uuidAsString
`

// Properties whose value makes no difference in Go.
var (
	anyBool   = vocabulary.NoEffect(func(v string) error { _, err := boolOf(v); return err })
	anyNumber = vocabulary.NoEffect(vocabulary.Number("a number", -1, math.MaxInt32))
)

// only is a property that accepts one value, because go-sql-driver/mysql always behaves that way.
func only(value bool, hint string) vocabulary.Property {
	if hint != "" {
		hint = "; " + hint
	}
	return vocabulary.NoEffect(func(v string) error {
		on, err := boolOf(v)
		if err == nil && on != value {
			err = errors.New("it has no counterpart in go-sql-driver/mysql" + hint)
		}
		return err
	})
}

// boolOf accepts the spellings of both JDBC drivers.
func boolOf(v string) (bool, error) {
	switch strings.ToLower(v) {
	case "true", "yes", "1":
		return true, nil
	case "false", "no", "0":
		return false, nil
	}
	return false, errors.New("it has to be true or false")
}

func sameBool(v string) (string, error) {
	on, err := boolOf(v)
	return strconv.FormatBool(on), err
}

func oppositeBool(v string) (string, error) {
	on, err := boolOf(v)
	return strconv.FormatBool(!on), err
}

// milliseconds translates a time limit. 0 means none.
func milliseconds(v string) (string, error) {
	n, err := strconv.ParseUint(v, 10, 31)
	if err != nil {
		return "", errors.New("it has to be a number of milliseconds")
	}
	if n == 0 {
		return "", nil
	}
	return v + "ms", nil
}

// sslMode accepts the modes of both JDBC drivers. go-sql-driver/mysql cannot check the authority of
// a certificate without the name, so it always checks both.
func sslMode(v string) (string, error) {
	switch strings.ToLower(v) {
	case "disabled", "disable", "0", "false":
		return "false", nil
	case "preferred":
		return "preferred", nil
	case "required", "trust":
		return "skip-verify", nil
	case "verify_ca", "verify-ca", "verify_identity", "verify-full", "verify_full", "1", "true":
		return "true", nil
	}
	return "", errors.New("it has to be one of DISABLED, PREFERRED, REQUIRED, VERIFY_CA, VERIFY_IDENTITY, disable, trust, verify-ca, verify-full")
}

func utf8Only(v string) error {
	switch strings.ToLower(v) {
	case "utf8", "utf-8", "utf8mb4":
		return nil
	}
	return errors.New("it has no counterpart, because strings are UTF-8 in Go")
}

// timeZone translates the zone of times that have none.
func timeZone(v string) (string, error) {
	switch v {
	case "":
		return "", errors.New("it is empty")
	case "LOCAL":
		return "Local", nil
	case "SERVER":
		return "", errors.New("SERVER has no counterpart in go-sql-driver/mysql: name a time zone")
	}
	return v, nil
}

// zeroDate accepts Connector/J's default. go-sql-driver returns a zero date unchanged, or as the
// zero time.Time.
func zeroDate(v string) error {
	if !strings.EqualFold(v, "exception") {
		return errors.New("it has no counterpart in go-sql-driver/mysql, which returns the zero time.Time: use NULLIF in the query")
	}
	return nil
}

// tlsVersions accepts lists with TLS 1.2, because crypto/tls uses TLS 1.2 and 1.3 by default and a
// server may need 1.2.
func tlsVersions(v string) error {
	v = strings.ReplaceAll(v, " ", "")
	if !slices.Contains([]string{"TLSv1.2", "TLSv1.2,TLSv1.3", "TLSv1.3,TLSv1.2"}, v) {
		return errors.New("TLS 1.2 and 1.3 are used: set MinVersion in driver.Options.TLS for another lowest version")
	}
	return nil
}

// certificateFile accepts one of MariaDB's three forms: the one that names a file.
func certificateFile(v string) (string, error) {
	if strings.HasPrefix(v, "classpath:") || strings.HasPrefix(v, "-----BEGIN ") {
		return "", errors.New("it has to name a file in PEM")
	}
	return strings.TrimPrefix(v, "file:"), vocabulary.NotEmpty(v)
}

// legacyTLS notes the value of an older property about TLS. finish uses it.
func legacyTLS(t *vocabulary.Translation, p vocabulary.Pair) error {
	on, err := boolOf(p.Value)
	if err != nil {
		return fmt.Errorf("property %q: %w", p.Name, err)
	}
	t.Notes[strings.Replace(p.Name, "Ssl", "SSL", 1)] = strconv.FormatBool(on)
	return nil
}

func finishMySQL(t *vocabulary.Translation) error {
	if t.Params[paramCA] != "" { // there are authorities to verify the server
		return finish(t, "true")
	}
	return finish(t, "skip-verify")
}

func finishMariaDB(t *vocabulary.Translation) error {
	if t.Notes["trustServerCertificate"] == "true" {
		return finish(t, "skip-verify")
	}
	return finish(t, "true")
}

// finish settles what depends on several properties. sslMode takes precedence over the older
// properties, which DefaultPropertySet.java of Connector/J and Configuration.java of MariaDB's
// driver translate to sslMode. useSSL is the mode that useSSL=true means. There is one difference:
// with useSSL=true alone, Connector/J goes on without TLS if the server has none.
func finish(t *vocabulary.Translation, useSSL string) error {
	if _, ok := t.Params["tls"]; ok {
		return nil
	}
	use, require, verify := t.Notes["useSSL"], t.Notes["requireSSL"] == "true", t.Notes["verifyServerCertificate"] == "true"
	switch {
	case use == "false" && (require || verify):
		return errors.New(`property "useSSL" is false, and another property asks for TLS: leave one of them out`)
	case use == "false":
		t.Params["tls"] = "false"
	case verify:
		t.Params["tls"] = "true"
	case use == "true":
		t.Params["tls"] = useSSL
	case require && t.Params[paramCA] == "":
		t.Params["tls"] = "skip-verify"
	}
	return nil
}

// sessionVariables splits a list such as "a=1,b='x,y';c=2", as Connector/J does.
func sessionVariables(t *vocabulary.Translation, p vocabulary.Pair) error {
	for _, pair := range splitList(p.Value) {
		name, value, ok := strings.Cut(pair, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if !ok || !isVariable(name) {
			return errors.New(`property "sessionVariables": it is not a list of name=value of variables`)
		}
		if err := t.SetSetting(p.Name, name, value); err != nil {
			return err
		}
	}
	return nil
}

// splitList splits a list at each "," and ";" that is outside quotes and parentheses.
func splitList(list string) []string {
	var parts []string
	var quote byte
	start, depth := 0, 0
	for i := range len(list) {
		switch c := list[i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '\'' || c == '"' || c == '`':
			quote = c
		case c == '(':
			depth++
		case c == ')':
			depth--
		case depth == 0 && (c == ',' || c == ';'):
			parts = append(parts, list[start:i])
			start = i + 1
		}
	}
	return append(parts, list[start:])
}
