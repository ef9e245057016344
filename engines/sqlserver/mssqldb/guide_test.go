package mssqldb_test

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/microsoft/go-mssqldb/msdsn"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/driver/drivertest"
	"github.com/sqlsecrets/sqlsecrets/engines/sqlserver/mssqldb"
	"github.com/sqlsecrets/sqlsecrets/internal/jdbcurl"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/configtest"
)

// guideParams are the parameters of docs/sqlserver.md, each with what go-mssqldb gets. Encryption
// is 1 if it is required; a server without encryption is first asked for that as well. 0 encrypts
// only the login, 3 encrypts nothing, and 4 is TDS 8.0.
var guideParams = drivertest.Cases(`
	encrypt=true => Plaintext=false, TLSConfig.InsecureSkipVerify=false, TrustServerCertificate=false
	encrypt=mandatory => Plaintext=false, TLSConfig.InsecureSkipVerify=false, TrustServerCertificate=false
	encrypt=yes => Plaintext=false, TLSConfig.InsecureSkipVerify=false, TrustServerCertificate=false
	encrypt=1 => Plaintext=false, TLSConfig.InsecureSkipVerify=false, TrustServerCertificate=false
	encrypt=t => Plaintext=false, TLSConfig.InsecureSkipVerify=false, TrustServerCertificate=false
	encrypt=strict => Encryption=4, Plaintext=false, TLSConfig.InsecureSkipVerify=false, TrustServerCertificate=false
	encrypt=false => Encryption=0, Plaintext=false, TLSConfig.InsecureSkipVerify=false, TrustServerCertificate=false
	encrypt=Optional => Encryption=0, Plaintext=false, TLSConfig.InsecureSkipVerify=false, TrustServerCertificate=false
	encrypt=no => Encryption=0, Plaintext=false, TLSConfig.InsecureSkipVerify=false, TrustServerCertificate=false
	encrypt=0 => Encryption=0, Plaintext=false, TLSConfig.InsecureSkipVerify=false, TrustServerCertificate=false
	encrypt=f => Encryption=0, Plaintext=false, TLSConfig.InsecureSkipVerify=false, TrustServerCertificate=false
	encrypt=disable => Encryption=3, Plaintext=false, TLSConfig=nil, TrustServerCertificate=false
	encrypt=CANARY => error: one of true, mandatory
	trustservercertificate=true =>
	trustservercertificate=true&encrypt=true => Plaintext=false
	trustservercertificate=true&encrypt=strict => Encryption=4, Plaintext=false, TLSConfig.InsecureSkipVerify=false, TrustServerCertificate=false
	trustservercertificate=false => Plaintext=false, TLSConfig.InsecureSkipVerify=false, TrustServerCertificate=false
	trustservercertificate=CANARY => error: true or false
	certificate=CANARY-ca.pem => Plaintext=false, TLSConfig.InsecureSkipVerify=false, TLSConfig.RootCAs=set, TrustServerCertificate=false
	certificate=CANARY-leaf.der => Plaintext=false, TLSConfig.InsecureSkipVerify=false, TLSConfig.RootCAs=set, TrustServerCertificate=false
	certificate=CANARY => error: .pem or .der
	certificate=CANARY.pem&encrypt=disable => error: turns encryption off
	certificate=CANARY.pem&trustservercertificate=true => error: not to
	servercertificate=CANARY-leaf.pem => Plaintext=false, TLSConfig.VerifyConnection=set, TrustServerCertificate=false
	servercertificate=CANARY => error: .pem or .der
	hostnameincertificate=db.example.com => HostInCertificateProvided=true, Plaintext=false, TLSConfig.InsecureSkipVerify=false, TLSConfig.ServerName="db.example.com", TrustServerCertificate=false
	hostnameincertificate=CANARY/x => error: a host name
	tlsmin=1.0 => TLSConfig.MinVersion=769
	tlsmin=1.3 => TLSConfig.MinVersion=772
	tlsmin=CANARY => error: one of 1.0, 1.1, 1.2, 1.3

	instance=INST_1$ => Instance="INST_1$", Port=0, ServerSPN="MSSQLSvc/h.example.com:INST_1$"
	instance=CANARY%3Bx => error: the name of an instance
	logintimeout=5 => LoginTimeout=5s
	logintimeout=CANARY => error: a number of seconds
	dial timeout=8 => DialTimeout=8s
	connection timeout=7 => ConnTimeout=7s
	keepalive=9 => KeepAlive=9s
	keepalive=9s => error: a number of seconds
	applicationintent=ReadOnly => ReadOnlyIntent=true
	applicationintent=readonly => ReadOnlyIntent=true
	applicationintent=ReadWrite =>
	applicationintent=CANARY => error: one of readonly, readwrite
	multisubnetfailover=false => MultiSubnetFailover=false
	multisubnetfailover=Enabled =>
	multisubnetfailover=CANARY => error: true, false
	app name=a%3Bb%7D => AppName="a;b}"
	AppName=a+b => AppName="a+b"
	app name= => error: 1 to 128 characters
	AppName=CANARY&app name=CANARY => error: the same
	workstation id=w => Workstation="w"
	serverspn=MSSQLSvc/x:1 => ServerSPN="MSSQLSvc/x:1"
	packet size=8000 => PacketSize=8000
	packet size=511 => error: from 512 to 32767
	columnencryption=Enabled => ColumnEncryption=true
	disableretry=true => DisableRetry=true
	epa enabled=true => EpaEnabled=true
	guid conversion=true => Encoding.GuidConversion=true
	notraceid=true => NoTraceID=true
	timezone=Europe/Berlin => Encoding.Timezone=Europe/Berlin
	log=63 => LogFlags=63

	failoverpartner=CANARY => error: is not allowed
	failoverport=CANARY => error: listener
	failoverpartnerspn=CANARY => error: listener
	protocol=np => error: TCP
	pipe=CANARY => error: TCP
	authenticator=krb5 => error: NTLM
	krb5-configfile=CANARY => error: NTLM
	ClientCertificate=CANARY => error: driver.Options.TLS
	clientkey=CANARY => error: driver.Options.TLS
	ssl-cert=CANARY => error: driver.Options.TLS
	ssl-key=CANARY => error: driver.Options.TLS
	sslcert=CANARY => error: driver.Options.TLS
	sslkey=CANARY => error: driver.Options.TLS
	fedauth=ActiveDirectoryDefault => error: secret
	change password=CANARY => error: is not allowed
	encrypted=true => error: did you mean "encrypt"
	sslmode=require => error: is not known
	applicationName=x => error: did you mean "app name"
`)

