package goora_test

import (
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sijms/go-ora/v2/configurations"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/driver/drivertest"
	"github.com/sqlsecrets/sqlsecrets/engines/oracle/goora"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/configtest"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/testca"
)

// guideParams are the parameters of docs/oracle.md, each with what go-ora gets, or sends to the
// listener.
var guideParams = drivertest.Cases(`
	SSL=true => Protocol="tcps", SSL=true, Sent[PROTOCOL]="tcps", TLSConfig=set
	ssl=enable => Protocol="tcps", SSL=true, Sent[PROTOCOL]="tcps", TLSConfig=set
	SSL=on => Protocol="tcps", SSL=true, Sent[PROTOCOL]="tcps", TLSConfig=set
	SSL=yes => Protocol="tcps", SSL=true, Sent[PROTOCOL]="tcps", TLSConfig=set
	SSL=false =>
	SSL=1 => error: true or false
	SSL=CANARY => error: true or false
	SSL VERIFY=false&SSL=true => Protocol="tcps", SSL=true, Sent[PROTOCOL]="tcps", TLSConfig.InsecureSkipVerify=true, TLSConfig=set
	ssl_verify=true&ssl=true => Protocol="tcps", SSL=true, Sent[PROTOCOL]="tcps", TLSConfig=set
	SSL VERIFY=true => error: needs SSL=true
	ssl_verify=true&SSL=false => error: needs SSL=true
	WALLET=.&SSL=true => Protocol="tcps", SSL=true, Sent[PROTOCOL]="tcps", TLSConfig.RootCAs=set, TLSConfig=set
	WALLET=cwallet.sso&SSL=true => Protocol="tcps", SSL=true, Sent[PROTOCOL]="tcps", TLSConfig.RootCAs=set, TLSConfig=set
	WALLET=CANARY => error: needs SSL=true
	PROTOCOL=tcps => Protocol="tcps", SSL=true, Sent[PROTOCOL]="tcps", TLSConfig=set
	PROTOCOL=tcp =>
	PROTOCOL=CANARY => error: tcp or tcps
	SSL=true&PROTOCOL=tcp => error: contradicts the protocol

	TIMEOUT=30 => Timeout=30s
	TIMEOUT=0 => Timeout=0s
	TIMEOUT=CANARY => error: a number of seconds
	CONNECT TIMEOUT=10 => ConnectTimeout=10s
	connect_timeout=500ms => ConnectTimeout=500ms
	CONNECT TIMEOUT=1h => error: a number of seconds
	TRANSPORT CONNECT TIMEOUT=3 => DialTimeout=3s
	PREFETCH_ROWS=7 => PrefetchRows=7
	prefetch rows=CANARY => error: 1 to 65535
	LOB FETCH=STREAM => Lob=1
	LOB FETCH=post => Lob=1
	LOB FETCH=INLINE =>
	LOB FETCH=CANARY => error: INLINE or STREAM
	LANGUAGE=GERMAN => Language="GERMAN"
	LANGUAGE=CANARY' => error: not a name that Oracle has
	TERRITORY=UNITED KINGDOM => Territory="UNITED KINGDOM"
	TERRITORY=CANARY' => error: not a name that Oracle has
	PROGRAM=billing => ProgramName="billing"
	OS USER=me => OSUserName="me"
	DBA PRIVILEGE=sysoper => DBAPrivilege=64
	DBA PRIVILEGE=CANARY => error: SYSDBA
	PROXY CLIENT NAME=app => ProxyClientName="app"
	INSTANCE NAME=orcl1 => InstanceName="orcl1", Sent[INSTANCE_NAME]="orcl1"
	INSTANCE NAME=CANARY)(SID=x => error: letters, digits
	dbname_is=sid => SID="ORCL", Sent[SERVICE_NAME] is gone, Sent[SID]="ORCL", ServiceName=""
	DBNAME IS=Service =>
	DBNAME IS=CANARY => error: service or sid
	dbnameIs=sid => error: did you mean "DBNAME IS"
	sid=CANARY => error: "dbname_is=sid"
	SID=CANARY => error: "dbname_is=sid"
	SERVER LOCATION=Europe/Berlin => Location="Europe/Berlin"
	SERVER LOCATION=CANARY => error: time zone
	ENCRYPTION=ACCEPTED =>
	ENCRYPTION=REJECTED => EncServiceLevel=1
	ENCRYPTION=REQUESTED => EncServiceLevel=2
	ENCRYPTION=REQUIRED => error: TLS
	DATA INTEGRITY=ACCEPTED =>
	DATA INTEGRITY=REJECTED => IntServiceLevel=1
	DATA INTEGRITY=REQUESTED => IntServiceLevel=2
	DATA INTEGRITY=REQUIRED => error: TLS
	SERVER TYPE=dedicated => Sent[SERVER]="dedicated"
	SERVER TYPE=shared => Sent[SERVER]="shared"
	SERVER TYPE=POOLED => Sent[SERVER]="pooled"
	SERVER TYPE=CANARY)(SID=x => error: dedicated, shared or pooled
	LOAD BALANCE=true => LoadBalance=true
	LOAD BALANCE=CANARY => error: true or false

	WALLET PASSWORD=CANARY => error: cwallet.sso
	AUTH TYPE=CANARY => error: the secret
	AUTH SERV=CANARY => error: the secret
	OS PASS=CANARY => error: the secret
	OS PASSWORD=CANARY => error: the secret
	OS HASH=CANARY => error: the secret
	OS PASSHASH=CANARY => error: the secret
	OS PASSWORD HASH=CANARY => error: the secret
	DOMAIN=CANARY => error: the secret
	TRACE FILE=CANARY => error: TraceFilePath
	TRACE DIR=CANARY => error: TraceDir
	TRACE DIRECTORY=CANARY => error: TraceDir
	trace_folder=CANARY => error: TraceDir
	CID=CANARY => error: descriptor
	CHARSET=CANARY => error: CharsetID
	CLIENT CHARSET=CANARY => error: CharsetID
	UNIX SOCKET=CANARY => error: a host and a port
	USE_OOB=true => error: EnableOOB
	ENABLE OOB=true => error: EnableOOB
	ENABLE URGENT DATA TRANSPORT=true => error: EnableOOB
	CONNECTION TIMEOUT=10 => error: CONNECT TIMEOUT
	FAILOVER=CANARY => error: does not have it any more
	RETRY TIME=CANARY => error: does not have it any more
	RETRYTIME=CANARY => error: does not have it any more
	RE TRY TIME=CANARY => error: does not have it any more
	encrypt=true => error: did you mean "SSL"
	sslmode=require => error: did you mean "SSL"
	prefetchrows=7 => error: did you mean "PREFETCH ROWS"
	loginTimeout=5 => error: did you mean "CONNECT TIMEOUT"
`)

