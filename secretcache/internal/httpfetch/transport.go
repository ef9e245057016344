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
	// errNotHTTP stands for what net/http says of an answer that is not HTTP: it quotes it.
	errNotHTTP = errors.New("connection broken: the answer is not HTTP")
	// ErrNoAnswer stands for an end of the connection where an answer should be.
	ErrNoAnswer = fmt.Errorf("connection closed before the answer: %w", io.EOF)

	errScheme = errors.New("the endpoint is not a URL like https://host: look at AWS_ENDPOINT_URL_SECRETS_MANAGER and AWS_ENDPOINT_URL")
	// ErrProxy stands for net/http's error, which quotes the proxy's password.
	ErrProxy = errors.New("HTTPS_PROXY or HTTP_PROXY is not a URL like http://host:3128")

	// plain are errors that quote nothing.
	plain = []error{net.ErrClosed, os.ErrDeadlineExceeded, io.ErrUnexpectedEOF, errGotHTTP, errNotHTTP, ErrNoAnswer, errScheme, ErrProxy}
)

// A ProxyError says that an HTTP proxy did not connect us.
type ProxyError struct{ Status int }

// Error returns the status, and what to do.
func (e *ProxyError) Error() string {
	text := "the HTTP proxy answered " + Status(e.Status)
	if e.Status == http.StatusProxyAuthRequired {
		text += ": set its user and password in HTTPS_PROXY"
	}
	return text
}

// Status returns a status as an error has it, "503 Service Unavailable". The words are
// ours: those of an answer may be anything.
func Status(code int) string {
	return strings.TrimSpace(strconv.Itoa(code) + " " + http.StatusText(code))
}

// finalAlerts are those of a TLS server that will answer the same again.
var finalAlerts = func() (texts []string) {
	for _, alert := range []tls.AlertError{40, 42, 43, 44, 45, 46, 47, 48, 49, 70, 71, 109, 112, 116, 120} { // RFC 8446, section 6
		texts = append(texts, alert.Error())
	}
	return texts
}()

// Final reports whether an error that [Transport] returned is about how the request is
// sent, so that neither another attempt nor another region brings more.
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

// Permanent reports whether an error that [Transport] returned is one that another attempt
// at the same host brings again.
func Permanent(err error) bool {
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return dns.IsNotFound && !dns.IsTemporary
	}
	return errors.As(err, new(x509.UnknownAuthorityError)) || errors.As(err, new(x509.HostnameError)) ||
		errors.As(err, new(x509.CertificateInvalidError))
}

// Transport finds the network's error in err and returns it without what other errors
// around it and in it may quote of an answer, as net/http does of one that is not
// HTTP. It returns nil if there is none.
func Transport(err error) error {
	// This very error, not one around it: the tree is taken apart here.
	switch {
	case err == nil || slices.Contains(plain, err):
		return err
	case err == io.EOF:
		return ErrNoAnswer
	case err == context.DeadlineExceeded:
		// Somebody's context, but not the caller's, which is looked at elsewhere.
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

// A fixedError has a text of net/http or crypto/tls that quotes nothing of an answer.
type fixedError string

func (e fixedError) Error() string { return string(e) }

func (e fixedError) final() bool {
	return strings.HasPrefix(string(e), invalidHeader) || strings.HasPrefix(string(e), "tls: server selected unsupported protocol version")
}

const invalidHeader = "net/http: invalid header field "

// fixed are how such texts begin.
var fixed = []string{
	"tls: ", invalidHeader, "http: server closed idle connection", "http: no Host in request URL",
	"net/http: timeout awaiting response headers", "net/http: TLS handshake timeout",
	"net/http: server response headers exceeded ", "net/http: request canceled", "http2: client connection lost",
}

// byText recognizes net/http's errors that have no type of their own.
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
		if text != "" && text == http.StatusText(code) { // net/http's error for the answer to CONNECT
			return &ProxyError{code}
		}
	}
	return nil
}

// unknown names an error that may quote anything by its type.
func unknown(err error) error { return fmt.Errorf("connection failed (%T)", err) }
