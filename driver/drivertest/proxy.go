package drivertest

import (
	"bytes"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/internal/testkit/loopback"
)

// A proxy passes connections on to a server, counts them, and records what clients send.
type proxy struct {
	*loopback.Listener
	fault fault // what it does to connections; it does not change while there are any

	mu    sync.Mutex
	conns []*recording
}

// A recording is what a client sent on one connection, up to a limit.
type recording struct {
	mu   sync.Mutex
	sent []byte
	hit  bool // the fault has happened on this connection
}

const maxRecorded = 1 << 20

// loopbackHosts are the addresses on which the suite listens, so that it can stand in for a server on
// either of them.
func loopbackHosts() []string {
	hosts := []string{"127.0.0.1"}
	if loopback.HasIPv6() {
		hosts = append(hosts, "::1")
	}
	return hosts
}

func (s Server) newProxy(t *testing.T) *proxy { return s.newFaultyProxy(t, noFault) }

func (s Server) newFaultyProxy(t *testing.T, f fault) *proxy {
	t.Helper()
	p := &proxy{fault: f}
	to := net.JoinHostPort(s.Host, strconv.Itoa(s.Port))
	p.Listener = loopback.Listen(t, func(c net.Conn) { p.serve(c, to) }, loopbackHosts()...)
	return p
}

// serve returns when the client has closed the connection. The listener counts a connection as open
// until then.
func (p *proxy) serve(client net.Conn, to string) {
	server, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer server.Close()
	r := &recording{}
	p.mu.Lock()
	p.conns = append(p.conns, r)
	p.mu.Unlock()
	cut := func() { _ = client.Close(); _ = server.Close() }
	go func() {
		if p.fault == cutAtOnce { // a server that speaks first
			if n, _ := server.Read(make([]byte, 1)); n > 0 {
				r.struck()
				cut()
				return
			}
		}
		_, _ = io.Copy(client, server)
		if t, ok := client.(*net.TCPConn); ok {
			_ = t.CloseWrite() // the client may go on sending
		}
	}()
	buf := make([]byte, 64<<10)
	for {
		n, err := client.Read(buf)
		if n > 0 {
			if r.add(buf[:n]); !p.fault.strike(r, buf[:n], client) {
				cut()
				return
			}
			_, _ = server.Write(buf[:n]) // if the server has closed the connection, the client will too
		}
		if err != nil {
			return
		}
	}
}

func (r *recording) add(b []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sent = append(r.sent, b[:min(len(b), maxRecorded-len(r.sent))]...)
}

func (r *recording) bytes() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.sent)
}

func (r *recording) struck() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hit = true
}

// recordings returns the recordings of all connections. It waits until all connections are closed.
func (p *proxy) recordings(t *testing.T) []*recording {
	t.Helper()
	p.wantOpen(t, 0)
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.conns)
}

// wantOpen waits until clients have want connections open, and fails the test after 5 s.
func (p *proxy) wantOpen(t *testing.T, want int) {
	t.Helper()
	if open := p.WaitOpen(want, 5*time.Second); open != want {
		t.Errorf("%d connections are open, want %d", open, want)
	}
}

// beginsTLS reports whether the client sent a ClientHello, even inside of packets of another protocol.
func (r *recording) beginsTLS() bool { return findHello(r.bytes()) >= 0 }

// shows reports whether the client sent a text in clear, in ASCII or UTF-16, in any case.
func (r *recording) shows(text string) bool {
	sent := bytes.ReplaceAll(r.bytes(), []byte{0}, nil)
	return bytes.Contains(bytes.ToLower(sent), []byte(strings.ToLower(text)))
}

// Types of TLS records and messages.
const (
	recordHandshake   = 22
	recordApplication = 23
	messageHello      = 1
)

// findHello returns the index of the first ClientHello, or -1.
func findHello(b []byte) int {
	for i := 0; i+5 < len(b); i++ {
		if b[i] == recordHandshake && b[i+1] == 3 && b[i+2] <= 4 && b[i+5] == messageHello {
			return i
		}
	}
	return -1
}

// A fault is what a proxy does to a connection.
type fault int

const (
	noFault   fault = iota
	cutAtOnce       // ends it at the first byte of either side
	cutHello        // ends it at the ClientHello
	garbage         // answers the ClientHello with bytes that are not TLS, and ends it
	alert           // spoils the ClientHello, so that the server answers with an alert
	cutLogin        // ends it at the first record that is not of the handshake
)

var faults = map[string]fault{
	"connection cut at once":          cutAtOnce,
	"connection cut in the handshake": cutHello,
	"garbage in the handshake":        garbage,
	"alert in the handshake":          alert,
	"connection cut in the login":     cutLogin,
}

// strike applies the fault to a connection after the client has sent b. It returns false if the
// connection must end.
func (f fault) strike(r *recording, b []byte, client net.Conn) (goOn bool) {
	at := findHello(b)
	switch {
	case f == cutAtOnce:
	case f == cutHello && at >= 0:
	case f == garbage && at >= 0:
		_, _ = client.Write(bytes.Repeat([]byte("this is not TLS "), 32))
	case f == alert && at >= 0:
		b[at+5] = 99 // no message has this type
		r.struck()
		return true
	case f == cutLogin && r.beginsTLS() && bytes.Contains(b, []byte{recordApplication, 3, 3}):
	default:
		return true
	}
	r.struck()
	return false
}
