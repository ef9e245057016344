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

// An attempt logs in at one address of one host.
type attempt struct {
	engine    Engine
	config    *pgx.ConnConfig // read-only
	tls       *tlsSettings
	addr      string // what LookupFunc of pgx gives for the host: an IP address, with or without a port
	plaintext bool   // the login may go without TLS if the server has none
	validate  pgconn.ValidateConnectFunc
	left      int // attempts that are left, including this one, as far as they are known
}

// connect logs in. If the server accepts the login but is not what target_session_attrs asks for,
// connect returns both the connection and an error.
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

// authenticate logs in with the form of the password that the server's method needs. SCRAM needs
// the password prepared by SASLprep, and all other methods need it unchanged. If the two forms
// differ, the first connection allows only SCRAM. If the server names another method, pgx gives up
// before it sends a password, and a second connection allows the other methods.
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

// negotiate logs in over TLS. If plaintext is allowed and the server answers that it has no TLS,
// negotiate logs in on the same connection without TLS. methods are the methods of authentication,
// as in require_auth.
func (a *attempt) negotiate(ctx context.Context, c driver.Credentials, methods string) (*stdlib.Conn, *dialer, error) {
	d := &dialer{dial: a.config.DialFunc, left: a.left, watch: a.plaintext}
	conn, err := a.login(ctx, d, a.config.TLSConfig, c, methods)
	if refused := d.refused(); refused != nil {
		d = &dialer{dial: a.config.DialFunc, ready: refused}
		conn, err = a.login(ctx, d, nil, c, methods)
	}
	return conn, d, err
}

// login lets pgx connect once.
func (a *attempt) login(ctx context.Context, d *dialer, tlsConfig *tls.Config, c driver.Credentials, methods string) (*stdlib.Conn, error) {
	config := *a.config // a shallow copy is enough: pgx copies what the pointers point to
	config.TLSConfig = tlsConfig
	config.RequireAuth = methods
	config.Fallbacks = nil // Configure may have added some
	config.LookupFunc = func(context.Context, string) ([]string, error) { return []string{a.addr}, nil }
	config.DialFunc = d.Dial
	if hook := config.AfterNetConnect; hook != nil {
		config.AfterNetConnect = func(ctx context.Context, c *pgconn.Config, conn net.Conn) (net.Conn, error) {
			after, err := hook(ctx, c, conn)
			if after == nil { // pgx would panic
				return conn, cmp.Or(err, errors.New("AfterNetConnect returned no connection"))
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

// sessionOptions returns what pgx does when a pool hands the connection out. If superseded returns
// true, pgx ends the connection. pgx calls that func last in ResetSession, and database/sql does
// not call ResetSession within a transaction or a sql.Conn.
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
