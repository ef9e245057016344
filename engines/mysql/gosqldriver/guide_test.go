package gosqldriver_test

import (
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	gomysql "github.com/go-sql-driver/mysql"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/driver/drivertest"
	"github.com/sqlsecrets/sqlsecrets/engines/mysql/gosqldriver"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/configtest"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/testca"
)

// guideParams are the parameters of docs/mysql.md, each with what go-sql-driver
// gets.
var guideParams = drivertest.Cases(`
	tls=true => AllowFallbackToPlaintext=false, TLS.InsecureSkipVerify=false, TLS.ServerName="h.example.com", TLSConfig="true"
	tls=skip-verify => AllowFallbackToPlaintext=false, TLSConfig="skip-verify"
	tls=preferred =>
	tls=false => AllowFallbackToPlaintext=false, TLS=nil, TLSConfig="false"
	tls=guide => AllowFallbackToPlaintext=false, TLS.InsecureSkipVerify=false, TLS.MinVersion=772, TLS.ServerName="h.example.com", TLSConfig="guide"
	tls= => error: it is empty
	tls=CANARY => error: mysql.RegisterTLSConfig
	ssl-ca=ca.pem => AllowFallbackToPlaintext=false, TLS.InsecureSkipVerify=false, TLS.RootCAs=set, TLS.ServerName="h.example.com", TLSConfig="true"
	ssl-ca=ca.pem&tls=true => AllowFallbackToPlaintext=false, TLS.InsecureSkipVerify=false, TLS.RootCAs=set, TLS.ServerName="h.example.com", TLSConfig="true"
	ssl-ca=CANARY&tls=skip-verify => error: give tls=true
	ssl-ca=CANARY&tls=preferred => error: give tls=true
	ssl-ca=CANARY&tls=false => error: give tls=true
	ssl-ca=CANARY&tls=guide => error: put the certificates into that
	ssl-ca= => error: the name of a file
	ssl-cert=cert.pem&ssl-key=key.pem => AllowFallbackToPlaintext=false, TLS.Certificates=1 in it, TLS.InsecureSkipVerify=false, TLS.ServerName="h.example.com", TLSConfig="true"
	ssl-cert=cert.pem&ssl-key=key.pem&ssl-ca=ca.pem => AllowFallbackToPlaintext=false, TLS.Certificates=1 in it, TLS.InsecureSkipVerify=false, TLS.RootCAs=set, TLS.ServerName="h.example.com", TLSConfig="true"
	ssl-cert=cert.pem&ssl-key=key.pem&tls=skip-verify => AllowFallbackToPlaintext=false, TLS.Certificates=1 in it, TLSConfig="skip-verify"
	ssl-cert=CANARY => error: need each other
	ssl-key=CANARY => error: need each other
	ssl-cert=CANARY&ssl-key=CANARY&tls=preferred => error: give tls=true
	allowCleartextPasswords=true => error: makes TLS required
	allowCleartextPasswords=true&tls=skip-verify => AllowCleartextPasswords=true, AllowFallbackToPlaintext=false, TLSConfig="skip-verify"
	allowCleartextPasswords=true&tls=preferred => error: makes TLS required
	allowCleartextPasswords=true&tls=false => error: makes TLS required

	allowNativePasswords=false => AllowNativePasswords=false
	checkConnLiveness=false => CheckConnLiveness=false
	clientFoundRows=true => ClientFoundRows=true
	columnsWithAlias=true => ColumnsWithAlias=true
	compress=true => compress=true
	interpolateParams=true => InterpolateParams=true
	multiStatements=true => MultiStatements=true
	parseTime=true => ParseTime=true
	rejectReadOnly=true => RejectReadOnly=true
	parseTime=CANARY => error: true or false

	charset=utf8mb4,utf8 => charsets=["utf8mb4" "utf8"]
	charset=CANARY' => error: a list of character sets
	collation=utf8mb4_bin => Collation="utf8mb4_bin"
	collation=CANARY' => error: a collation
	connectionAttributes=a:b,c:d%26tls=false => ConnectionAttributes="a:b,c:d&tls=false"
	loc=Europe/Berlin => Loc=Europe/Berlin
	maxAllowedPacket=1000 => MaxAllowedPacket=1000
	maxAllowedPacket=CANARY => error: a number of bytes
	serverPubKey=guide => ServerPubKey="guide", pubKey=set
	serverPubKey=CANARY => error: mysql.RegisterServerPubKey
	timeTruncate=1ms => timeTruncate=1ms
	timeout=5s => Timeout=5s
	readTimeout=1m => ReadTimeout=1m0s
	writeTimeout=7s => WriteTimeout=7s
	timeout=CANARY => error: a duration

	time_zone=%27%2B00:00%27 => Params[time_zone]="'+00:00'"
	tx_isolation=%27SERIALIZABLE%27 => Params[tx_isolation]="'SERIALIZABLE'"
	SQL_MODE=%27ANSI%27 => Params[SQL_MODE]="'ANSI'"
	sql_mode= => error: a value in SQL
	@app=%27x%26tls=false%27 => Params[@app]="'x&tls=false'"
	aurora_replica_read_consistency=%27session%27 => Params[aurora_replica_read_consistency]="'session'"
	block_encryption_mode=%27aes-256-cbc%27 => Params[block_encryption_mode]="'aes-256-cbc'"
	time_zone=CANARY&TIME_ZONE=CANARY => error: are the same

	allowAllFiles=true => error: RegisterLocalFile
	allowOldPasswords=true => error: is not allowed
	allowFallbackToPlaintext=true => error: tls=preferred
	strict=true => error: sql_mode
	TLS=CANARY => error: did you mean "tls"
	tsl=CANARY => error: did you mean "tls"
	useSSL=CANARY => error: did you mean "tls"
	ssl_mode=CANARY => error: did you mean "tls"
	sslmode=CANARY => error: did you mean "tls"
	sslca=CANARY => error: did you mean "ssl-ca"
	ssl_key=CANARY => error: did you mean "ssl-key"
	require_secure_transport=CANARY => error: is not passed on
	tls_version=CANARY => error: is not known
	encrypt=CANARY => error: is not passed on
	connectTimeout=CANARY => error: did you mean "timeout"
	max_allowed_packet=CANARY => error: did you mean "maxAllowedPacket"
`)

