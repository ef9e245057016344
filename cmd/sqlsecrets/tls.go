package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

var (
	// aboutTLS matches the names of parameters about TLS.
	aboutTLS = regexp.MustCompile(`(?i)ssl|tls|encrypt|cert|wallet|security|^protocol$`)
	// wordsTLS matches the names of those parameters whose values may be shown. Values that may be
	// paths or passphrases are not shown.
	wordsTLS = regexp.MustCompile(`(?i)^(sslmode|tls|encrypt|trustservercertificate|ssl|ssl.?verify|protocol|security|tlsmin|sslnegotiation)$`)
)

// tlsParams returns the parameters about TLS in the data source name.
func (c *check) tlsParams() (list []string) {
	for _, name := range slices.Sorted(maps.Keys(c.plan.Params)) {
		switch {
		case !aboutTLS.MatchString(name):
		case wordsTLS.MatchString(name):
			list = append(list, name+"="+c.plan.Params[name])
		default:
			list = append(list, name)
		}
	}
	return list
}

// rule returns what decides about TLS.
func (c *check) rule() string {
	rule := strings.Join(c.tlsParams(), ", ")
	switch {
	case rule != "":
		rule = "by " + rule + " in the data source name"
	case c.plan.Encrypt:
		rule = `by the secret's "ssl"`
	case c.plan.IAM:
		rule = "by auth=iam"
	default:
		rule = "the default, see docs/tls.md"
	}
	return rule
}

// showTLS returns what is known about TLS on the connection.
func (c *check) showTLS(context.Context) (string, error) {
	if c.failed != nil && c.because.at == stepTLS {
		return rejectedCertificate(c.failed.err), c.failed.err
	}
	_, h, _ := c.watch.last()
	switch {
	case h != nil:
		return describeTLS(h) + " (" + c.rule() + ")", nil
	case c.plan.TLSOff:
		return "off (" + c.rule() + ")", nil
	case c.failed != nil && c.because.exit != exitRejected && c.because.code != "no-database": // the server did not check the login
		return "unknown", errUnknown
	case c.plan.Engine == "db2":
		return "unknown for this engine", errUnknown
	}
	return "none: the connection is NOT encrypted (" + c.rule() + ")", nil
}

func describeTLS(h *handshake) string {
	text := tls.VersionName(h.state.Version) + ", " + h.verified
	if len(h.state.PeerCertificates) == 0 {
		return text
	}
	leaf := h.state.PeerCertificates[0]
	text += "; " + describeCertificate(leaf)
	if left := time.Until(leaf.NotAfter); left < 14*24*time.Hour {
		text += fmt.Sprintf(", in %d days", int(left.Hours()/24))
	}
	for i, other := range h.state.PeerCertificates[1:] {
		if i == 0 {
			text += "; sent with it"
		}
		text += fmt.Sprintf(" %q", other.Subject.String())
	}
	return text
}

// describeCertificate returns a certificate's subject, names, issuer and last day.
func describeCertificate(c *x509.Certificate) string {
	names := c.DNSNames
	for _, ip := range c.IPAddresses {
		names = append(slices.Clone(names), ip.String())
	}
	const most = 5
	if len(names) > most {
		names = append(slices.Clone(names[:most]), "…")
	}
	return fmt.Sprintf("certificate %q for %s, issued by %q, valid until %s",
		c.Subject.String(), strings.Join(names, ", "), c.Issuer.String(), c.NotAfter.UTC().Format(time.DateOnly))
}

// rejectedCertificate describes the certificate that failed verification. It returns "" if there is
// none, or if the vendor's driver does not return it.
func rejectedCertificate(err error) string {
	var e *tls.CertificateVerificationError
	if errors.As(err, &e) && len(e.UnverifiedCertificates) > 0 {
		return describeCertificate(e.UnverifiedCertificates[0])
	}
	return ""
}