// guideProperties are the properties of mssql-jdbc in docs/sqlserver.md, each with what go-mssqldb
// gets, or with the error. With a URL without encrypt, the connection is encrypted and the server
// is verified.
var guideProperties = drivertest.Cases(`
	serverName=db.test => Host="db.test", ServerSPN="MSSQLSvc/db.test:1433", TLSConfig.ServerName="db.test"
	server=db.test => Host="db.test", ServerSPN="MSSQLSvc/db.test:1433", TLSConfig.ServerName="db.test"
	serverName=CANARY/x => error: neither a name nor an IP address
	portNumber=1500 => Port=1500, ServerSPN="MSSQLSvc/h.example.com:1500"
	port=1500 => Port=1500, ServerSPN="MSSQLSvc/h.example.com:1500"
	instanceName=INST => Instance="INST", Port=0, ServerSPN="MSSQLSvc/h.example.com:INST"
	instanceName=INST;portNumber=1500 => Port=1500, ServerSPN="MSSQLSvc/h.example.com:1500"
	databaseName=reports => Database="reports"
	database=reports => Database="reports"
	databaseName=a%20b => Database="a%20b"
	databaseName=CANARY;database=CANARY => error: "database" are the same

	encrypt=true =>
	encrypt=strict => Encryption=4
	encrypt=false => Encryption=0, TLSConfig.InsecureSkipVerify=true, TrustServerCertificate=true
	encrypt=false;trustServerCertificate=false => Encryption=0
	encrypt=CANARY => error: one of true, mandatory
	trustServerCertificate=true => TLSConfig.InsecureSkipVerify=true, TrustServerCertificate=true
	trustServerCertificate=false =>
	trustServerCertificate=CANARY => error: true or false
	hostNameInCertificate=db.example.com => HostInCertificateProvided=true, TLSConfig.ServerName="db.example.com"
	serverCertificate=CANARY-leaf.pem => TLSConfig.InsecureSkipVerify=true, TLSConfig.VerifyConnection=set
	loginTimeout=5 => LoginTimeout=5s
	loginTimeout=0 =>
	loginTimeout=CANARY => error: a number of seconds
	loginTimeout= => error: empty
	connectTimeout=5 => LoginTimeout=5s
	loginTimeout=CANARY;connectTimeout=5 => error: a number of seconds
	loginTimeout=5;connectTimeout=5 => error: "connectTimeout" are the same
	socketTimeout=1500 => ConnTimeout=2s
	socketTimeout=0 =>
	socketTimeout=5s => error: a number of milliseconds
	applicationName=a b => AppName="a b"
	app=x => AppName="x"
	workstationID=w => Workstation="w"
	packetSize=8000 => PacketSize=8000
	packetSize=-1 =>
	packetSize= => error: empty
	packetSize=0 =>
	packetSize=CANARY => error: from 512 to 32767
	applicationIntent=ReadOnly => ReadOnlyIntent=true
	applicationIntent=CANARY => error: one of readonly, readwrite
	multiSubnetFailover=false => MultiSubnetFailover=false
	multiSubnetFailover=true =>
	serverSpn=MSSQLSvc/x:1 => ServerSPN="MSSQLSvc/x:1"
	columnEncryptionSetting=Enabled => ColumnEncryption=true
	columnEncryption=Enabled => ColumnEncryption=true

	integratedSecurity=false =>
	integratedSecurity=true => error: without a counterpart
	trusted_connection=false =>
	trusted_connection=yes => error: without a counterpart
	authentication=NotSpecified =>
	authentication=SqlPassword =>
	authentication=ActiveDirectoryPassword => error: without a counterpart
	authenticationScheme=nativeAuthentication =>
	authenticationScheme=NTLM => error: DOMAIN
	sendStringParametersAsUnicode=true =>
	sendStringParametersAsUnicode=false => error: mssql.VarChar
	selectMethod=direct =>
	selectMethod=cursor => error: without a counterpart
	responseBuffering=adaptive =>
	responseBuffering=full =>
	lastUpdateCount=true =>
	lastUpdateCount=false => error: without a counterpart
	xopenStates=true =>
	xopenStates=false =>
	disableStatementPooling=true =>
	TransparentNetworkIPResolution=true =>
	sslProtocol=TLS =>
	sslProtocol=TLSv1.2 => TLSConfig.MinVersion=771
	sslProtocol=TLSv1.1 => error: tlsmin
	statementPoolingCacheSize=100 =>
	statementPoolingCacheSize=CANARY => error: a number
	disableStatementPooling=false =>
	serverPreparedStatementDiscardThreshold=10 =>
	enablePrepareOnFirstPreparedStatementCall=true =>
	prepareMethod=prepare =>
	prepareMethod=scopeTempTablesToConnection => error: without a counterpart
	useBulkCopyForBatchInsert=true =>
	useBulkCopyForBatchInsert=CANARY => error: true or false
	bulkCopyForBatchInsertBatchSize=1000 =>
	bulkCopyForBatchInsertTableLock=true =>
	cacheBulkCopyMetadata=true =>
	connectRetryInterval=10 =>
	connectRetryInterval=CANARY => error: a number
	delayLoadingLobs=false =>
	maxResultBuffer=-1 =>
	maxResultBuffer=10p => error: without a counterpart
	useFmtOnly=true =>
	queryTimeout=-1 =>
	queryTimeout=0 =>
	queryTimeout=5 => error: context
	cancelQueryTimeout=-1 =>
	cancelQueryTimeout=5 => error: without a counterpart
	lockTimeout=-1 =>
	lockTimeout=5 => error: SessionInitSQL
	quotedIdentifier=ON =>
	quotedIdentifier=OFF => error: SessionInitSQL
	quotedId=ON =>
	concatNullYieldsNull=ON =>
	concatNullYieldsNull=OFF => error: SessionInitSQL
	connectRetryCount=0 =>
	connectRetryCount=1 =>
	connectRetryCount=2 => error: database/sql
	fips=false =>
	fips=true => error: without a counterpart
	replication=false =>
	replication=true => error: without a counterpart

	dialTimeout=4 => DialTimeout=4s
	failoverPartner=CANARY => error: listener
	defaultTransactionIsolation=CANARY => error: BeginTx
	socketFactoryClass=CANARY => error: Engine.Dial
	socketFactoryConstructorArg=CANARY => error: Engine.Dial
	trustStore=CANARY => error: give certificate authorities by certificate
	trustStorePassword=CANARY => error: driver.Options.TLS
	trustStoreType=CANARY => error: driver.Options.TLS
	trustManagerClass=CANARY => error: driver.Options.TLS
	trustManagerConstructorArg=CANARY => error: driver.Options.TLS
	clientCertificate=CANARY => error: driver.Options.TLS
	clientKey=CANARY => error: driver.Options.TLS
	clientKeyPassword=CANARY => error: driver.Options.TLS
	domain=CANARY => error: DOMAIN
	domainName=CANARY => error: DOMAIN
	accessToken=CANARY => error: no counterpart
	encrypted=true => error: did you mean "encrypt"
	sslmode=require => error: is not known
`)

