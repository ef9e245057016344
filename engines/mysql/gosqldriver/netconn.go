package gosqldriver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"

	gomysql "github.com/go-sql-driver/mysql"
)

// A netConn is a network connection that the driver takes for dead once superseded returns true.
// When a pool hands a connection out, the driver's ResetSession calls connCheck, and connCheck asks
// the dialer's connection for SyscallConn, also under TLS. An error there becomes ErrBadConn.
// Nothing else in v1.10.1 looks at the type of a net.Conn, except keep-alive.
type netConn struct {
	net.Conn
	superseded func() bool
}

var _ syscall.Conn = (*netConn)(nil)

// errSuperseded goes only to the driver's Logger.
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

// noRawConn is for a connection without a socket, such as that of an SSH tunnel. A netConn is
// always a syscall.Conn, so the driver checks it. With noRawConn the check finds the connection
// alive.
type noRawConn struct{}

func (noRawConn) Read(func(uintptr) bool) error  { return nil }
func (noRawConn) Write(func(uintptr) bool) error { return errors.ErrUnsupported }
func (noRawConn) Control(func(uintptr)) error    { return errors.ErrUnsupported }

// closeSuperseded changes the configuration of one connection. The connection then ends when a pool
// hands it out after superseded has begun to return true.
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
			_ = tc.SetKeepAlive(true) // the driver does this only if it sees a *net.TCPConn
		}
		return &netConn{conn, superseded}, nil
	}
	return nil
}

// dialDefault dials as the driver does without Config.DialFunc. It cannot use a dialer of
// mysql.RegisterDialContext, because only the driver can look that up.
func dialDefault(ctx context.Context, network, addr string) (net.Conn, error) {
	switch network {
	case "tcp", "tcp4", "tcp6", "unix":
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}
	return nil, fmt.Errorf("network %q has its dialer in RegisterDialContext, which closeSuperseded cannot use: set the dialer as Config.DialFunc in Engine.Configure", network)
}
