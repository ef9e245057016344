package httpfetch

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

var (
	errGotHTTP = errors.New("http: server gave HTTP response to HTTPS client")
	// errNotHTTP replaces net/http's error for an answer that is not HTTP, which quotes the answer.
	errNotHTTP = errors.New("connection broken: the answer is not HTTP")
	// ErrNoAnswer says that the connection ended before an answer came.
	ErrNoAnswer = fmt.Errorf("connection closed before the answer: %w", io.EOF)

	errScheme = errors.New("the endpoint is not a URL like https://host: check AWS_ENDPOINT_URL_SECRETS_MANAGER and AWS_ENDPOINT_URL")
	// ErrProxy replaces net/http's error, which quotes the proxy's password.
	ErrProxy = errors.New("HTTPS_PROXY or HTTP_PROXY is not a URL like http://host:3128")

	// plain are errors that quote nothing.
	plain = []error{net.ErrClosed, os.ErrDeadlineExceeded, io.ErrUnexpectedEOF, errGotHTTP, errNotHTTP, ErrNoAnswer, errScheme, ErrProxy}
)

// A ProxyError says that an HTTP proxy did not connect to the server.
type ProxyError struct{ Status int }

// Error returns the status and, for status 407, what to do.
func (e *ProxyError) Error() string {
	text := "the HTTP proxy answered " + Status(e.Status)
	if e.Status == http.StatusProxyAuthRequired {
		text += ": set its user and password in HTTPS_PROXY"
	}
	return text
}

// Status returns a status for an error text, such as "503 Service Unavailable". The text is
// not from the answer, which could say anything.
func Status(code int) string {
	return strings.TrimSpace(strconv.Itoa(code) + " " + http.StatusText(code))
}

// finalAlerts are alerts that a TLS server will send again for another attempt.
var finalAlerts = func() (texts []string) {
	for _, alert := range []tls.AlertError{40, 42, 43, 44, 45, 46, 47, 48, 49, 70, 71, 109, 112, 116, 120} { // RFC 8446, section 6
		texts = append(texts, alert.Error())
	}
	return texts
}()

// Final reports whether an error that [Transport] returned is about the way to the server, so
// that neither another attempt nor another region will work.
func Final(err error) bool {
	var proxy *ProxyError
	var op *net.OpError
	var fixed fixedError
	switch {
	case errors.As(err, &proxy):
		return proxy.Status < 500
	case errors.As(err, &op) && op.Op == "remote error":
		return slices.Contains(finalAlerts, op.Err.Error())
	case errors.As(err, &fixed):
		return fixed.final()
	}
	return errors.Is(err, errGotHTTP) || errors.Is(err, errScheme) || errors.Is(err, ErrProxy)
}

// Permanent reports whether another attempt at the same host would bring the same error.
// [Transport] returned err.
func Permanent(err error) bool {
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return dns.IsNotFound && !dns.IsTemporary
	}
	return errors.As(err, new(x509.UnknownAuthorityError)) || errors.As(err, new(x509.HostnameError)) ||
		errors.As(err, new(x509.CertificateInvalidError))
}

// Transport finds the network error in err and returns it, without other errors around it or
// in it that may quote an answer. net/http does that for an answer that is not HTTP. It
// returns nil if there is no network error.
func Transport(err error) error {
	// Compare this error only, not those that it wraps: the code below unwraps them.
	switch {
	case err == nil || slices.Contains(plain, err):
		return err
	case err == io.EOF:
		return ErrNoAnswer
	case err == context.DeadlineExceeded:
		// Not the caller's context, which is checked elsewhere.
		return os.ErrDeadlineExceeded
	}
	switch e := err.(type) {
	case *os.SyscallError, syscall.Errno, *net.AddrError, *net.ParseError, net.UnknownNetworkError,
		x509.UnknownAuthorityError, x509.HostnameError, x509.CertificateInvalidError, x509.SystemRootsError,
		*tls.CertificateVerificationError, tls.AlertError, *ProxyError, fixedError:
		return err
	case *net.OpError:
		return &net.OpError{Op: e.Op, Net: e.Net, Source: e.Source, Addr: e.Addr, Err: cmp.Or(Transport(e.Err), unknown(e.Err))}
	case *net.DNSError:
		return &net.DNSError{Err: e.Err, Name: e.Name, Server: e.Server, IsTimeout: e.IsTimeout, IsTemporary: e.IsTemporary, IsNotFound: e.IsNotFound}
	case tls.RecordHeaderError:
		return tls.RecordHeaderError{Msg: e.Msg}
	case *url.Error:
		return cmp.Or(Transport(e.Err), timedOut(e), unknown(e.Err))
	case interface{ Unwrap() error }:
		return cmp.Or(Transport(e.Unwrap()), byText(err))
	case interface{ Unwrap() []error }:
		return firstTransport(e.Unwrap())
	}
	return byText(err)
}

func firstTransport(errs []error) error {
	for _, err := range errs {
		if t := Transport(err); t != nil {
			return t
		}
	}
	return nil
}

func timedOut(err net.Error) error {
	if err.Timeout() {
		return os.ErrDeadlineExceeded
	}
	return nil
}

// A fixedError has a text of net/http or crypto/tls that quotes no answer.
type fixedError string

func (e fixedError) Error() string { return string(e) }

func (e fixedError) final() bool {
	return strings.HasPrefix(string(e), invalidHeader) || strings.HasPrefix(string(e), "tls: server selected unsupported protocol version")
}

const invalidHeader = "net/http: invalid header field "

// fixed has the beginnings of such texts.
var fixed = []string{
	"tls: ", invalidHeader, "http: server closed idle connection", "http: no Host in request URL",
	"net/http: timeout awaiting response headers", "net/http: TLS handshake timeout",
	"net/http: server response headers exceeded ", "net/http: request canceled", "http2: client connection lost",
}

// byText recognizes errors of net/http that have no type of their own.
func byText(err error) error {
	text := err.Error()
	begins := func(with string) bool { return strings.HasPrefix(text, with) }
	switch {
	case text == errGotHTTP.Error():
		return errGotHTTP
	case begins("malformed "), begins("net/http: HTTP/1.x transport connection broken"):
		return errNotHTTP
	case begins("unsupported protocol scheme"):
		return errScheme
	case begins("invalid proxy address"):
		return ErrProxy
	case slices.ContainsFunc(fixed, begins):
		return fixedError(Line(text))
	}
	for code := 400; code < 600; code++ {
		if text != "" && text == http.StatusText(code) { // net/http's error for a proxy's answer to CONNECT
			return &ProxyError{code}
		}
	}
	return nil
}

// unknown returns an error that names only the type of err, because its text may quote anything.
func unknown(err error) error { return fmt.Errorf("connection failed (%T)", err) }
