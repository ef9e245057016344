package agenttest

import (
	"context"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// A listener counts the connections that it accepts, and closes them after ConnLife.
type listener struct {
	net.Listener
	s *Server
}

func (l *listener) Accept() (net.Conn, error) {
	raw, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: raw, s: l.s}
	c.s.mu.Lock()
	c.s.accepted++
	c.s.conns++
	c.over = c.s.conns - c.s.maxConn
	c.s.mu.Unlock()
	if life := c.s.o.ConnLife; life > 0 {
		c.end = time.AfterFunc(life, func() { _ = c.Close() })
	}
	return c, nil
}

type conn struct {
	net.Conn
	s      *Server
	over   int // by how many the connections, this one included, exceeded MaxConn when it was accepted
	end    *time.Timer
	closed sync.Once
}

// connKey is the key of a request's connection in its context.
type connKey struct{}

func (c *conn) Close() error {
	c.closed.Do(func() {
		c.s.mu.Lock()
		c.s.conns--
		c.s.mu.Unlock()
	})
	if c.end != nil {
		c.end.Stop()
	}
	return c.Conn.Close()
}

// pipes is a listener in memory.
type pipes struct {
	incoming chan net.Conn
	closed   chan struct{}
	once     sync.Once
}

func newPipes() *pipes { return &pipes{incoming: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) dial(ctx context.Context) (net.Conn, error) {
	client, server := net.Pipe()
	refused := &net.OpError{Op: "dial", Net: "tcp", Addr: p.Addr(), Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	select {
	case <-p.closed:
		return nil, refused
	default:
	}
	select {
	case p.incoming <- server:
		return client, nil
	case <-p.closed:
		return nil, refused
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.incoming:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 2773} }
