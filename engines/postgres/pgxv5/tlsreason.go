package pgxv5

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sqlsecrets/sqlsecrets/internal/tlserror"
)

// tlsReason returns what is wrong with TLS, with which server, and what to do about it. It returns
// "" if err is about something else. pgx's own texts are harder to read: they begin with the
// message that could not be written.
func (a *attempt) tlsReason(err error) string {
	if a == nil || err == nil {
		return ""
	}
	reason := ""
	if a.config.TLSConfig == nil {
		reason = plainReason(err)
	} else {
		reason = cmp.Or(a.tls.certificateReason(err), a.tls.handshakeReason(err, a.config.TLSConfig, a.plaintext))
	}
	if reason == "" {
		return ""
	}
	return "TLS with " + net.JoinHostPort(a.config.Host, strconv.Itoa(int(a.config.Port))) + ": " + reason
}

// The texts of this file are part of "TLS with host:port: …", and the command sqlsecrets recognizes
// them.

// wantsTLS matches proxies that require TLS, by their whole text: 08P01 of PgBouncer and 28000 of
// RDS Proxy.
var wantsTLS = regexp.MustCompile(`^(SSL required|This RDS [Pp]roxy requires TLS connections\.?)$`)

// plainReason is for a login without TLS.
func plainReason(err error) string {
	var pg *pgconn.PgError
	switch {
	case !errors.As(err, &pg):
	case pg.Routine == "" && wantsTLS.MatchString(pg.Message):
		return "the server requires it, and sslmode=disable turns it off"
	case pg.Code == invalidAuthorization && pg.Routine == "ClientAuthentication": // no entry in pg_hba.conf
		return "the server may require it, and sslmode=disable turns it off"
	}
	return ""
}

// certificateReason is for a certificate of the server that does not pass the verification.
func (t *tlsSettings) certificateReason(err error) string {
	var name x509.HostnameError
	var authority x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &name):
		wanted := "this host; connect by a name that it has, or give that name as ServerName of driver.Options.TLS"
		if t.options != nil && t.options.ServerName != "" {
			wanted = strconv.Quote(name.Host) + ", the ServerName of driver.Options.TLS"
		}
		return fmt.Sprintf("the certificate is for %s and not for %s", namesOf(name.Certificate), wanted)
	case errors.As(err, &authority):
		const signed = "the certificate is signed by an authority that is not "
		switch {
		case t.roots != nil:
			return signed + "in the file of sslrootcert; name the file that has it"
		case t.options != nil && t.options.RootCAs != nil:
			return signed + "among RootCAs of driver.Options.TLS; add it, or name the authority's certificate by sslrootcert"
		}
		return signed + "one of the system's; name the authority's certificate by sslrootcert"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the certificate has expired or is not valid yet"
	case errors.As(err, &invalid):
		return "the certificate is not valid"
	}
	return ""
}

// namesOf returns the names of a certificate; if there are many, only the first ones.
func namesOf(c *x509.Certificate) string {
	names := append([]string{}, c.DNSNames...)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	const most = 5
	switch {
	case len(names) == 0:
		return "no name"
	case len(names) > most:
		return strings.Join(names[:most], ", ") + ", …"
	}
	return strings.Join(names, ", ")
}

// handshakeReason is for a handshake that fails or does not begin. pgx's texts end with the text of
// the cause.
func (t *tlsSettings) handshakeReason(err error, config *tls.Config, optional bool) string {
	lowest := tls.VersionName(cmp.Or(config.MinVersion, tls.VersionTLS12))
	text := err.Error()
	var record tls.RecordHeaderError
	switch offered := tlserror.Offered(text); {
	case offered != "":
		return fmt.Sprintf("the server offers %s, and the lowest version that is accepted is %s", offered, lowest)
	case strings.HasSuffix(text, ": server refused TLS connection") && optional:
		return "the server answers the request for it with neither yes nor no"
	case strings.HasSuffix(text, ": server refused TLS connection"):
		return fmt.Sprintf("the server does not have it, and %s requires it", cmp.Or(t.askedBy, "Engine.Configure"))
	case errors.As(err, &record):
		return "the server's answer is not TLS"
	}
	var remote *net.OpError
	if !errors.As(err, &remote) || remote.Op != "remote error" {
		return ""
	}
	return alertReason(text, config, lowest)
}

// alertReason is for a handshake that the server ended with an alert.
func alertReason(text string, config *tls.Config, lowest string) string {
	switch {
	case strings.HasSuffix(text, ": tls: protocol version not supported"):
		return "the server offers no version from " + lowest + " on, which is the lowest that is accepted"
	case tlserror.RefusesClient(text) && len(config.Certificates) == 0 && config.GetClientCertificate == nil:
		return "the server asks for a client's certificate; name one by sslcert and sslkey"
	case tlserror.RefusesClient(text):
		return "the server does not accept the client's certificate"
	}
	return "the server ended the handshake"
}
