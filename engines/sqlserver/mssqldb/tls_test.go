package mssqldb_test

import (
	"crypto/tls"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/driver/drivertest"
	"github.com/sqlsecrets/sqlsecrets/engines/sqlserver/mssqldb"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/tdsserver"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/configtest"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/logintest"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/testca"
)

// If the secret asks for TLS, everything is encrypted, and nothing goes in plaintext.
func TestEncrypt(t *testing.T) {
	certs := newCertificates(t, "another.name")
	has, none := tdsserver.Options{TLS: certs.Server}, tdsserver.Options{}
	const missing = "has no TLS"
	for _, c := range []struct {
		name   string
		server tdsserver.Options
		params []string
		tls    *tls.Config
		want   string // "full" or part of an error
	}{
		{"nothing said", has, nil, nil, "full"},
		{"nothing said, not available", none, nil, nil, missing},
		{"trust", has, pairsOf("trustservercertificate", "true"), nil, "full"},
		{"trust, not available", none, pairsOf("trustservercertificate", "true"), nil, missing},
		{"optional, trust", has, pairsOf("encrypt", "optional", "trustservercertificate", "true"), nil, "full"},
		{"optional, trust, not available", none, pairsOf("encrypt", "optional", "trustservercertificate", "true"), nil, missing},
		{"optional still verifies", has, pairsOf("encrypt", "no"), nil, "certificate"},
		{"true still verifies", has, pairsOf("encrypt", "true"), nil, "certificate"},
		{"authorities still verify", has, pairsOf("certificate", certs.CA), nil, "another name"},
		{"options still verify", has, nil, &tls.Config{RootCAs: certs.Pool}, "another name"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := start(t, c.server)
			ep := endpoint(s, c.params...)
			ep.TLS, ep.Encrypt = c.tls, true
			logintest.Outcome{Want: c.want, Opaque: true, Logins: func() int { return len(s.Seen()) }, Seen: func() string {
				return map[bool]string{true: "full", false: "login or plain"}[s.Seen()[0].Full]
			}}.Check(t, mssqldb.Engine{}, ep, goodPassword)
			wantOpen(t, s, 0)
		})
	}
	off := mssqldb.Engine{}.Info().TurnsTLSOff
	if off == nil {
		t.Fatal("Info has no TurnsTLSOff: a secret that asks for TLS is an error")
	}
	for value, want := range map[string]bool{"disable": true, "DISABLE": true, "false": false, "optional": false, "true": false, "strict": false} {
		if got := off(pairs("Encrypt", value)); got != want {
			t.Errorf("TurnsTLSOff(Encrypt=%s) = %t, want %t", value, got, want)
		}
	}
	if off(nil) {
		t.Error("TurnsTLSOff of nothing = true")
	}
}

// Info names the files, so that they are read again when they change. A file that is half written
// is an error of Prepare.
func TestFilesAreReadByPrepare(t *testing.T) {
	certs, others := newCertificates(t, "localhost"), testca.New("localhost")
	bundle := slices.Concat(testca.PEM(certs.Authority.Raw), testca.PEM(others.Authority.Raw))
	cut := testca.WriteFile(t, "cut.pem", bundle[:len(bundle)-40])
	half := testca.WriteFile(t, "half.der", others.Authority.Raw[:100])
	ep := func(kv ...string) driver.Endpoint { return driver.Endpoint{Host: "h", Port: 1, Params: pairs(kv...)} }
	configtest.PrepareFails(t, mssqldb.Engine{}, []configtest.PrepareCase{
		{"bundle whose last certificate is cut off", ep("certificate", cut), `"certificate"`},
		{"half a certificate", ep("certificate", half), `"certificate"`},
		{"server's certificates, cut off", ep("servercertificate", cut), `"servercertificate"`},
		{"half of a server's certificate", ep("servercertificate", half), `"servercertificate"`},
	})
	files := mssqldb.Engine{}.Info().Files
	if files == nil {
		t.Fatal("Info has no Files: what they hold is used until the program ends")
	}
	if got := files(pairs("Certificate", "ca.pem", "ServerCertificate", "s.pem", "app name", "x")); !slices.Equal(got, []string{"ca.pem", "s.pem"}) {
		t.Errorf("Files = %q", got)
	}
}

