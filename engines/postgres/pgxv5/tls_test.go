package pgxv5_test

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/postgres/pgxv5"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/pgserver"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/logintest"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/loopback"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/testca"
)

// The secret's "ssl" makes TLS required, and does not ask for verification.
func TestTheSecretAsksForTLS(t *testing.T) {
	certs, others := testca.New("localhost", "127.0.0.1"), testca.New("localhost", "127.0.0.1")
	file := certs.File(t)
	for _, c := range []struct {
		name   string
		server *pgserver.Server
		params []string
		tls    *tls.Config
		want   string
	}{
		{"nothing said", &pgserver.Server{TLS: certs.Server}, nil, nil, "tls"},
		{"nothing said, not available", &pgserver.Server{}, nil, nil, `the server does not have it, and the secret's "ssl" requires it`},
		{"prefer, not available", &pgserver.Server{}, pairsOf("sslmode", "prefer"), nil, `the secret's "ssl" requires it`},
		{"require, not available", &pgserver.Server{}, pairsOf("sslmode", "require"), nil, "sslmode=require requires it"},
		{"options verify", &pgserver.Server{TLS: others.Server}, nil, &tls.Config{RootCAs: certs.Pool}, "unknown authority"},
		{"a file verifies", &pgserver.Server{TLS: others.Server}, pairsOf("sslmode", "verify-ca", "sslrootcert", file), nil, "unknown authority"},
		{"a file verifies, whatever the options", &pgserver.Server{TLS: others.Server}, pairsOf("sslmode", "require", "sslrootcert", file), &tls.Config{InsecureSkipVerify: true}, "unknown authority"},
		{"the system's authorities verify", &pgserver.Server{TLS: certs.Server}, pairsOf("sslrootcert", "system"), nil, "unknown authority"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ep := endpoint(c.server.Start(t), c.params...)
			ep.Encrypt, ep.TLS = true, c.tls
			logintest.Outcome{Want: c.want, Logins: func() int { return len(c.server.Seen()) }, Seen: func() string {
				return map[bool]string{true: "tls", false: "plain"}[c.server.Seen()[0].TLS]
			}}.Check(t, pgxv5.Engine{}, ep, goodPassword)
			c.server.WaitClosed(t)
		})
	}
	off := pgxv5.Engine{}.Info().TurnsTLSOff
	for mode, want := range map[string]bool{"": false, "prefer": false, "require": false, "verify-full": false, "disable": true} {
		if got := off(pairs("sslmode", mode)); got != want {
			t.Errorf("sslmode=%s turns TLS off: %t, want %t", mode, got, want)
		}
	}
}

// If Configure sets a TLS configuration, or makes the given one verify the server, TLS is required.
func TestConfigureThatAsksForTLSNeedsIt(t *testing.T) {
	certs := testca.New("localhost", "127.0.0.1")
	for name, c := range map[string]struct {
		configure func(*pgx.ConnConfig)
		want      string // of a server without TLS; empty: a login
	}{
		"another configuration": {func(c *pgx.ConnConfig) { c.TLSConfig = &tls.Config{RootCAs: certs.Pool, ServerName: "localhost"} }, "the server does not have it, and Engine.Configure requires it"},
		"verified":              {func(c *pgx.ConnConfig) { c.TLSConfig.InsecureSkipVerify, c.TLSConfig.RootCAs = false, certs.Pool }, "Engine.Configure requires it"},
		"something else":        {func(c *pgx.ConnConfig) { c.TLSConfig.MinVersion = tls.VersionTLS13 }, ""},
		"no TLS":                {func(c *pgx.ConnConfig) { c.TLSConfig = nil }, ""},
	} {
		s := (&pgserver.Server{Check: wrongPassword}).Start(t)
		e := pgxv5.Engine{Configure: func(config *pgx.ConnConfig) error { c.configure(config); return nil }}
		conn, err := connect(t, e, endpoint(s), goodPassword)
		if err == nil {
			_ = conn.Close()
		}
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) || len(s.Seen()) > 0 != (c.want == "") {
			t.Errorf("%s, and a server without TLS: Connect = %v after %d logins, want %q", name, err, len(s.Seen()), c.want)
		}
		s.WaitClosed(t)
	}
}

func TestFilesThatParametersName(t *testing.T) {
	files := pgxv5.Engine{}.Info().Files
	got := files(pairs("sslmode", "verify-full", "sslrootcert", "/ca.pem", "sslcert", "/c.pem", "sslkey", "/k.pem", "application_name", "/x"))
	slices.Sort(got)
	if want := []string{"/c.pem", "/ca.pem", "/k.pem"}; !slices.Equal(got, want) {
		t.Errorf("files are %q, want %q", got, want)
	}
	if got := files(pairs("sslrootcert", "system")); len(got) != 0 {
		t.Errorf("files are %q, want none", got)
	}
}

