package gosqldriver_test

import (
	"context"
	"net"
	"syscall"
	"testing"

	gomysql "github.com/go-sql-driver/mysql"

	"github.com/sqlsecrets/sqlsecrets/engines/mysql/gosqldriver"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/mysqlserver"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/logintest"
)

// The driver turns keep-alive on, whatever the dialer did.
func TestSupersededConnectionHasKeepAlive(t *testing.T) {
	for _, superseded := range []func() bool{nil, logintest.NotSuperseded} {
		var dialled *net.TCPConn
		e := gosqldriver.Engine{Configure: func(c *gomysql.Config) error {
			c.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
				conn, err := (&net.Dialer{KeepAlive: -1}).DialContext(ctx, network, addr)
				if err == nil {
					dialled = conn.(*net.TCPConn)
					if on := keepAlive(t, dialled); on {
						t.Error("keep-alive is on before the driver has the connection")
					}
				}
				return conn, err
			}
			return nil
		}}
		s := start(t, &mysqlserver.Server{})
		conn, err := newConnector(t, e, endpoint(s), superseded).Connect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !keepAlive(t, dialled) {
			t.Errorf("Superseded is nil: %t; keep-alive is off", superseded == nil)
		}
		_ = conn.Close()
		s.WaitClosed(t)
	}
}

func keepAlive(t *testing.T, c *net.TCPConn) bool {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var on int
	var optErr error
	if err := raw.Control(func(fd uintptr) {
		on, optErr = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_KEEPALIVE)
	}); err != nil {
		t.Fatal(err)
	}
	if optErr != nil {
		t.Fatal(optErr)
	}
	return on != 0
}