// The error says first what is wrong with TLS and with which host, and last which parameter changes
// it.
func TestTLSErrorsSayWhatToDo(t *testing.T) {
	certs, old := newCertificates(t, "db.test"), testca.New("localhost").Server.Clone()
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS10
	for _, c := range []struct {
		name   string
		server tdsserver.Options
		params []string
		want   []string
	}{
		{"another name", tdsserver.Options{TLS: certs.Server}, pairsOf("certificate", certs.CA), []string{"the server at localhost:", " has a certificate for another name", `"hostnameincertificate"`}},
		{"unknown authority", tdsserver.Options{TLS: certs.Server}, pairsOf("encrypt", "true", "hostnameincertificate", "db.test"), []string{"the server at localhost:", " has a certificate by an unknown authority", `"certificate" or driver.Options.TLS`}},
		{"TLS 1.0", tdsserver.Options{TLS: old}, nil, []string{"the server at localhost:", "has no version of TLS that is allowed", `"tlsmin"`}},
		{"encryption is required", tdsserver.Options{TLS: certs.Server, Force: true}, pairsOf("encrypt", "disable"), []string{"the server at localhost:", "requires encryption", "encrypt=true"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := start(t, c.server)
			ep := endpoint(s, c.params...)
			ep.Host = "localhost"
			_, err := connect(t, mssqldb.Engine{Dial: dialTo(s)}, ep, goodPassword)
			if err == nil {
				t.Fatal("Connect succeeded")
			}
			for i, want := range c.want {
				if got := err.Error(); !strings.Contains(got, want) || i == 0 && !strings.HasPrefix(got, want) {
					t.Errorf("Connect = %v, want %q in it, the first in front", err, want)
				}
			}
		})
	}
}

// A server that asks for a certificate of the client gets that of Options.TLS.
func TestClientCertificateOfOptionsTLS(t *testing.T) {
	certs := testca.New("127.0.0.1", "localhost")
	asks := certs.Server.Clone()
	asks.ClientAuth, asks.ClientCAs, asks.MaxVersion = tls.RequireAndVerifyClientCert, certs.Pool, tls.VersionTLS12
	for _, own := range [][]tls.Certificate{nil, {certs.Issue("a client")}} {
		s := start(t, tdsserver.Options{TLS: asks})
		ep := endpoint(s)
		ep.TLS = &tls.Config{RootCAs: certs.Pool, Certificates: own}
		conn, err := connect(t, mssqldb.Engine{}, ep, goodPassword)
		if err == nil {
			_ = conn.Close()
		}
		if (err == nil) != (own != nil) {
			t.Errorf("with %d certificates: Connect = %v", len(own), err)
		}
	}
}

// host\INSTANCE in the secret or in the data source name gives the host and the instance. The data
// source name takes precedence.
func TestAnInstanceInTheHost(t *testing.T) {
	const secret = `{"engine":"sqlserver","host":"h.example.com\\INST","port":1433,"username":"u","password":"p"}`
	for dsn, want := range map[string]string{
		"prod/app":                           `"h.example.com" "INST" 0`,
		"prod/app?instance=OTHER":            `"h.example.com" "OTHER" 0`,
		`prod/app?host=other.test\I2`:        `"other.test" "I2" 0`,
		"prod/app?host=other.test":           `"other.test" "" 1433`,
		`prod/app?host=[2001:db8::1]\I2`:     `"2001:db8::1" "I2" 0`,
		"prod/app?host=h&instance=I2":        `"h" "I2" 0`,
		"prod/app?host=h&instance=I2&port=1": `"h" "I2" 0`,
	} {
		fields, err := connectingBy(t, dsn, secret)
		if err != nil {
			t.Errorf("%s: %v", dsn, err)
			continue
		}
		if got := fields.Text("Host") + " " + fields.Text("Instance") + " " + fields.Text("Port"); got != want {
			t.Errorf("%s: got %s, want %s", dsn, got, want)
		}
	}
	err := drivertest.Connect(t.Context(), mssqldb.Engine{}, "prod/app", strings.Replace(secret, "INST", "IN;ST", 1))
	if !errors.Is(err, driver.ErrMalformedSecret) || !strings.Contains(err.Error(), "instance") || strings.Contains(err.Error(), "IN;ST") {
		t.Errorf("an instance that is none: got %v", err)
	}
}
