package mssqldb

import (
	"net"
	"sync"
)

// owned has the sockets of a login that is not done.
type owned struct {
	mu     sync.Mutex // guards what follows
	conns  []net.Conn
	tcp    int
	closed bool
}

// add takes a connection, or closes it if the login is over.
func (o *owned) add(c net.Conn, tcp bool) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		_ = c.Close()
		return net.ErrClosed
	}
	o.conns = append(o.conns, c)
	if tcp {
		o.tcp++
	}
	return nil
}

// close closes all connections, and those that are added later.
func (o *owned) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, c := range o.conns {
		_ = c.Close()
	}
	o.conns, o.closed = nil, true
}

func (o *owned) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.tcp
}

// keep releases the last connection, which is the one that is logged in, and closes all others. It
// returns how many TCP connections there were.
func (o *owned) keep() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, c := range o.conns[:len(o.conns)-1] {
		_ = c.Close()
	}
	o.conns, o.closed = nil, true
	return o.tcp
}
