package pgxv5

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"maps"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/driver/vocabulary"
	"github.com/sqlsecrets/sqlsecrets/internal/jdbcurl"
)

// files returns the files that parameters name.
func files(params map[string]string) []string {
	var names []string
	for _, name := range words.Files(params) {
		if name != system {
			names = append(names, name)
		}
	}
	return names
}

// turnsTLSOff reports whether parameters turn TLS off.
func turnsTLSOff(params map[string]string) bool { return params["sslmode"] == "disable" }

// system, in place of a file, names the operating system's authorities.
const system = "system"

// tlsSettings are what an endpoint says about TLS, with the files that it names.
type tlsSettings struct {
	params   map[string]string // for pgx: those of the endpoint without files
	asked    map[string]string // those of the endpoint
	options  *tls.Config       // the caller's, which is not changed; may be nil
	required bool              // never without TLS
	askedBy  string            // what requires it
	roots    *x509.CertPool    // nil: the system's, or those of options
	certs    []tls.Certificate // the client's; nil: those of options
}

// newTLSSettings reads the files.
func newTLSSettings(ep driver.Endpoint) (*tlsSettings, error) {
	t := &tlsSettings{params: map[string]string{}, asked: ep.Params, options: ep.TLS}
	maps.Copy(t.params, ep.Params)
	for _, name := range []string{"sslcert", "sslkey"} {
		delete(t.params, name)
	}
	mode := cmp.Or(ep.Params["sslmode"], "prefer")
	if mode == "disable" {
		return t, nil
	}
	t.askedBy = askedBy(ep, mode)
	t.required = t.askedBy != ""
	if mode == "prefer" && ep.Encrypt {
		t.params["sslmode"] = "require"
	}
	if file := ep.Params["sslrootcert"]; file != "" && file != system {
		roots, err := vocabulary.Authorities(file)
		if err != nil {
			return nil, fmt.Errorf("sslrootcert: %w", err)
		}
		t.roots = roots
		delete(t.params, "sslrootcert")
		if mode == "require" {
			t.params["sslmode"] = "verify-ca" // which pgx would make of the two
		}
	}
	if file := ep.Params["sslcert"]; file != "" && ep.Params["sslcertmode"] != "disable" {
		pair, err := vocabulary.KeyPair(file, ep.Params["sslkey"])
		if err != nil {
			return nil, fmt.Errorf("sslcert and sslkey: %w", err)
		}
		t.certs = []tls.Certificate{pair}
	}
	return t, nil
}

// askedBy returns what requires TLS, or "" if that is left to the server.
func askedBy(ep driver.Endpoint, mode string) string {
	switch {
	case mode != "prefer":
		return "sslmode=" + mode
	case ep.Params["sslrootcert"] == system:
		return "sslrootcert=system"
	case ep.TLS != nil:
		return "driver.Options.TLS"
	case ep.Encrypt:
		return `the secret's "ssl"`
	}
	// A server that passes as one without TLS does not have these.
	for _, name := range []string{"sslcertmode", "channel_binding"} {
		if ep.Params[name] == "require" {
			return name + "=require"
		}
	}
	return ""
}

// apply returns the configuration for a host: the caller's, if there is one, with what
// parameters say besides, or else the one that pgx made of them. Parameters make it
// stricter, not laxer.
func (t *tlsSettings) apply(parsed *tls.Config, host string) *tls.Config {
	if t.roots != nil {
		parsed.RootCAs = t.roots // which VerifyPeerCertificate, of verify-ca, uses too
	}
	if t.certs != nil {
		parsed.Certificates = t.certs
	}
	name := jdbcurl.ServerName(host)
	if parsed.ServerName == host {
		parsed.ServerName = name
	}
	if t.options == nil {
		return parsed
	}
	merged := t.options.Clone()
	if merged.ServerName == "" {
		merged.ServerName = name
	}
	if parsed.RootCAs != nil {
		merged.RootCAs = parsed.RootCAs
	}
	if parsed.Certificates != nil {
		// A callback of the caller's would take precedence over them.
		merged.Certificates, merged.GetClientCertificate = parsed.Certificates, nil
	}
	if len(merged.NextProtos) == 0 {
		merged.NextProtos = parsed.NextProtos // what sslnegotiation=direct needs
	}
	if mode := t.asked["sslmode"]; mode == "verify-ca" || mode == "verify-full" || t.asked["sslrootcert"] != "" {
		merged.InsecureSkipVerify = false
	}
	return merged
}
