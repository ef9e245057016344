package redshift_test

import (
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/driver/drivertest"
	"github.com/sqlsecrets/sqlsecrets/engines/redshift"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/configtest"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/testca"
)

// guideParams are the parameters of docs/redshift.md, each with what pgx gets. The
// parameters about TLS and time are those of PostgreSQL, which has more cases for them.
var guideParams = drivertest.Cases(`
	sslmode=disable => TLSConfig=nil
	sslmode=verify-full => TLSConfig.InsecureSkipVerify=false
	sslmode=allow => error: give prefer
	sslmode=CANARY => error: one of disable
	sslrootcert=ca.pem&sslmode=verify-ca => TLSConfig.RootCAs=set, TLSConfig.VerifyPeerCertificate=set
	sslrootcert=CANARY => error: nothing is verified
	sslcert=CANARY.pem => error: "sslkey"
	sslkey=CANARY.pem => error: need each other
	sslcertmode=disable => SSLCertMode="disable"
	sslsni=0 => TLSConfig.ServerName=""
	connect_timeout=5 => ConnectTimeout=5s
	connect_timeout=CANARY => error: a number of seconds
	default_query_exec_mode=exec =>
	default_query_exec_mode=cache_statement => DefaultQueryExecMode=cache statement
	default_query_exec_mode=cache_describe => DefaultQueryExecMode=cache describe
	default_query_exec_mode=describe_exec => DefaultQueryExecMode=describe exec
	default_query_exec_mode=simple_protocol => error: standard_conforming_strings
	statement_cache_capacity=0 => StatementCacheCapacity=0
	description_cache_capacity=9 => DescriptionCacheCapacity=9

	options=-c%20x=y => RuntimeParams[options]="-c x=y"
	search_path=app,public => RuntimeParams[search_path]="app,public"
	Query_Group=nightly => RuntimeParams[Query_Group]="nightly"
	query_group=CANARY&Query_Group=CANARY => error: are the same
	statement_timeout=60000 => RuntimeParams[statement_timeout]="60000"
	enable_result_cache_for_session=off => RuntimeParams[enable_result_cache_for_session]="off"
	wlm_query_slot_count=3 => RuntimeParams[wlm_query_slot_count]="3"
	application_name=a%20'b' => RuntimeParams[application_name]="a 'b'"
	client_encoding=UTF8 => RuntimeParams[client_encoding]="UTF8"

	channel_binding=require => error: SCRAM
	require_auth=md5 => error: methods
	krbsrvname=CANARY => error: Kerberos
	krbspn=CANARY => error: Kerberos
	sslnegotiation=direct => error: request for TLS
	target_session_attrs=primary => error: one endpoint
	min_protocol_version=3.0 => error: 3.0 only
	max_protocol_version=3.2 => error: 3.0 only
	work_mem=64MB => error: is not known
	replication=database => error: is not known
	querygroup=nightly => error: did you mean "query_group"
	encrypt=true => error: is not known
	ApplicationName=x => error: did you mean "application_name"
	timeout=CANARY => error: did you mean "connect_timeout"
`)

