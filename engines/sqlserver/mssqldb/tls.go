package mssqldb

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/microsoft/go-mssqldb/msdsn"

	"github.com/sqlsecrets/sqlsecrets/driver"
)

// encryption returns what the parameters say about it: "true", "strict", "false",
// "disable", or "" if they say nothing.
func encryption(p map[string]string) string {
	v, ok := p["encrypt"]
	if !ok {
		// What asks for verification asks for something to verify.
		if v, ok := p["trustservercertificate"]; isSet(p, verifying...) || ok && boolText(v) == "false" {
			return "true"
		}
		return ""
	}
	switch v = strings.ToLower(v); v {
	case "strict", "disable":
		return v
	case "optional", "no", "0", "f", "false":
		return "false"
	}
	return "true"
}

// encryptions are go-mssqldb's names. Without a word encryption is required at first.
var encryptions = map[string]msdsn.Encryption{
	"":        msdsn.EncryptionRequired,
	"true":    msdsn.EncryptionRequired,
	"strict":  msdsn.EncryptionStrict,
	"false":   msdsn.EncryptionOff,
	"disable": msdsn.EncryptionDisabled,
}

// setTLS sets what of a configuration is about TLS. It reads the files that
// parameters name.
func setTLS(config *msdsn.Config, p map[string]string, ep driver.Endpoint) error {
	mode := encryption(p)
	config.Encryption = encryptions[mode]
	if config.Encryption == msdsn.EncryptionOff && ep.TLS != nil {
		config.Encryption = msdsn.EncryptionRequired // it may not depend on the server
	}
	if config.Encryption == msdsn.EncryptionDisabled {
		config.TLSConfig = nil
		return nil
	}
	c, err := verification(p, ep.TLS, mode == "strict" || mode != "" && boolText(p["trustservercertificate"]) == "false")
	if err != nil {
		return err
	}
	if name, ok := p["hostnameincertificate"]; ok {
		c.ServerName = name
	}
	// If not, the driver takes another server's name where it is sent on to that.
	config.HostInCertificateProvided = c.ServerName != ""
	if c.ServerName == "" {
		c.ServerName, _, _ = strings.Cut(ep.Host, "%") // not an IPv6 zone
	}
	if v, ok := p["tlsmin"]; ok {
		if lowest := msdsn.TLSVersionFromString(v); ep.TLS == nil || lowest > max(c.MinVersion, tls.VersionTLS12) {
			c.MinVersion = lowest
		}
	}
	c.DynamicRecordSizingDisabled = true // as go-mssqldb has it; SQL Server wants a packet in one piece
	config.TLSConfig, config.TrustServerCertificate = c, c.InsecureSkipVerify && c.VerifyConnection == nil
	return nil
}

// verification returns a TLS configuration by which a server is verified if it has to be:
// the caller's, if there is one, or what the parameters name.
func verification(p map[string]string, callers *tls.Config, verify bool) (*tls.Config, error) {
	if callers != nil {
		for _, name := range []string{"certificate", "servercertificate"} {
			if isSet(p, name) {
				return nil, fmt.Errorf("parameter %q says what to verify by, and driver.Options.TLS does", name)
			}
		}
		c := callers.Clone()
		c.InsecureSkipVerify = c.InsecureSkipVerify && !verify
		return c, nil
	}
	if path, ok := p["servercertificate"]; ok {
		certificates, err := readCertificate("servercertificate", path)
		if err != nil {
			return nil, err
		}
		return onlyCertificate(certificates), nil
	}
	c := &tls.Config{InsecureSkipVerify: !verify}
	if path, ok := p["certificate"]; ok {
		certificates, err := readCertificate("certificate", path)
		if err != nil {
			return nil, err
		}
		c.RootCAs = x509.NewCertPool()
		for _, one := range certificates {
			c.RootCAs.AddCert(one)
		}
	}
	return c, nil
}

// onlyCertificate takes a server that has the first of these certificates, whatever it
// says, as servercertificate does in go-mssqldb.
func onlyCertificate(certificates []*x509.Certificate) *tls.Config {
	return &tls.Config{
		InsecureSkipVerify: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 || !bytes.Equal(s.PeerCertificates[0].Raw, certificates[0].Raw) {
				return errors.New("the server's certificate is not the one in servercertificate")
			}
			return nil
		},
	}
}

// readCertificate reads certificates from a file. Its errors do not quote the name.
func readCertificate(param, path string) ([]*x509.Certificate, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
			err = pe.Err
		}
		return nil, fmt.Errorf("parameter %q: the file cannot be read: %w", param, err)
	}
	if strings.HasSuffix(strings.ToLower(path), ".pem") {
		var der []byte
		for {
			var block *pem.Block
			if block, data = pem.Decode(data); block == nil {
				break
			}
			if block.Type == "CERTIFICATE" {
				der = append(der, block.Bytes...)
			}
		}
		data = der
	}
	certificates, err := x509.ParseCertificates(data)
	if err != nil || len(certificates) == 0 {
		return nil, fmt.Errorf("parameter %q: the file holds no certificate", param)
	}
	return certificates, nil
}
