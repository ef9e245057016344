package httpfetch

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"
)

// Transport finds the network's error in err and returns it without what other errors
// around it and in it may quote of an answer, as net/http does of one that is not
// HTTP. It returns nil if there is none.
func Transport(err error) error {
	if err == nil {
		return nil
	}
	// This very error, not one around it: the tree is taken apart here.
	switch err {
	case net.ErrClosed, os.ErrDeadlineExceeded, io.ErrUnexpectedEOF, ErrGotHTTP, errNotHTTP, ErrNoAnswer:
		return err
	case io.EOF:
		return ErrNoAnswer
	case context.DeadlineExceeded:
		// Somebody's context, but not the caller's, which is looked at elsewhere.
		return os.ErrDeadlineExceeded
	}
	switch e := err.(type) {
	case *net.OpError:
		c := &net.OpError{Op: e.Op, Net: e.Net, Source: e.Source, Addr: e.Addr, Err: Transport(e.Err)}
		if c.Err == nil {
			c.Err = unknown(e.Err)
		}
		return c
	case *net.DNSError:
		return &net.DNSError{Err: e.Err, Name: e.Name, Server: e.Server, IsTimeout: e.IsTimeout, IsTemporary: e.IsTemporary, IsNotFound: e.IsNotFound}
	case *os.SyscallError:
		return e
	case syscall.Errno, *net.AddrError, *net.ParseError, net.UnknownNetworkError,
		x509.UnknownAuthorityError, x509.HostnameError, x509.CertificateInvalidError, x509.SystemRootsError,
		*tls.CertificateVerificationError, tls.AlertError:
		return err
	case tls.RecordHeaderError:
		return tls.RecordHeaderError{Msg: e.Msg}
	case *url.Error:
		if inner := Transport(e.Err); inner != nil {
			return inner
		}
		if e.Timeout() {
			return os.ErrDeadlineExceeded
		}
		return unknown(e.Err)
	case interface{ Unwrap() error }:
		if inner := Transport(e.Unwrap()); inner != nil {
			return inner
		}
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			if t := Transport(inner); t != nil {
				return t
			}
		}
		return nil
	}
	switch text := err.Error(); {
	case text == ErrGotHTTP.Error():
		return ErrGotHTTP
	case strings.HasPrefix(text, "malformed "), strings.HasPrefix(text, "net/http: HTTP/1.x transport connection broken"):
		return errNotHTTP
	}
	return nil
}

var (
	// ErrGotHTTP is net/http's text for an endpoint whose scheme is wrong.
	ErrGotHTTP = errors.New("http: server gave HTTP response to HTTPS client")
	// errNotHTTP stands for what net/http says of an answer that is not HTTP: it quotes it.
	errNotHTTP = errors.New("connection broken: the answer is not HTTP")
	// ErrNoAnswer stands for an end of the connection where an answer should be.
	ErrNoAnswer = fmt.Errorf("connection closed before the answer: %w", io.EOF)
)

// unknown names an error that may quote anything by its type.
func unknown(err error) error { return fmt.Errorf("connection failed (%T)", err) }
