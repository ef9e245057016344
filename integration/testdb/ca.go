package testdb

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// A CA is a certificate authority of this test run.
type CA struct {
	Pool *x509.CertPool // the authority's certificate; do not change it
	File string         // the same as a PEM file

	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// UnknownCA returns an authority that signed no server's certificate.
func UnknownCA(tb testing.TB) *CA {
	tb.Helper()
	ca, err := unknownCA()
	if err != nil {
		tb.Fatalf("make a certificate authority: %v", err)
	}
	return ca
}

// The authorities of the process. Each is made when it is first needed.
var (
	serverCA  = sync.OnceValues(func() (*CA, error) { return newCA("server") })
	unknownCA = sync.OnceValues(func() (*CA, error) { return newCA("unknown") })

	certificates struct {
		mu  sync.Mutex // guards dir
		dir string     // "" until there is a certificate
	}
)

func newCA(name string) (*CA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := certificate("testdb " + name + " authority")
	template.IsCA = true
	template.BasicConstraintsValid = true
	template.KeyUsage = x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	dir, err := certificateDir()
	if err != nil {
		return nil, err
	}
	ca := &CA{Pool: x509.NewCertPool(), File: filepath.Join(dir, name+".pem"), cert: cert, key: key}
	ca.Pool.AddCert(cert)
	return ca, os.WriteFile(ca.File, pemBlock("CERTIFICATE", der), 0o644)
}

// Client writes a client's certificate and its key into files of the test. MySQL and MariaDB accept
// it for a user who needs one.
func (ca *CA) Client(tb testing.TB) (certificate, key string) {
	tb.Helper()
	pair, err := ca.issue(nil, false)
	if err != nil {
		tb.Fatalf("make a certificate: %v", err)
	}
	dir := tb.TempDir()
	certificate, key = filepath.Join(dir, "client.pem"), filepath.Join(dir, "client.key")
	if err := errors.Join(os.WriteFile(certificate, pair.cert, 0o600), os.WriteFile(key, pair.key, 0o600)); err != nil {
		tb.Fatal(err)
	}
	return certificate, key
}

// A keyPair is a server's or a client's certificate and key, and the authority's certificate,
// in PEM.
type keyPair struct{ cert, key, ca []byte }

// issue makes a certificate with an RSA key or an ECDSA key.
func (ca *CA) issue(names []string, rsaKey bool) (*keyPair, error) {
	var private crypto.Signer
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if rsaKey {
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		return nil, err
	}
	template := certificate("testdb")
	template.KeyUsage = x509.KeyUsageDigitalSignature
	if rsaKey {
		template.KeyUsage |= x509.KeyUsageKeyEncipherment
	}
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, private.Public(), ca.key)
	if err != nil {
		return nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, err
	}
	return &keyPair{pemBlock("CERTIFICATE", der), pemBlock("PRIVATE KEY", pkcs8), pemBlock("CERTIFICATE", ca.cert.Raw)}, nil
}

func certificate(name string) *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    now.Add(-time.Hour), // clocks of containers in a virtual machine may be behind
		NotAfter:     now.Add(24 * time.Hour),
	}
}

func pemBlock(typ string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: der})
}

// certificateDir returns the directory of the authorities' files.
func certificateDir() (string, error) {
	certificates.mu.Lock()
	defer certificates.mu.Unlock()
	if certificates.dir == "" {
		dir, err := os.MkdirTemp("", "testdb-")
		if err != nil {
			return "", err
		}
		certificates.dir = dir
	}
	return certificates.dir, nil
}

func removeCertificates() error {
	certificates.mu.Lock()
	defer certificates.mu.Unlock()
	if certificates.dir == "" {
		return nil
	}
	return os.RemoveAll(certificates.dir)
}
