package tlserror_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/internal/testkit/loopback"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/testca"
	"github.com/sqlsecrets/sqlsecrets/internal/tlserror"
)

var remedy = tlserror.Remedy{Authorities: `"ca"`, Name: `"name"`, Version: `"min"`, Certificate: `"cert"`}

// handshake returns the error of a client's handshake with a server.
func handshake(t *testing.T, client *tls.Config, serve func(net.Conn)) error {
	t.Helper()
	l := loopback.Listen(t, serve, "127.0.0.1")
	c, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(l.Port)))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return tls.Client(c, client).Handshake()
}

func serverOf(config *tls.Config) func(net.Conn) {
	return func(c net.Conn) { _ = tls.Server(c, config).Handshake() }
}

// oldServer chooses TLS 1.0 whatever the client offers, as MySQL 5.6 does.
func oldServer(c net.Conn) {
	_, _ = c.Read(make([]byte, 64<<10))
	hello := append([]byte{2, 0, 0, 38, 3, 1}, make([]byte, 36)...)
	hello[6+32+1] = 0xc0 // some cipher suite
	_, _ = c.Write(append([]byte{22, 3, 1, 0, byte(len(hello))}, hello...))
}

func TestConnect(t *testing.T) {
	certs := testca.New("db.example.com")
	old := certs.Server.Clone()
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS10
	asks := certs.Server.Clone()
	asks.ClientAuth, asks.ClientCAs, asks.MaxVersion = tls.RequireAndVerifyClientCert, certs.Pool, tls.VersionTLS12
	for _, c := range []struct {
		name   string
		client *tls.Config
		serve  func(net.Conn)
		want   []string
	}{
		{"another name", &tls.Config{RootCAs: certs.Pool, ServerName: "h"}, serverOf(certs.Server),
			[]string{"the server at h:1 has a certificate for another name: ", "valid for db.example.com, not h", `; connect by a name that is in it, or name that by "name"`}},
		{"unknown authority", &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "db.example.com"}, serverOf(certs.Server),
			[]string{"the server at h:1 has a certificate by an unknown authority: ", `; name a file with the authority by "ca"`}},
		{"version that the server refuses", &tls.Config{RootCAs: certs.Pool, ServerName: "db.example.com"}, serverOf(old),
			[]string{"the server at h:1 has no version of TLS that is allowed", "TLS 1.2 and newer", `; update the server, or lower that by "min"`}},
		{"version that the client refuses", &tls.Config{RootCAs: certs.Pool, ServerName: "db.example.com"}, oldServer,
			[]string{"the server at h:1 offers TLS 1.0, which is older", "TLS 1.2 by default", `; update the server, or lower that by "min"`}},
		{"another client certificate", &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{testca.New().Issue("client")}}, serverOf(asks),
			[]string{"the server at h:1 does not accept the client's certificate, or that there is none: ", `; name one by "cert"`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cause := handshake(t, c.client, c.serve)
			if cause == nil {
				t.Fatal("the handshake succeeded")
			}
			for _, cause := range []error{cause, fmt.Errorf("a driver: %v", cause)} { // which drops all but the text
				err := tlserror.Connect("h:1", cause, remedy)
				for i, want := range c.want {
					if got := err.Error(); !strings.Contains(got, want) || i == 0 && !strings.HasPrefix(got, want) {
						t.Errorf("got %s, want %q in it, the first in front", got, want)
					}
				}
				if !errors.Is(err, cause) {
					t.Errorf("%v has not its cause in the tree", err)
				}
			}
		})
	}
}

func TestConnectWithoutARemedy(t *testing.T) {
	err := tlserror.Connect("h:1", x509.UnknownAuthorityError{}, tlserror.Remedy{})
	if want := "the server at h:1 has a certificate by an unknown authority: x509: certificate signed by unknown authority"; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
}

func TestErrorThatIsNotAboutTLS(t *testing.T) {
	for _, cause := range []error{errors.New("connection refused"), errors.New("tls: handshake failure")} {
		if got, want := tlserror.Connect("h:1", cause, remedy).Error(), "connect to h:1: "+cause.Error(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
