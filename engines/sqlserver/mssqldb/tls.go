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
	if config.Encryption == msdsn.EncryptionOff && (ep.TLS != nil || ep.Encrypt) {
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
	setLowest(c, p, ep.TLS == nil)
	c.DynamicRecordSizingDisabled = true // as go-mssqldb has it; SQL Server wants a packet in one piece
	config.TLSConfig, config.TrustServerCertificate = c, c.InsecureSkipVerify && c.VerifyConnection == nil
	return nil
}

// setLowest heeds tlsmin, by which a caller's configuration gets no laxer.
func setLowest(c *tls.Config, p map[string]string, ours bool) {
	v, ok := p["tlsmin"]
	if !ok {
		return
	}
	if lowest := msdsn.TLSVersionFromString(v); ours || lowest > max(c.MinVersion, tls.VersionTLS12) {
		c.MinVersion = lowest
	}
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

// onlyCertificate takes a server that has this certificate, whatever it says, as
// servercertificate does in go-mssqldb.
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

// readAuthorities reads the file of "certificate".
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

// readCertificates reads a file in PEM or DER, by its name. There is at least one certificate.
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
		return nil, fmt.Errorf("%s: it is not a certificate in DER", path)
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