// A file that is half written, and a key that does not belong to the certificate, are errors of
// Prepare. The Connector then goes on with the contents that it had.
func TestPrepareFailsOnFilesThatAreBeingWritten(t *testing.T) {
	certs := testca.New("h")
	bundle := append(testca.PEM(certs.Authority.Raw), testca.PEM(testca.New().Authority.Raw)...)
	cert, key := testca.KeyPair(t, certs.Issue("client"))
	_, otherKey := testca.KeyPair(t, certs.Issue("other"))
	half := func(file string) string {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return testca.WriteFile(t, "half.pem", text[:len(text)/2])
	}
	for name, c := range map[string]struct {
		params []string
		want   string // an error; empty: none
	}{
		"whole":                          {pairsOf("sslrootcert", testca.WriteFile(t, "ca.pem", bundle), "sslcert", cert, "sslkey", key), ""},
		"the last authority is cut off":  {pairsOf("sslrootcert", testca.WriteFile(t, "ca.pem", bundle[:len(bundle)-100])), "sslrootcert: "},
		"no authority":                   {pairsOf("sslrootcert", testca.WriteFile(t, "ca.pem", nil)), "sslrootcert: "},
		"the certificate is cut off":     {pairsOf("sslcert", half(cert), "sslkey", key), "sslcert and sslkey: "},
		"the key is cut off":             {pairsOf("sslcert", cert, "sslkey", half(key)), "sslcert and sslkey: "},
		"another's key":                  {pairsOf("sslcert", cert, "sslkey", otherKey), "not the one of the certificate"},
		"another's key that is not sent": {pairsOf("sslcert", cert, "sslkey", otherKey, "sslcertmode", "disable"), ""},
	} {
		ep := driver.Endpoint{Host: "h", Port: 1, Params: pairs(append(c.params, "sslmode", "verify-full")...)}
		_, err := pgxv5.Engine{}.Prepare(ep)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Prepare = %v, want %q", name, err, c.want)
		}
	}
}

// The client's certificate of the parameters is sent with Options.TLS as well, and takes precedence
// over the certificate there.
func TestClientCertificateWithOptionsTLS(t *testing.T) {
	certs := testca.New("127.0.0.1")
	cert, key := testca.KeyPair(t, certs.Issue("of the parameters"))
	theirs := certs.Issue("of the options")
	for _, options := range []*tls.Config{
		nil,
		{RootCAs: certs.Pool},
		{RootCAs: certs.Pool, Certificates: []tls.Certificate{theirs}},
		{RootCAs: certs.Pool, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &theirs, nil }},
	} {
		names := make(chan string, 1)
		config := certs.Server.Clone()
		config.ClientAuth = tls.RequireAnyClientCert
		config.VerifyPeerCertificate = func(raw [][]byte, _ [][]*x509.Certificate) error {
			c, err := x509.ParseCertificate(raw[0])
			if err == nil {
				names <- c.Subject.CommonName
			}
			return err
		}
		ep := endpoint((&pgserver.Server{TLS: config}).Start(t), "sslmode", "require", "sslcert", cert, "sslkey", key)
		ep.TLS = options
		conn, err := connect(t, pgxv5.Engine{}, ep, goodPassword)
		if err != nil {
			t.Errorf("Connect: %v", err)
			continue
		}
		_ = conn.Close()
		if got := <-names; got != "of the parameters" {
			t.Errorf("the server saw the certificate %q", got)
		}
	}
}

