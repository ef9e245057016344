package pgxv5

import (
	"cmp"
	"context"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"iter"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/internal/jdbcurl"
	"github.com/sqlsecrets/sqlsecrets/internal/tlserror"
)

// A login logs in to one of its hosts.
type login struct {
	engine   Engine
	hosts    []host
	validate pgconn.ValidateConnectFunc // of target_session_attrs; nil accepts any server
}

// A host is one host of a login, with its configuration, which has no credentials.
type host struct {
	config    *pgx.ConnConfig // read-only
	tls       *tlsSettings
	plaintext bool // the login may go without TLS if the server has none
}

// Prepare parses the parameters with pgx, once for each host, because the name that a certificate
// must have follows from the host. Prepare reads the files that the parameters name. A Connector
// calls Prepare again when a file has changed. The logins do not read them again.
func (e Engine) Prepare(ep driver.Endpoint) (driver.Login, error) {
	if err := e.CheckParams(ep.Params); err != nil {
		return nil, err
	}
	addrs, err := addresses(ep)
	if err != nil {
		return nil, err
	}
	t, err := newTLSSettings(ep)
	if err != nil {
		return nil, err
	}
	if isSocket(ep.Host) && t.required { // pgx would connect without TLS, as libpq does
		return nil, tlserror.Socket(t.askedBy, "sslmode=disable", ep.IAM)
	}
	l := &login{engine: e}
	for _, a := range addrs {
		config, err := parseConfig(a, ep, t.params)
		if err != nil {
			return nil, err
		}
		h := host{config: config, tls: t}
		// pgx's fallback of sslmode=prefer; negotiate does it in a safer way.
		h.plaintext = len(config.Fallbacks) > 0 && !t.required
		config.Fallbacks = nil
		if config.TLSConfig != nil {
			config.TLSConfig = t.apply(config.TLSConfig, a.Host)
		}
		// Connect calls it, so that it can keep a server that is accepted but not preferred.
		l.validate, config.ValidateConnect = config.ValidateConnect, nil
		l.hosts = append(l.hosts, h)
	}
	return l, nil
}

// unset has every setting that pgx would otherwise take from the environment or the home directory
// (parseEnvSettings and defaultSettings in pgconn), with its neutral value. service is not among
// them, because setting it means using a service.
var unset = map[string]string{
	"host":                 "localhost", // these four have no effect: see parseConfig and opener.use
	"port":                 "5432",
	"dbname":               "",
	"user":                 "nobody", // without a user pgx asks the operating system
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

// parseConfig lets pgx parse a connection string that has everything except credentials and files.
func parseConfig(a jdbcurl.Address, ep driver.Endpoint, params map[string]string) (*pgx.ConnConfig, error) {
	settings := maps.Clone(params)
	settings["host"] = a.Host
	settings["port"] = strconv.Itoa(a.Port)
	settings["dbname"] = ep.Database

	config, err := parse(settings, pgx.ParseConfig)
	if err != nil {
		return nil, parseError(err)
	}
	if config.Host != a.Host || int(config.Port) != a.Port || config.Database != ep.Database {
		return nil, errors.New("pgx reads another host, port or database from the parameters")
	}
	config.User, config.Password = "", ""
	maps.DeleteFunc(config.RuntimeParams, func(name, _ string) bool {
		_, ours := ep.Params[name]
		return !ours // it comes from the environment
	})
	return config, nil
}

// parse lets one of pgx's functions parse settings, with the neutral values of unset for all
// others.
func parse[T any](settings map[string]string, parse func(string) (*T, error)) (*T, error) {
	all := maps.Clone(unset)
	maps.Copy(all, settings)
	if os.Getenv("PGSERVICE") != "" {
		// pgx reads the service of PGSERVICE unless another service is given.
		file, err := emptyService(all)
		if err != nil {
			return nil, fmt.Errorf("environment variable PGSERVICE is set, and ignoring it needs a temporary file: %w", err)
		}
		defer os.Remove(file)
	}
	return parse(connString(all))
}

// emptyService makes a service file with a service that sets nothing. The caller removes the file.
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

// connString writes settings in libpq's form: keywords and quoted values.
func connString(settings map[string]string) string {
	quote := strings.NewReplacer(`\`, `\\`, `'`, `\'`)
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		b.WriteString(name + "='" + quote.Replace(settings[name]) + "' ")
	}
	return b.String()
}

// Connect makes one attempt after the other, until a server accepts the login and is what
// target_session_attrs asks for.
func (l *login) Connect(ctx context.Context, c driver.Credentials) (sqldriver.Conn, error) {
	var errs []error
	reason := ""
	var spare *stdlib.Conn // to a server that is accepted but not preferred
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
		reason = cmp.Or(reason, a.tlsReason(err))
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
	return nil, newConnectError(reason, c.User, l.hosts[0].config.Database, withContext(ctx, errs))
}

// withContext adds the error of the context, if it has ended and no error in errs says so.
func withContext(ctx context.Context, errs []error) []error {
	if err := ctx.Err(); err != nil && !errors.Is(errors.Join(errs...), err) {
		return append(errs, err)
	}
	return errs
}

// attempts yields an attempt for each address of each host, or the error of making it. The
// addresses are looked up here, and each attempt has one address and no fallback. Otherwise pgx
// would repeat a login at the next address after most of the errors with which a server rejects it.
func (l *login) attempts(ctx context.Context) iter.Seq2[*attempt, error] {
	return func(yield func(*attempt, error) bool) {
		for i, h := range l.hosts {
			config, plaintext, err := l.configuration(h)
			if err != nil {
				yield(nil, err)
				return
			}
			addrs, err := lookUp(ctx, config)
			if err != nil && !yield(nil, fmt.Errorf("hostname resolving error: %w", clean(err))) {
				return
			}
			for j, addr := range addrs {
				a := &attempt{
					engine:    l.engine,
					config:    config,
					tls:       h.tls,
					addr:      addr,
					plaintext: plaintext,
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

// lookUp returns the addresses of a host. A Unix socket is not looked up.
func lookUp(ctx context.Context, config *pgx.ConnConfig) ([]string, error) {
	if isSocket(config.Host) {
		return []string{config.Host}, nil
	}
	addrs, err := config.LookupFunc(ctx, config.Host)
	if err == nil && len(addrs) == 0 {
		err = errors.New("no addresses")
	}
	return addrs, err
}

// configuration returns the configuration for a host after Engine.Configure, and whether a login
// may go without TLS if the server has none. It may not if Configure has set how to verify the
// server.
func (l *login) configuration(h host) (config *pgx.ConnConfig, plaintext bool, err error) {
	if l.engine.Configure == nil {
		return h.config, h.plaintext, nil
	}
	config = h.config.Copy()
	ours := config.TLSConfig
	if err := l.engine.Configure(config); err != nil {
		return nil, false, &configureError{clean(err)}
	}
	return config, h.plaintext && config.TLSConfig == ours && ours.InsecureSkipVerify, nil
}

// mayGoOn reports whether the next host may be tried after a login has failed. It may not after an
// error of a server, except the one that a server sends before it reads the credentials.
func mayGoOn(err error) bool {
	var ce *configureError
	if errors.As(err, &ce) {
		return false
	}
	return serverErrors(err, func(pg *pgconn.PgError) bool { return pg.Code == cannotConnectNow })
}

// hangUp closes a connection, if there is one. It closes the socket as well: after a failed query
// pgx closes the socket only when the server does, or 15 s later.
func hangUp(c *stdlib.Conn) {
	if c != nil {
		_ = c.Close()
		_ = c.Conn().PgConn().Conn().Close()
	}
}
