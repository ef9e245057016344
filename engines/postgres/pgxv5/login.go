package pgxv5

import (
	"context"
	"crypto/tls"
	sqldriver "database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/sqlsecrets/sqlsecrets/driver"
)

// A login connects to one of its hosts.
type login struct {
	configure func(*pgx.ConnConfig) error
	hosts     []host
	validate  pgconn.ValidateConnectFunc // target_session_attrs; nil takes any server
}

// A host is one of a login's, with its configuration but for the credentials.
type host struct {
	config    *pgx.ConnConfig // not changed
	plaintext bool            // TLS is only wanted if the server has it
}

// Prepare parses the parameters with pgx, once for each host, since the name that a
// certificate has to have follows from it. Files that they name are read now.
func (e Engine) Prepare(ep driver.Endpoint) (driver.Login, error) {
	if err := e.CheckParams(ep.Params); err != nil {
		return nil, err
	}
	addrs, err := parseHosts(ep.Host, ep.Port)
	if err != nil {
		return nil, err
	}
	l := &login{configure: e.Configure}
	for _, a := range addrs {
		config, err := parseConfig(a, ep)
		if err != nil {
			return nil, err
		}
		// The fall-back of prefer, which attempt.connect does its own way.
		h := host{config: config, plaintext: len(config.Fallbacks) > 0}
		config.Fallbacks = nil
		// A server that passes as one without TLS does not have these.
		if ep.Params["sslcertmode"] == "require" || ep.Params["channel_binding"] == "require" {
			h.plaintext = false
		}
		if config.TLSConfig != nil {
			name := serverName(a.host)
			if ep.TLS != nil {
				config.TLSConfig = mergeTLS(ep.TLS, config.TLSConfig, ep.Params, name)
				h.plaintext = false
			} else if config.TLSConfig.ServerName == a.host {
				config.TLSConfig.ServerName = name
			}
		}
		// Connect calls it, to keep a server that is accepted but not preferred.
		l.validate, config.ValidateConnect = config.ValidateConnect, nil
		l.hosts = append(l.hosts, h)
	}
	return l, nil
}

// unset are all settings that pgx would otherwise take from the environment or the
// home directory (parseEnvSettings and defaultSettings in pgconn), with the values
// they have without. service is not among them: to set it is to use one.
var unset = map[string]string{
	"password":             "",
	"passfile":             "",
	"connect_timeout":      "0",
	"sslmode":              "prefer",
	"sslkey":               "",
	"sslcert":              "",
	"sslcertmode":          "allow",
	"sslsni":               "1",
	"sslrootcert":          "",
	"sslpassword":          "",
	"sslnegotiation":       "",
	"target_session_attrs": "any",
	"min_protocol_version": "",
	"max_protocol_version": "",
	"channel_binding":      "",
	"require_auth":         "",
	// PGAPPNAME, PGOPTIONS and PGTZ become settings of the server: see parseConfig.
}

// parseConfig has pgx parse a connection string with everything but credentials.
func parseConfig(a address, ep driver.Endpoint) (*pgx.ConnConfig, error) {
	settings := maps.Clone(unset)
	maps.Copy(settings, ep.Params)
	settings["host"] = a.host
	settings["port"] = strconv.Itoa(int(a.port))
	settings["dbname"] = ep.Database
	// Without a user pgx asks for PGUSER and then for the operating system's.
	settings["user"] = "nobody"

	if os.Getenv("PGSERVICE") != "" {
		// Nothing but another service keeps pgx from reading that one.
		file, err := emptyService(settings)
		if err != nil {
			return nil, fmt.Errorf("environment variable PGSERVICE is set, and cannot be ignored without a temporary file: %w", err)
		}
		defer os.Remove(file)
	}
	config, err := pgx.ParseConfig(connString(settings))
	if err != nil {
		return nil, parseError(err)
	}
	if config.Host != a.host || config.Port != a.port || config.Database != ep.Database {
		return nil, errors.New("pgx reads another host, port or database out of the parameters")
	}
	config.User, config.Password = "", ""
	maps.DeleteFunc(config.RuntimeParams, func(name, _ string) bool {
		_, ours := ep.Params[name]
		return !ours // it is the environment's
	})
	return config, nil
}

// emptyService makes a service file with a service that sets nothing.
func emptyService(settings map[string]string) (file string, err error) {
	f, err := os.CreateTemp("", "sqlsecrets-*.conf")
	if err != nil {
		return "", err
	}
	_, err = f.WriteString("[none]\n")
	if err = errors.Join(err, f.Close()); err != nil {
		_ = os.Remove(f.Name())
		return "", err
	}
	settings["servicefile"], settings["service"] = f.Name(), "none"
	return f.Name(), nil
}