// guideProperties are the properties of Connector/J in docs/mysql.md, each with what go-sql-driver
// gets, or with the error.
var guideProperties = drivertest.Cases(`
	sslMode=DISABLED => AllowFallbackToPlaintext=false, TLS=nil, TLSConfig="false"
	sslMode=disable => AllowFallbackToPlaintext=false, TLS=nil, TLSConfig="false"
	sslMode=PREFERRED =>
	sslMode=REQUIRED => AllowFallbackToPlaintext=false, TLSConfig="skip-verify"
	sslMode=trust => AllowFallbackToPlaintext=false, TLSConfig="skip-verify"
	sslMode=VERIFY_CA => AllowFallbackToPlaintext=false, TLS.InsecureSkipVerify=false, TLS.ServerName="h.example.com", TLSConfig="true"
	sslMode=VERIFY_IDENTITY => AllowFallbackToPlaintext=false, TLS.InsecureSkipVerify=false, TLS.ServerName="h.example.com", TLSConfig="true"
	sslMode=verify-ca => AllowFallbackToPlaintext=false, TLS.InsecureSkipVerify=false, TLS.ServerName="h.example.com", TLSConfig="true"
	sslMode=verify-full => AllowFallbackToPlaintext=false, TLS.InsecureSkipVerify=false, TLS.ServerName="h.example.com", TLSConfig="true"
	sslMode=VERIFY_IDENTITY&useSSL=false => AllowFallbackToPlaintext=false, TLS.InsecureSkipVerify=false, TLS.ServerName="h.example.com", TLSConfig="true"
	sslMode=CANARY => error: VERIFY_IDENTITY
	requireSSL=true => AllowFallbackToPlaintext=false, TLSConfig="skip-verify"
	requireSSL=false =>
	requireSSL=CANARY => error: true or false
	useSSL=true => AllowFallbackToPlaintext=false, TLSConfig="skip-verify"
	useSSL=true&requireSSL=true&verifyServerCertificate=true => AllowFallbackToPlaintext=false, TLS.InsecureSkipVerify=false, TLS.ServerName="h.example.com", TLSConfig="true"
	useSSL=false => AllowFallbackToPlaintext=false, TLS=nil, TLSConfig="false"
	useSSL=false&requireSSL=true => error: another property asks for TLS
	useSSL=CANARY => error: true or false
	verifyServerCertificate=true => AllowFallbackToPlaintext=false, TLS.InsecureSkipVerify=false, TLS.ServerName="h.example.com", TLSConfig="true"
	verifyServerCertificate=false =>

	connectTimeout=5000 => Timeout=5s
	connectTimeout=0 =>
	connectTimeout=10s => error: a number of milliseconds
	connectTimeout=CANARY => error: a number of milliseconds
	connectTimeout=1000&timeout=1s => error: "timeout" are the same
	socketTimeout=30000 => ReadTimeout=30s
	socketTimeout=0 =>
	allowMultiQueries=true => MultiStatements=true
	useCompression=yes => compress=true
	useCompression=CANARY => error: true or false
	connectionCollation=utf8mb4_bin => Collation="utf8mb4_bin"
	connectionCollation=CANARY' => error: a collation
	connectionTimeZone= => error: empty
	useAffectedRows=false => ClientFoundRows=true
	useAffectedRows=true =>
	useServerPrepStmts=false => InterpolateParams=true
	useServerPrepStmts=true =>
	characterEncoding=UTF-8 => charsets=["utf8mb4"]
	characterEncoding=latin1 => error: UTF-8
	serverTimezone=Europe/Berlin => Loc=Europe/Berlin
	connectionTimeZone=Europe/Berlin => Loc=Europe/Berlin
	connectionTimeZone=LOCAL => Loc=Local
	connectionTimeZone=SERVER => error: name a time zone
	connectionTimeZone=UTC&serverTimezone=UTC => error: "serverTimezone" are the same
	sessionVariables=sql_mode='ANSI,TRADITIONAL',@x=1 => Params[@x]="1", Params[sql_mode]="'ANSI,TRADITIONAL'"
	sessionVariables=a_variable_of_mysql_10=1 => Params[a_variable_of_mysql_10]="1"
	sessionVariables=CANARY => error: a list of name=value
	sessionVariables=tls=CANARY => error: "tls" is not a setting
	sessionVariables=stage=CANARY => error: "stage" is not a setting
	sessionVariables=useSSL=CANARY => error: did you mean "tls"
	sessionVariables=require_secure_transport=CANARY => error: is not passed on

	useUnicode=true =>
	tcpKeepAlive=true =>
	tcpKeepAlive=false => error: Engine.Configure
	tcpNoDelay=true =>
	allowPublicKeyRetrieval=true =>
	allowPublicKeyRetrieval=false => error: serverPubKey
	autoReconnect=false =>
	autoReconnect=true => error: database/sql
	allowLoadLocalInfile=false =>
	allowLoadLocalInfile=true => error: RegisterLocalFile
	allowLocalInfile=false =>
	allowLocalInfile=true => error: RegisterLocalFile
	allowUrlInLocalInfile=false =>
	allowUrlInLocalInfile=true => error: RegisterReaderHandler
	forceConnectionTimeZoneToSession=false =>
	forceConnectionTimeZoneToSession=true => error: no counterpart
	characterSetResults=utf8 =>
	characterSetResults=latin1 => error: UTF-8
	permitMysqlScheme =>
	permitMysqlScheme=true =>

	cachePrepStmts=true =>
	cachePrepStmts=CANARY => error: true or false
	prepStmtCacheSize=250 =>
	prepStmtCacheSize=CANARY => error: a number
	prepStmtCacheSqlLimit=2048 =>
	callableStmtCacheSize=100 =>
	metadataCacheSize=50 =>
	cacheCallableStmts=true =>
	cacheResultSetMetadata=true =>
	cacheServerConfiguration=true =>
	dontTrackOpenResources=true =>
	elideSetAutoCommits=true =>
	failOverReadOnly=false =>
	maintainTimeStats=false =>
	noAccessToProcedureBodies=true =>
	nullCatalogMeansCurrent=true =>
	nullDatabaseMeansCurrent=true =>
	rewriteBatchedStatements=true =>
	useBulkStmts=true =>
	usePipelineAuth=false =>
	usePipelineAuth=CANARY => error: true or false
	useBatchMultiSend=false =>
	useBatchMultiSendNumber=100 =>
	useInformationSchema=true =>
	useLocalSessionState=true =>
	useLocalTransactionState=true =>
	useMysqlMetadata=true =>
	useReadAheadInput=false =>
	useUnbufferedInput=false =>
	passwordCharacterEncoding=UTF-8 =>
	passwordCharacterEncoding=latin1 => error: UTF-8
	autoReconnectForPools=false =>
	autoReconnectForPools=true => error: database/sql
	createDatabaseIfNotExist=false =>
	createDatabaseIfNotExist=true => error: create the database
	dumpQueriesOnException=false =>
	gatherPerfMetrics=false =>
	interactiveClient=false =>
	interactiveClient=true => error: wait_timeout
	jdbcCompliantTruncation=false =>
	jdbcCompliantTruncation=true => error: sql_mode
	logSlowQueries=false =>
	logSlowQueries=true => error: no counterpart
	pool=false =>
	pool=true => error: database/sql
	profileSQL=false =>
	sendFractionalSeconds=true =>
	sendFractionalSeconds=false => error: timeTruncate
	tinyInt1isBit=false =>
	tinyInt1isBit=true => error: bool
	transformedBitIsBoolean=false =>
	useJDBCCompliantTimezoneShift=true =>
	useLegacyDatetimeCode=false =>
	useLegacyDatetimeCode=true => error: loc
	useUsageAdvisor=false =>
	yearIsDateType=false =>
	yearIsDateType=true => error: a number
	zeroDateTimeBehavior=EXCEPTION =>
	zeroDateTimeBehavior=exception =>
	zeroDateTimeBehavior=CONVERT_TO_NULL => error: the zero time.Time
	zeroDateTimeBehavior=round => error: the zero time.Time
	maxPoolSize=CANARY => error: sql.DB
	minPoolSize=CANARY => error: sql.DB
	maxIdleTime=CANARY => error: sql.DB

	parseTime=true => ParseTime=true
	time_zone='UTC' => Params[time_zone]="'UTC'"
	timezone=CANARY => error: no counterpart in go-sql-driver/mysql; set loc, and the variable time_zone
	transactionIsolation=CANARY => error: no counterpart in go-sql-driver/mysql; set the variable transaction_isolation
	socketFactory=CANARY => error: Engine.Configure
	localSocketAddress=CANARY => error: Engine.Configure
	serverSslCert=ca.pem => AllowFallbackToPlaintext=false, TLS.InsecureSkipVerify=false, TLS.RootCAs=set, TLS.ServerName="h.example.com", TLSConfig="true"
	serverSslCert=file:ca.pem&sslMode=VERIFY_CA => AllowFallbackToPlaintext=false, TLS.InsecureSkipVerify=false, TLS.RootCAs=set, TLS.ServerName="h.example.com", TLSConfig="true"
	serverSslCert=ca.pem&useSSL=true => AllowFallbackToPlaintext=false, TLS.InsecureSkipVerify=false, TLS.RootCAs=set, TLS.ServerName="h.example.com", TLSConfig="true"
	serverSslCert=ca.pem&requireSSL=true => AllowFallbackToPlaintext=false, TLS.InsecureSkipVerify=false, TLS.RootCAs=set, TLS.ServerName="h.example.com", TLSConfig="true"
	ssl-ca=CANARY&sslMode=trust => error: give tls=true
	ssl-ca=CANARY&useSSL=false => error: give tls=true
	serverSslCert=classpath:CANARY => error: a file in PEM
	serverSslCert=-----BEGIN CERTIFICATE-----CANARY => error: a file in PEM
	serverSslCert= => error: it is empty
	ssl-ca=ca.pem => AllowFallbackToPlaintext=false, TLS.InsecureSkipVerify=false, TLS.RootCAs=set, TLS.ServerName="h.example.com", TLSConfig="true"
	enabledTLSProtocols=TLSv1.2 =>
	enabledTLSProtocols=TLSv1.1,TLSv1.2 => error: MinVersion
	tlsVersions=TLSv1.2,TLSv1.3 =>
	tlsVersions=TLSv1.3 => error: MinVersion
	enabledSslProtocolSuites=TLSv1.3, TLSv1.2 =>
	enabledSslProtocolSuites=CANARY => error: MinVersion
	trustStore=CANARY => error: ssl-ca
	trustCertificateKeyStoreUrl=CANARY => error: ssl-ca
	clientCertificateKeyStoreUrl=CANARY => error: ssl-cert and ssl-key
	keyStore=CANARY => error: ssl-cert and ssl-key
	serverRSAPublicKeyFile=CANARY => error: RegisterServerPubKey
	serverRsaPublicKeyFile=CANARY => error: RegisterServerPubKey
	encrypt=true => error: is not known
	sslmode=require => error: did you mean "tls"
`)

