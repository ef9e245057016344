package gosqldriver

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/driver/vocabulary"
	"github.com/sqlsecrets/sqlsecrets/internal/jdbcurl"
)

// CheckParams checks parameters: those of go-sql-driver/mysql, the server's system
// variables, case ignored as the server does, and a user's own (with "@"). As with that
// driver alone, the value of a variable is SQL: a string has quotes. A variable is not
// looked up, unless its name may be a mistake for a parameter or about TLS or the login: a
// mistyped TLS=true must not go to the server.
func (e Engine) CheckParams(params map[string]string) error { return words(e.MariaDB).Check(params) }

// ParseURL parses a URL as MySQL's JDBC driver, Connector/J, or MariaDB's has it:
//
//	mysql://host:port/database?user=<secret id>&name=value
//
// All but the user may be missing. Values and the database are percent-decoded; "+"
// is itself, unlike in Connector/J. Lists of hosts are refused, as are the forms
// mysql:loadbalance:, mysql:replication: and the like: go-sql-driver/mysql connects
// to one host.
//
// A property is one of the JDBC driver's, and then translated, or go-sql-driver's
// parameter or a variable of the session under its own name. One of the JDBC
// driver's without a counterpart is an error.
func (e Engine) ParseURL(raw string, own func(property string) bool) (driver.URL, error) {
	switch {
	case !jdbcurl.Split(raw).HasAuthority:
		return driver.URL{}, fmt.Errorf("the URL is not of the form %s://host:port/database", e.Info().Name)
	case strings.ContainsRune(raw, '#'):
		return driver.URL{}, errors.New(`the URL has a "#"; write "%23" for it`) // Connector/J drops what follows
	}
	return words(e.MariaDB).ParseURL(raw, own)
}

// words returns what go-sql-driver/mysql, the JDBC driver and the server call things.
func words(mariaDB bool) *vocabulary.Vocabulary {
	if mariaDB {
		return mariaDBWords
	}
	return mySQLWords
}

var mySQLWords, mariaDBWords = newWords(finishMySQL), newWords(finishMariaDB)

func newWords(finish func(*vocabulary.Translation) error) *vocabulary.Vocabulary {
	return &vocabulary.Vocabulary{
		Vendor:     "go-sql-driver/mysql",
		Params:     params,
		Refused:    refused,
		Meant:      meant,
		Server:     &vocabulary.Settings{Check: checkVariable, Harmless: harmless},
		Together:   checkTogether,
		Properties: properties,
		Absent:     absent,
		Hosts:      parseAuthority,
		Finish:     finish,
	}
}

var (
	boolean  = vocabulary.Param{Check: vocabulary.Match("true or false", isBool)}
	duration = vocabulary.Param{Check: vocabulary.Match("a duration as 30s or 1m is", isDuration)}
	notEmpty = vocabulary.Param{Check: vocabulary.NotEmpty}
)

// params are the parameters of parseDSNParams in dsn.go of go-sql-driver/mysql
// v1.10.1, but for those in refused. Everything else is a variable of the session
// to that driver.
var params = map[string]vocabulary.Param{
	"allowCleartextPasswords": boolean,
	"allowNativePasswords":    boolean,
	"charset":                 {Check: vocabulary.Match("a list of character sets", func(v string) bool { return isWords(v, ',') })},
	"checkConnLiveness":       boolean,
	"clientFoundRows":         boolean,
	"collation":               {Check: vocabulary.Match("a collation", func(v string) bool { return isWords(v, 0) })},
	"columnsWithAlias":        boolean,
	"compress":                boolean,
	"connectionAttributes":    notEmpty,
	"interpolateParams":       boolean,
	"loc":                     notEmpty,
	"maxAllowedPacket":        {Check: vocabulary.Number("a number of bytes", 0, math.MaxInt32)},
	"multiStatements":         boolean,
	"parseTime":               boolean,
	"readTimeout":             duration,
	"rejectReadOnly":          boolean,
	"serverPubKey":            notEmpty,
	"timeTruncate":            duration,
	"timeout":                 duration,
	"tls":                     notEmpty,
	"writeTimeout":            duration,
}

// refused are parameters that the driver knows and we do not take, with the reason.
var refused = map[string]string{
	"allowAllFiles":            "any server may then ask for any file; name files with mysql.RegisterLocalFile, or set it in Engine.Configure",
	"allowFallbackToPlaintext": "tls=preferred says so",
	"allowOldPasswords":        "a password is easily had from what it sends; use mysql_native_password or caching_sha2_password",
	"strict":                   "go-sql-driver/mysql has it no more; set sql_mode",
}