// connString writes settings as libpq's keywords and quoted values.
func connString(settings map[string]string) string {
	quote := strings.NewReplacer(`\`, `\\`, `'`, `\'`)
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		b.WriteString(name + "='" + quote.Replace(settings[name]) + "' ")
	}
	return b.String()
}

// mergeTLS returns the caller's TLS configuration with what parameters say besides;
// they can make it stricter, not laxer.
func mergeTLS(callers, parsed *tls.Config, params map[string]string, name string) *tls.Config {
	t := callers.Clone()
	if t.ServerName == "" {
		t.ServerName = name
	}
	if parsed.RootCAs != nil {
		t.RootCAs = parsed.RootCAs
	}
	if len(parsed.Certificates) > 0 {
		t.Certificates = parsed.Certificates
	}
	if len(t.NextProtos) == 0 {
		t.NextProtos = parsed.NextProtos // what sslnegotiation=direct needs
	}
	if mode := params["sslmode"]; mode == "verify-ca" || mode == "verify-full" || params["sslrootcert"] == "system" {
		t.InsecureSkipVerify = false
	}
	return t
}

// serverName is a host as a certificate has it: an IPv6 address without its zone.
func serverName(host string) string {
	name, _, _ := strings.Cut(host, "%")
	return name
}

// Connect makes one attempt after the other, until a server is the one wanted.
func (l *login) Connect(ctx context.Context, c driver.Credentials) (sqldriver.Conn, error) {
	var errs []error
	var spare *stdlib.Conn // of a server that is not preferred
	stopped := false
	for a, err := range l.attempts(ctx) {
		var conn *stdlib.Conn
		if err == nil {
			conn, err = a.connect(ctx, c)
		}
		if err == nil {
			hangUp(spare)
			return conn, nil
		}
		errs = append(errs, inner(err)...)
		stopped = ctx.Err() != nil || conn == nil && !mayGoOn(err)
		var notPreferred *pgconn.NotPreferredError
		if spare == nil && errors.As(err, &notPreferred) {
			spare = conn
		} else {
			hangUp(conn)
		}
		if stopped {
			break
		}
	}
	if spare != nil && !stopped {
		return spare, nil
	}
	hangUp(spare)
	if err := ctx.Err(); err != nil && !errors.Is(errors.Join(errs...), err) {
		errs = append(errs, err)
	}
	return nil, newConnectError(c.User, l.hosts[0].config.Database, errs)
}

// attempts yields an attempt for each address of each host, or the error that kept
// it from being made. The addresses are looked up here, and each gets a
// configuration with nothing to fall back to: pgx stops at few of the errors with
// which a server may refuse a login, and would repeat it at the next address.
func (l *login) attempts(ctx context.Context) iter.Seq2[*attempt, error] {
	return func(yield func(*attempt, error) bool) {
		for i, h := range l.hosts {
			config := h.config
			if l.configure != nil {
				config = config.Copy()
				if err := l.configure(config); err != nil {
					yield(nil, &configureError{clean(err)})
					return
				}
			}
			addrs, err := config.LookupFunc(ctx, config.Host)
			if err == nil && len(addrs) == 0 {
				err = errors.New("no addresses")
			}
			if err != nil && !yield(nil, fmt.Errorf("hostname resolving error: %w", clean(err))) {
				return
			}
			for j, addr := range addrs {
				a := &attempt{
					config:    config,
					addr:      addr,
					plaintext: h.plaintext,
					validate:  l.validate,
					left:      len(addrs) - j + len(l.hosts) - i - 1,
				}
				if !yield(a, nil) {
					return
				}
			}
		}
	}
}

// mayGoOn reports whether the next host may be tried after a login has failed: not
// after a server's error, except one that is sent before credentials are looked at.
func mayGoOn(err error) bool {
	var ce *configureError
	if errors.As(err, &ce) {
		return false
	}
	return serverErrors(err, func(pg *pgconn.PgError) bool { return pg.Code == cannotConnectNow })
}

// hangUp closes a connection if there is one. Of one that failed a query, pgx
// itself closes the socket only when the server does, or 15 s later.
func hangUp(c *stdlib.Conn) {
	if c != nil {
		_ = c.Close()
		_ = c.Conn().PgConn().Conn().Close()
	}
}

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
