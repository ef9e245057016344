package configtest

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/driver/drivertest"
)

// Pairs returns a map of names, each with the value that follows it.
func Pairs(kv ...string) map[string]string {
	m := map[string]string{}
	for pair := range slices.Chunk(kv, 2) {
		m[pair[0]] = pair[1]
	}
	return m
}

// Own reports whether a property of a URL is the Connector's own, in the tests of ParseURL.
func Own(property string) bool {
	return slices.Contains([]string{"stage", "region", "host", "port"}, property)
}

// NotOwn says of every property that it is the engine's.
func NotOwn(string) bool { return false }

// wantError checks an error for parts of its text. No parts: there must be no error. The
// text must not quote a value; values that would show hold drivertest.Canary.
func wantError(t *testing.T, what string, err error, parts ...string) {
	t.Helper()
	if (err != nil) != (parts != nil) {
		t.Errorf("%s: %v, want an error: %t", what, err, parts != nil)
		return
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%s: %v, want %s in it", what, err, part)
		}
	}
	if err != nil && strings.Contains(err.Error(), drivertest.Canary) {
		t.Errorf("%s: %v quotes a value", what, err)
	}
}

// A ParamsCase has parameters, as Pairs takes them, and the parts of the error. No parts: the
// parameters are accepted.
type ParamsCase = struct {
	Params []string
	Want   []string
}

// CheckParams checks which parameters an engine accepts.
func CheckParams(t *testing.T, e driver.Engine, cases []ParamsCase) {
	t.Helper()
	for _, c := range cases {
		wantError(t, fmt.Sprintf("%s: CheckParams(%q)", e.Info().Name, c.Params), e.CheckParams(Pairs(c.Params...)), c.Want...)
	}
}

// RejectsNamesAboutTLS checks a name that no setting of the server has, and that seems to be
// about TLS or the login. An engine must not pass it on: the server might take it for a
// setting of its own, and nobody would notice that there is no TLS.
func RejectsNamesAboutTLS(t *testing.T, e driver.Engine) {
	t.Helper()
	for word, names := range map[string][]string{
		"ssl":    {"app.use_ssl_always", "SSLEverywhere"},
		"tls":    {"app.use_tls_always", "TLSEverywhere"},
		"cert":   {"app.ca_certs_of_rds", "ClientCertificates"},
		"crypt":  {"app.crypto_level", "Encryption"},
		"verify": {"app.verify_server", "VerifyHostNames"},
		"trust":  {"app.trusted_hosts", "TrustAnchors"},
		"secure": {"app.be_secure", "SecureTransport"},
		"auth":   {"app.auth_method", "Authenticators"},
	} {
		for _, name := range names {
			wantError(t, name, e.CheckParams(Pairs(name, drivertest.Canary)), `"`+name+`" is not known`, `"`+word+`"`)
		}
	}
}

// Accepts checks which values of a secret's key "engine" an engine accepts.
func Accepts(t *testing.T, e driver.Engine, yes, no []string) {
	t.Helper()
	info := e.Info()
	for _, name := range slices.Concat(yes, no) {
		if want := slices.Contains(yes, name); info.Accepts(name) != want {
			t.Errorf("%s accepts a secret of %q: %t, want %t", info.Name, name, !want, want)
		}
	}
}

// A URLCase has a URL and what an engine reads out of it.
type URLCase = struct {
	URL  string
	Want driver.URL
}

// ParseURL checks what an engine reads out of URLs, and that it accepts the parameters.
func ParseURL(t *testing.T, e driver.Engine, own func(string) bool, cases []URLCase) {
	t.Helper()
	for _, c := range cases {
		if c.Want.Params == nil {
			c.Want.Params = map[string]string{}
		}
		got, err := e.ParseURL(c.URL, own)
		if err != nil || !reflect.DeepEqual(got, c.Want) {
			t.Errorf("ParseURL(%q)\n = %+v, %v,\nwant %+v", c.URL, got, err, c.Want)
			continue
		}
		maps.DeleteFunc(got.Params, func(name, _ string) bool { return own(name) })
		if err := e.CheckParams(got.Params); err != nil {
			t.Errorf("CheckParams of %q: %v", c.URL, err)
		}
	}
}

// An ErrorCase has a URL and a part of the error.
type ErrorCase = struct{ URL, Want string }

// ParseURLFails checks the errors of URLs.
func ParseURLFails(t *testing.T, e driver.Engine, own func(string) bool, cases []ErrorCase) {
	t.Helper()
	for _, c := range cases {
		_, err := e.ParseURL(c.URL, own)
		wantError(t, c.URL, err, c.Want)
	}
}

// A PrepareCase has an endpoint that an engine cannot use, and a part of the error.
type PrepareCase = struct {
	Name     string
	Endpoint driver.Endpoint
	Want     string
}

// PrepareFails checks the errors of Prepare, and returns them.
func PrepareFails(t *testing.T, e driver.Engine, cases []PrepareCase) (errs []error) {
	t.Helper()
	for _, c := range cases {
		l, err := e.Prepare(c.Endpoint)
		if wantError(t, c.Name, err, c.Want); l != nil {
			t.Errorf("%s: Prepare returned a %T", c.Name, l)
		}
		errs = append(errs, err)
	}
	return errs
}

// EndpointOf returns where a program connects with what a URL says, if the secret says the
// rest.
func EndpointOf(t *testing.T, e driver.Engine, u driver.URL) driver.Endpoint {
	t.Helper()
	if u.SecretID == "" {
		t.Fatal("no secret id and no error")
	}
	ep := driver.Endpoint{Host: u.Host, Port: u.Port, Database: u.Database, Params: u.Params}
	if ep.Host == "" {
		ep.Host = "from-the-secret"
	}
	if ep.Port == 0 {
		ep.Port = e.Info().Port
	}
	return ep
}

// Capture prepares a login and returns the configuration C with which the vendor's driver
// would connect. Prepare calls an engine's Prepare with configure for its Configure.
func Capture[C any](t *testing.T, prepare func(configure func(*C) error) (driver.Login, error)) (config *C, err error) {
	t.Helper()
	stop := errors.New("stop")
	l, err := prepare(func(c *C) error {
		config = c
		return stop
	})
	if err != nil {
		return nil, err
	}
	if _, err := l.Connect(t.Context(), driver.Credentials{User: "u", Password: driver.NewPassword("p")}); !errors.Is(err, stop) {
		t.Fatalf("Connect = %v, want %v", err, stop)
	}
	return config, nil
}

// CaptureDSN opens a data source name with a secret and returns the configuration C with
// which the vendor's driver would connect. With returns an engine with configure for its
// Configure. Seen, if it is not nil, gets what the engine prepares.
func CaptureDSN[C any](t *testing.T, dsn, secret string, with func(configure func(*C) error) driver.Engine, seen func(driver.Login)) (config *C, err error) {
	t.Helper()
	e := with(func(c *C) error {
		config = c
		return errors.New("not dialled")
	})
	if err := drivertest.Connect(t.Context(), spy{e, seen}, dsn, secret); config == nil {
		return nil, err
	}
	return config, nil
}

// A spy looks at what an engine prepares.
type spy struct {
	driver.Engine
	seen func(driver.Login)
}

func (s spy) Prepare(ep driver.Endpoint) (driver.Login, error) {
	l, err := s.Engine.Prepare(ep)
	if err == nil && s.seen != nil {
		s.seen(l)
	}
	return l, err
}
