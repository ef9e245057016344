// Package loopback listens on the loopback interface for tests, and counts connections.
package loopback

import (
	"net"
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"
)

// A Listener serves connections until its test ends.
type Listener struct {
	Host string // the first address
	Port int    // of all addresses

	serve   func(net.Conn)
	mu      sync.Mutex
	changed sync.Cond
	clients map[string]bool // addresses of the clients that have dialled
	dialled int
	open    int
}

// Listen listens on IP addresses, or on 127.0.0.1 if there are none, at one port. serve is called
// in a goroutine for each connection. The connection is closed when serve returns.
func Listen(tb testing.TB, serve func(net.Conn), hosts ...string) *Listener {
	tb.Helper()
	if len(hosts) == 0 {
		hosts = []string{"127.0.0.1"}
	}
	listeners, err := listen(hosts)
	if err != nil {
		tb.Fatal(err)
	}
	l := &Listener{Host: hosts[0], Port: listeners[0].Addr().(*net.TCPAddr).Port, serve: serve, clients: map[string]bool{}}
	l.changed.L = &l.mu
	for _, one := range listeners {
		tb.Cleanup(func() { _ = one.Close() })
		go l.accept(one)
	}
	return l
}

// SocketDir returns a directory with a short path, as Unix sockets need it. On systems without Unix
// sockets it skips the test.
func SocketDir(tb testing.TB) string {
	tb.Helper()
	if runtime.GOOS == "windows" {
		tb.Skip("paths do not begin with / here")
	}
	dir, err := os.MkdirTemp("", "socket")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// ListenUnix also listens on a Unix socket of that path.
func (l *Listener) ListenUnix(tb testing.TB, path string) {
	tb.Helper()
	one, err := net.Listen("unix", path)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = one.Close() })
	go l.accept(one)
}

// listen finds a port that is free on all addresses.
func listen(hosts []string) (listeners []net.Listener, err error) {
	for range 10 {
		port := 0
		for _, host := range hosts {
			var one net.Listener
			if one, err = net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port))); err != nil {
				break
			}
			port = one.Addr().(*net.TCPAddr).Port
			listeners = append(listeners, one)
		}
		if err == nil {
			return listeners, nil
		}
		for _, one := range listeners {
			_ = one.Close()
		}
		listeners = nil
	}
	return nil, err
}

func (l *Listener) accept(from net.Listener) {
	for {
		c, err := from.Accept()
		if err != nil {
			return
		}
		l.count(c, 1)
		go func() {
			defer l.count(c, -1)
			defer c.Close()
			l.serve(c)
		}()
	}
}

func (l *Listener) count(c net.Conn, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n > 0 {
		l.clients[c.RemoteAddr().String()] = true
		l.dialled++
	}
	l.open += n
	l.changed.Broadcast()
}

// Addr returns the first address as host:port.
func (l *Listener) Addr() string { return net.JoinHostPort(l.Host, strconv.Itoa(l.Port)) }

// Dialled returns how many connections were accepted.
func (l *Listener) Dialled() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dialled
}

// WaitOpen waits until n connections are being served, or until d is over. It returns how many are
// being served.
func (l *Listener) WaitOpen(n int, d time.Duration) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wait(d, func() bool { return l.open == n })
	return l.open
}

// wait waits until the condition is true, or until d is over, and returns the condition. The caller
// holds the lock.
func (l *Listener) wait(d time.Duration, is func() bool) bool {
	late := false
	t := time.AfterFunc(d, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		late = true
		l.changed.Broadcast()
	})
	defer t.Stop()
	for !is() && !late {
		l.changed.Wait()
	}
	return is()
}

// WaitClosed checks that all connections that clients have begun to dial at the first address end.
func (l *Listener) WaitClosed(tb testing.TB) {
	tb.Helper()
	// Connections are accepted in order: after this one, all earlier ones are known.
	last, err := net.Dial("tcp", l.Addr())
	if err != nil {
		tb.Fatal(err)
	}
	ours := last.LocalAddr().String()
	l.mu.Lock()
	defer l.mu.Unlock()
	known := l.wait(patience, func() bool { return l.clients[ours] })
	_ = last.Close()
	if !known || !l.wait(patience, func() bool { return l.open == 0 }) {
		tb.Errorf("%d connections are still open", l.open)
	}
	delete(l.clients, ours)
	l.dialled--
}

const patience = 10 * time.Second

// ClosedPort returns a port at which no server listens.
func ClosedPort(tb testing.TB) int {
	tb.Helper()
	listeners, err := listen([]string{"127.0.0.1"})
	if err != nil {
		tb.Fatal(err)
	}
	_ = listeners[0].Close()
	return listeners[0].Addr().(*net.TCPAddr).Port
}

// HasIPv6 reports whether the machine has ::1.
func HasIPv6() bool {
	listeners, err := listen([]string{"::1"})
	if err != nil {
		return false
	}
	_ = listeners[0].Close()
	return true
}
