package gosqldriver

import (
	"context"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"log"
	"maps"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	gomysql "github.com/go-sql-driver/mysql"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/internal/deadline"
	"github.com/sqlsecrets/sqlsecrets/internal/jdbcurl"
)

// A login connects to one server.
type login struct {
	configure func(*gomysql.Config) error
	config    *gomysql.Config // without credentials; not changed
}

// Prepare has the driver parse the parameters, with the address in front of them,
// from which it takes the name that a certificate has to have. What they name has to
// be registered and there by now: TLS configurations, public keys, time zones.
func (e Engine) Prepare(ep driver.Endpoint) (driver.Login, error) {
	if err := e.CheckParams(ep.Params); err != nil {
		return nil, err
	}
	if err := jdbcurl.CheckAddress(ep.Host, ep.Port); err != nil {
		return nil, err
	}
	mode := "preferred"
	if v, ok := ep.Params["tls"]; ok {
		mode = tlsMode(v)
	}
	config, err := parse(ep, mode)
	if err != nil {
		return nil, err
	}
	if err := setTLS(config, ep, mode); err != nil {
		return nil, err
	}
	if config.AllowCleartextPasswords && (config.TLS == nil || config.AllowFallbackToPlaintext) {
		return nil, errCleartext
	}
	if l, ok := config.Logger.(*log.Logger); ok && l.Writer() == os.Stderr && l.Prefix() == "[mysql] " {
		config.Logger = &gomysql.NopLogger{} // nobody has called SetLogger
	}
	return &login{e.Configure, config}, nil
}

// setTLS has the caller's TLS configuration take the place of the driver's, and names the
// server to verify.
func setTLS(config *gomysql.Config, ep driver.Endpoint, mode string) error {
	if ep.TLS != nil {
		switch mode {
		case "true", "skip-verify", "preferred":
			config.TLS = ep.TLS.Clone()
			if config.TLS.ServerName == "" {
				config.TLS.ServerName = ep.Host
			}
			if mode == "true" {
				config.TLS.InsecureSkipVerify = false
			}
			config.AllowFallbackToPlaintext = false
		case "false":
		default:
			return errors.New(`parameter "tls" names a configuration, and driver.Options.TLS is another`)
		}
	}
	if config.TLS != nil && config.TLS.ServerName == ep.Host {
		config.TLS.ServerName = jdbcurl.ServerName(ep.Host)
	}
	return nil
}

// parse has the driver parse a data source name with everything but credentials.
func parse(ep driver.Endpoint, tlsMode string) (*gomysql.Config, error) {
	values := maps.Clone(ep.Params)
	if values == nil {
		values = map[string]string{}
	}
	values["tls"] = tlsMode
	if loc := values["loc"]; loc != "" {
		// The driver's error would quote it and not say where it is from.
		if _, err := time.LoadLocation(loc); err != nil {
			return nil, errors.New(`parameter "loc": no time zone of that name is installed`)
		}
	}
	addr := net.JoinHostPort(ep.Host, strconv.Itoa(ep.Port))
	config, err := gomysql.ParseDSN("tcp(" + addr + ")/" + url.PathEscape(ep.Database) + "?" + query(values))
	if err != nil {
		// What is left to fail is a registry, and the driver's errors quote values.
		switch text := err.Error(); {
		case strings.Contains(text, "unknown config name"):
			err = errors.New(`parameter "tls": it is none of true, false, skip-verify and preferred, and RegisterTLSConfig was not called with it`)
		case strings.Contains(text, "unknown server pub key"):
			err = errors.New(`parameter "serverPubKey": RegisterServerPubKey was not called with it`)
		case strings.Contains(text, "unsafe collations"):
			err = errors.New(`parameter "interpolateParams" cannot be used with that collation`)
		default:
			err = errors.New("go-sql-driver/mysql does not take the parameters")
		}
		return nil, err
	}
	if config.Net != "tcp" || config.Addr != addr || config.DBName != ep.Database || config.User != "" || config.Passwd != "" {
		return nil, errors.New("go-sql-driver/mysql reads another address or database out of the parameters")
	}
	return config, nil
}

// unescaped are the parameters that the driver unescapes, as it does variables. The values
// of others have no character that it could mean.
var unescaped = []string{"connectionAttributes", "loc", "serverPubKey", "tls"}

// query writes parameters as ParseDSN reads them.
func query(values map[string]string) string {
	var b strings.Builder
	for i, name := range slices.Sorted(maps.Keys(values)) {
		if i > 0 {
			b.WriteByte('&')
		}
		value := values[name]
		if _, ok := params[name]; !ok || slices.Contains(unescaped, name) {
			value = url.QueryEscape(value)
		}
		b.WriteString(name + "=" + value)
	}
	return b.String()
}

// Connect has the driver connect once. Of the addresses of a host it takes the first
// that answers; a login goes to no second one. A server may ask for another
// authentication method, once, in which the same login goes on.
func (l *login) Connect(ctx context.Context, cr driver.Credentials) (sqldriver.Conn, error) {
	config := l.config
	if l.configure != nil {
		config = config.Clone()
		if err := l.configure(config); err != nil {
			return nil, fmt.Errorf("configure the connection: %w", err)
		}
	}
	// NewConnector copies what is behind the pointers. The connector is for this
	// connection alone: once a server without TLS has been seen, it uses TLS no more.
	c := *config
	c.User = cr.User
	c.Passwd = cr.Password.Reveal()
	if cr.Superseded != nil {
		if err := closeSuperseded(&c, cr.Superseded); err != nil {
			return nil, fmt.Errorf("configure the connection: %w", err)
		}
	}
	connector, err := gomysql.NewConnector(&c)
	if err != nil {
		return nil, fmt.Errorf("configure the connection: %w", err)
	}
	conn, err := connector.Connect(ctx)
	if err != nil {
		if end := deadline.Err(ctx); end != nil && !errors.Is(err, end) {
			err = fmt.Errorf("%w: %w", end, err)
		}
		return nil, fmt.Errorf("connect to %s: %w", c.Addr, err)
	}
	return conn, nil
}
