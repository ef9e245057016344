package gosqldriver

import (
	"errors"
	"strconv"
	"strings"
)

// A property is one of a JDBC driver's.
type property struct {
	param     string                             // its counterpart
	translate func(value string) (string, error) // "" sets nothing; nil: the value stays
}

// properties are those of Connector/J (PropertyKey.java, 9.1) and of MariaDB's driver
// (Configuration.java, 3.5) that go-sql-driver/mysql has under other names, and
// those that make no difference in Go.
var properties = map[string]property{
	"sslMode":                 {"tls", sslMode},
	"connectTimeout":          {"timeout", milliseconds},
	"socketTimeout":           {"readTimeout", milliseconds},
	"allowMultiQueries":       {"multiStatements", sameBool},
	"useCompression":          {"compress", sameBool},
	"useAffectedRows":         {"clientFoundRows", oppositeBool},
	"useServerPrepStmts":      {"interpolateParams", oppositeBool},
	"connectionCollation":     {param: "collation"},
	"characterEncoding":       {"charset", func(v string) (string, error) { return "utf8mb4", utf8Only(v) }},
	"characterSetResults":     {"", func(v string) (string, error) { return "", utf8Only(v) }},
	"connectionTimeZone":      {"loc", timeZone},
	"serverTimezone":          {"loc", timeZone},
	"useUnicode":              {"", only(true, "")},
	"tcpKeepAlive":            {"", only(true, "Engine.Configure sets a dialer")},
	"tcpNoDelay":              {"", only(true, "Engine.Configure sets a dialer")},
	"autoReconnect":           {"", only(false, "database/sql replaces connections that broke")},
	"allowPublicKeyRetrieval": {"", only(true, "go-sql-driver/mysql asks a server without TLS for its key; serverPubKey names one that it need not ask for")},
	"allowLoadLocalInfile":    {"", only(false, "name files with mysql.RegisterLocalFile")},
	"allowLocalInfile":        {"", only(false, "name files with mysql.RegisterLocalFile")},
	"allowUrlInLocalInfile":   {"", only(false, "name readers with mysql.RegisterReaderHandler")},
	"permitMysqlScheme":       {"", func(string) (string, error) { return "", nil }},
	"transactionIsolation":    {"", none("set the variable transaction_isolation, in MariaDB 10 tx_isolation")},
	"socketFactory":           {"", none("Engine.Configure sets a dialer")},
	"localSocketAddress":      {"", none("Engine.Configure sets a dialer")},
	"serverSslCert":           {"", none("driver.Options.TLS names authorities")},
	"trustStore":              {"", none("driver.Options.TLS names authorities")},

	"trustCertificateKeyStoreUrl":      {"", none("driver.Options.TLS names authorities")},
	"clientCertificateKeyStoreUrl":     {"", none("driver.Options.TLS takes a certificate")},
	"keyStore":                         {"", none("driver.Options.TLS takes a certificate")},
	"serverRSAPublicKeyFile":           {"", none("serverPubKey names one that was given to mysql.RegisterServerPubKey")},
	"serverRsaPublicKeyFile":           {"", none("serverPubKey names one that was given to mysql.RegisterServerPubKey")},
	"timezone":                         {"", none("set loc, and the variable time_zone")},
	"forceConnectionTimeZoneToSession": {"", only(false, "set the variable time_zone")},
}

