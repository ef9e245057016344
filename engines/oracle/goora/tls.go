package goora

import (
	"bytes"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/sijms/go-ora/v2/configurations"

	"github.com/sqlsecrets/sqlsecrets/internal/tlserror"
)

// tlsConfig returns the TLS configuration of a login, or nil without TLS. If the configuration has
// a ServerName, that name is verified and not the host. encrypt asks for TLS without verification
// if nothing else asks for TLS.
func tlsConfig(callers *tls.Config, s *settings, encrypt bool) (*tls.Config, error) {
	if s.off() || s.tls == nil && callers == nil && !encrypt {
		return nil, nil
	}
	config := &tls.Config{}
	if callers != nil {
		config = callers.Clone()
		if s.verify != nil && *s.verify {
			config.InsecureSkipVerify = false
		}
	} else {
		config.InsecureSkipVerify = s.tls == nil || s.verify != nil && !*s.verify
	}
	if s.wallet != "" {
		if err := addWallet(config, s.wallet); err != nil {
			return nil, fmt.Errorf(`parameter "WALLET": %w`, err)
		}
	}
	return config, nil
}

// addWallet adds the authorities of a wallet, and its certificate for the client if there is one.
// The folder has a cwallet.sso, which needs no password.
func addWallet(config *tls.Config, folder string) (err error) {
	defer func() {
		// go-ora reads past the end of a file that is not a wallet.
		if _, ok := recover().(runtime.Error); ok {
			err = errors.New("cwallet.sso is not a wallet")
		}
	}()
	w, err := configurations.NewWallet(walletFile(folder))
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	var chain, leaves []*x509.Certificate
	for _, der := range w.Certificates {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return fmt.Errorf("a certificate of the wallet: %w", err)
		}
		chain = append(chain, c)
		if c.IsCA || bytes.Equal(c.RawIssuer, c.RawSubject) {
			roots.AddCert(c)
		} else {
			leaves = append(leaves, c)
		}
	}
	config.RootCAs = roots
	clients, err := clientCertificates(w.PrivateKeys, chain)
	config.Certificates = append(config.Certificates, clients...)
	if err == nil && len(w.PrivateKeys) > 0 && len(leaves) > 0 && len(clients) == 0 {
		// A certificate that is requested and not issued yet has only a key, and no leaf.
		err = errors.New("the private key of the wallet does not belong to its certificate")
	}
	return err
}

// clientCertificates returns the certificates that have a key.
func clientCertificates(keys [][]byte, chain []*x509.Certificate) (found []tls.Certificate, err error) {
	for _, der := range keys {
		key, err := x509.ParsePKCS1PrivateKey(der)
		if err != nil {
			return nil, errors.New("a private key of the wallet is not an RSA key") // the cause may show parts of the key
		}
		for _, c := range chain {
			if public, ok := c.PublicKey.(*rsa.PublicKey); ok && key.PublicKey.Equal(public) {
				found = append(found, tls.Certificate{Certificate: [][]byte{c.Raw}, PrivateKey: key, Leaf: c})
			}
		}
	}
	return found, nil
}

// walletFile returns the file of a wallet. No other file of the wallet is read.
func walletFile(folder string) string {
	if strings.HasSuffix(folder, ".sso") {
		return folder
	}
	return filepath.Join(folder, "cwallet.sso")
}

// files is Info.Files.
func files(params map[string]string) []string {
	s, err := readSettings(params)
	if err != nil || s.wallet == "" { // CheckParams reports a wrong parameter
		return nil
	}
	return []string{walletFile(s.wallet)}
}

// turnsTLSOff is Info.TurnsTLSOff.
func turnsTLSOff(params map[string]string) bool {
	s, err := readSettings(params)
	return err == nil && s.off()
}

var remedy = tlserror.Remedy{
	Authorities: `"WALLET" or driver.Options.TLS`,
	Name:        "a ServerName in driver.Options.TLS",
	Version:     "a MinVersion in driver.Options.TLS",
	Certificate: `"WALLET" or driver.Options.TLS`,
}

// verifyName makes a configuration verify name. ServerName cannot do that, because go-ora
// overwrites it with the host that it dials.
func verifyName(config *tls.Config, name string) {
	former, formerPeer := config.VerifyConnection, config.VerifyPeerCertificate
	roots, now := config.RootCAs, config.Time
	config.InsecureSkipVerify = true
	config.VerifyPeerCertificate = nil
	config.VerifyConnection = func(s tls.ConnectionState) error {
		opts := x509.VerifyOptions{Roots: roots, DNSName: name, Intermediates: x509.NewCertPool()}
		if now != nil {
			opts.CurrentTime = now()
		}
		var raw [][]byte
		for i, c := range s.PeerCertificates {
			raw = append(raw, c.Raw)
			if i > 0 {
				opts.Intermediates.AddCert(c)
			}
		}
		if len(raw) == 0 {
			return errors.New("the server has no certificate")
		}
		chains, err := s.PeerCertificates[0].Verify(opts)
		if err != nil {
			return &tls.CertificateVerificationError{UnverifiedCertificates: s.PeerCertificates, Err: err}
		}
		s.VerifiedChains = chains
		if formerPeer != nil {
			if err := formerPeer(raw, chains); err != nil {
				return err
			}
		}
		if former != nil {
			return former(s)
		}
		return nil
	}
}

// A tlsOnlyConn returns an error for everything that is not TLS. A listener may send go-ora to an
// address of another protocol, and go-ora would go on there in plaintext.
type tlsOnlyConn struct {
	net.Conn
	begun bool
}

const recordHandshake = 22 // the first byte of TLS

var errNotTLS = errors.New("the listener sends the client to an address without TLS")

func (c *tlsOnlyConn) Write(b []byte) (int, error) {
	if !c.begun && len(b) > 0 {
		if b[0] != recordHandshake {
			return 0, errNotTLS
		}
		c.begun = true
	}
	return c.Conn.Write(b)
}
