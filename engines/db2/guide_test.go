package db2_test

import (
	"maps"
	"strconv"
	"strings"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/driver/drivertest"
	"github.com/sqlsecrets/sqlsecrets/engines/db2"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/db2cli"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/configtest"
)

// guideParams are the parameters of docs/db2.md, each with the keywords that CLI reads from the
// connection string, in upper case.
var guideParams = drivertest.Cases(`
	Security=SSL => SECURITY="SSL", SSLCLIENTHOSTNAMEVALIDATION="Basic"
	Security=NONE =>
	Security=CANARY => error: one of SSL, NONE
	SSLServerCertificate=CANARY&Security=NONE => error: needs Security=SSL
	SSLServerCertificate=/ca.pem&Security=SSL => SECURITY="SSL", SSLCLIENTHOSTNAMEVALIDATION="Basic", SSLSERVERCERTIFICATE="/ca.pem"
	SSLServerCertificate=CANARY => error: needs Security=SSL
	SSLServerCertificate=&Security=SSL => error: the name of a file
	SSLClientKeystoredb=/k.kdb&SSLClientKeystash=/k.sth&Security=SSL => SECURITY="SSL", SSLCLIENTHOSTNAMEVALIDATION="Basic", SSLCLIENTKEYSTASH="/k.sth", SSLCLIENTKEYSTOREDB="/k.kdb"
	SSLClientKeystoredb=CANARY => error: needs Security=SSL
	SSLClientKeystash=CANARY => error: needs Security=SSL
	SSLClientHostnameValidation=OFF&Security=SSL => SECURITY="SSL", SSLCLIENTHOSTNAMEVALIDATION="OFF"
	SSLClientHostnameValidation=Basic&Security=SSL => SECURITY="SSL", SSLCLIENTHOSTNAMEVALIDATION="Basic"
	SSLClientHostnameValidation=CANARY&Security=SSL => error: one of Basic, OFF
	SSLClientHostnameValidation=Basic => error: needs Security=SSL
	Authentication=SERVER => AUTHENTICATION="SERVER"
	Authentication=SERVER_ENCRYPT => AUTHENTICATION="SERVER_ENCRYPT"
	Authentication=SERVER_ENCRYPT_AES => AUTHENTICATION="SERVER_ENCRYPT_AES"
	Authentication=CANARY => error: one of SERVER
	ConnectTimeout=5 => CONNECTTIMEOUT="5"
	ConnectTimeout=CANARY => error: a number of seconds
	ReceiveTimeout=6 => RECEIVETIMEOUT="6"
	QueryTimeoutInterval=7 => QUERYTIMEOUTINTERVAL="7"
	CurrentSchema=a b=c => CURRENTSCHEMA="a b=c"
	CurrentSchema=CANARY%3BUID=x => error: cannot be quoted
	CurrentSchema= => error: it is empty
	CurrentPackageSet=p => CURRENTPACKAGESET="p"
	TxnIsolation=2 => TXNISOLATION="2"
	TxnIsolation=CANARY => error: one of 1, 2, 4, 8, 32
	ProgramName=billing => PROGRAMNAME="billing"
	ClientApplName=a => CLIENTAPPLNAME="a"
	ClientUserID=u2 => CLIENTUSERID="u2"
	ClientWrkStnName=w => CLIENTWRKSTNNAME="w"
	ClientAcctStr=c => CLIENTACCTSTR="c"

	security=SSL => error: did you mean "Security"
	Encrypt=true => error: is not known
	sslConnection=true => error: is not known
	currentSchema=x => error: did you mean "CurrentSchema"
	DSN=CANARY => error: is not known
	NewPWD=CANARY => error: is not known
	AccessToken=CANARY => error: is not known
`)

// guideProperties are the properties of JCC in docs/db2.md, each with the keywords that CLI reads,
// or with the error.
var guideProperties = drivertest.Cases(`
	sslConnection=true => SECURITY="SSL", SSLCLIENTHOSTNAMEVALIDATION="Basic"
	sslConnection=false =>
	deferPrepares=true =>
	deferPrepares=CANARY => error: without a counterpart
	fullyMaterializeLobData=false =>
	maxStatements=100 =>
	maxStatements=CANARY => error: a number
	sslConnection=CANARY => error: without a counterpart
	sslCertLocation=/ca.pem;sslConnection=true => SECURITY="SSL", SSLCLIENTHOSTNAMEVALIDATION="Basic", SSLSERVERCERTIFICATE="/ca.pem"
	sslClientHostnameValidation=OFF;sslConnection=true => SECURITY="SSL", SSLCLIENTHOSTNAMEVALIDATION="OFF"
	sslClientHostnameValidation=BASIC;sslConnection=true => SECURITY="SSL", SSLCLIENTHOSTNAMEVALIDATION="Basic"
	sslClientHostnameValidation=CANARY;sslConnection=true => error: without a counterpart
	loginTimeout=5 => CONNECTTIMEOUT="5"
	loginTimeout=0 =>
	loginTimeout=CANARY => error: a number of seconds
	loginTimeout= => error: empty
	loginTimeout=5;ConnectTimeout=6 => error: "ConnectTimeout" are the same
	blockingReadConnectionTimeout=6 => RECEIVETIMEOUT="6"
	blockingReadConnectionTimeout=0 =>
	queryTimeoutInterval=7 => QUERYTIMEOUTINTERVAL="7"
	currentSchema=APP => CURRENTSCHEMA="APP"
	currentSchema=a%20b => CURRENTSCHEMA="a%20b"
	currentSchema= => error: it is empty
	currentPackageSet=p => CURRENTPACKAGESET="p"
	defaultIsolationLevel=2 => TXNISOLATION="2"
	defaultIsolationLevel=CANARY => error: one of 1, 2, 4, 8, 32
	clientProgramName=b=c => PROGRAMNAME="b=c"
	clientApplicationInformation=a => CLIENTAPPLNAME="a"
	clientUser=u2 => CLIENTUSERID="u2"
	clientWorkstation=w => CLIENTWRKSTNNAME="w"
	clientAccountingInformation=c => CLIENTACCTSTR="c"
	securityMechanism=3 => AUTHENTICATION="SERVER"
	securityMechanism=7 => AUTHENTICATION="SERVER_ENCRYPT"
	securityMechanism=9 => AUTHENTICATION="SERVER_ENCRYPT"
	securityMechanism=11 => error: without a counterpart

	driverType=4 =>
	driverType=2 => error: without a counterpart
	progressiveStreaming=2 =>
	retrieveMessagesFromServerOnGetMessage=true =>
	Security=SSL => SECURITY="SSL", SSLCLIENTHOSTNAMEVALIDATION="Basic"

	databaseName=CANARY => error: give it in the URL's own place
	serverName=CANARY => error: give it in the URL's own place
	portNumber=CANARY => error: give it in the URL's own place
	sslTrustStoreLocation=CANARY => error: SSLServerCertificate
	sslTrustStorePassword=CANARY => error: SSLServerCertificate
	sslKeyStoreLocation=CANARY => error: SSLClientKeystoredb
	sslKeyStorePassword=CANARY => error: SSLClientKeystash
	traceFile=CANARY => error: show passwords
	traceLevel=CANARY => error: show passwords
	encrypt=true => error: is not known
	useSSL=true => error: is not known
	applicationName=x => error: is not known
`)