// meant are what people write for a parameter or variable.
var meant = map[string]string{
	"ssl":                  "tls",
	"tsl":                  "tls",
	"timezone":             "time_zone",
	"transactionisolation": "transaction_isolation",
}

// harmless are variables that look like a mistake for a parameter or property, or as if
// they were about TLS: a user's own, and those that a session of MySQL, MariaDB or one of
// their storage engines may change.
var harmless = []string{
	"@*",
	"block_encryption_mode",
	"character_set_results",
	"default_table_encryption",
	"innodb_default_encryption_key_id",
	"rocksdb_verify_row_debug_checksums",
	"sql_mode",
	"tcp_nodelay",
	"time_zone",
	"transaction_isolation",
}

// properties are those of Connector/J (PropertyKey.java, 9.1) and of MariaDB's driver
// (Configuration.java, 3.5) that go-sql-driver/mysql has under other names, and
// those that make no difference in Go.
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
	"characterSetResults": {Translate: func(v string) (string, error) { return "", utf8Only(v) }},
	"connectionTimeZone":  {Param: "loc", Translate: timeZone},
	"serverTimezone":      {Param: "loc", Translate: timeZone},
	"sessionVariables":    {Apply: sessionVariables},

	"useSSL":                         {Param: "tls", Apply: legacyTLS},
	"useSsl":                         {Param: "tls", Apply: legacyTLS},
	"requireSSL":                     {Param: "tls", Apply: legacyTLS},
	"verifyServerCertificate":        {Param: "tls", Apply: legacyTLS},
	"trustServerCertificate":         {Param: "tls", Apply: legacyTLS},
	"disableSslHostnameVerification": {Param: "tls", Apply: legacyTLS},

	"useUnicode":                       only(true, ""),
	"tcpKeepAlive":                     only(true, "Engine.Configure sets a dialer"),
	"tcpNoDelay":                       only(true, "Engine.Configure sets a dialer"),
	"autoReconnect":                    only(false, "database/sql replaces connections that broke"),
	"allowPublicKeyRetrieval":          only(true, "go-sql-driver/mysql asks a server without TLS for its key; serverPubKey names one that it need not ask for"),
	"allowLoadLocalInfile":             only(false, "name files with mysql.RegisterLocalFile"),
	"allowLocalInfile":                 only(false, "name files with mysql.RegisterLocalFile"),
	"allowUrlInLocalInfile":            only(false, "name readers with mysql.RegisterReaderHandler"),
	"permitMysqlScheme":                {Bare: true, Translate: func(string) (string, error) { return "", nil }},
	"forceConnectionTimeZoneToSession": only(false, "set the variable time_zone"),

	"transactionIsolation":         vocabulary.None("set the variable transaction_isolation, in MariaDB 10 tx_isolation"),
	"timezone":                     vocabulary.None("set loc, and the variable time_zone"),
	"socketFactory":                vocabulary.None("Engine.Configure sets a dialer"),
	"localSocketAddress":           vocabulary.None("Engine.Configure sets a dialer"),
	"serverSslCert":                vocabulary.None("driver.Options.TLS names authorities"),
	"trustStore":                   vocabulary.None("driver.Options.TLS names authorities"),
	"trustCertificateKeyStoreUrl":  vocabulary.None("driver.Options.TLS names authorities"),
	"clientCertificateKeyStoreUrl": vocabulary.None("driver.Options.TLS takes a certificate"),
	"keyStore":                     vocabulary.None("driver.Options.TLS takes a certificate"),
	"serverRSAPublicKeyFile":       vocabulary.None("serverPubKey names one that was given to mysql.RegisterServerPubKey"),
	"serverRsaPublicKeyFile":       vocabulary.None("serverPubKey names one that was given to mysql.RegisterServerPubKey"),
}

// absent are the rest of the two drivers' properties.
const absent = `
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
`

func parseAuthority(s string) (host string, port int, err error) {
	if strings.ContainsAny(s, ",(") {
		return "", 0, errors.New("the URL has more than one host or a list of properties for one; go-sql-driver/mysql takes host:port")
	}
	return jdbcurl.SplitHostPort(s)
}

