package db2_test

import (
	"context"
	"crypto/tls"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/driver/drivertest"
	"github.com/sqlsecrets/sqlsecrets/engines/db2"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/db2cli"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/configtest"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/leak"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/logintest"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/testca"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

func init() { sql.Register("fake_ibm_db", db2cli.Driver{}) }

var fake = db2.Engine{Driver: "fake_ibm_db"}

const database = "SAMPLE"

func start(tb testing.TB, config *tls.Config, hosts ...string) *db2cli.Server {
	tb.Helper()
	return (&db2cli.Server{TLS: config, Databases: []string{database}}).Start(tb, hosts...)
}

func TestConformance(t *testing.T) {
	for _, names := range [][]string{nil, {"127.0.0.1"}, {"localhost", "::1"}} {
		t.Run(fmt.Sprint(names), func(t *testing.T) {
			t.Parallel()
			certs := testca.New(names...)
			authority := certs.File(t)
			var config *tls.Config
			params := ""
			if names != nil {
				config, params = certs.Server, "Security=SSL&SSLClientHostnameValidation=OFF&SSLServerCertificate="+authority
			}
			s := start(t, config)
			drivertest.Run(t, drivertest.Server{
				Engine: fake, Host: s.Host, Port: s.Port, Database: database, Params: params,
				Query: "VALUES 1", ConnType: "*db2cli.Conn",
				SetPassword: s.SetPassword, Logins: s.Logins, Refuse: s.Refuse,
				Refuses: func(p string) bool {
					return strings.ContainsAny(p, ";") || strings.TrimSpace(p) != p || strings.IndexFunc(p, func(r rune) bool { return r > 0x7e }) >= 0 || p[0] == '\''
				},
				TLS: &drivertest.TLS{
					Names: names, Roots: certs.Pool, OnlyIfAsked: true, NoOptions: true,
					Verified: "Security=SSL&SSLServerCertificate=" + authority, Unknown: "Security=SSL", Off: "Security=NONE",
					URL: func(address, id string) string {
						return "db2://" + address + "/" + database + ":user=" + id + ";sslConnection=true;sslCertLocation=" + authority + ";"
					},
				},
			})
		})
	}
}

// A recorder is a driver that keeps the connection strings that it gets, and answers as a test
// says.
type recorder struct {
	mu   sync.Mutex
	seen []string
	open func(s string) (sqldriver.Conn, error)
}

func (r *recorder) Open(s string) (sqldriver.Conn, error) {
	r.mu.Lock()
	r.seen = append(r.seen, s)
	r.mu.Unlock()
	if r.open != nil {
		return r.open(s)
	}
	return nil, db2cli.Security(24, "USERNAME AND/OR PASSWORD INVALID")
}

// calls returns the connection strings so far.
func (r *recorder) calls() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.seen...)
}

var (
	recorderNumber int
	recorderMu     sync.Mutex
)

// newName returns the name of a driver that is not registered yet.
func newName() string {
	recorderMu.Lock()
	defer recorderMu.Unlock()
	recorderNumber++
	return "recorder" + strconv.Itoa(recorderNumber)
}

// register returns an Engine whose driver is r.
func register(r sqldriver.Driver) db2.Engine {
	name := newName()
	sql.Register(name, r)
	return db2.Engine{Driver: name}
}

var params = configtest.Pairs