// connectingBy returns what CLI would read from the connection string.
func connectingBy(t *testing.T, dsn, secret string) (drivertest.Fields, error) {
	t.Helper()
	r := &recorder{}
	err := drivertest.Connect(t.Context(), register(r), dsn, secret)
	calls := r.calls()
	if len(calls) == 0 {
		return nil, err
	}
	return drivertest.FieldsOf(db2cli.Parse(calls[0])), nil
}

const guideSecret = `{"engine":"db2","host":"h.example.com","port":50000,"dbname":"SAMPLE","username":"u","password":"p"}`

// Each row of the tables on the page has the effect that the page says, and each name has a case.
func TestGuide(t *testing.T) {
	drivertest.RunVocabulary(t, drivertest.Vocabulary{
		Words: db2.Words, Page: "../../docs/db2.md",
		Params:     drivertest.Table{Heading: "parameters", Cases: map[string][]drivertest.Case{"prod/app?": guideParams}},
		Properties: drivertest.Table{Heading: "JCC's property", Cases: map[string][]drivertest.Case{"jdbc-secretsmanager:db2::user=prod/app;": guideProperties}},
		Open:       func(t *testing.T, dsn string) (drivertest.Fields, error) { return connectingBy(t, dsn, guideSecret) },
	})
}

// No host, port or database changes another keyword, whatever its characters are and wherever it
// comes from.
func FuzzEndpoint(f *testing.F) {
	configtest.Injection{
		Info:   fake.Info(),
		Params: "Security=SSL",
		URL: func(hostPort, database string) string {
			if strings.ContainsAny(database, ":;") {
				return "" // nothing is escaped
			}
			return "jdbc-secretsmanager:db2://" + hostPort + "/" + database + ":user=app;sslConnection=true;"
		},
		Open: connectingBy,
		Want: func(ep configtest.Endpoint) map[string]string {
			return params("HOSTNAME", strconv.Quote(ep.Host), "PORT", strconv.Quote(strconv.Itoa(ep.Port)), "DATABASE", strconv.Quote(ep.Database))
		},
	}.Fuzz(f)
}

// Whatever a URL contains, CLI reads the host, port and database that were parsed, and no other
// parameters.
func FuzzParseURL(f *testing.F) {
	for _, s := range []string{
		"db2://h:1/SAMPLE:user=id;", "db2:SAMPLE:user=a/b;sslConnection=true;", "db2://[::1]:3/S=x:user=id;currentSchema=a=b;loginTimeout=5;",
		"db2://h/S:user=id;clientUser={x;currentSchema=';UID=x;", "db2::user=id;Security=SSL;CurrentSchema= x;", "db2://h/a b:user=id;clientUser=HOSTNAME=evil;",
	} {
		f.Add(s)
	}
	r := &recorder{}
	e := register(r)
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := e.ParseURL(raw, func(string) bool { return false })
		if err != nil || e.CheckParams(u.Params) != nil {
			return
		}
		ep := configtest.EndpointOf(t, e, u)
		l, err := e.Prepare(ep)
		if err != nil {
			return // a database that cannot be written
		}
		r.mu.Lock()
		r.seen = nil
		r.mu.Unlock()
		if _, err := l.Connect(t.Context(), driver.Credentials{User: "u", Password: driver.NewPassword("p")}); !e.Rejected(err) {
			t.Fatalf("Connect = %v", err)
		}
		want := params("HOSTNAME", ep.Host, "PORT", strconv.Itoa(ep.Port), "PROTOCOL", "TCPIP", "DATABASE", ep.Database, "UID", "u", "PWD", "p")
		for name, value := range u.Params {
			want[strings.ToUpper(name)] = value
		}
		if u.Params["Security"] == "SSL" && u.Params["SSLClientHostnameValidation"] == "" {
			want["SSLCLIENTHOSTNAMEVALIDATION"] = "Basic"
		}
		if got := db2cli.Parse(r.calls()[0]); !maps.Equal(got, want) {
			t.Errorf("CLI reads %q, want %q", got, want)
		}
	})
}
