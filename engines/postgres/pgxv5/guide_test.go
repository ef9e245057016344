package pgxv5_test

import (
	"net/url"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/driver/drivertest"
	"github.com/sqlsecrets/sqlsecrets/engines/postgres/pgxv5"
	"github.com/sqlsecrets/sqlsecrets/internal/jdbcurl"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/configtest"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/testca"
)

// guideParams are the parameters of docs/postgres.md, each with what pgx gets.
var guideParams = drivertest.Cases(`
	sslmode=disable => Plaintext=false, TLSConfig=nil
	sslmode=prefer =>
	sslmode=require => Plaintext=false
	sslmode=verify-ca => Plaintext=false, TLSConfig.VerifyPeerCertificate=set
	sslmode=verify-full => Plaintext=false, TLSConfig.InsecureSkipVerify=false
	sslmode=allow => error: give prefer
	sslmode=CANARY => error: one of disable, prefer, require, verify-ca, verify-full
	sslrootcert=ca.pem&sslmode=require => Plaintext=false, TLSConfig.RootCAs=set, TLSConfig.VerifyPeerCertificate=set
	sslrootcert=ca.pem&sslmode=verify-ca => Plaintext=false, TLSConfig.RootCAs=set, TLSConfig.VerifyPeerCertificate=set
	sslrootcert=ca.pem&sslmode=verify-full => Plaintext=false, TLSConfig.InsecureSkipVerify=false, TLSConfig.RootCAs=set
	sslrootcert=system => Plaintext=false, TLSConfig.ClientCAs=set, TLSConfig.InsecureSkipVerify=false, TLSConfig.RootCAs=set
	sslrootcert=system&sslmode=require => error: sslmode=verify-full
	sslrootcert=CANARY.pem => error: nothing is verified
	sslcert=cert.pem&sslkey=key.pem => TLSConfig.Certificates=1 in it
	sslcert=CANARY.pem => error: "sslkey"
	sslkey=CANARY.pem => error: need each other
	sslcertmode=require => Plaintext=false, SSLCertMode="require"
	sslcertmode=disable => SSLCertMode="disable"
	sslcertmode=CANARY => error: one of disable, allow, require
	sslsni=0 => TLSConfig.ServerName=""
	sslsni=CANARY => error: one of 0, 1
	sslnegotiation=direct&sslmode=require => Plaintext=false, SSLNegotiation="direct", TLSConfig.NextProtos=["postgresql"]
	sslnegotiation=direct&sslrootcert=system => Plaintext=false, SSLNegotiation="direct", TLSConfig.ClientCAs=set, TLSConfig.InsecureSkipVerify=false, TLSConfig.NextProtos=["postgresql"], TLSConfig.RootCAs=set
	sslnegotiation=direct => error: direct needs sslmode
	sslnegotiation=direct&sslmode=disable => error: direct needs sslmode
	sslnegotiation=direct&sslmode=prefer => error: direct needs sslmode

	channel_binding=require => ChannelBinding="require", Plaintext=false
	channel_binding=disable => ChannelBinding="disable"
	channel_binding=CANARY => error: one of disable, prefer, require
	require_auth=scram-sha-256 => RequireAuth="scram-sha-256"
	require_auth=CANARY => error: scram-sha-256
	krbsrvname=pg => KerberosSrvName="pg"
	krbspn=pg/h => KerberosSpn="pg/h"
	min_protocol_version=3.2 => MaxProtocolVersion="latest", MinProtocolVersion="3.2"
	min_protocol_version=3.2&max_protocol_version=3.0 => error: is higher than
	max_protocol_version=3.2 => MaxProtocolVersion="3.2"
	max_protocol_version=CANARY => error: one of 3.0, 3.2, latest

	connect_timeout=5 => ConnectTimeout=5s
	connect_timeout=5s => error: a number of seconds
	target_session_attrs=any =>
	target_session_attrs=read-write => Wanted="ReadWrite"
	target_session_attrs=read-only => Wanted="ReadOnly"
	target_session_attrs=primary => Wanted="Primary"
	target_session_attrs=standby => Wanted="Standby"
	target_session_attrs=prefer-standby => Wanted="PreferStandby"
	target_session_attrs=CANARY => error: one of any, read-write
	default_query_exec_mode=exec => DefaultQueryExecMode=exec
	default_query_exec_mode=simple_protocol => DefaultQueryExecMode=simple protocol
	default_query_exec_mode=CANARY => error: one of cache_statement
	statement_cache_capacity=9 => StatementCacheCapacity=9
	statement_cache_capacity=0 => error: a default_query_exec_mode other than
	description_cache_capacity=9 => DescriptionCacheCapacity=9
	description_cache_capacity=0&default_query_exec_mode=cache_describe => error: a default_query_exec_mode other than

	options=-c%20work_mem=4MB => RuntimeParams[options]="-c work_mem=4MB"
	role=owner => RuntimeParams[role]="owner"
	application_name=a+b%20%27c%27 => RuntimeParams[application_name]="a+b 'c'"
	TimeZone=UTC => RuntimeParams[TimeZone]="UTC"
	TimeZone=CANARY&timezone=CANARY => error: are the same
	pg_stat_statements.track=all => RuntimeParams[pg_stat_statements.track]="all"
	password_encryption=scram-sha-256 => RuntimeParams[password_encryption]="scram-sha-256"
	post_auth_delay=0 => RuntimeParams[post_auth_delay]="0"
	tls_required=CANARY => error: is not passed on
	apg_write_forward=on => RuntimeParams[apg_write_forward]="on"
	aurora_replica_read_consistency=session => RuntimeParams[aurora_replica_read_consistency]="session"

	sslpassword=CANARY => error: driver.Options.TLS
	replication=database => error: is not allowed
	session_authorization=CANARY => error: is not allowed
	service=CANARY => error: is not allowed
	passfile=CANARY => error: is not allowed
	ssl=true => error: give "sslmode"
	sslMode=require => error: did you mean "sslmode"
	encrypt=true => error: is not known
	currentSchema=x => error: did you mean "search_path"
	timeout=CANARY => error: did you mean "connect_timeout"
	usessl=CANARY => error: did you mean "sslmode"
`)