func TestConnectionString(t *testing.T) {
	r := &recorder{}
	e := register(r)
	for _, c := range []struct {
		params  map[string]string
		encrypt bool
		want    string
	}{
		{nil, false, "HOSTNAME=db.example.com;PORT=50000;PROTOCOL=TCPIP;DATABASE=SAMPLE;UID=u;PWD=a=b{c}\"d;"},
		{params("CurrentSchema", "APP", "ConnectTimeout", "7"), false,
			"HOSTNAME=db.example.com;PORT=50000;PROTOCOL=TCPIP;DATABASE=SAMPLE;ConnectTimeout=7;CurrentSchema=APP;UID=u;PWD=a=b{c}\"d;"},
		{params("Security", "SSL", "SSLServerCertificate", "/ca.pem"), false,
			"HOSTNAME=db.example.com;PORT=50000;PROTOCOL=TCPIP;DATABASE=SAMPLE;SSLServerCertificate=/ca.pem;Security=SSL;SSLClientHostnameValidation=Basic;UID=u;PWD=a=b{c}\"d;"},
		{params("Security", "SSL", "SSLClientHostnameValidation", "OFF"), false,
			"HOSTNAME=db.example.com;PORT=50000;PROTOCOL=TCPIP;DATABASE=SAMPLE;SSLClientHostnameValidation=OFF;Security=SSL;UID=u;PWD=a=b{c}\"d;"},
		{nil, true, "HOSTNAME=db.example.com;PORT=50000;PROTOCOL=TCPIP;DATABASE=SAMPLE;Security=SSL;UID=u;PWD=a=b{c}\"d;"},
		{params("Security", "SSL"), true,
			"HOSTNAME=db.example.com;PORT=50000;PROTOCOL=TCPIP;DATABASE=SAMPLE;Security=SSL;SSLClientHostnameValidation=Basic;UID=u;PWD=a=b{c}\"d;"},
		{params("Security", "NONE"), false, "HOSTNAME=db.example.com;PORT=50000;PROTOCOL=TCPIP;DATABASE=SAMPLE;UID=u;PWD=a=b{c}\"d;"},
	} {
		l, err := e.Prepare(driver.Endpoint{Host: "db.example.com", Port: 50000, Database: "SAMPLE", Params: c.params, Encrypt: c.encrypt})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second is not longer
			_, err = l.Connect(t.Context(), driver.Credentials{User: "u", Password: driver.NewPassword(`a=b{c}"d`)})
			if !e.Rejected(err) {
				t.Errorf("Connect = %v, want a rejection", err)
			}
			if got := r.calls()[len(r.calls())-1]; got != c.want {
				t.Errorf("connection string %q, want %q", got, c.want)
			}
		}
	}
	if _, err := e.Prepare(driver.Endpoint{Host: "h", Port: 1, Database: "D", TLS: &tls.Config{MinVersion: tls.VersionTLS12}}); err == nil || !strings.Contains(err.Error(), "Security=SSL") {
		t.Errorf("Prepare with Options.TLS = %v, want an error that names Security=SSL", err)
	}
}

// A value that would not arrive unchanged is an error before the driver is called. The error does
// not quote the value.
func TestValuesThatWouldNotArriveUnchangedAreErrors(t *testing.T) {
	r := &recorder{}
	e := register(r)
	for _, c := range []struct{ name, value, want string }{
		{"password", "CANARY;PROTOCOL=x", `";"`},
		{"password", ";", `";"`},
		{"password", " CANARY", "space"},
		{"password", "CANARY ", "space"},
		{"password", "CANARY\x00", "0x20 to 0x7e"},
		{"password", "CANARY\n", "0x20 to 0x7e"},
		{"password", "CANARYé", "0x20 to 0x7e"},
		{"password", "{CANARY}", "brace"},
		{"password", `"CANARY"`, "quotation mark"},
		{"password", "'CANARY'", "quotation mark"},
		{"user", "CANARY;PWD=x", `";"`},
		{"user", " CANARY", "space"},
		{"user", "CANARY\x00", "control"},
		{"database", "CANARY;HOSTNAME=evil", `";"`},
		{"database", "{CANARY", "brace"},
		{"host", "CANARY;HOSTNAME=evil", `";"`},
		{"CurrentSchema", "CANARY;UID=evil", `";"`},
		{"ClientApplName", "CANARY\x01", "control"},
	} {
		ep := driver.Endpoint{Host: "h", Port: 50000, Database: "SAMPLE", Params: map[string]string{}}
		cred := driver.Credentials{User: "u", Password: driver.NewPassword("p")}
		inSecret := false
		switch c.name {
		case "password":
			cred.Password, inSecret = driver.NewPassword(c.value), true
		case "user":
			cred.User, inSecret = c.value, true
		case "database":
			ep.Database = c.value
		case "host":
			ep.Host = c.value
		default:
			ep.Params[c.name] = c.value
		}
		l, err := e.Prepare(ep)
		if err == nil {
			_, err = l.Connect(t.Context(), cred)
		}
		if err == nil || !strings.Contains(err.Error(), c.name) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %q: %v, want an error that says %s", c.name, c.value, err, c.want)
		}
		if d := (*driver.Error)(nil); inSecret != (errors.As(err, &d) && d.Kind == driver.ErrMalformedSecret) {
			t.Errorf("%s %q: %v, want ErrMalformedSecret to be %t", c.name, c.value, err, inSecret)
		}
		if path := leak.Find(err, "CANARY"); path != "" {
			t.Errorf("%s %q: the error quotes it in %s", c.name, c.value, path)
		}
	}
	if len(r.calls()) != 0 {
		t.Errorf("the driver was called with %d of them", len(r.calls()))
	}
}

