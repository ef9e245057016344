package gosqldriver_test

import (
	"bytes"
	"crypto/tls"
	"os"
	"slices"
	"strings"
	"testing"

	gomysql "github.com/go-sql-driver/mysql"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/mysql/gosqldriver"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/mysqlserver"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/configtest"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/logintest"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/testca"
)

// The file of ssl-ca verifies the server, and the server gets the certificate of ssl-cert.
func TestFilesOfAuthoritiesAndCertificates(t *testing.T) {
	certs, others := testca.New("localhost"), testca.New("localhost")
	ca, unknown := certs.File(t), others.File(t)
	cert, key := testca.KeyPair(t, certs.Issue("a client"))
	asks := certs.Server.Clone() // for a certificate of the client
	asks.ClientAuth, asks.ClientCAs, asks.MaxVersion = tls.RequireAndVerifyClientCert, certs.Pool, tls.VersionTLS12
	client := certs.Issue("a client of the options")
	for _, c := range []struct {
		name   string
		server *tls.Config
		params []string
		tls    *tls.Config
		host   string
		want   string // "tls" or part of an error
	}{
		{"ssl-ca", certs.Server, pairsOf("ssl-ca", ca), nil, "localhost", "tls"},
		{"ssl-ca, tls=true", certs.Server, pairsOf("ssl-ca", ca, "tls", "true"), nil, "localhost", "tls"},
		{"ssl-ca, another authority", certs.Server, pairsOf("ssl-ca", unknown), nil, "localhost", "unknown authority"},
		{"ssl-ca, another name", certs.Server, pairsOf("ssl-ca", ca), nil, "other.test", "not other.test"},
		{"ssl-ca, no TLS", nil, pairsOf("ssl-ca", ca), nil, "localhost", "does not support TLS"},
		{"ssl-cert missing", asks, pairsOf("ssl-ca", ca), nil, "localhost", "tls: "},
		{"ssl-cert", asks, pairsOf("ssl-ca", ca, "ssl-cert", cert, "ssl-key", key), nil, "localhost", "tls"},
		{"ssl-cert, not verified", asks, pairsOf("tls", "skip-verify", "ssl-cert", cert, "ssl-key", key), nil, "other.test", "tls"},
		{"ssl-cert alone is verified", asks, pairsOf("ssl-cert", cert, "ssl-key", key), nil, "localhost", "unknown authority"},
		{"options, ssl-cert", asks, pairsOf("ssl-cert", cert, "ssl-key", key), &tls.Config{RootCAs: certs.Pool}, "localhost", "tls"},
		{"options with a certificate, ssl-ca", asks, pairsOf("ssl-ca", ca), &tls.Config{Certificates: []tls.Certificate{client}}, "localhost", "tls"},
		{"options without verification, ssl-ca", certs.Server, pairsOf("ssl-ca", ca), &tls.Config{InsecureSkipVerify: true}, "other.test", "not other.test"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := start(t, &mysqlserver.Server{TLS: c.server})
			ep := endpoint(s, c.params...)
			ep.TLS, ep.Host = c.tls, c.host
			e := gosqldriver.Engine{Configure: func(config *gomysql.Config) error {
				config.DialFunc = logintest.DialTo(s.Addr())
				return nil
			}}
			logintest.Outcome{Want: c.want, Logins: func() int { return len(s.Seen()) }, Seen: func() string { return "tls" }}.Check(t, e, ep, goodPassword)
			if seen := s.Seen(); c.want == "tls" && (len(seen) != 1 || !seen[0].TLS) {
				t.Errorf("the server saw %+v, want one login over TLS", seen)
			}
			s.WaitClosed(t)
		})
	}
}

