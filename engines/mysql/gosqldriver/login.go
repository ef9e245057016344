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

// A login logs in to one server.
type login struct {
	configure func(*gomysql.Config) error
	config    *gomysql.Config // without credentials; read-only
}

// Prepare lets the driver parse the parameters together with the address. The driver takes the name
// that a certificate must have from the address. Files and time zones that the parameters name must
// exist.
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
		config.Logger = &gomysql.NopLogger{} // the program has not called SetLogger
	}
	return &login{e.Configure, config}, nil
}

// An address is where a server is, as the driver writes it.
type address struct{ net, addr string }

// addressOf returns the address of an endpoint: a host and a port, or the path of a Unix socket.
func addressOf(ep driver.Endpoint) (address, error) {
	if isSocket(ep.Host) {
		return address{"unix", ep.Host}, jdbcurl.CheckSocket(ep.Host)
	}
	return address{"tcp", net.JoinHostPort(ep.Host, strconv.Itoa(ep.Port))}, jdbcurl.CheckAddress(ep.Host, ep.Port)
}

func isSocket(host string) bool { return jdbcurl.FormOf(host) == jdbcurl.Socket }

// parse lets the driver parse a data source name that has everything except credentials.
func parse(ep driver.Endpoint, at address, tlsMode string) (*gomysql.Config, error) {
	values := map[string]string{}
	for name, value := range ep.Params {
		if !params[name].File { // the driver would treat them as variables
			values[name] = value
		}
	}
	values["tls"] = tlsMode
	if loc := values["loc"]; loc != "" {
		// The driver's error would quote the value and not name the parameter.
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
		return nil, errors.New("go-sql-driver/mysql does not accept the parameters")
	}
	if config.Net != at.net || config.Addr != at.addr || config.DBName != ep.Database || config.User != "" || config.Passwd != "" {
		return nil, errors.New("go-sql-driver/mysql reads another address or database from the parameters")
	}
	return config, nil
}

// unescaped are the parameters that the driver unescapes, as it does variables. The values of all
// other parameters have no character that needs it.
var unescaped = []string{"connectionAttributes", "loc", "serverPubKey", "tls"}

// query writes parameters in the form that ParseDSN reads.
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

// Connect lets the driver connect once. The driver uses the first address of the host that answers,
// and logs in at no other one. A server may ask once for another authentication method; the same
// login then goes on with that method.
func (l *login) Connect(ctx context.Context, cr driver.Credentials) (sqldriver.Conn, error) {
	config, err := l.configuration()
	if err != nil {
		return nil, fmt.Errorf("configure the connection: %w", err)
	}
	// NewConnector copies what the pointers point to. The connector is for this connection only,
	// because a connector that has met a server without TLS does not ask for TLS again.
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

// configuration returns the configuration of one connection, without credentials. If
// Engine.Configure has set how to verify the server, TLS is required.
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
