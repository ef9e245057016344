package loopback_test

import (
	"io"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/internal/testkit/loopback"
)

func TestListener(t *testing.T) {
	hosts := []string{"127.0.0.1"}
	if loopback.HasIPv6() {
		hosts = append(hosts, "::1")
	}
	l := loopback.Listen(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }, hosts...)
	var conns []net.Conn
	for _, host := range hosts {
		c, err := net.Dial("tcp", net.JoinHostPort(host, strconv.Itoa(l.Port)))
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	if n := l.WaitOpen(len(hosts), 10*time.Second); n != len(hosts) {
		t.Errorf("%d connections are open, want %d", n, len(hosts))
	}
	if n := l.WaitOpen(0, time.Millisecond); n != len(hosts) {
		t.Errorf("%d connections are open, want %d still", n, len(hosts))
	}
	for _, c := range conns {
		_ = c.Close()
	}
	l.WaitClosed(t)
	if n := l.Dialled(); n != len(hosts) {
		t.Errorf("%d connections were dialled, want %d", n, len(hosts))
	}
}

func TestClosedPort(t *testing.T) {
	c, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(loopback.ClosedPort(t))))
	if err == nil {
		_ = c.Close()
		t.Error("somebody listens")
	}
}