// guideProperties are the properties of Oracle's JDBC driver and of descriptors in docs/oracle.md,
// each with what go-ora gets, or with the error.
var guideProperties = drivertest.Cases(`
	oracle.net.CONNECT_TIMEOUT=10000 => ConnectTimeout=10s
	oracle.net.CONNECT_TIMEOUT=1500 => ConnectTimeout=1.5s
	oracle.net.CONNECT_TIMEOUT=0 =>
	oracle.net.CONNECT_TIMEOUT=10s => error: a number of milliseconds
	oracle.net.CONNECT_TIMEOUT=CANARY => error: a number of milliseconds
	oracle.jdbc.loginTimeout=15 => ConnectTimeout=15s
	loginTimeout=15 => ConnectTimeout=15s
	CONNECT_TIMEOUT=90 => ConnectTimeout=1m30s
	oracle.jdbc.loginTimeout=15&loginTimeout=15 => error: "loginTimeout" are the same
	oracle.jdbc.loginTimeout=CANARY => error: a number of seconds
	CONNECT_TIMEOUT=CANARY => error: a number of seconds
	defaultRowPrefetch=CANARY => error: 1 to 65535
	internal_logon=CANARY => error: SYSDBA
	oracle.net.encryption_client=CANARY => error: ACCEPTED
	oracle.net.crypto_checksum_client=REQUIRED => error: TLS
	LOAD_BALANCE=CANARY => error: true or false
	v$session.program= => error: empty
	oracle.net.OUTBOUND_CONNECT_TIMEOUT=2000 => DialTimeout=2s
	oracle.net.TRANSPORT_CONNECT_TIMEOUT=2000 => DialTimeout=2s
	TRANSPORT_CONNECT_TIMEOUT=3 => DialTimeout=3s
	transport_connect_timeout=500ms => DialTimeout=500ms
	oracle.jdbc.ReadTimeout=60000 => Timeout=1m0s
	oracle.net.READ_TIMEOUT=60000 => Timeout=1m0s
	oracle.jdbc.defaultRowPrefetch=100 => PrefetchRows=100
	defaultRowPrefetch=100 => PrefetchRows=100
	oracle.jdbc.internal_logon=sysdba => DBAPrivilege=32
	internal_logon=sysdba => DBAPrivilege=32
	oracle.jdbc.proxyClientName=app => ProxyClientName="app"
	v$session.program=billing => ProgramName="billing"
	v$session.osuser=me => OSUserName="me"
	oracle.net.wallet_location=.&PROTOCOL=tcps => Protocol="tcps", SSL=true, Sent[PROTOCOL]="tcps", TLSConfig.RootCAs=set, TLSConfig=set
	oracle.net.wallet_location=file:.&PROTOCOL=tcps => Protocol="tcps", SSL=true, Sent[PROTOCOL]="tcps", TLSConfig.RootCAs=set, TLSConfig=set
	oracle.net.wallet_location=(SOURCE=(METHOD=FILE)(METHOD_DATA=(DIRECTORY=.)))&PROTOCOL=tcps => Protocol="tcps", SSL=true, Sent[PROTOCOL]="tcps", TLSConfig.RootCAs=set, TLSConfig=set
	oracle.net.wallet_location=(CANARY => error: not a folder
	WALLET_LOCATION=.&ssl=true => Protocol="tcps", SSL=true, Sent[PROTOCOL]="tcps", TLSConfig.RootCAs=set, TLSConfig=set
	MY_WALLET_DIRECTORY=.&ssl=true => Protocol="tcps", SSL=true, Sent[PROTOCOL]="tcps", TLSConfig.RootCAs=set, TLSConfig=set
	oracle.net.encryption_client=REQUESTED => EncServiceLevel=2
	oracle.net.encryption_client=ACCEPTED =>
	oracle.net.crypto_checksum_client=REJECTED => IntServiceLevel=1
	LOAD_BALANCE=on => LoadBalance=true
	oracle.net.ssl_server_dn_match=true =>
	oracle.net.ssl_server_dn_match=false&PROTOCOL=tcps => Protocol="tcps", SSL=true, Sent[PROTOCOL]="tcps", TLSConfig=set
	oracle.net.ssl_server_dn_match=CANARY => error: true or false
	SSL_SERVER_DN_MATCH=yes =>

	oracle.jdbc.TcpNoDelay=true =>
	oracle.jdbc.TcpNoDelay=false => error: without a counterpart
	oracle.net.keepAlive=true =>
	oracle.net.keepAlive=false => error: Engine.Configure
	oracle.net.disableOob=true =>
	oracle.net.disableOob=false => error: EnableOOB
	FAILOVER=on =>
	FAILOVER=off => error: until one accepts
	oracle.jdbc.timezoneAsRegion=false =>
	oracle.jdbc.timezoneAsRegion=true => error: local zone
	oracle.net.networkCompression=off =>
	oracle.net.networkCompression=on => error: without a counterpart
	SOURCE_ROUTE=off =>
	SOURCE_ROUTE=on => error: without a counterpart
	ENABLE=broken =>
	ENABLE=CANARY => error: broken
	SDU=8192 =>
	SDU=CANARY => error: a number
	EXPIRE_TIME=5 =>
	RETRY_COUNT=3 =>
	RETRY_COUNT=CANARY => error: a number
	RETRY_DELAY=1 =>

	oracle.net.ssl_server_cert_dn=CANARY => error: driver.Options.TLS
	SSL_SERVER_CERT_DN=CANARY => error: driver.Options.TLS
	oracle.net.wallet_password=CANARY => error: cwallet.sso
	oracle.net.ssl_version=CANARY => error: driver.Options.TLS
	oracle.net.ssl_cipher_suites=CANARY => error: driver.Options.TLS
	oracle.net.tns_admin=CANARY => error: tnsnames.ora
	TNS_ADMIN=CANARY => error: tnsnames.ora
	javax.net.ssl.trustStore=CANARY => error: driver.Options.TLS
	oracle.jdbc.implicitStatementCacheSize=25 =>
	oracle.jdbc.implicitStatementCacheSize=CANARY => error: a number
	oracle.jdbc.maxCachedBufferSize=20 =>
	oracle.jdbc.fanEnabled=false =>
	oracle.jdbc.fanEnabled=true => error: without a counterpart
	oracle.jdbc.J2EE13Compliant=true =>
	oracle.jdbc.J2EE13Compliant=CANARY => error: true or false
	oracle.jdbc.javaNetNio=false =>
	oracle.jdbc.autoCommitSpecCompliant=false =>
	oracle.jdbc.useThreadLocalBufferCache=true =>
	oracle.jdbc.defaultNChar=CANARY => error: no counterpart
	oracle.net.authentication_services=CANARY => error: no counterpart
	v$session.machine=CANARY => error: Engine.Configure

	PREFETCH_ROWS=7 => PrefetchRows=7
	dbname_is=sid => SID="ORCL", Sent[SERVICE_NAME] is gone, Sent[SID]="ORCL", ServiceName=""
	ssl_verify=false&ssl=true => Protocol="tcps", SSL=true, Sent[PROTOCOL]="tcps", TLSConfig.InsecureSkipVerify=true, TLSConfig=set
	defaultRowPrefetch=7&prefetch_rows=CANARY => error: are the same
	prefetch_rows=CANARY => error: 1 to 65535
	encrypt=true => error: did you mean "SSL"
	useSSL=true => error: did you mean "SSL"
	applicationName=x => error: is not known
`)