// If the secret asks for TLS, the connection has TLS without verification, and nothing goes in
// plaintext.
func TestEncrypt(t *testing.T) {
	certs := testca.New("another.name")
	for _, c := range []struct {
		name   string
		server *tls.Config
		params []string
		tls    *tls.Config
		want   string
	}{
		{"nothing said", certs.Server, nil, nil, "tls"},
		{"nothing said, no TLS", nil, nil, nil, "does not support TLS"},
		{"preferred", certs.Server, pairsOf("tls", "PREFERRED"), nil, "tls"},
		{"preferred, no TLS", nil, pairsOf("tls", "preferred"), nil, "does not support TLS"},
		{"true still verifies", certs.Server, pairsOf("tls", "true"), nil, "certificate for another name"},
		{"ssl-ca still verifies", certs.Server, pairsOf("ssl-ca", certs.File(t)), nil, "certificate"},
		{"options still verify", certs.Server, nil, &tls.Config{RootCAs: certs.Pool}, "certificate for another name"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := start(t, &mysqlserver.Server{TLS: c.server})
			ep := endpoint(s, c.params...)
			ep.TLS, ep.Encrypt = c.tls, true
			logintest.Outcome{Want: c.want, Logins: func() int { return len(s.Seen()) }, Seen: func() string {
				return map[bool]string{true: "tls", false: "plain"}[s.Seen()[0].TLS]
			}}.Check(t, gosqldriver.Engine{}, ep, goodPassword)
			s.WaitClosed(t)
		})
	}
	off := gosqldriver.Engine{}.Info().TurnsTLSOff
	if off == nil {
		t.Fatal("Info has no TurnsTLSOff: a secret that asks for TLS is an error")
	}
	for value, want := range map[string]bool{"false": true, "FALSE": true, "0": true, "true": false, "preferred": false, "skip-verify": false, "x": false} {
		if got := off(pairs("tls", value)); got != want {
			t.Errorf("TurnsTLSOff(tls=%s) = %t, want %t", value, got, want)
		}
	}
	if off(nil) {
		t.Error("TurnsTLSOff of nothing = true")
	}
}

// If Configure sets a TLS configuration, or makes the given one verify the server, TLS is required.
func TestConfigureThatAsksForTLSNeedsIt(t *testing.T) {
	certs := testca.New("localhost", "127.0.0.1")
	for name, c := range map[string]struct {
		configure func(*gomysql.Config)
		want      string // of a server without TLS
	}{
		"another configuration": {func(c *gomysql.Config) { c.TLS = &tls.Config{RootCAs: certs.Pool, ServerName: "localhost"} }, "does not support TLS"},
		"a name":                {func(c *gomysql.Config) { c.TLS, c.TLSConfig = nil, "true" }, "does not support TLS"},
		"verified":              {func(c *gomysql.Config) { c.TLS.InsecureSkipVerify, c.TLS.RootCAs = false, certs.Pool }, "does not support TLS"},
		"something else":        {func(c *gomysql.Config) { c.TLS.MinVersion = tls.VersionTLS13 }, "plain"},
		"no TLS":                {func(c *gomysql.Config) { c.TLS, c.TLSConfig = nil, "false" }, "plain"},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, &mysqlserver.Server{})
			e := gosqldriver.Engine{Configure: func(config *gomysql.Config) error { c.configure(config); return nil }}
			logintest.Outcome{Want: c.want, Logins: func() int { return len(s.Seen()) }, Seen: func() string { return "plain" }}.Check(t, e, endpoint(s), goodPassword)
			s.WaitClosed(t)
		})
	}
}

