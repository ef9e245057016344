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

// tlsConfig returns the TLS configuration of a login, nil without TLS. If it has a
// ServerName, that is to be verified and not the host. encrypt asks for TLS without
// verification where nothing else asks for TLS.
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

// addWallet takes the authorities of a wallet, and a certificate for the client if it
// has one. The folder has a cwallet.sso, which needs no password.
func addWallet(config *tls.Config, folder string) (err error) {
	defer func() {
		// go-ora reads past the end of a file that is no wallet.
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
		// Of a certificate that is only requested there is just the key.
		err = errors.New("the private key of the wallet is not the one of its certificate")
	}
	return err
}

// clientCertificates returns those certificates for which there is a key.
func clientCertificates(keys [][]byte, chain []*x509.Certificate) (found []tls.Certificate, err error) {
	for _, der := range keys {
		key, err := x509.ParsePKCS1PrivateKey(der)
		if err != nil {
			return nil, errors.New("a private key of the wallet is not an RSA key") // the cause may tell of it
		}
		for _, c := range chain {
			if public, ok := c.PublicKey.(*rsa.PublicKey); ok && key.PublicKey.Equal(public) {
				found = append(found, tls.Certificate{Certificate: [][]byte{c.Raw}, PrivateKey: key, Leaf: c})
			}
		}
	}
	return found, nil
}

// walletFile returns the one file of a wallet that is read.
func walletFile(folder string) string {
	if strings.HasSuffix(folder, ".sso") {
		return folder
	}
	return filepath.Join(folder, "cwallet.sso")
}

// files is Info.Files.
func files(params map[string]string) []string {
	s, err := readSettings(params)
	if err != nil || s.wallet == "" { // which CheckParams tells
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

// verifyName has a configuration verify a name other than ServerName, which go-ora
// overwrites with the host that it dials.
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

// A tlsOnlyConn refuses to send anything but TLS: a listener may send go-ora on to
// an address of another protocol, to which it would go on in clear text.
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