// A connecting is the configuration with which go-ora would connect, and how it would log in.
type connecting struct {
	*configurations.ConnectionConfig
	Sent                        map[string]string // to the listener, but for who sends it
	ConnectTimeout, DialTimeout time.Duration
	LoadBalance                 bool
}

// connectingBy returns the connecting for a data source name and a secret.
func connectingBy(t *testing.T, dsn, secret string) (drivertest.Fields, error) {
	t.Helper()
	var c connecting
	config, err := configtest.CaptureDSN(t, dsn, secret, func(configure func(*configurations.ConnectionConfig) error) driver.Engine {
		return goora.Engine{Configure: configure}
	}, func(l driver.Login) { c.ConnectTimeout, c.DialTimeout, c.LoadBalance = goora.Attempts(l) })
	if err != nil {
		return nil, err
	}
	c.ConnectionConfig = config
	c.Sent = map[string]string{}
	descriptor, _, _ := strings.Cut(c.ConnectionData(), "(CID=")
	for _, m := range leaf.FindAllStringSubmatch(descriptor, -1) {
		c.Sent[m[1]] += m[2] // of several addresses one after the other
	}
	return drivertest.FieldsOf(c).Without("connStr", "Cid", "Servers[0].Protocol", "Servers[1].Protocol"), nil // the servers' are the one that is looked at
}