// guideProperties are the properties of Redshift's JDBC driver in docs/redshift.md, each with what
// pgx gets, or with the error.
var guideProperties = drivertest.Cases(`
	ssl=true => TLSConfig.InsecureSkipVerify=false, TLSConfig.VerifyPeerCertificate=nil
	ssl => TLSConfig.InsecureSkipVerify=false, TLSConfig.VerifyPeerCertificate=nil
	ssl=false => TLSConfig=nil
	SSL=TRUE&sslMode=Verify-CA =>
	ssl=false&sslMode=verify-full => TLSConfig.InsecureSkipVerify=false, TLSConfig.VerifyPeerCertificate=nil
	ssl=CANARY => error: true or false
	sslMode=disable => TLSConfig=nil
	sslMode=Require => TLSConfig.VerifyPeerCertificate=nil
	sslMode=CANARY => error: one of disable
	AuthMech=VERIFY-FULL => TLSConfig.InsecureSkipVerify=false, TLSConfig.VerifyPeerCertificate=nil
	sslmode=require&AuthMech=prefer => error: "AuthMech" are the same
	sslRootCert=ca.pem&sslMode=verify-ca => TLSConfig.RootCAs=set
	sslRootCert=ca.pem => TLSConfig.RootCAs=set
	sslmode=allow => error: give prefer
	sslcert=CANARY => error: "sslkey"
	sslkey=CANARY => error: need each other
	options=-c%20x=y => RuntimeParams[options]="-c x=y"
	loginTimeout=30 => ConnectTimeout=30s
	loginTimeout=30&connectTimeout=5 => ConnectTimeout=30s
	loginTimeout=0&connectTimeout=5 => ConnectTimeout=5s
	connectTimeout=5 => ConnectTimeout=5s
	connectTimeout=0 =>
	loginTimeout=CANARY => error: a number of seconds
	connectTimeout=CANARY => error: a number of seconds
	ApplicationName=a%3Bb => RuntimeParams[application_name]="a;b"
	currentSchema=app,public => RuntimeParams[search_path]="app,public"
	queryGroup=nightly => RuntimeParams[query_group]="nightly"
	connectionTimezone=Europe/Berlin => RuntimeParams[timezone]="Europe/Berlin"
	connectionTimezone=SERVER =>
	connectionTimezone= => error: empty
	connectionTimezone=LOCAL => error: name the time zone
	preferQueryMode=extendedCacheEverything => DefaultQueryExecMode=cache statement
	preferQueryMode=extended =>
	preferQueryMode=simple => error: without a counterpart

	reWriteBatchedInserts=true =>
	reWriteBatchedInsertsSize=128 =>
	reWriteBatchedInsertsSize=CANARY => error: a number
	defaultRowFetchSize=50 =>
	BlockingRowsMode=100 =>
	databaseMetadataCacheFields=65536 =>
	databaseMetadataCacheFieldsMiB=5 =>
	disableColumnSanitiser=true =>
	enableFetchRingBuffer=true =>
	enableStatementCache=false =>
	enableStatementCache=CANARY => error: without a counterpart
	hostRecheckSeconds=10 =>
	preparedStatementCacheQueries=0 =>
	preparedStatementCacheSizeMiB=5 =>
	receiveBufferSize=-1 =>
	sendBufferSize=65536 =>
	stringtype=unspecified =>
	stringtype=varchar =>
	stringtype=CANARY => error: without a counterpart
	logUnclosedConnections=false =>
	logUnclosedConnections=true => error: without a counterpart
	LogLevel=0 =>
	LogLevel=6 => error: driver.Options.Logger
	DSILogLevel=0 =>
	DSILogLevel=4 => error: driver.Options.Logger
	allowEncodingChanges=false =>
	allowEncodingChanges=true => error: UTF8
	autosave=never =>
	autosave=always => error: without a counterpart
	cleanupSavepoints=false =>
	cleanupSavepoints=true => error: without a counterpart
	hideUnprivilegedObjects=false =>
	hideUnprivilegedObjects=true => error: without a counterpart
	logServerErrorDetail=true =>
	logServerErrorDetail=false => error: a field of the error
	readOnlyMode=transaction =>
	readOnlyMode=always => error: without a counterpart
	prepareThreshold=5 =>
	prepareThreshold=CANARY => error: a number
	tcpKeepAlive=true =>
	socketTimeout=0 =>
	socketTimeout=30 => error: give queries a context with a deadline
	readOnly=false =>
	readOnly=true => error: without a counterpart
	compression=off =>
	compression=lz4:1 => error: without a counterpart
	loadBalanceHosts=false =>
	loadBalanceHosts=true => error: without a counterpart
	targetServerType=any =>
	targetServerType=primary => error: without a counterpart
	protocolVersion=3 =>
	iamAuth=false =>
	iamAuth=true => error: without a counterpart
	isServerless=true =>

	DbUser=CANARY => error: IAM
	ClusterID=CANARY => error: IAM
	AccessKeyID=CANARY => error: IAM
	Plugin_Name=CANARY => error: IAM
	query_group=nightly => RuntimeParams[query_group]="nightly"
	encrypt=true => error: is not known
	useSSL=true => error: is not known
	work_mem=64MB => error: is not known
`)

// connectingBy returns the configuration with which pgx would connect.
func connectingBy(t *testing.T, dsn, secret string) (drivertest.Fields, error) {
	t.Helper()
	config, err := configtest.CaptureDSN(t, dsn, secret, func(configure func(*pgx.ConnConfig) error) driver.Engine {
		e := redshift.Engine{}
		e.Configure = configure
		return e
	}, nil)
	if err != nil {
		return nil, err
	}
	return drivertest.FieldsOf(config).Without("connString"), nil
}

const guideSecret = `{"engine":"redshift","host":"h.example.com","port":5439,"dbname":"dev","username":"u","password":"p"}`

// Each row of the tables on the page has the effect that the page says, and each name has a case.
func TestGuide(t *testing.T) {
	guide, err := filepath.Abs("../../docs/redshift.md")
	if err != nil {
		t.Fatal(err)
	}
	settings, without := guideParams, guideProperties
	for _, name := range redshift.Words.Server.Names {
		settings = append(settings, drivertest.Case{Set: name + "=x", Want: `RuntimeParams[` + name + `]="x"`})
	}
	for hint, names := range redshift.Absent {
		for name := range strings.FieldsSeq(names) {
			without = append(without, drivertest.Case{Set: name + "=CANARY", Err: "no counterpart in pgx" + strings.TrimSuffix("; "+hint, "; ")})
		}
	}
	t.Chdir(testca.New("h.example.com").Folder(t))
	drivertest.RunVocabulary(t, drivertest.Vocabulary{
		Words: redshift.Words, Page: guide,
		Params: drivertest.Table{Heading: "parameters", Cases: map[string][]drivertest.Case{"prod/app?": settings}},
		Properties: drivertest.Table{Heading: "property of the JDBC driver 2.1",
			Cases: map[string][]drivertest.Case{"jdbc-secretsmanager:redshift:?user=prod/app&": without}},
		Open: func(t *testing.T, dsn string) (drivertest.Fields, error) { return connectingBy(t, dsn, guideSecret) },
	})
}

// No host, port or database changes another option, whatever its characters are and wherever it
// comes from.
func FuzzEndpoint(f *testing.F) {
	configtest.Injection{
		Info:   redshift.Engine{}.Info(),
		Params: "sslmode=verify-full",
		URL: func(hostPort, database string) string {
			return "jdbc-secretsmanager:redshift://" + hostPort + "/" + url.PathEscape(database) + ";user=app;sslMode=verify-full"
		},
		Open: connectingBy,
		Want: configtest.PgxFields,
	}.Fuzz(f)
}
