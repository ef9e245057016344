package mssqldb

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/microsoft/go-mssqldb/msdsn"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/driver/vocabulary"
	"github.com/sqlsecrets/sqlsecrets/internal/tlserror"
)

// encryption returns the encryption that the parameters ask for: "true", "strict", "false",
// "disable", or "" if they say nothing about it.
func encryption(p map[string]string) string {
	v, ok := p["encrypt"]
	if !ok {
		// A parameter that asks for verification asks for encryption as well.
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

// encryptions has go-mssqldb's constants. If the parameters say nothing, encryption is required at
// first.
var encryptions = map[string]msdsn.Encryption{
	"":        msdsn.EncryptionRequired,
	"true":    msdsn.EncryptionRequired,
	"strict":  msdsn.EncryptionStrict,
	"false":   msdsn.EncryptionOff,
	"disable": msdsn.EncryptionDisabled,
}

// setTLS sets everything in a configuration that is about TLS. It reads the files that parameters
// name.
func setTLS(config *msdsn.Config, p map[string]string, ep driver.Endpoint) error {
	mode := encryption(p)
	config.Encryption = encryptions[mode]
	if config.Encryption == msdsn.EncryptionOff && (ep.TLS != nil || ep.Encrypt) {
		config.Encryption = msdsn.EncryptionRequired // the server must not decide
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
	// If this is false, the driver uses the name of the server to which it is redirected.
	config.HostInCertificateProvided = c.ServerName != ""
	if c.ServerName == "" {
		c.ServerName, _, _ = strings.Cut(ep.Host, "%") // not an IPv6 zone
	}
	setLowest(c, p, ep.TLS == nil)
	c.DynamicRecordSizingDisabled = true // as go-mssqldb does: SQL Server needs a packet in one record
	config.TLSConfig, config.TrustServerCertificate = c, c.InsecureSkipVerify && c.VerifyConnection == nil
	return nil
}

// setLowest sets the lowest version of TLS to tlsmin. If the configuration is the caller's (ours is
// false), it only raises the version.
func setLowest(c *tls.Config, p map[string]string, ours bool) {
	v, ok := p["tlsmin"]
	if !ok {
		return
	}
	if lowest := msdsn.TLSVersionFromString(v); ours || lowest > max(c.MinVersion, tls.VersionTLS12) {
		c.MinVersion = lowest
	}
}

// verification returns the TLS configuration that verifies a server if verify is true: a copy of
// the caller's, if there is one, or else one made from the parameters.
func verification(p map[string]string, callers *tls.Config, verify bool) (*tls.Config, error) {
	if callers != nil {
		for _, name := range []string{"certificate", "servercertificate"} {
			if isSet(p, name) {
				return nil, fmt.Errorf("parameter %q and driver.Options.TLS both say how to verify the server: give only one of them", name)
			}
		}
		c := callers.Clone()
		c.InsecureSkipVerify = c.InsecureSkipVerify && !verify
		return c, nil
	}
	if path, ok := p["servercertificate"]; ok {
		certificates, err := readCertificates(path)
		if err != nil {
			return nil, fmt.Errorf(`parameter "servercertificate": %w`, err)
		}
		return onlyCertificate(certificates[0]), nil
	}
	c := &tls.Config{InsecureSkipVerify: !verify}
	if path, ok := p["certificate"]; ok {
		var err error
		if c.RootCAs, err = readAuthorities(path); err != nil {
			return nil, fmt.Errorf(`parameter "certificate": %w`, err)
		}
	}
	return c, nil
}

// onlyCertificate accepts a server that has exactly this certificate, whatever its name and its
// age, as servercertificate does in go-mssqldb.
func onlyCertificate(certificate *x509.Certificate) *tls.Config {
	return &tls.Config{
		InsecureSkipVerify: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 || !bytes.Equal(s.PeerCertificates[0].Raw, certificate.Raw) {
				return errors.New("the server's certificate is not the one in servercertificate")
			}
			return nil
		},
	}
}

// readAuthorities reads the file that the parameter "certificate" names.
func readAuthorities(path string) (*x509.CertPool, error) {
	certificates, err := readCertificates(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	for _, one := range certificates {
		pool.AddCert(one)
	}
	return pool, nil
}

// readCertificates reads a file in PEM, if its name ends in .pem, or else in DER. It returns at
// least one certificate.
func readCertificates(path string) ([]*x509.Certificate, error) {
	if strings.HasSuffix(strings.ToLower(path), ".pem") {
		return vocabulary.Certificates(path)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	certificates, err := x509.ParseCertificates(data)
	if err != nil || len(certificates) == 0 {
		return nil, fmt.Errorf("%s: the file has no certificate in DER", path)
	}
	return certificates, nil
}

// files is Info.Files.
func files(params map[string]string) []string {
	return slices.Sorted(maps.Values(words.Files(params)))
}

// turnsTLSOff is Info.TurnsTLSOff.
func turnsTLSOff(params map[string]string) bool {
	p, _ := words.Read(params) // which were checked
	return encryption(p) == "disable"
}

var remedy = tlserror.Remedy{
	Authorities: `"certificate" or driver.Options.TLS`,
	Name:        `"hostnameincertificate"`,
	Version:     `"tlsmin"`,
	Certificate: "driver.Options.TLS",
}
