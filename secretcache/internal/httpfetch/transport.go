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
	"net/url"
	"os"
	"slices"
	"strings"
	"syscall"
)

var (
	// ErrGotHTTP is net/http's text for an endpoint whose scheme is wrong.
	ErrGotHTTP = errors.New("http: server gave HTTP response to HTTPS client")
	// errNotHTTP stands for what net/http says of an answer that is not HTTP: it quotes it.
	errNotHTTP = errors.New("connection broken: the answer is not HTTP")
	// ErrNoAnswer stands for an end of the connection where an answer should be.
	ErrNoAnswer = fmt.Errorf("connection closed before the answer: %w", io.EOF)

	// plain are errors that quote nothing.
	plain = []error{net.ErrClosed, os.ErrDeadlineExceeded, io.ErrUnexpectedEOF, ErrGotHTTP, errNotHTTP, ErrNoAnswer}
)

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
		*tls.CertificateVerificationError, tls.AlertError:
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

// byText recognizes net/http's errors that have no type of their own.
func byText(err error) error {
	switch text := err.Error(); {
	case text == ErrGotHTTP.Error():
		return ErrGotHTTP
	case strings.HasPrefix(text, "malformed "), strings.HasPrefix(text, "net/http: HTTP/1.x transport connection broken"):
		return errNotHTTP
	}
	return nil
}

// unknown names an error that may quote anything by its type.
func unknown(err error) error { return fmt.Errorf("connection failed (%T)", err) }