// No accepted value becomes a keyword of its own or arrives changed.
func FuzzConnectionString(f *testing.F) {
	f.Add("h", "SAMPLE", "u", "p", "APP")
	f.Add("h;UID=x", "S;PWD=y", "u;PWD=z", "p;SECURITY=", "a;b")
	f.Add(" h", "{S;}", `"u"`, "p=;", "=")
	f.Add("::1", "s=", "u}", "{p;}", "'a;'")
	r := &recorder{}
	e := register(r)
	f.Fuzz(func(t *testing.T, host, database, user, password, schema string) {
		r.mu.Lock()
		r.seen = nil
		r.mu.Unlock()
		l, err := e.Prepare(driver.Endpoint{Host: host, Port: 50000, Database: database,
			Params: params("CurrentSchema", schema, "Security", "SSL")})
		if err != nil {
			return
		}
		if _, err := l.Connect(context.Background(), driver.Credentials{User: user, Password: driver.NewPassword(password)}); !e.Rejected(err) {
			if len(r.calls()) != 0 {
				t.Errorf("the driver was called, and Connect = %v", err)
			}
			return
		}
		want := map[string]string{"HOSTNAME": host, "PORT": "50000", "PROTOCOL": "TCPIP", "DATABASE": database, "UID": user, "PWD": password,
			"CURRENTSCHEMA": schema, "SECURITY": "SSL", "SSLCLIENTHOSTNAMEVALIDATION": "Basic"}
		if got := db2cli.Parse(r.calls()[0]); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("the driver read %q, want %q", got, want)
		}
	})
}

func TestRejectedAndNoDatabase(t *testing.T) {
	for _, c := range []struct {
		name                 string
		err                  error
		rejected, noDatabase bool
	}{
		{"wrong password", db2cli.Security(24, "USERNAME AND/OR PASSWORD INVALID"), true, false},
		{"security failure", db2cli.Security(15, "PROCESSING FAILURE"), true, false},
		{"z/OS: password", db2cli.Security(2, "PASSWORD INVALID"), true, false},
		{"z/OS: user", db2cli.Security(6, "USERID INVALID"), true, false},
		{"German", db2cli.Failed("08001", -30082, `SQL30082N  Sicherheitsverarbeitung mit Ursache "24" ("BENUTZERNAME UND/ODER KENNWORT UNGÜLTIG") fehlgeschlagen.`), true, false},
		{"expired", db2cli.Security(1, "PASSWORD EXPIRED"), false, false},
		{"missing", db2cli.Security(3, "PASSWORD MISSING"), false, false},
		{"revoked", db2cli.Security(7, "USERID DISABLED or RESTRICTED"), false, false},
		{"unsupported function", db2cli.Security(17, "UNSUPPORTED FUNCTION"), false, false},
		{"server's authentication", db2cli.Security(19, "USERID DISABLED or RESTRICTED"), false, false},
		{"not 24", db2cli.Security(240, "?"), false, false},
		{"24 elsewhere", db2cli.Security(17, "24"), false, false},
		{"no reason", db2cli.Failed("08001", -30082, "SQL30082N  Security processing failed."), false, false},
		{"another message", db2cli.Failed("08001", -30082, `SQL30081N "24"`), false, false},
		{"another state", db2cli.Failed("08004", -30082, `SQL30082N reason "24"`), false, false},
		{"network", db2cli.Failed("08001", -30081, `SQL30081N  A communication error has been detected. reason "24"`), false, false},
		{"JCC's code", db2cli.Failed("28000", -4214, `SQL30082N "24"`), false, false},
		{"AWS's near miss", db2cli.Failed("08001", -2323, `SQL30082N "24"`), false, false},
		{"alias unknown", db2cli.Failed("42705", -1013, "SQL1013N"), false, true},
		{"alias unknown, other state", db2cli.Failed("08001", -1013, "SQL1013N"), false, false},
		{"not at the server", db2cli.Failed("08004", -30061, "SQL30061N"), false, true},
		{"not at the server, other state", db2cli.Failed("08001", -30061, "SQL30061N"), false, false},
		{"undefined object", db2cli.Failed("42705", -204, "SQL0204N"), false, false},
		{"text only", errors.New(`SQL30082N  Security processing failed with reason "24"`), false, false},
		{"other Diag", &otherError[int]{Diag: []int{-30082}}, false, false},
		{"other fields", &otherError[struct{ State, NativeError, Message string }]{Diag: make([]struct{ State, NativeError, Message string }, 1)}, false, false},
		{"nil", nil, false, false},
		{"nil pointer", (*db2cli.Error)(nil), false, false},
	} {
		t.Run(c.name, func(t *testing.T) { logintest.Verdict(t, fake, c.err, c.rejected, c.noDatabase) })
	}
}

