// Package tlserror makes the errors of connections that fail because of TLS. The text begins with
// what is wrong with TLS and ends with what to do about it. The command sqlsecrets recognizes some
// of the texts.
package tlserror

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// A Remedy has the parameters by which the user of an engine configures TLS, as parts of sentences
// such as `"ssl-ca" or driver.Options.TLS`. An empty field is not offered.
type Remedy struct {
	Authorities string // what names a file with certificate authorities
	Name        string // what names another name than the host's
	Version     string // what allows a lower version of TLS
	Certificate string // what names a certificate of the client
}

// Socket returns the error for a Unix socket if something requires TLS. by is what requires it. off
// is the parameter that turns TLS off; a login by a token of AWS IAM (iam) does not allow that.
func Socket(by, off string, iam bool) error {
	remedy := "give a host"
	if !iam {
		remedy += ", or " + off
	}
	return fmt.Errorf("%s requires TLS, and a connection by a Unix socket has none: %s", by, remedy)
}

// Connect returns the error of a failed connection. server is the address.
func Connect(server string, err error, r Remedy) error {
	what, remedy := reason(err, r)
	if what == "" {
		return fmt.Errorf("connect to %s: %w", server, err)
	}
	if remedy != "" {
		remedy = "; " + remedy
	}
	return fmt.Errorf("the server at %s %s: %w%s", server, what, err, remedy)
}

// reason returns what is wrong with TLS, as a predicate, or "". It also looks at the text of the
// error, because some vendors' drivers keep only the text. Go's own packages do not change these
// texts.
func reason(err error, r Remedy) (what, remedy string) {
	text := err.Error()
	has := func(parts ...string) bool {
		for _, p := range parts {
			if strings.Contains(text, p) {
				return true
			}
		}
		return false
	}
	name, authority, invalid := x509.HostnameError{}, x509.UnknownAuthorityError{}, x509.CertificateInvalidError{}
	switch {
	case has("server does not support TLS", "server does not support encryption"):
		return `has no TLS, and the data source name, driver.Options.TLS or the secret's "ssl" asks for it`, ""
	case has("tls: first record does not look like a TLS handshake"):
		return "does not answer with TLS", "check the port"
	case errors.As(err, &name), has("x509: certificate is valid for", "x509: cannot validate certificate for", "x509: certificate is not valid for any names"):
		return "has a certificate for another name", or("connect by a name that is in it", "name that by", r.Name)
	case errors.As(err, &authority), has("x509: certificate signed by unknown authority"):
		return "has a certificate by an unknown authority", or("", "name a file with the authority by", r.Authorities)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired, has("x509: certificate has expired or is not yet valid"):
		return "has a certificate that is not valid now", ""
	}
	if RefusesClient(text) {
		return "does not accept the client's certificate, or that there is none", or("", "name one by", r.Certificate)
	}
	return versionReason(text, r)
}

func versionReason(text string, r Remedy) (what, remedy string) {
	remedy = or("update the server", "lower that by", r.Version)
	if version := Offered(text); version != "" {
		return fmt.Sprintf("offers %s, which is older than the lowest version that is allowed, TLS 1.2 by default", version), remedy
	}
	if strings.Contains(text, "tls: protocol version not supported") {
		return "has no version of TLS that is allowed, which are TLS 1.2 and newer by default", remedy
	}
	return "", ""
}

var (
	// crypto/tls has no types for these.
	offered = regexp.MustCompile(`tls: server selected unsupported protocol version ([0-9a-f]{1,4})`)
	refuses = regexp.MustCompile(`remote error: tls: (bad certificate|unsupported certificate|revoked certificate|expired certificate|` +
		`unknown certificate|unknown certificate authority|certificate required)`)
)

// Offered returns the version of TLS that a server chose although the client did not offer it, such
// as "TLS 1.0", or "". text is the text of an error.
func Offered(text string) string {
	m := offered.FindStringSubmatch(text)
	if m == nil {
		return ""
	}
	version, _ := strconv.ParseUint(m[1], 16, 16)
	return tls.VersionName(uint16(version))
}

// RefusesClient reports whether a server ended the handshake because of the client's certificate,
// or because the client has none. text is the text of an error.
func RefusesClient(text string) bool { return refuses.MatchString(text) }

// or joins two remedies. The second one needs what, a field of a Remedy; without it only first is
// left.
func or(first, second, what string) string {
	if what != "" {
		second += " " + what
	}
	switch {
	case what == "":
		return first
	case first == "":
		return second
	}
	return first + ", or " + second
}
