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

// Authorities reads the certificate authorities in a PEM file. See [Certificates].
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

// Certificates reads the certificates in a PEM file. It is an error if there is none. Certificates is
// stricter than [x509.CertPool.AppendCertsFromPEM]: each block must be complete, so that a file that is
// being written is not mistaken for a shorter one. It skips text between the blocks, blocks of other
// types, and certificates that Go cannot read. Bundles of operating systems have some of these, for
// example with a negative serial number.
//
// Errors name the file and what is wrong with it. They quote nothing of the file.
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

// KeyPair reads a client's certificate and its private key from two PEM files, or from one file that
// has both. After the certificate, the file may have the certificates between it and the authority.
// Each block must be complete, each certificate must be readable, and the key must belong to the
// certificate.
//
// Errors name the file and what is wrong with it. They quote nothing of the file.
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

// certificates returns those blocks that are certificates, in PEM.
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

// privateKey returns the first block that is a private key, in PEM.
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

// readPEM returns the blocks of a file. A block that is cut off or damaged is an error.
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

// splitPEM calls pem.Decode for all blocks. pem.Decode skips a block that it cannot decode. So splitPEM
// compares the number of blocks with the number of lines that begin and end one.
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

// countPEM returns how many lines begin a block and how many end one. torn reports whether the last
// line is the beginning of such a line.
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