type otherError[T any] struct{ Diag []T }

func (e *otherError[T]) Error() string { return "other" }

// If the error of a driver quotes the connection string, the engine's error does not show the
// password, and a rejection still counts as one.
func TestErrorThatShowsThePassword(t *testing.T) {
	const password = "CANARY-3f9a"
	for _, hidden := range []bool{true, false} {
		e := register(&recorder{open: func(s string) (sqldriver.Conn, error) {
			if !hidden {
				s = "no string"
			}
			return nil, db2cli.Failed("08001", -30082, `SQL30082N reason "24" for `+s)
		}})
		l, err := e.Prepare(driver.Endpoint{Host: "h", Port: 1, Database: "D"})
		if err != nil {
			t.Fatal(err)
		}
		_, err = l.Connect(t.Context(), driver.Credentials{User: "u", Password: driver.NewPassword(password)})
		if path := leak.Find(err, password); path != "" {
			t.Errorf("the error holds the password in %s", path)
		}
		if !e.Rejected(err) || !strings.Contains(err.Error(), "30082") {
			t.Errorf("Connect = %v, want a rejection that names the code", err)
		}
		if vendor := (*db2cli.Error)(nil); errors.As(err, &vendor) == hidden {
			t.Errorf("the vendor's error is in the tree: %t, want %t", !hidden, hidden)
		}
	}
}

type closer struct {
	sqldriver.Conn
	closed chan struct{}
}

func (c *closer) Close() error { close(c.closed); return nil }

// If the data source name has a ConnectTimeout, the driver gets no other one.
func TestConnectTimeoutOfTheDataSourceName(t *testing.T) {
	r := &recorder{open: func(string) (sqldriver.Conn, error) { return nil, errors.New("refused") }}
	l, err := register(r).Prepare(driver.Endpoint{Host: "h", Port: 1, Database: "D", Params: params("ConnectTimeout", "7")})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, _ = l.Connect(ctx, driver.Credentials{User: "u", Password: driver.NewPassword("p")})
	if got := r.calls()[0]; strings.Count(got, "ConnectTimeout=") != 1 || !strings.Contains(got, ";ConnectTimeout=7;") {
		t.Errorf("the driver got %q, want ConnectTimeout=7 alone", got)
	}
}

