package pgxv5

import (
	"context"
	"crypto/tls"
	sqldriver "database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/sqlsecrets/sqlsecrets/driver"
)

// An attempt is one address of one host.
type attempt struct {
	config    *pgx.ConnConfig // not changed
	addr      string          // what pgx may make of the host: an IP address, with a port or without
	plaintext bool            // without TLS if the server has none
	validate  pgconn.ValidateConnectFunc
	left      int // attempts with this one, as far as they are known
}

// connect logs in. If it was let in and then finds the server to be another than
// is wanted, it returns both the connection and an error.
func (a *attempt) connect(ctx context.Context, c driver.Credentials) (*stdlib.Conn, error) {
	if a.config.ConnectTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, a.config.ConnectTimeout)
		defer cancel()
	}
	d := &dialer{dial: a.config.DialFunc, left: a.left}
	conn, err := a.login(ctx, d, a.config.TLSConfig, c)
	if a.plaintext && a.config.TLSConfig != nil && refusedTLS(err) {
		d = &dialer{dial: a.config.DialFunc, left: a.left, askFirst: true}
		conn, err = a.login(ctx, d, nil, c)
	}
	if err != nil {
		return nil, err
	}
	if a.validate != nil {
		if err = a.validate(ctx, conn.Conn().PgConn()); err != nil {
			server := conn.Conn().PgConn().Conn().RemoteAddr()
			err = fmt.Errorf("%s (%s): ValidateConnect failed: %w", server, a.config.Host, err)
			var notPreferred *pgconn.NotPreferredError
			if !errors.As(err, &notPreferred) {
				return conn, err
			}
		}
	}
	d.connected.Store(true)
	return conn, err
}

// login has pgx connect once.
func (a *attempt) login(ctx context.Context, d *dialer, tlsConfig *tls.Config, c driver.Credentials) (*stdlib.Conn, error) {
	config := *a.config // pgx copies what is behind its pointers
	config.TLSConfig = tlsConfig
	config.Fallbacks = nil // Configure may have added some
	config.LookupFunc = func(context.Context, string) ([]string, error) { return []string{a.addr}, nil }
	config.DialFunc = d.Dial
	config.User = c.User
	config.Password = c.Password.Reveal()
	var options []stdlib.OptionOpenDB
	if c.Superseded != nil {
		options = append(options, closeSuperseded(c.Superseded))
	}
	conn, err := stdlib.GetConnector(config, options...).Connect(ctx)
	if err != nil {
		return nil, err
	}
	return conn.(*stdlib.Conn), nil
}

// closeSuperseded has pgx end the connection when a pool next hands it out, if
// superseded says so then. pgx calls the function last in ResetSession, which
// database/sql does not call within a transaction or a sql.Conn.
func closeSuperseded(superseded func() bool) stdlib.OptionOpenDB {
	return stdlib.OptionResetSession(func(context.Context, *pgx.Conn) error {
		if superseded() {
			return sqldriver.ErrBadConn
		}
		return nil
	})
}

// minDialTime is what a host gets to answer, if there are others to try.
const minDialTime = 2 * time.Second

// A dialer dials for one login of pgx, and then for requests to cancel a query.
type dialer struct {
	dial     pgconn.DialFunc
	left     int  // attempts that share the time, with this one
	askFirst bool // make sure that the server has no TLS

	dialled   atomic.Bool
	connected atomic.Bool
}

// Dial is a pgconn.DialFunc. Until the login is over it dials once: when a server
// hangs up in the middle, pgx dials again in a goroutine of its own to cancel the
// query that it takes to be running, and waits 15 s for an answer.
func (d *dialer) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if d.connected.Load() {
		return d.dial(ctx, network, addr)
	}
	if d.dialled.Swap(true) {
		return nil, errors.New("the login is over")
	}
	dctx := ctx
	if deadline, ok := ctx.Deadline(); ok && d.left > 1 {
		share := max(time.Until(deadline)/time.Duration(d.left), minDialTime)
		var cancel context.CancelFunc
		dctx, cancel = context.WithTimeout(ctx, share)
		defer cancel()
	}
	conn, err := d.dial(dctx, network, addr)
	if err == nil && d.askFirst {
		if err = refusesTLS(ctx, conn); err != nil {
			_ = conn.Close()
			conn = nil
		}
	}
	return conn, err
}

// sslRequest asks a server for TLS. It answers with one byte: "S" for yes, "N" for
// no, after which it waits for a login in clear text on the same connection, or
// "E", the first of an error. See
// https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SSL.
var sslRequest = binary.BigEndian.AppendUint32([]byte{0, 0, 0, 8}, 80877103)

// refusesTLS asks for TLS and returns nil if the answer is no. pgx, which has asked
// before, reports an error of the server in the same way as a no.
func refusesTLS(ctx context.Context, conn net.Conn) error {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	answer := make([]byte, 1)
	_, err := conn.Write(sslRequest)
	if err == nil {
		_, err = io.ReadFull(conn, answer)
	}
	switch {
	case !stop():
		return ctx.Err()
	case err != nil:
		return fmt.Errorf("tls error: %w", err)
	case answer[0] != 'N':
		return errors.New("tls error: the server refused TLS, but not when asked again")
	}
	return nil
}