var leaf = regexp.MustCompile(`\((\w+)=([^()]*)\)`)

const guideSecret = `{"engine":"oracle","host":"h.example.com","port":1521,"dbname":"ORCL","username":"u","password":"p"}`

// Each row of the tables on the page has the effect that the page says, and each name has a case.
func TestGuide(t *testing.T) {
	guide, err := filepath.Abs("../../../docs/oracle.md")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(testca.Wallet(t, nil, testca.New("h.example.com").Authority.Raw))
	drivertest.RunVocabulary(t, drivertest.Vocabulary{
		Words: goora.Words, Page: guide,
		Params: drivertest.Table{Heading: "parameters", Cases: map[string][]drivertest.Case{"prod/app?": guideParams}},
		Properties: drivertest.Table{Heading: "property, also in the descriptor where it has one",
			Cases: map[string][]drivertest.Case{"jdbc-secretsmanager:oracle:thin:@?user=prod/app&": guideProperties}},
		Open: func(t *testing.T, dsn string) (drivertest.Fields, error) { return connectingBy(t, dsn, guideSecret) },
	})
}

// No host, port or database changes another option, whatever its characters are and wherever it
// comes from. go-ora and the listener get exactly that host, port and database.
func FuzzEndpoint(f *testing.F) {
	configtest.Injection{
		Info:   goora.Engine{}.Info(),
		Params: "SSL=true",
		URL: func(hostPort, database string) string {
			if sid, ok := strings.CutPrefix(database, ":"); ok {
				return "jdbc-secretsmanager:oracle:thin:@" + hostPort + ":" + url.PathEscape(sid) + "?user=app&SSL=true"
			}
			return "jdbc-secretsmanager:oracle:thin:@//" + hostPort + "/" + strings.ReplaceAll(url.PathEscape(database), ":", "%3A") + "?user=app&SSL=true"
		},
		Open: connectingBy,
		Want: func(ep configtest.Endpoint) map[string]string {
			name, _, _ := strings.Cut(ep.Host, "%") // the dialer has the zone of an IPv6 address, nobody else a use for it
			want := pairs("Servers[0].Addr", strconv.Quote(name), "Servers[0].Port", strconv.Itoa(ep.Port),
				"Sent[HOST]", strconv.Quote(name), "Sent[PORT]", strconv.Quote(strconv.Itoa(ep.Port)),
				"SID", `""`, "ServiceName", strconv.Quote(ep.Database), "Sent[SID]", "", "Sent[SERVICE_NAME]", strconv.Quote(ep.Database))
			if sid, ok := strings.CutPrefix(ep.Database, ":"); ok {
				want["SID"], want["Sent[SID]"] = strconv.Quote(sid), strconv.Quote(sid)
				want["ServiceName"], want["Sent[SERVICE_NAME]"] = `""`, ""
			}
			return want
		},
	}.Fuzz(f)
}