// Connect ends with its context even if the driver does not. A connection that the driver opens
// later is closed.
func TestConnectEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		late := &closer{closed: make(chan struct{})}
		r := &recorder{open: func(string) (sqldriver.Conn, error) {
			time.Sleep(time.Minute)
			return late, nil
		}}
		e := register(r)
		l, err := e.Prepare(driver.Endpoint{Host: "h", Port: 1, Database: "D"})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
		defer cancel()
		start := time.Now()
		conn, err := l.Connect(ctx, driver.Credentials{User: "u", Password: driver.NewPassword("p")})
		if conn != nil || !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 2500*time.Millisecond {
			t.Errorf("Connect = %v, %v after %v", conn, err, time.Since(start))
		}
		if got := db2cli.Parse(r.calls()[0])["CONNECTTIMEOUT"]; got != "3" {
			t.Errorf("ConnectTimeout=%s, want 3: the deadline, rounded up", got)
		}
		<-late.closed
		if got := time.Since(start); got != time.Minute {
			t.Errorf("closed after %v", got)
		}
		if _, err := l.Connect(ctx, driver.Credentials{User: "u", Password: driver.NewPassword("p")}); !errors.Is(err, context.DeadlineExceeded) || len(r.calls()) != 1 {
			t.Errorf("Connect with a context that has ended = %v, %d calls of the driver", err, len(r.calls()))
		}
	})
}

// If a driver fails too late and returns a nil pointer as the connection, nothing is closed.
func TestNilConnectionOfALateDriverIsNotClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := register(&recorder{open: func(string) (sqldriver.Conn, error) {
			time.Sleep(time.Minute)
			return (*closer)(nil), db2cli.Security(24, "")
		}})
		l, err := e.Prepare(driver.Endpoint{Host: "h", Port: 1, Database: "D"})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := l.Connect(ctx, driver.Credentials{User: "u", Password: driver.NewPassword("p")}); e.Rejected(err) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Connect = %v", err)
		}
		time.Sleep(2 * time.Minute) // a call of Close would be a panic by now
	})
}

// A contextDriver is a driver that takes a context.
type contextDriver struct{ db2cli.Driver }

type contextConnector struct{ s string }

func (d contextDriver) OpenConnector(s string) (sqldriver.Connector, error) {
	return contextConnector{s}, nil
}

func (c contextConnector) Driver() sqldriver.Driver { return contextDriver{} }
func (c contextConnector) Connect(ctx context.Context) (sqldriver.Conn, error) {
	<-ctx.Done()
	return (*db2cli.Conn)(nil), fmt.Errorf("%s: %w", db2cli.Parse(c.s)["HOSTNAME"], ctx.Err())
}

func TestDriverThatTakesAContext(t *testing.T) {
	l, err := register(contextDriver{}).Prepare(driver.Endpoint{Host: "h", Port: 1, Database: "D"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	conn, err := l.Connect(ctx, driver.Credentials{User: "u", Password: driver.NewPassword("p")})
	if conn != nil || !errors.Is(err, context.DeadlineExceeded) || !strings.HasPrefix(err.Error(), "h: ") {
		t.Errorf("Connect = %v, %v, want the driver's own error", conn, err)
	}
}

type source string

func (s source) Fetch(_ context.Context, id, stage string) (*secretcache.Secret, error) {
	return secretcache.NewSecret(secretcache.Value{ID: id, Name: id, VersionID: "v1", Stages: []string{stage}, String: string(s)}), nil
}

// Without a driver, the error of the first Connect call says what to import or set. The next call
// finds the driver.
func TestMissingDriverIsAnErrorThatSaysWhatToImport(t *testing.T) {
	cache := secretcache.New(source(`{"engine":"db2","host":"127.0.0.1","port":1,"dbname":"SAMPLE","username":"u","password":"p"}`), nil)
	defer cache.Close()
	name := newName()
	connector, err := driver.NewConnector(db2.Engine{Driver: name}, "app", &driver.Options{Secrets: cache})
	if err != nil {
		t.Fatal(err)
	}
	_, err = connector.Connect(t.Context())
	for _, want := range []string{strconv.Quote(name), "db2.Engine.Driver"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Connect = %v, want %s in it", err, want)
		}
	}
	sql.Register(name, db2cli.Driver{})
	var code *db2cli.Error
	if _, err = connector.Connect(t.Context()); !errors.As(err, &code) || code.Diag[0].NativeError != -30081 {
		t.Errorf("Connect = %v, want the driver's error", err)
	}
}

func TestAccountLocked(t *testing.T) {
	for reason, want := range map[int]bool{7: true, 24: false, 1: false} {
		if got := fake.AccountLocked(db2cli.Security(reason, "?")); got != want {
			t.Errorf("AccountLocked of reason %d = %v", reason, got)
		}
	}
}
