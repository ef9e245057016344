package goora_test

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"

	"github.com/sijms/go-ora/v2/configurations"

	"github.com/sqlsecrets/sqlsecrets/engines/oracle/goora"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/tnsserver"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/testca"
)

// The server sees the client's certificate of the wallet.
func TestWalletOfTheClient(t *testing.T) {
	certs := testca.New("127.0.0.1")
	key, client := certs.IssueRSA("client")
	server := certs.Server.Clone()
	server.ClientAuth = tls.RequireAnyClientCert
	seen := make(chan string, 2)
	server.VerifyConnection = func(s tls.ConnectionState) error {
		seen <- s.PeerCertificates[0].Subject.CommonName
		return nil
	}
	s := start(t, &tnsserver.Options{TLS: server})
	wallet := testca.Wallet(t, key, client, certs.Authority.Raw)
	conn, err := connect(t, goora.Engine{}, endpoint(s, "SSL", "true", "WALLET", wallet), goodPassword)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	if got := <-seen; got != "client" {
		t.Errorf("the server saw a certificate of %q, want client", got)
	}
	if _, err := connect(t, goora.Engine{}, endpoint(s, "SSL", "true", "WALLET", testca.Wallet(t, nil, certs.Authority.Raw)), goodPassword); err == nil {
		t.Error("Connect succeeded without the client's certificate")
	}
	wantLogins(t, s, 1, 0)
}

// The authorities of a wallet are its certificates that may sign others or that sign themselves.
// The client's own certificate is not an authority.
func TestAuthoritiesOfAWallet(t *testing.T) {
	certs := testca.New("127.0.0.1")
	key, client := certs.IssueRSA("client")
	s := start(t, &tnsserver.Options{TLS: certs.Server})
	var roots *x509.CertPool
	e := goora.Engine{Configure: func(c *configurations.ConnectionConfig) error {
		roots = c.TLSConfig.RootCAs
		return nil
	}}
	conn, err := connect(t, e, endpoint(s, "SSL", "true", "WALLET", testca.Wallet(t, key, client, certs.Authority.Raw)), goodPassword)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	if !roots.Equal(certs.Pool) {
		t.Error("the server is verified by other certificates than the authority's")
	}
}

func TestBrokenWallets(t *testing.T) {
	folder := testca.Wallet(t, nil, testca.New("x").Authority.Raw)
	whole, err := os.ReadFile(filepath.Join(folder, "cwallet.sso"))
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, nil)
	prepare := func(b []byte) error {
		name := filepath.Join(folder, "broken.sso")
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := goora.Engine{}.Prepare(endpoint(s, "SSL", "true", "WALLET", name))
		return err
	}
	if err := prepare(whole); err != nil {
		t.Fatalf("a whole wallet: %v", err)
	}
	for n := range len(whole) - 1 {
		if prepare(whole[:n]) == nil {
			t.Errorf("a wallet cut off after %d of %d bytes is taken", n, len(whole))
		}
	}
}