// guideProperties are the properties of pgjdbc in docs/postgres.md, each with what pgx gets, or
// with the error.
var guideProperties = drivertest.Cases(`
	databaseName=reports => Database="reports"
	ssl=true => Plaintext=false, TLSConfig.InsecureSkipVerify=false
	ssl => Plaintext=false, TLSConfig.InsecureSkipVerify=false
	ssl=false =>
	ssl=TRUE&sslmode=Require => Plaintext=false
	sslmode=verify-ca&ssl=true => Plaintext=false, TLSConfig.VerifyPeerCertificate=set
	ssl=CANARY => error: true or false
	sslmode=VERIFY-FULL => Plaintext=false, TLSConfig.InsecureSkipVerify=false
	sslmode=disable => Plaintext=false, TLSConfig=nil
	sslmode=CANARY => error: one of disable
	sslmode=allow => error: give prefer
	sslNegotiation=direct&sslmode=require => Plaintext=false, SSLNegotiation="direct", TLSConfig.NextProtos=["postgresql"]
	channelBinding=require => ChannelBinding="require", Plaintext=false
	requireAuth=md5 => RequireAuth="md5"
	kerberosServerName=pg => KerberosSrvName="pg"
	connectTimeout=5 => ConnectTimeout=5s
	loginTimeout=30 => ConnectTimeout=30s
	loginTimeout=30&connectTimeout=5 => ConnectTimeout=30s
	loginTimeout=0&connectTimeout=5 => ConnectTimeout=5s
	connectTimeout=CANARY => error: a number of seconds
	loginTimeout=CANARY => error: a number of seconds
	channelBinding=CANARY => error: one of disable, prefer, require
	requireAuth=CANARY => error: scram-sha-256
	sslNegotiation=CANARY => error: one of postgres, direct
	preparedStatementCacheQueries=CANARY => error: a number of statements
	ApplicationName=a%20b => RuntimeParams[application_name]="a b"
	ApplicationName=CANARY&application_name=x => error: "application_name" are the same
	currentSchema=app,public => RuntimeParams[search_path]="app,public"
	readOnly=true => RuntimeParams[default_transaction_read_only]="on"
	readOnly=false =>
	targetServerType=primary => Wanted="ReadWrite"
	targetServerType=master => Wanted="ReadWrite"
	targetServerType=secondary => Wanted="ReadOnly"
	targetServerType=slave => Wanted="ReadOnly"
	targetServerType=preferSecondary => Wanted="PreferStandby"
	targetServerType=preferSlave => Wanted="PreferStandby"
	targetServerType=any =>
	targetServerType=preferPrimary => error: without a counterpart
	prepareThreshold=0 => DefaultQueryExecMode=exec
	prepareThreshold=5 =>
	prepareThreshold=-1 => error: a number of executions
	preferQueryMode=simple => DefaultQueryExecMode=simple protocol
	preferQueryMode=extended =>
	preferQueryMode=extendedCacheEverything =>
	preferQueryMode=extendedForPrepared => error: without a counterpart
	preferQueryMode=simple&prepareThreshold=0 => DefaultQueryExecMode=simple protocol
	preferQueryMode=extendedCacheEverything&prepareThreshold=0 => DefaultQueryExecMode=exec
	prepareThreshold=0&preparedStatementCacheQueries=0 => DefaultQueryExecMode=exec
	prepareThreshold=0&default_query_exec_mode=exec => error: are the same
	preparedStatementCacheQueries=0 => DefaultQueryExecMode=exec
	preparedStatementCacheQueries=9 => StatementCacheCapacity=9
	reWriteBatchedInserts=true =>
	reWriteBatchedInserts=false =>
	reWriteBatchedInserts=CANARY => error: without a counterpart
	reWriteBatchedInsertsSize=128 =>
	reWriteBatchedInsertsSize=CANARY => error: a number
	defaultRowFetchSize=50 =>
	adaptiveFetch=true =>
	adaptiveFetchMinimum=10 =>
	adaptiveFetchMaximum=-1 =>
	assumeMinServerVersion=12 =>
	databaseMetadataCacheFields=65536 =>
	databaseMetadataCacheFieldsMiB=5 =>
	disableColumnSanitiser=true =>
	hostRecheckSeconds=10 =>
	preparedStatementCacheSizeMiB=5 =>
	receiveBufferSize=-1 =>
	sendBufferSize=65536 =>
	stringtype=unspecified =>
	stringtype=varchar =>
	stringtype=CANARY => error: without a counterpart
	logUnclosedConnections=false =>
	logUnclosedConnections=true => error: without a counterpart
	loggerLevel=OFF =>
	loggerLevel=DEBUG => error: driver.Options.Logger
	allowEncodingChanges=false =>
	allowEncodingChanges=true => error: UTF8
	autosave=never =>
	autosave=always => error: without a counterpart
	binaryTransfer=true =>
	binaryTransfer=false => error: default_query_exec_mode
	cleanupSavepoints=false =>
	cleanupSavepoints=true => error: without a counterpart
	convertBooleanToNumeric=false =>
	convertBooleanToNumeric=true => error: without a counterpart
	escapeSyntaxCallMode=select =>
	escapeSyntaxCallMode=call => error: without a counterpart
	hideUnprivilegedObjects=false =>
	hideUnprivilegedObjects=true => error: without a counterpart
	logServerErrorDetail=true =>
	logServerErrorDetail=false => error: a field of the error
	quoteReturningIdentifiers=true =>
	quoteReturningIdentifiers=false => error: without a counterpart
	readOnlyMode=transaction =>
	readOnlyMode=always => error: without a counterpart
	tcpKeepAlive=true =>
	tcpKeepAlive=false =>
	tcpNoDelay=true =>
	tcpNoDelay=false => error: without a counterpart
	socketTimeout=0 =>
	socketTimeout=30 => error: give queries a context with a deadline
	queryTimeout=0 =>
	queryTimeout=30 => error: give queries a context with a deadline
	loadBalanceHosts=false =>
	loadBalanceHosts=true => error: without a counterpart
	gssEncMode=prefer =>
	gssEncMode=require => error: without a counterpart
	protocolVersion=3 =>
	protocolVersion=2 => error: without a counterpart

	PGHOST=CANARY => error: give it in the URL's own place
	PGPORT=CANARY => error: give it in the URL's own place
	PGDBNAME=CANARY => error: give it in the URL's own place
	sslfactory=org.postgresql.ssl.NonValidatingFactory => error: driver.Options.TLS
	sslfactoryarg=CANARY => error: sslrootcert
	sslhostnameverifier=CANARY => error: driver.Options.TLS
	sslpasswordcallback=CANARY => error: driver.Options.TLS
	socketFactory=CANARY => error: Engine.Configure
	localSocketAddress=CANARY => error: Engine.Configure
	loggerFile=CANARY => error: driver.Options.Logger
	application_name=x => RuntimeParams[application_name]="x"
	encrypt=true => error: is not known
	useSSL=true => error: is not known
`)

