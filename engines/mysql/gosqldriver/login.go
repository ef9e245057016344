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
	"github.com/sqlsecrets/sqlsecrets/internal/tlserror"
)

// A login connects to one server.
type login struct {
	configure func(*gomysql.Config) error
	config    *gomysql.Config // without credentials; not changed
}

// Prepare has the driver parse the parameters, with the address in front of them,
// from which it takes the name that a certificate has to have. What they name has to
// be there by now: files, time zones.
func (e Engine) Prepare(ep driver.Endpoint) (driver.Login, error) {
	if err := e.CheckParams(ep.Params); err != nil {
		return nil, err
	}
	at, err := addressOf(ep)
	if err != nil {
		return nil, err
	}
	mode, err := endpointMode(ep)
	if err != nil {
		return nil, err
	}
	config, err := parse(ep, at, mode)
	if err != nil {
		return nil, err
	}
	if err := setTLS(config, ep, mode); err != nil {
		return nil, err
	}
	if l, ok := config.Logger.(*log.Logger); ok && l.Writer() == os.Stderr && l.Prefix() == "[mysql] " {
		config.Logger = &gomysql.NopLogger{} // nobody has called SetLogger
	}
	return &login{e.Configure, config}, nil
}

// An address is where a server is, as the driver writes it.
type address struct{ net, addr string }

// addressOf returns where an endpoint is: a host and a port, or the path of a Unix socket.
func addressOf(ep driver.Endpoint) (address, error) {
	if isSocket(ep.Host) {
		return address{"unix", ep.Host}, jdbcurl.CheckSocket(ep.Host)
	}
	return address{"tcp", net.JoinHostPort(ep.Host, strconv.Itoa(ep.Port))}, jdbcurl.CheckAddress(ep.Host, ep.Port)
}

func isSocket(host string) bool { return jdbcurl.FormOf(host) == jdbcurl.Socket }

// parse has the driver parse a data source name with everything but credentials.
func parse(ep driver.Endpoint, at address, tlsMode string) (*gomysql.Config, error) {
	values := map[string]string{}
	for name, value := range ep.Params {
		if !params[name].File { // which the driver would take for variables
			values[name] = value
		}
	}
	values["tls"] = tlsMode
	if loc := values["loc"]; loc != "" {
		// The driver's error would quote it and not say where it is from.
		if _, err := time.LoadLocation(loc); err != nil {
			return nil, errors.New(`parameter "loc": no time zone of that name is installed`)
		}
	}
	config, err := gomysql.ParseDSN(at.net + "(" + at.addr + ")/" + url.PathEscape(ep.Database) + "?" + query(values))
	if err != nil {
		// The driver's errors quote values.
		if strings.Contains(err.Error(), "unsafe collations") {
			return nil, errors.New(`parameter "interpolateParams" cannot be used with that collation`)
		}
		return nil, errors.New("go-sql-driver/mysql does not take the parameters")
	}
	if config.Net != at.net || config.Addr != at.addr || config.DBName != ep.Database || config.User != "" || config.Passwd != "" {
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
	config, err := l.configuration()
	if err != nil {
		return nil, fmt.Errorf("configure the connection: %w", err)
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
		return nil, tlserror.Connect(c.Addr, err, remedy)
	}
	return conn, nil
}

// configuration returns that of one connection, without credentials. Where Engine.Configure says
// how to verify the server, TLS is not left to the server.
func (l *login) configuration() (*gomysql.Config, error) {
	if l.configure == nil {
		return l.config, nil
	}
	config := l.config.Clone()
	ours, optional := config.TLS, config.AllowFallbackToPlaintext
	if err := l.configure(config); err != nil {
		return nil, err
	}
	if optional && (config.TLS != ours || !ours.InsecureSkipVerify) {
		config.AllowFallbackToPlaintext = false
	}
	return config, nil
}