// withoutCounterpart are the rest of the two drivers' properties.
var withoutCounterpart = strings.Fields(`
	address allowLoadLocalInfileInPath allowNanAndInf allowReplicaDownConnections
	allowSourceDownConnections alwaysSendSetIsolation authenticationOpenidConnectCallbackHandler
	authenticationPlugins authenticationWebAuthnCallbackHandler autoClosePStmtStreams
	autoGenerateTestcaseScript autoReconnectForPools autoSlowLog blankTableNameMeta blobsAreStrings
	blobSendChunkSize cacheCallableStmts cacheCodecs cacheDefaultTimezone cacheDefaultTimeZone
	cachePrepStmts cacheResultSetMetadata cacheServerConfiguration callableStmtCacheSize
	clientCertificateKeyStorePassword clientCertificateKeyStoreType clientInfoProvider
	clobberStreamingResults clobCharacterEncoding compensateOnDuplicateKeyUpdateCounts
	connectionLifecycleInterceptors continueBatchOnError createDatabaseIfNotExist credentialType
	customCharsetMapping databaseTerm defaultAuthenticationPlugin defaultFetchSize
	detectCustomCollations disabledAuthenticationPlugins disablePipeline disconnectOnExpiredPasswords
	dnsSrv dontCheckOnDuplicateKeyUpdateInSQL dontTrackOpenResources dumpQueriesOnException
	elideSetAutoCommits emptyStringsConvertToZero emulateLocators emulateUnsupportedPstmts
	enabledSslCipherSuites enabledSSLCipherSuites enabledSslProtocolSuites enabledTLSProtocols
	enableEscapeProcessing enablePacketDebug enableQueryTimeouts exceptionInterceptors
	explainSlowQueries failOverReadOnly fallbackToSystemKeyStore fallbackToSystemTrustStore
	fipsCompliantJsse functionsNeverReturnBlobs galeraAllowedState gatherPerfMetrics
	generateSimpleParameterMetadata geometryDefaultType getProceduresReturnsFunctions ha.enableJMX
	ha.loadBalanceStrategy haEnableJMX haLoadBalanceStrategy holdResultsOpenOverStatementClose
	idTokenFile ignoreNonTxTables includeInnodbStatusInDeadlockExceptions
	includeThreadDumpInDeadlockExceptions includeThreadNamesAsStatementComment initialTimeout initSql
	interactiveClient jdbcCompliantTruncation KeyManagerFactoryProvider keyPassword keyStorePassword
	keyStoreProvider keyStoreType largeRowSizeThreshold ldapServerHostname
	loadBalanceAutoCommitStatementRegex loadBalanceAutoCommitStatementThreshold
	loadBalanceBlocklistTimeout loadBalanceConnectionGroup loadBalanceExceptionChecker
	loadBalanceHostRemovalGracePeriod loadBalancePingTimeout loadBalanceSQLExceptionSubclassFailover
	loadBalanceSQLStateFailover loadBalanceValidateConnectionOnSwapServer localSocket
	locatorFetchBufferSize logger logSlowQueries logXaCommands maintainTimeStats maxByteArrayAsHex
	maxIdleTime maxPoolSize maxQuerySizeToLog maxReconnects maxRows metadataCacheSize metaExportedKeys
	minPoolSize namedPipePath netTimeoutForStreamingResults noAccessToProcedureBodies
	noDatetimeStringSync nullCatalogMeansCurrent nullDatabaseMeansCurrent ociConfigFile
	ociConfigProfile oldModeNoPrecisionTimestamp openTelemetry
	overrideSupportsIntegrityEnhancementFacility packetDebugBufferSize padCharsWithSpace paranoid
	parseInfoCacheFactory passwordCharacterEncoding path pedantic permitNoResults permitRedirect
	pinGlobalTxToPhysicalConnection pipe pool poolName poolValidMinDelay
	populateInsertRowWithDefaultValues prepStmtCacheSize prepStmtCacheSqlLimit preserveInstants
	priority processEscapeCodesForPrepStmts profilerEventHandler profileSQL propertiesTransform
	protocol pureLocalDateTime queriesBeforeRetrySource queryInfoCacheFactory queryInterceptors
	queryTimeoutKillsConnection readFromSourceWhenNoReplicas readOnlyPropagatesToServer
	reconnectAtTxEnd registerJmxPool replicationConnectionGroup reportMetricsIntervalMillis resourceId
	restrictedAuth resultSetSizeThreshold retriesAllDown returnMultiValuesGeneratedIds
	rewriteBatchedStatements rollbackOnPooledClose scrollTolerantForwardOnly secondsBeforeRetrySource
	selfDestructOnPingMaxOperations selfDestructOnPingSecondsLifetime sendFractionalSeconds
	sendFractionalSecondsForTime serverAffinityOrder serverConfigCacheFactory servicePrincipalName
	slowQueryThresholdMillis slowQueryThresholdNanos socksProxyHost socksProxyPort socksProxyRemoteDns
	sslContextProvider strictUpdates tcpAbortiveClose tcpKeepCount tcpKeepIdle tcpKeepInterval
	tcpRcvBuf tcpSndBuf tcpTrafficClass tinyInt1isBit tlsCiphersuites tlsSocketType tlsVersions
	traceProtocol trackSessionState transactionReplay transactionReplaySize transformedBitIsBoolean
	treatMysqlDatetimeAsTimestamp treatUtilDateAsTimestamp trustCertificateKeyStorePassword
	trustCertificateKeyStoreType trustManagerFactoryProvider trustStorePassword trustStoreType type
	ultraDevHack useBulkStmts useBulkStmtsForInserts useCatalogTerm useColumnNamesInFindColumn
	useConfigs useCursorFetch useHostsInPrivileges useInformationSchema useIpForKillQuery
	useLocalSessionState useLocalTransactionState useMysqlMetadata useNanosForElapsedTime
	useOldAliasMetadataBehavior useOnlyServerErrorMessages useReadAheadInput useResetConnection
	useStreamLengthsInPrepStmts useUnbufferedInput useUsageAdvisor uuidAsString yearIsDateType
	zeroDateTimeBehavior
`)

func none(hint string) func(string) (string, error) {
	return func(string) (string, error) {
		if hint == "" {
			return "", errors.New("it has no counterpart in go-sql-driver/mysql")
		}
		return "", errors.New("it has no counterpart in go-sql-driver/mysql; " + hint)
	}
}

// only takes the value that go-sql-driver/mysql cannot be told to change.
func only(value bool, hint string) func(string) (string, error) {
	return func(v string) (string, error) {
		on, err := boolOf(v)
		if err == nil && on != value {
			_, err = none(hint)(v)
		}
		return "", err
	}
}

// boolOf knows the spellings of both drivers.
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

// milliseconds translates a time, in which 0 is none.
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

// sslMode has the modes of both drivers. go-sql-driver/mysql cannot check a
// certificate's authority without the name, so that both are checked.
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
	return errors.New("it has no counterpart; strings are UTF-8 in Go")
}

// timeZone translates the zone that times without one are in.
func timeZone(v string) (string, error) {
	switch v {
	case "":
		return "", errors.New("it is empty")
	case "LOCAL":
		return "Local", nil
	case "SERVER":
		return "", errors.New("SERVER has no counterpart in go-sql-driver/mysql; name a time zone")
	}
	return v, nil
}