// A connecting is the configuration with which go-mssqldb would connect, and how it would log in.
type connecting struct {
	*msdsn.Config
	Plaintext    bool // without encryption if the server has none
	LoginTimeout time.Duration
}

// connectingBy returns the connecting for a data source name and a secret.
func connectingBy(t *testing.T, dsn, secret string) (drivertest.Fields, error) {
	t.Helper()
	var c connecting
	config, err := configtest.CaptureDSN(t, dsn, secret, func(configure func(*msdsn.Config) error) driver.Engine {
		return mssqldb.Engine{Configure: configure}
	}, func(l driver.Login) { c.Plaintext, c.LoginTimeout = mssqldb.Attempts(l) })
	if err != nil {
		return nil, err
	}
	c.Config = config
	return drivertest.FieldsOf(c).Without("Parameters"), nil // the text of what the other fields hold
}

const guideSecret = `{"engine":"sqlserver","host":"h.example.com","port":1433,"dbname":"app","username":"u","password":"p"}`

// Each row of the tables on the page has the effect that the page says, and each name has a case.
func TestGuide(t *testing.T) {
	guide, err := filepath.Abs("../../../docs/sqlserver.md")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(filepath.Dir(newCertificates(t, "h.example.com").CA))
	drivertest.RunVocabulary(t, drivertest.Vocabulary{
		Words: mssqldb.Words, Page: guide,
		Params: drivertest.Table{Heading: "parameters", Cases: map[string][]drivertest.Case{"prod/app?": guideParams}},
		Properties: drivertest.Table{Heading: "mssql-jdbc's property",
			Cases: map[string][]drivertest.Case{"jdbc-secretsmanager:sqlserver://;user=prod/app;": guideProperties}},
		Open: func(t *testing.T, dsn string) (drivertest.Fields, error) { return connectingBy(t, dsn, guideSecret) },
	})
}

