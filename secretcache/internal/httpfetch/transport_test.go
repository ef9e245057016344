package httpfetch_test

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
	"reflect"
	"strings"
	"syscall"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/secretcache/internal/httpfetch"
)

// An answer is a secret, and an error of net/http may quote it.
const answer = "hunter2"

func TestTransportKeepsTheNetworksErrorWithoutWhatItQuotes(t *testing.T) {
	quotes := errors.New(answer)
	unknown := fmt.Errorf("connection failed (%T)", quotes)
	notHTTP := errors.New("connection broken: the answer is not HTTP")
	read := func(err error) error {
		return &net.OpError{Op: "read", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 443}, Err: err}
	}
	post := func(err error) error { return &url.Error{Op: "Post", URL: "https://" + answer, Err: err} }
	reset := os.NewSyscallError("read", syscall.ECONNRESET)
	name := x509.HostnameError{Certificate: &x509.Certificate{}, Host: "h"}
	authority := &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}

	for _, tt := range []struct{ err, want error }{
		{nil, nil},
		{quotes, nil},
		{errors.Join(quotes, quotes), nil},
		{post(errors.New("Bad Gateway")), &httpfetch.ProxyError{Status: 502}},
		{post(errors.New("")), unknown}, // a proxy's answer without a text, so its status is not known
		{errors.Join(quotes, syscall.EPIPE), syscall.EPIPE},
		{read(reset), read(reset)},
		{read(quotes), read(unknown)},
		{read(io.EOF), read(httpfetch.ErrNoAnswer)},
		{&net.DNSError{Err: "no such host", Name: "h", UnwrapErr: quotes}, &net.DNSError{Err: "no such host", Name: "h"}},
		{post(quotes), unknown},
		{post(fmt.Errorf("%s: %w", answer, net.ErrClosed)), net.ErrClosed},
		{post(context.DeadlineExceeded), os.ErrDeadlineExceeded},
		{post(timeout{}), os.ErrDeadlineExceeded},
		{post(fmt.Errorf("net/http: HTTP/1.x transport connection broken: %w", quotes)), notHTTP},
		{post(errors.New("malformed HTTP response " + answer)), notHTTP},
		{post(errors.New("http: server gave HTTP response to HTTPS client")), errors.New("http: server gave HTTP response to HTTPS client")},
		{tls.RecordHeaderError{Msg: "not TLS", RecordHeader: [5]byte{'h', 'u'}, Conn: struct{ net.Conn }{}}, tls.RecordHeaderError{Msg: "not TLS"}},
		{post(name), name},
		{post(authority), authority},
	} {
		if got := httpfetch.Transport(tt.err); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("Transport(%T %[1]v)\n got %#v\nwant %#v", tt.err, got, tt.want)
		}
	}
}

type timeout struct{}

func (timeout) Error() string { return answer }
func (timeout) Timeout() bool { return true }

func TestLineIsOneShortValidLine(t *testing.T) {
	for in, want := range map[string]string{
		"":                             "",
		"a\r\nb\x00\x7f\tc":            "a  b   c",
		"a\xffb":                       "ab",
		strings.Repeat("x", 600):       strings.Repeat("x", 600),
		strings.Repeat("x", 601):       strings.Repeat("x", 600) + "…",
		"x" + strings.Repeat("é", 300): "x" + strings.Repeat("é", 299) + "…", // a letter is not cut in half
	} {
		if got := httpfetch.Line(in); got != want {
			t.Errorf("Line(%.60q)\n got %q\nwant %q", in, got, want)
		}
	}
}
