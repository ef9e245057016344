package pgxv5

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// minDialTime is what a host gets to answer, if there are others to try.
const minDialTime = 2 * time.Second

// A dialer dials for one login of pgx, and then for requests to cancel a query.
type dialer struct {
	dial  pgconn.DialFunc
	left  int      // attempts that share the time, with this one
	watch bool     // see whether the server says that it has no TLS
	ready net.Conn // dialled before; nil: dial

	dialled   atomic.Bool
	connected atomic.Bool
	request   *tlsRequest // of watch
}

// Dial is a pgconn.DialFunc. Until the login is over it dials once: a server that hangs up
// in the middle must not make pgx dial again.
func (d *dialer) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if d.connected.Load() {
		return d.dial(ctx, network, addr)
	}
	if d.dialled.Swap(true) {
		return nil, errors.New("the login is over")
	}
	if d.ready != nil {
		return d.ready, nil
	}
	dctx := ctx
	if deadline, ok := ctx.Deadline(); ok && d.left > 1 {
		share := max(time.Until(deadline)/time.Duration(d.left), minDialTime)
		var cancel context.CancelFunc
		dctx, cancel = context.WithTimeout(ctx, share)
		defer cancel()
	}
	conn, err := d.dial(dctx, network, addr)
	if err != nil || !d.watch {
		return conn, err
	}
	d.request = &tlsRequest{Conn: conn}
	return d.request, nil
}

// refused returns the connection on which the server has said that it has no TLS. It is
// open, and nothing but the request for TLS was sent on it.
func (d *dialer) refused() net.Conn {
	if d.request == nil || d.request.answer != 'N' {
		return nil
	}
	return d.request.Conn
}

// sslRequest asks a server for TLS. It answers with one byte: "S" for yes, "N" for
// no, after which it waits for a login in clear text on the same connection, or
// "E", the first of an error. See
// https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SSL.
var sslRequest = binary.BigEndian.AppendUint32([]byte{0, 0, 0, 8}, 80877103)

// A tlsRequest is a connection on which pgx asks for TLS. It notes the server's answer, for
// which pgx has the same error whether it is no or the first byte of an error, and leaves
// the connection open if it is no. It reads nothing that pgx does not ask for.
type tlsRequest struct {
	net.Conn
	state  requestState // pgx asks from one goroutine, before it uses the connection from others
	answer byte
}

type requestState int

const (
	notAsked requestState = iota
	asked
	settled // answered, or begun without the request
)

func (r *tlsRequest) Write(b []byte) (int, error) {
	if r.state == notAsked {
		r.state = settled
		if bytes.Equal(b, sslRequest) {
			r.state = asked
		}
	}
	return r.Conn.Write(b)
}

func (r *tlsRequest) Read(b []byte) (int, error) {
	if r.state != asked {
		return r.Conn.Read(b)
	}
	n, err := r.Conn.Read(b[:min(1, len(b))])
	if n > 0 {
		r.state, r.answer = settled, b[0]
	}
	return n, err
}

// Close closes the connection, unless the server said no: pgx gives up then, and the
// attempt goes on with it.
func (r *tlsRequest) Close() error {
	if r.answer == 'N' {
		return nil
	}
	return r.Conn.Close()
}