// A connecting is the configuration with which pgx would connect, and how it would log in.
type connecting struct {
	*pgx.ConnConfig
	Plaintext bool   // without TLS if the server has none
	Wanted    string // by target_session_attrs
}

// connectingBy returns the connecting for a data source name and a secret.
func connectingBy(t *testing.T, dsn, secret string) (drivertest.Fields, error) {
	t.Helper()
	var c connecting
	config, err := configtest.CaptureDSN(t, dsn, secret, func(configure func(*pgx.ConnConfig) error) driver.Engine {
		return pgxv5.Engine{Configure: configure}
	}, func(l driver.Login) { c.Plaintext, c.Wanted = pgxv5.Attempts(l) })
	if err != nil {
		return nil, err
	}
	c.ConnConfig = config
	return drivertest.FieldsOf(c).Without("connString"), nil
}

const guideSecret = `{"engine":"postgres","host":"h.example.com","port":5432,"username":"u","password":"p"}`

// Each row of the tables on the page has the effect that the page says, and each name has a case.
func TestGuide(t *testing.T) {
	guide, err := filepath.Abs("../../../docs/postgres.md")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(testca.New("h.example.com").Folder(t))
	drivertest.RunVocabulary(t, drivertest.Vocabulary{
		Words: pgxv5.Words, Page: guide,
		Params: drivertest.Table{Heading: "parameters", Cases: map[string][]drivertest.Case{"prod/app?": guideParams}},
		Properties: drivertest.Table{Heading: "pgjdbc's property",
			Cases: map[string][]drivertest.Case{"jdbc-secretsmanager:postgresql:///?user=prod/app&": guideProperties}},
		Open: func(t *testing.T, dsn string) (drivertest.Fields, error) { return connectingBy(t, dsn, guideSecret) },
	})
}

// No host, port or database changes another option, whatever its characters are and wherever it
// comes from.
func FuzzEndpoint(f *testing.F) {
	configtest.Injection{
		Info:   pgxv5.Engine{}.Info(),
		Params: "sslmode=verify-full",
		URL: func(hostPort, database string) string {
			return "jdbc-secretsmanager:postgresql://" + hostPort + "/" + url.PathEscape(database) + "?user=app&sslmode=verify-full"
		},
		Open: connectingBy,
		Want: func(ep configtest.Endpoint) map[string]string {
			if first, err := jdbcurl.SplitAddresses(ep.Host, ep.Port); err == nil { // of a list
				ep.Host, ep.Port = first[0].Host, first[0].Port
			}
			return configtest.PgxFields(ep)
		},
	}.Fuzz(f)
}