// No host, port or database changes another option, whatever its characters are and wherever it
// comes from.
func FuzzEndpoint(f *testing.F) {
	configtest.Injection{
		Info:   mssqldb.Engine{}.Info(),
		Params: "encrypt=true",
		URL: func(hostPort, database string) string {
			return "jdbc-secretsmanager:sqlserver://" + hostPort + ";databaseName={" + strings.ReplaceAll(database, "}", "}}") + "};user=app;encrypt=true"
		},
		Open: connectingBy,
		Want: func(ep configtest.Endpoint) map[string]string {
			name, _, _ := strings.Cut(ep.Host, "%") // not an IPv6 zone
			if host, instance := jdbcurl.CutInstance(ep.Host); instance != "" {
				return pairs("Host", strconv.Quote(host), "Port", "0", "Instance", strconv.Quote(instance), "Database", strconv.Quote(ep.Database),
					"ServerSPN", strconv.Quote(fmt.Sprintf("MSSQLSvc/%s:%s", host, instance)), "TLSConfig.ServerName", strconv.Quote(host))
			}
			return pairs("Host", strconv.Quote(ep.Host), "Port", strconv.Itoa(ep.Port), "Database", strconv.Quote(ep.Database),
				"ServerSPN", strconv.Quote(fmt.Sprintf("MSSQLSvc/%s:%d", ep.Host, ep.Port)), "TLSConfig.ServerName", strconv.Quote(name))
		},
	}.Fuzz(f)
}