// guideMariaDB are the properties that mean something else in MariaDB's driver.
var guideMariaDB = drivertest.Cases(`
	useSSL=true => AllowFallbackToPlaintext=false, TLS.InsecureSkipVerify=false, TLS.ServerName="h.example.com", TLSConfig="true"
	useSsl=true => AllowFallbackToPlaintext=false, TLS.InsecureSkipVerify=false, TLS.ServerName="h.example.com", TLSConfig="true"
	useSSL=true&trustServerCertificate=true => AllowFallbackToPlaintext=false, TLSConfig="skip-verify"
	useSSL=true&trustServerCertificate=0 => AllowFallbackToPlaintext=false, TLS.InsecureSkipVerify=false, TLS.ServerName="h.example.com", TLSConfig="true"
	useSSL=true&disableSslHostnameVerification=true => AllowFallbackToPlaintext=false, TLS.InsecureSkipVerify=false, TLS.ServerName="h.example.com", TLSConfig="true"
	useSSL=false => AllowFallbackToPlaintext=false, TLS=nil, TLSConfig="false"
	ssl-ca=CANARY&useSSL=true&trustServerCertificate=true => error: give tls=true
	trustServerCertificate=true =>
	serverSslCert=ca.pem&sslMode=verify-full => AllowFallbackToPlaintext=false, TLS.InsecureSkipVerify=false, TLS.RootCAs=set, TLS.ServerName="h.example.com", TLSConfig="true"
	sslMode=trust => AllowFallbackToPlaintext=false, TLSConfig="skip-verify"
`)

