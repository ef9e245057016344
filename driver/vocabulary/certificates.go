package vocabulary

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"
)

// Authorities reads the certificate authorities of a file in PEM. See [Certificates].
func Authorities(file string) (*x509.CertPool, error) {
	certs, err := Certificates(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	for _, c := range certs {
		pool.AddCert(c)
	}
	return pool, nil
}

// Certificates reads the certificates of a file in PEM, of which there is at least one. It is
// stricter than [x509.CertPool.AppendCertsFromPEM]: each block has to be complete, so a file that
// is being written is not taken for a shorter one. Skipped are text between the blocks, blocks of
// other types, and complete ones that are no certificate that Go can read, such as one with a
// negative serial number, of which bundles of operating systems have some.
//
// Errors name the file and what is wrong with it, and quote nothing of it.
func Certificates(file string) ([]*x509.Certificate, error) {
	blocks, err := readPEM(file)
	if err != nil {
		return nil, err
	}
	var certs []*x509.Certificate
	for _, b := range blocks {
		if b.Type != certificate {
			continue
		}
		if c, err := x509.ParseCertificate(b.Bytes); err == nil {
			certs = append(certs, c)
		}
	}
	if certs == nil {
		return nil, noBlock(file, "certificate", certificate)
	}
	return certs, nil
}

// KeyPair reads a client's certificate, with those between it and the authority behind it,
// and its private key from two files in PEM, or from one that has both. Each block has to be
// complete, each certificate readable, and the key has to fit the certificate.
//
// Errors name the file and what is wrong with it, and quote nothing of it.
func KeyPair(certFile, keyFile string) (tls.Certificate, error) {
	certBlocks, err := readPEM(certFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	keyBlocks, err := readPEM(keyFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	certs, err := certificates(certFile, certBlocks)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := privateKey(keyFile, keyBlocks)
	if err != nil {
		return tls.Certificate{}, err
	}
	pair, err := tls.X509KeyPair(certs, key)
	switch {
	case err == nil:
		return pair, nil
	case strings.Contains(err.Error(), "does not match"):
		return tls.Certificate{}, fmt.Errorf("%s: the key is not the one of the certificate in %s", keyFile, certFile)
	}
	return tls.Certificate{}, fmt.Errorf("%s: the private key cannot be read; it has to be RSA, ECDSA or Ed25519, in PKCS #8, PKCS #1 or SEC 1", keyFile)
}

const certificate = "CERTIFICATE"

// certificates returns the blocks that are certificates, in PEM.
func certificates(file string, blocks []*pem.Block) ([]byte, error) {
	var certs []byte
	for _, b := range blocks {
		if b.Type != certificate {
			continue
		}
		if _, err := x509.ParseCertificate(b.Bytes); err != nil {
			return nil, fmt.Errorf("%s: the certificate cannot be read", file)
		}
		certs = append(certs, pem.EncodeToMemory(b)...)
	}
	if certs == nil {
		return nil, noBlock(file, "certificate", certificate)
	}
	return certs, nil
}

// privateKey returns the block that is a private key, in PEM.
func privateKey(file string, blocks []*pem.Block) ([]byte, error) {
	for _, b := range blocks {
		if !strings.HasSuffix(b.Type, "PRIVATE KEY") {
			continue
		}
		if b.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(b.Headers["Proc-Type"], "ENCRYPTED") {
			return nil, fmt.Errorf("%s: the private key is encrypted; store it decrypted, or give the certificate in driver.Options.TLS", file)
		}
		return pem.EncodeToMemory(b), nil
	}
	return nil, noBlock(file, "private key", "PRIVATE KEY")
}

func noBlock(file, what, kind string) error {
	return fmt.Errorf(`%s: there is no %s in PEM ("-----BEGIN %s-----") in it that can be read`, file, what, kind)
}

// readPEM returns the blocks of a file, none of which may be cut off or damaged.
func readPEM(file string) ([]*pem.Block, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err // with the name of the file
	}
	blocks, err := splitPEM(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return blocks, nil
}

var (
	begin = []byte("-----BEGIN ")
	end   = []byte("-----END ")
)

// splitPEM is pem.Decode for all blocks. That skips what it cannot decode, so the number of
// blocks tells whether there was such a thing.
func splitPEM(text []byte) ([]*pem.Block, error) {
	var blocks []*pem.Block
	for rest := text; ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			break
		}
		blocks = append(blocks, b)
	}
	begins, ends, torn := countPEM(text)
	switch {
	case torn || begins > ends:
		return nil, errors.New("it is cut off: a block in PEM has no end")
	case begins != len(blocks) || ends != len(blocks):
		return nil, errors.New("a block in PEM is damaged")
	}
	return blocks, nil
}

// countPEM returns how many lines begin and end a block, and whether the last line is a part
// of one that does.
func countPEM(text []byte) (begins, ends int, torn bool) {
	var last []byte
	for line := range bytes.Lines(text) {
		switch {
		case bytes.HasPrefix(line, begin):
			begins++
		case bytes.HasPrefix(line, end):
			ends++
		}
		last = line
	}
	return begins, ends, len(last) > 0 && (bytes.HasPrefix(begin, last) || bytes.HasPrefix(end, last))
}