// checkTogether checks parameters that depend on each other.
func checkTogether(params map[string]string) error {
	if on, _ := parseBool(params["allowCleartextPasswords"]); on {
		if mode := tlsMode(params["tls"]); mode == "false" || mode == "preferred" {
			return errCleartext
		}
	}
	return nil
}

var errCleartext = errors.New(`parameter "allowCleartextPasswords" needs tls=true, or another that makes TLS required`)

// parseBool is readBool of go-sql-driver/mysql.
func parseBool(s string) (value, ok bool) {
	switch s {
	case "1", "true", "TRUE", "True":
		return true, true
	case "0", "false", "FALSE", "False":
		return false, true
	}
	return false, false
}

func isBool(v string) bool {
	_, ok := parseBool(v)
	return ok
}

func isDuration(v string) bool {
	d, err := time.ParseDuration(v)
	return err == nil && d >= 0
}

// tlsMode returns "true", "false", "skip-verify" or "preferred" for what the driver
// takes for one of them, other values as they are.
func tlsMode(value string) string {
	if on, ok := parseBool(value); ok {
		return strconv.FormatBool(on)
	}
	if lower := strings.ToLower(value); lower == "skip-verify" || lower == "preferred" {
		return lower
	}
	return value
}

// isWords reports whether s is words of letters, digits and "_" with separators
// between. The driver writes them into a statement as they are.
func isWords(s string, separator rune) bool {
	word := false
	for _, r := range s {
		switch {
		case r == '_' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9':
			word = true
		case r == separator && word:
			word = false
		default:
			return false
		}
	}
	return word
}

// checkVariable checks a variable, which the driver writes into a SET statement, name and
// value as they are.
func checkVariable(name, value string) error {
	switch {
	case !isVariable(name):
		return errors.New("no variable has such a name")
	case value == "":
		return errors.New("it has to be a value in SQL")
	}
	return nil
}

// isVariable reports whether a name is a system variable's, which has dots if it is of a
// component, or with "@" a user's.
func isVariable(name string) bool {
	if user, ok := strings.CutPrefix(name, "@"); ok {
		return jdbcurl.IsName(user) && !strings.ContainsAny(user, "@-")
	}
	return isWords(name, '.')
}

// only is a property with the one value that go-sql-driver/mysql cannot be told to change.
func only(value bool, hint string) vocabulary.Property {
	if hint != "" {
		hint = "; " + hint
	}
	return vocabulary.Property{Translate: func(v string) (string, error) {
		on, err := boolOf(v)
		if err == nil && on != value {
			err = errors.New("it has no counterpart in go-sql-driver/mysql" + hint)
		}
		return "", err
	}}
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

// legacyTLS notes an older property about TLS, for finish.
func legacyTLS(t *vocabulary.Translation, p vocabulary.Pair) error {
	on, err := boolOf(p.Value)
	if err != nil {
		return fmt.Errorf("property %q: %w", p.Name, err)
	}
	t.Notes[strings.Replace(p.Name, "Ssl", "SSL", 1)] = strconv.FormatBool(on)
	return nil
}

func finishMySQL(t *vocabulary.Translation) error { return finish(t, "skip-verify") }

func finishMariaDB(t *vocabulary.Translation) error {
	if t.Notes["trustServerCertificate"] == "true" {
		return finish(t, "skip-verify")
	}
	return finish(t, "true")
}

// finish settles what depends on several properties. sslMode wins over the older
// ones, which DefaultPropertySet.java of Connector/J and Configuration.java of
// MariaDB's driver translate to it. useSSL is what useSSL=true means. We differ once:
// with that alone Connector/J goes on without TLS if the server has none.
func finish(t *vocabulary.Translation, useSSL string) error {
	if _, ok := t.Params["tls"]; ok {
		return nil
	}
	use, require, verify := t.Notes["useSSL"], t.Notes["requireSSL"] == "true", t.Notes["verifyServerCertificate"] == "true"
	switch {
	case use == "false" && (require || verify):
		return errors.New(`property "useSSL" is false, and another asks for TLS`)
	case use == "false":
		t.Params["tls"] = "false"
	case verify:
		t.Params["tls"] = "true"
	case use == "true":
		t.Params["tls"] = useSSL
	case require:
		t.Params["tls"] = "skip-verify"
	}
	return nil
}

// sessionVariables splits "a=1,b='x,y';c=2", as Connector/J does.
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

// splitList splits at "," and ";" outside quotes and parentheses.
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
