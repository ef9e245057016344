package gosqldriver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"

	gomysql "github.com/go-sql-driver/mysql"
)

// A netConn is a network connection that the driver takes for dead once superseded
// says so. When a pool hands a connection out, the driver's ResetSession has
// connCheck ask for SyscallConn, of the dialer's connection also under TLS; an error
// ends in ErrBadConn. Nothing else in v1.10.1 looks at what a net.Conn is, but for
// keep-alive.
type netConn struct {
	net.Conn
	superseded func() bool
}

var _ syscall.Conn = (*netConn)(nil)

// errSuperseded goes to the driver's Logger and nowhere else.
var errSuperseded = errors.New("it was opened with a version of the secret that is superseded")

func (c *netConn) SyscallConn() (syscall.RawConn, error) {
	if c.superseded() {
		return nil, errSuperseded
	}
	if s, ok := c.Conn.(syscall.Conn); ok {
		return s.SyscallConn()
	}
	return noRawConn{}, nil
}

// noRawConn is for a connection without a socket, as an SSH tunnel's. The driver
// does not check one that is no syscall.Conn: this is how one that has to be looks
// alive.
type noRawConn struct{}

func (noRawConn) Read(func(uintptr) bool) error  { return nil }
func (noRawConn) Write(func(uintptr) bool) error { return errors.ErrUnsupported }
func (noRawConn) Control(func(uintptr)) error    { return errors.ErrUnsupported }

// closeSuperseded changes a configuration, which is for one connection, so that the
// connection ends when superseded says so and a pool next hands it out.
func closeSuperseded(c *gomysql.Config, superseded func() bool) error {
	if !c.CheckConnLiveness {
		return errors.New(`parameter "checkConnLiveness" (Config.CheckConnLiveness): it has to be true for closeSuperseded`)
	}
	dial := c.DialFunc
	if dial == nil {
		dial = dialDefault
	}
	c.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		if tc, ok := conn.(*net.TCPConn); ok {
			_ = tc.SetKeepAlive(true) // as the driver does, if it sees that type
		}
		return &netConn{conn, superseded}, nil
	}
	return nil
}

// dialDefault dials as the driver does without Config.DialFunc. It cannot use a
// dialer of mysql.RegisterDialContext, which nobody but the driver can look up.
func dialDefault(ctx context.Context, network, addr string) (net.Conn, error) {
	switch network {
	case "tcp", "tcp4", "tcp6", "unix":
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}
	return nil, fmt.Errorf("network %q: closeSuperseded needs its dialer in Config.DialFunc, not in RegisterDialContext", network)
}
