package pgxv5

import (
	"cmp"
	"context"
	"crypto/tls"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"net"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/sqlsecrets/sqlsecrets/driver"
)

// An attempt is one address of one host.
type attempt struct {
	engine    Engine
	config    *pgx.ConnConfig // not changed
	tls       *tlsSettings
	addr      string // what pgx may make of the host: an IP address, with a port or without
	plaintext bool   // without TLS if the server has none
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
	conn, d, err := a.authenticate(ctx, c)
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

// authenticate logs in with the form of the password that the server's method wants. SCRAM
// wants it prepared by SASLprep, the others want it as it is. Where the two differ, the first
// connection is for SCRAM alone. If the server has another method, pgx gives up when the
// server names it, before a password is sent, and the second connection is for those.
func (a *attempt) authenticate(ctx context.Context, c driver.Credentials) (*stdlib.Conn, *dialer, error) {
	prepared, ok := saslprep(c.Password)
	scram, others := splitMethods(a.config.RequireAuth)
	if !ok || !scram {
		return a.negotiate(ctx, c, a.config.RequireAuth)
	}
	raw := c.Password
	c.Password = prepared
	conn, d, err := a.negotiate(ctx, c, scramOnly)
	if others != "" && refusedMethod(err) {
		c.Password = raw
		conn, d, err = a.negotiate(ctx, c, others)
	}
	return conn, d, err
}

// negotiate logs in over TLS or, if the server may be without and says that it is, over the
// connection on which it said so. methods are those of authentication, as in require_auth.
func (a *attempt) negotiate(ctx context.Context, c driver.Credentials, methods string) (*stdlib.Conn, *dialer, error) {
	d := &dialer{dial: a.config.DialFunc, left: a.left, watch: a.plaintext}
	conn, err := a.login(ctx, d, a.config.TLSConfig, c, methods)
	if refused := d.refused(); refused != nil {
		d = &dialer{dial: a.config.DialFunc, ready: refused}
		conn, err = a.login(ctx, d, nil, c, methods)
	}
	return conn, d, err
}

// login has pgx connect once.
func (a *attempt) login(ctx context.Context, d *dialer, tlsConfig *tls.Config, c driver.Credentials, methods string) (*stdlib.Conn, error) {
	config := *a.config // pgx copies what is behind its pointers
	config.TLSConfig = tlsConfig
	config.RequireAuth = methods
	config.Fallbacks = nil // Configure may have added some
	config.LookupFunc = func(context.Context, string) ([]string, error) { return []string{a.addr}, nil }
	config.DialFunc = d.Dial
	if hook := config.AfterNetConnect; hook != nil {
		config.AfterNetConnect = func(ctx context.Context, c *pgconn.Config, conn net.Conn) (net.Conn, error) {
			after, err := hook(ctx, c, conn)
			if after == nil { // pgx would panic
				return conn, cmp.Or(err, errors.New("it returned no connection"))
			}
			return after, err
		}
	}
	config.User = c.User
	config.Password = c.Password.Reveal()
	conn, err := stdlib.GetConnector(config, a.engine.sessionOptions(c.Superseded)...).Connect(ctx)
	if err != nil {
		return nil, err
	}
	std := conn.(*stdlib.Conn)
	if c.Superseded != nil {
		std.Conn().PgConn().CustomData()[supersededKey] = c.Superseded // for a pgxpool
	}
	return std, nil
}

// sessionOptions are what pgx does when a pool hands the connection out. If superseded says
// so, it ends the connection. pgx calls the function last in ResetSession, which database/sql
// does not call within a transaction or a sql.Conn.
func (e Engine) sessionOptions(superseded func() bool) []stdlib.OptionOpenDB {
	var options []stdlib.OptionOpenDB
	if e.ShouldPing != nil {
		options = append(options, stdlib.OptionShouldPing(e.ShouldPing))
	}
	reset := e.ResetSession
	if superseded != nil {
		reset = func(ctx context.Context, conn *pgx.Conn) error {
			switch {
			case superseded():
				return sqldriver.ErrBadConn
			case e.ResetSession != nil:
				return e.ResetSession(ctx, conn)
			}
			return nil
		}
	}
	if reset != nil {
		options = append(options, stdlib.OptionResetSession(reset))
	}
	return options
}
