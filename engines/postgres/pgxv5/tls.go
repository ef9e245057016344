package pgxv5

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/driver/vocabulary"
	"github.com/sqlsecrets/sqlsecrets/internal/jdbcurl"
)

// files is Info.Files: the files that parameters name.
func files(params map[string]string) []string {
	var names []string
	for _, name := range words.Files(params) {
		if name != system {
			names = append(names, name)
		}
	}
	return names
}

// turnsTLSOff is Info.TurnsTLSOff: whether parameters turn TLS off.
func turnsTLSOff(params map[string]string) bool { return params["sslmode"] == "disable" }

// forIAM is Info.IAM. The server must be verified, unless the parameters have sslmode=require.
func forIAM(params map[string]string) (map[string]string, error) {
	if turnsTLSOff(params) {
		return nil, errors.New("iam needs TLS, and sslmode=disable turns it off: leave that out, or give sslmode=require for TLS without verification")
	}
	with := map[string]string{}
	maps.Copy(with, params)
	if mode := params["sslmode"]; mode == "" || mode == "prefer" {
		with["sslmode"] = "verify-full"
	}
	return with, nil
}

// system is the value of sslrootcert that means the certificate authorities of the operating
// system.
const system = "system"

// tlsSettings is what an endpoint says about TLS, with the contents of its files.
type tlsSettings struct {
	params   map[string]string // the parameters for pgx: those of the endpoint without files
	asked    map[string]string // the parameters of the endpoint
	options  *tls.Config       // driver.Options.TLS; read-only; may be nil
	required bool              // there is no login without TLS
	askedBy  string            // what requires TLS, for errors
	roots    *x509.CertPool    // nil: those of options, or of the operating system
	certs    []tls.Certificate // of the client; nil: those of options
}

// newTLSSettings reads the files that the parameters name.
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
			t.params["sslmode"] = "verify-ca" // as pgx does with these two parameters
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

// askedBy returns what requires TLS, or "" if the server decides.
func askedBy(ep driver.Endpoint, mode string) string {
	switch {
	case ep.IAM && mode == "verify-full":
		return "auth=iam"
	case mode != "prefer":
		return "sslmode=" + mode
	case ep.Params["sslrootcert"] == system:
		return "sslrootcert=system"
	case ep.TLS != nil:
		return "driver.Options.TLS"
	case ep.Encrypt:
		return `the secret's "ssl"`
	}
	// A server without TLS cannot do these.
	for _, name := range []string{"sslcertmode", "channel_binding"} {
		if ep.Params[name] == "require" {
			return name + "=require"
		}
	}
	return ""
}

// apply returns the TLS configuration for a host. If driver.Options.TLS is set, that is the base
// and the parameters are added; otherwise it is the configuration that pgx made of the parameters.
// Parameters can make driver.Options.TLS stricter, but not weaker.
func (t *tlsSettings) apply(parsed *tls.Config, host string) *tls.Config {
	if t.roots != nil {
		parsed.RootCAs = t.roots // pgx's VerifyPeerCertificate of verify-ca uses it too
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
		// GetClientCertificate of the caller would take precedence over them.
		merged.Certificates, merged.GetClientCertificate = parsed.Certificates, nil
	}
	if len(merged.NextProtos) == 0 {
		merged.NextProtos = parsed.NextProtos // sslnegotiation=direct needs it
	}
	if mode := t.asked["sslmode"]; mode == "verify-ca" || mode == "verify-full" || t.asked["sslrootcert"] != "" {
		merged.InsecureSkipVerify = false
	}
	return merged
}