// Info names the files, so that they are read again when they change. Prepare reads them: a file
// that is half written, or a key that does not belong to the certificate, is an error of Prepare.
func TestFilesAreReadByPrepare(t *testing.T) {
	certs, others := testca.New("localhost"), testca.New("localhost")
	ca := certs.File(t)
	cert, key := testca.KeyPair(t, certs.Issue("a client"))
	_, otherKey := testca.KeyPair(t, certs.Issue("another"))
	bundle := slices.Concat(testca.PEM(certs.Authority.Raw), testca.PEM(others.Authority.Raw))
	cut := testca.WriteFile(t, "cut.pem", bundle[:len(bundle)-40])
	half := testca.WriteFile(t, "half.pem", bundle[:200])
	pem, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	halfKey := testca.WriteFile(t, "half.key", bytes.TrimSpace(pem)[:60])
	ep := func(kv ...string) driver.Endpoint { return driver.Endpoint{Host: "h", Port: 1, Params: pairs(kv...)} }
	configtest.PrepareFails(t, gosqldriver.Engine{}, []configtest.PrepareCase{
		{"no such file", ep("ssl-ca", "/no-such-file"), `"ssl-ca"`},
		{"half a certificate", ep("ssl-ca", half), `"ssl-ca"`},
		{"bundle whose last certificate is cut off", ep("ssl-ca", cut), `"ssl-ca"`},
		{"no certificate", ep("ssl-ca", key), `"ssl-ca"`},
		{"half a client certificate", ep("ssl-cert", half, "ssl-key", key), `"ssl-cert"`},
		{"half a key", ep("ssl-cert", cert, "ssl-key", halfKey), `"ssl-key"`},
		{"another key", ep("ssl-cert", cert, "ssl-key", otherKey), `"ssl-key"`},
		{"two authorities", driver.Endpoint{Host: "h", Port: 1, Params: pairs("ssl-ca", ca), TLS: &tls.Config{RootCAs: certs.Pool}}, `"ssl-ca"`},
		{"two certificates", driver.Endpoint{Host: "h", Port: 1, Params: pairs("ssl-cert", cert, "ssl-key", key), TLS: &tls.Config{Certificates: []tls.Certificate{{}}}}, `"ssl-cert"`},
	})
	files := gosqldriver.Engine{}.Info().Files
	if files == nil {
		t.Fatal("Info has no Files: what they hold is used until the program ends")
	}
	got := files(pairs("ssl-ca", ca, "ssl-cert", cert, "ssl-key", key, "charset", "utf8mb4"))
	slices.Sort(got)
	want := []string{ca, cert, key}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("Files = %s, want %s", strings.Join(got, " "), strings.Join(want, " "))
	}
}

// The error says first what is wrong with TLS and with which host, and last which parameter changes
// it.
func TestTLSErrorsSayWhatToDo(t *testing.T) {
	certs, old := testca.New("db.test"), testca.New("127.0.0.1").Server.Clone()
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS10
	asks := certs.Server.Clone() // for a certificate of the client
	// In TLS 1.3 the answer of the server comes after the handshake, and the driver drops it.
	asks.ClientAuth, asks.ClientCAs, asks.MaxVersion = tls.RequireAndVerifyClientCert, certs.Pool, tls.VersionTLS12
	cert, key := testca.KeyPair(t, testca.New().Issue("a client of another authority"))
	for _, c := range []struct {
		name   string
		server *tls.Config
		params []string
		want   []string
	}{
		{"another name", certs.Server, pairsOf("ssl-ca", certs.File(t)), []string{"the server at 127.0.0.1:", " has a certificate for another name", "a ServerName in driver.Options.TLS"}},
		{"unknown authority", testca.New("127.0.0.1").Server, pairsOf("tls", "true"), []string{"the server at 127.0.0.1:", " has a certificate by an unknown authority", `"ssl-ca" or driver.Options.TLS`}},
		{"TLS 1.0", old, nil, []string{"the server at 127.0.0.1:", "has no version of TLS that is allowed", "a MinVersion in driver.Options.TLS"}},
		{"another client certificate", asks, pairsOf("tls", "skip-verify", "ssl-cert", cert, "ssl-key", key), []string{"the server at 127.0.0.1:", " does not accept the client's certificate", `; name one by "ssl-cert" and "ssl-key", or driver.Options.TLS`}},
		{"no TLS", nil, pairsOf("tls", "true"), []string{"the server at 127.0.0.1:", "has no TLS"}},
	} {
		s := start(t, &mysqlserver.Server{TLS: c.server})
		_, err := connect(t, gosqldriver.Engine{}, endpoint(s, c.params...), goodPassword)
		if err == nil {
			t.Errorf("%s: Connect succeeded", c.name)
			continue
		}
		for i, want := range c.want {
			if got := err.Error(); !strings.Contains(got, want) || i == 0 && !strings.HasPrefix(got, want) {
				t.Errorf("%s: Connect = %v, want %q in it, the first in front", c.name, err, want)
			}
		}
	}
}