const guideSecret = `{"engine":"mysql","host":"h.example.com","port":3306,"username":"u","password":"p"}`

// connectingBy returns the configuration with which go-sql-driver would connect.
func connectingBy(t *testing.T, mariaDB bool, dsn, secret string) (drivertest.Fields, error) {
	t.Helper()
	config, err := configtest.CaptureDSN(t, dsn, secret, func(configure func(*gomysql.Config) error) driver.Engine {
		return gosqldriver.Engine{MariaDB: mariaDB, Configure: configure}
	}, nil)
	if err != nil {
		return nil, err
	}
	return drivertest.FieldsOf(config), nil
}

// Each row of the tables on the page has the effect that the page says, and each name has a case.
func TestGuide(t *testing.T) {
	register(t, "guide")
	guide, err := filepath.Abs("../../../docs/mysql.md")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(testca.New().Folder(t))
	drivertest.RunVocabulary(t, drivertest.Vocabulary{
		Words: gosqldriver.Words, Page: guide,
		Params: drivertest.Table{Heading: "parameters", Cases: map[string][]drivertest.Case{
			"prod/mysql?": guideParams, "prod/mariadb?": guideParams}},
		Properties: drivertest.Table{Heading: "Connector/J's property", Cases: map[string][]drivertest.Case{
			"jdbc-secretsmanager:mysql:///?user=prod/app&":   guideProperties,
			"jdbc-secretsmanager:mariadb:///?user=prod/app&": guideMariaDB}},
		Open: func(t *testing.T, dsn string) (drivertest.Fields, error) {
			return connectingBy(t, strings.Contains(dsn, "mariadb"), dsn, guideSecret)
		},
	})
}

// No host, port or database changes another option, whatever its characters are and wherever it
// comes from.
func FuzzEndpoint(f *testing.F) {
	configtest.Injection{
		Info:   gosqldriver.Engine{}.Info(),
		Params: "tls=true",
		URL: func(hostPort, database string) string {
			return "jdbc-secretsmanager:mysql://" + hostPort + "/" + url.PathEscape(database) + "?user=app&tls=true"
		},
		Open: func(t *testing.T, dsn, secret string) (drivertest.Fields, error) {
			return connectingBy(t, false, dsn, secret)
		},
		Want: func(ep configtest.Endpoint) map[string]string {
			name, _, _ := strings.Cut(ep.Host, "%") // not an IPv6 zone
			return pairs("Addr", strconv.Quote(net.JoinHostPort(ep.Host, strconv.Itoa(ep.Port))), "DBName", strconv.Quote(ep.Database),
				"TLS.ServerName", strconv.Quote(name))
		},
	}.Fuzz(f)
}