// An error of TLS says first what is wrong, with which host, and which parameter to change.
func TestTLSReasonComesFirst(t *testing.T) {
	certs, others := testca.New("localhost", "10.0.0.9"), testca.New("localhost")
	file := certs.File(t)
	needsClient := certs.Server.Clone()
	needsClient.ClientAuth = tls.RequireAndVerifyClientCert
	foreign, foreignKey := testca.KeyPair(t, others.Issue("client"))
	old := certs.Server.Clone()
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS10
	full := pairsOf("sslmode", "verify-full", "sslrootcert", file)
	for _, c := range []struct {
		name   string
		server *pgserver.Server
		params []string
		tls    *tls.Config
		host   string
		want   string
	}{
		{"another name", &pgserver.Server{TLS: certs.Server}, full, nil, "db.test", "the certificate is for localhost, 10.0.0.9 and not for this host; connect by a name that it has"},
		{"another ServerName", &pgserver.Server{TLS: certs.Server}, nil, &tls.Config{RootCAs: certs.Pool, ServerName: "x.test"}, "", `the certificate is for localhost, 10.0.0.9 and not for "x.test", the ServerName of driver.Options.TLS`},
		{"not of the system's authorities", &pgserver.Server{TLS: certs.Server}, pairsOf("sslmode", "verify-full"), nil, "", "name the authority's certificate by sslrootcert"},
		{"not of the file's authorities", &pgserver.Server{TLS: others.Server}, full, nil, "", "an authority that is not in the file of sslrootcert"},
		{"verify-ca", &pgserver.Server{TLS: others.Server}, pairsOf("sslmode", "verify-ca", "sslrootcert", file), nil, "", "an authority that is not in the file of sslrootcert"},
		{"not of the options' authorities", &pgserver.Server{TLS: others.Server}, nil, &tls.Config{RootCAs: certs.Pool}, "", "not among RootCAs of driver.Options.TLS"},
		{"no TLS", &pgserver.Server{}, pairsOf("sslmode", "require"), nil, "", "the server does not have it, and sslmode=require requires it"},
		{"no TLS, options", &pgserver.Server{}, nil, &tls.Config{}, "", "driver.Options.TLS requires it"},
		{"no TLS, client certificate", &pgserver.Server{}, pairsOf("sslcertmode", "require"), nil, "", "sslcertmode=require requires it"},
		{"an error for an answer", &pgserver.Server{Answer: 'E'}, nil, nil, "", "neither yes nor no"},
		{"a version that is too old", &pgserver.Server{TLS: old}, nil, nil, "", "the server offers no version from TLS 1.2 on"},
		{"a version older than the options'", &pgserver.Server{TLS: old}, nil, &tls.Config{RootCAs: certs.Pool, MinVersion: tls.VersionTLS13}, "", "from TLS 1.3 on"},
		{"no client certificate", &pgserver.Server{TLS: needsClient}, nil, nil, "", "name one by sslcert and sslkey"},
		{"not the client's certificate", &pgserver.Server{TLS: needsClient}, pairsOf("sslcert", foreign, "sslkey", foreignKey), nil, "", "does not accept the client's certificate"},
		{"required by pg_hba.conf", &pgserver.Server{Check: refuses("28000", "ClientAuthentication", "no pg_hba.conf entry")}, pairsOf("sslmode", "disable"), nil, "", "the server may require it, and sslmode=disable turns it off"},
		{"required by PgBouncer", &pgserver.Server{Check: refuses("08P01", "", "SSL required")}, pairsOf("sslmode", "disable"), nil, "", "the server requires it, and sslmode=disable turns it off"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := c.server.Start(t)
			ep := endpoint(s, c.params...)
			ep.TLS, ep.Host = c.tls, cmp.Or(c.host, "localhost")
			e := pgxv5.Engine{Configure: func(config *pgx.ConnConfig) error {
				// With two addresses, the reason is still in the first line.
				config.LookupFunc = func(context.Context, string) ([]string, error) { return []string{s.Host, s.Host}, nil }
				return nil
			}}
			wantReason(t, e, ep, c.want)
		})
	}
	t.Run("a version that the server has chosen", func(t *testing.T) {
		// The answer of an old server that knows no newer version than TLS 1.0.
		hello := append([]byte{22, 3, 1, 0, 42, 2, 0, 0, 38, 3, 1}, make([]byte, 33)...)
		hello = append(hello, 0xc0, 0x14, 0)
		l := loopback.Listen(t, func(c net.Conn) {
			if _, err := io.ReadFull(c, make([]byte, 8)); err == nil {
				_, _ = c.Write([]byte("S"))
				_, _ = c.Write(hello)
				_, _ = io.Copy(io.Discard, c)
			}
		})
		wantReason(t, pgxv5.Engine{}, driver.Endpoint{Host: "127.0.0.1", Port: l.Port}, "the server offers TLS 1.0, and the lowest version that is accepted is TLS 1.2")
	})
	t.Run("a missing file", func(t *testing.T) {
		missing := filepath.Join(t.TempDir(), "ca.pem")
		_, err := pgxv5.Engine{}.Prepare(driver.Endpoint{Host: "h", Port: 1, Params: pairs("sslmode", "verify-full", "sslrootcert", missing)})
		if err == nil || !strings.HasPrefix(err.Error(), "sslrootcert: open "+missing+": no such file") || !errors.Is(err, os.ErrNotExist) {
			t.Errorf("Prepare = %v", err)
		}
	})
}

func refuses(code, routine, message string) func(pgserver.Login) *pgserver.Error {
	return func(pgserver.Login) *pgserver.Error { return pgserver.NewError(code, routine, message) }
}

func wantReason(t *testing.T, e driver.Engine, ep driver.Endpoint, want string) {
	t.Helper()
	_, err := logintest.Connect(t, e, ep, "app_user", goodPassword)
	if err == nil {
		t.Fatal("Connect succeeded")
	}
	first, _, _ := strings.Cut(err.Error(), "\n")
	if !strings.HasPrefix(first, "TLS with "+ep.Host+":") || !strings.Contains(first, want) {
		t.Errorf("Connect = %v\nwant first: TLS with %s: %s", err, ep.Host, want)
	}
	noPassword(t, err, goodPassword)
}
