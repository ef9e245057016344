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

// minDialTime is how long a host has to answer at least, if there are others to try.
const minDialTime = 2 * time.Second

// A dialer dials for one login of pgx, and later for requests to cancel a query.
type dialer struct {
	dial  pgconn.DialFunc
	left  int      // attempts that share the time that is left, including this one
	watch bool     // note whether the server answers that it has no TLS
	ready net.Conn // a connection to use instead of dialling; nil: dial

	dialled   atomic.Bool
	connected atomic.Bool
	request   *tlsRequest // of watch
}

// Dial is a pgconn.DialFunc. During the login it dials once, because a server that hangs up in the
// middle of a login must not make pgx dial again.
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

// refused returns the connection on which the server answered that it has no TLS, or nil. The
// connection is open, and only the request for TLS was sent on it.
func (d *dialer) refused() net.Conn {
	if d.request == nil || d.request.answer != 'N' {
		return nil
	}
	return d.request.Conn
}

// sslRequest asks a server for TLS. The server answers with one byte. "S" means yes. "N" means no;
// the server then waits for a login in plaintext on the same connection. "E" is the first byte of
// an error. See https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SSL.
var sslRequest = binary.BigEndian.AppendUint32([]byte{0, 0, 0, 8}, 80877103)

// A tlsRequest is a connection on which pgx asks for TLS. It notes the server's answer, because pgx
// returns the same error for "no" and for the first byte of an error. After "no" it keeps the
// connection open. It reads nothing that pgx does not ask for.
type tlsRequest struct {
	net.Conn
	state  requestState // not guarded: pgx asks before it uses the connection from several goroutines
	answer byte
}

type requestState int

const (
	notAsked requestState = iota
	asked
	settled // the server has answered, or pgx began without the request
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

// Close closes the connection, unless the server answered "no". pgx gives up then, but the attempt
// goes on with the connection.
func (r *tlsRequest) Close() error {
	if r.answer == 'N' {
		return nil
	}
	return r.Conn.Close()
}
