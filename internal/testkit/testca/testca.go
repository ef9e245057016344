// Package testca makes certificates for tests.
package testca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Certificates has the certificates of an authority and of a server. They are valid for an hour.
type Certificates struct {
	Authority *x509.Certificate
	Pool      *x509.CertPool // has only the authority
	Server    *tls.Config    // for a server with a certificate of the authority

	key *ecdsa.PrivateKey // of the authority
}

// New makes an authority, and a certificate of a server for names and IP addresses.
func New(names ...string) Certificates {
	now := time.Now()
	c := Certificates{Pool: x509.NewCertPool()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "an authority"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	c.key = newKey()
	c.Authority = create(template, template, &c.key.PublicKey, c.key)
	c.Pool.AddCert(c.Authority)
	c.Server = &tls.Config{Certificates: []tls.Certificate{c.Issue("a server", names...)}}
	return c
}

// Issue makes one more certificate of the authority, for a server or a client.
func (c Certificates) Issue(commonName string, names ...string) tls.Certificate {
	key := newKey()
	leaf := c.sign(commonName, names, &key.PublicKey)
	return tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
}

// IssueRSA makes a certificate for a client with an RSA key, the only kind of key that a [Wallet]
// accepts.
func (c Certificates) IssueRSA(commonName string) (key *rsa.PrivateKey, certificate []byte) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err) // there is no source of randomness
	}
	return key, c.sign(commonName, nil, &key.PublicKey).Raw
}

func (c Certificates) sign(commonName string, names []string, key crypto.PublicKey) *x509.Certificate {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: commonName},
		NotBefore: c.Authority.NotBefore, NotAfter: c.Authority.NotAfter,
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, n)
		}
	}
	return create(template, c.Authority, key, c.key)
}

func newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err) // there is no source of randomness
	}
	return key
}

func create(template, parent *x509.Certificate, key crypto.PublicKey, signer *ecdsa.PrivateKey) *x509.Certificate {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key, signer)
	if err != nil {
		panic(err) // the template is wrong
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return c
}

// File writes the certificate of the authority into a file of the test.
func (c Certificates) File(tb testing.TB) string {
	tb.Helper()
	return WriteFile(tb, "ca.pem", PEM(c.Authority.Raw))
}

// PEM returns a certificate in PEM.
func PEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// KeyPair writes a certificate and its key into files of the test.
func KeyPair(tb testing.TB, c tls.Certificate) (certificate, key string) {
	tb.Helper()
	return WriteFile(tb, "certificate.pem", PEM(c.Certificate[0])), WriteFile(tb, "key.pem", keyPEM(tb, c))
}

func keyPEM(tb testing.TB, c tls.Certificate) []byte {
	tb.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		tb.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// Folder makes a folder of the test with ca.pem, the certificate of the authority, and with
// cert.pem and key.pem, the certificate and the key of the server.
func (c Certificates) Folder(tb testing.TB) string {
	tb.Helper()
	server := c.Server.Certificates[0]
	return WriteFiles(tb, map[string][]byte{
		"ca.pem": PEM(c.Authority.Raw), "cert.pem": PEM(server.Certificate[0]), "key.pem": keyPEM(tb, server),
	})
}

// WriteFile writes a file into a new folder, which is removed at the end of the test.
func WriteFile(tb testing.TB, name string, data []byte) (path string) {
	tb.Helper()
	return filepath.Join(WriteFiles(tb, map[string][]byte{name: data}), name)
}

// WriteFiles writes files, by name, into a new folder, which is removed at the end of the test.
func WriteFiles(tb testing.TB, files map[string][]byte) (dir string) {
	tb.Helper()
	dir = tb.TempDir()
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	return dir
}
