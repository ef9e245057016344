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

// Pairs returns a map from a list of names and values that alternate.
func Pairs(kv ...string) map[string]string {
	m := map[string]string{}
	for pair := range slices.Chunk(kv, 2) {
		m[pair[0]] = pair[1]
	}
	return m
}

// Own reports whether a property of a URL belongs to the Connector, in the tests of ParseURL.
func Own(property string) bool {
	return slices.Contains([]string{"stage", "region", "host", "port"}, property)
}

// NotOwn says for every property that it belongs to the engine.
func NotOwn(string) bool { return false }

// wantError checks that the text of an error has all parts. Without parts there must be no error.
// The text must not quote a value: the values of the cases contain drivertest.Canary.
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

// A ParamsCase has parameters, in the form for Pairs, and parts of the error. Without parts, the
// parameters must be accepted.
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

// RejectsNamesAboutTLS checks names that no setting of the server has and that seem to be about TLS
// or the login. They must be errors of the engine. If the engine passed them on, the server might
// treat them as settings, and nobody would notice that there is no TLS.
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

// A URLCase has a URL and what an engine reads from it.
type URLCase = struct {
	URL  string
	Want driver.URL
}

// ParseURL checks what an engine reads from URLs, and that it accepts the parameters.
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

// EndpointOf returns the endpoint of a URL. The secret has what the URL leaves out.
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

// Capture prepares a login and returns the configuration C with which the vendor's driver would
// connect. prepare must call Prepare of an engine whose Configure is configure.
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

// CaptureDSN opens a data source name with a secret and returns the configuration C with which the
// vendor's driver would connect. with must return an engine whose Configure is configure. seen is
// called with the Login that the engine prepares; it may be nil.
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

// A spy is an engine that passes each prepared Login to seen.
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
