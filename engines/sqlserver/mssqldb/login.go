package mssqldb

import (
	"cmp"
	"context"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	mssql "github.com/microsoft/go-mssqldb"
	"github.com/microsoft/go-mssqldb/msdsn"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/internal/deadline"
	"github.com/sqlsecrets/sqlsecrets/internal/jdbcurl"
	"github.com/sqlsecrets/sqlsecrets/internal/tlserror"
)

// A login logs in to one server.
type login struct {
	engine    Engine
	config    msdsn.Config  // without credentials; read-only
	plaintext bool          // the login may go without TLS if the server has none
	timeout   time.Duration // logintimeout; zero: none
}

// Prepare lets the driver parse the parameters together with the host, and reads the files that the
// parameters name.
func (e Engine) Prepare(ep driver.Endpoint) (driver.Login, error) {
	p, err := words.Read(ep.Params)
	if err != nil {
		return nil, err
	}
	if err := splitInstance(&ep, p); err != nil {
		return nil, err
	}
	if units(ep.Database) > maxName || strings.IndexByte(ep.Database, 0) >= 0 {
		return nil, errors.New("the name of the database has more than 128 characters, or a NUL")
	}
	config, err := parse(ep, p)
	if err != nil {
		return nil, err
	}
	if err := setTLS(&config, p, ep); err != nil {
		return nil, err
	}
	timeout, _ := strconv.Atoi(p["logintimeout"])
	return &login{e, config, encryption(p) == "" && ep.TLS == nil && !ep.Encrypt, time.Duration(timeout) * time.Second}, nil
}

// instance is Info.Instance.
func instance(params map[string]string) string {
	p, _ := words.Read(params) // the parameters were checked before
	return p["instance"]
}

// splitInstance cuts the instance off the host and makes it a parameter. An instance that is given
// as a parameter takes precedence, as the data source name does over the secret.
func splitInstance(ep *driver.Endpoint, p map[string]string) error {
	if jdbcurl.FormOf(ep.Host) == jdbcurl.Instance {
		var instance string
		if ep.Host, instance = jdbcurl.CutInstance(ep.Host); !jdbcurl.IsInstance(instance) {
			return errInstance
		}
		p["instance"] = cmp.Or(p["instance"], instance)
	}
	return jdbcurl.CheckAddress(ep.Host, ep.Port)
}

// parse lets the driver parse a connection string that has everything except credentials and TLS.
// It uses the form that quotes every value.
func parse(ep driver.Endpoint, p map[string]string) (msdsn.Config, error) {
	if zone, ok := p["timezone"]; ok {
		if _, err := time.LoadLocation(zone); err != nil {
			return msdsn.Config{}, errors.New(`parameter "timezone": no time zone of that name is installed`)
		}
	}
	values := connectionString(ep, p)
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(values)) {
		b.WriteString(name + "={" + strings.ReplaceAll(values[name], "}", "}}") + "};")
	}
	c, err := msdsn.Parse("odbc:" + b.String())
	if err != nil { // the error quotes values
		return c, errors.New("go-mssqldb does not accept the parameters")
	}
	if c.Host != ep.Host || c.Port != uint64(ep.Port) || c.Instance != p["instance"] || c.Database != ep.Database ||
		c.User+c.Password+c.ChangePassword+c.FailOverPartner != "" {
		return c, errors.New("go-mssqldb reads another address or database from the parameters")
	}
	at := strconv.Itoa(ep.Port)
	if c.Instance != "" {
		c.Port, at = 0, c.Instance // SQL Server Browser knows the port
	}
	if c.ServerSPN == "" {
		c.ServerSPN = "MSSQLSvc/" + c.Host + ":" + at
	}
	return c, nil
}

// connectionString returns the keywords and values for the driver to parse.
func connectionString(ep driver.Endpoint, p map[string]string) map[string]string {
	host := ep.Host
	if instance, ok := p["instance"]; ok {
		host += `\` + instance
	}
	values := map[string]string{
		"server": host, "port": strconv.Itoa(ep.Port), "database": ep.Database, "protocol": "tcp",
		"encrypt": "disable", "epa enabled": "false", // so that the variable MSSQL_USE_EPA has no effect
	}
	for name, value := range p {
		if _, ok := passed[name]; ok {
			values[name] = value
		}
	}
	for _, name := range []string{"columnencryption", "multisubnetfailover"} {
		if v, ok := p[name]; ok {
			values[name] = enabled(v)
		}
	}
	if strings.EqualFold(p["applicationintent"], "readonly") {
		values["applicationintent"] = "ReadOnly" // the driver ignores any other spelling
	}
	return values
}

// errNoEncryption is go-mssqldb's error text if encryption is required and the PRELOGIN of the
// server says that there is none.
const errNoEncryption = "server does not support encryption"

// Connect lets the driver connect once. If the server supports no encryption, which it says before
// it gets a login, and a login may go without, the driver connects a second time.
func (l *login) Connect(ctx context.Context, cr driver.Credentials) (sqldriver.Conn, error) {
	if err := checkCredentials(cr); err != nil {
		return nil, err
	}
	if l.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, l.timeout)
		defer cancel()
	}
	config, plaintext, err := l.configuration()
	if err != nil {
		return nil, fmt.Errorf("configure the connection: %w", err)
	}
	setCredentials(&config, cr)

	conn, dialled, err := l.connect(ctx, config)
	if plaintext && err != nil && err.Error() == errNoEncryption && dialled == 1 {
		// With EncryptionOff, unlike EncryptionDisabled, the login is encrypted if the server now
		// says that it can.
		config.Encryption = msdsn.EncryptionOff
		conn, _, err = l.connect(ctx, config)
	}
	if err != nil {
		if end := deadline.Err(ctx); end != nil && !errors.Is(err, end) {
			err = fmt.Errorf("%w: %w", end, err)
		}
		return nil, failed(config, err)
	}
	return conn, nil
}

func checkCredentials(cr driver.Credentials) error {
	switch {
	case cr.User == "":
		return errors.New("the name of the user is empty") // on Windows, the user who runs the program would be logged in
	case units(cr.User) > maxName || units(cr.Password.Reveal()) > maxName:
		return errors.New("the name of the user or the password has more than 128 characters, which SQL Server does not allow")
	}
	return nil
}

// failed returns why a login failed. If encryption is disabled, go-mssqldb begins TLS only with a
// server that requires it.
func failed(config msdsn.Config, err error) error {
	if config.Encryption == msdsn.EncryptionDisabled && strings.Contains(err.Error(), "TLS Handshake failed") {
		return fmt.Errorf("the server at %s requires encryption, and encrypt=disable turns it off: leave that out, or give encrypt=true", address(config))
	}
	return tlserror.Connect(address(config), err, remedy)
}

// configuration returns the configuration of one connection, without credentials, and whether the
// login may go without encryption if the server has none.
func (l *login) configuration() (config msdsn.Config, plaintext bool, err error) {
	config = l.config
	config.Parameters = maps.Clone(config.Parameters)
	config.TLSConfig = config.TLSConfig.Clone() // the driver writes into it
	ours := config.TLSConfig
	if l.engine.Configure != nil {
		if err := l.engine.Configure(&config); err != nil {
			return config, false, err
		}
		if config.FailOverPartner != "" {
			return config, false, errors.New("FailOverPartner is set, and a rejected login would be repeated there: leave it empty")
		}
	}
	return config, l.plaintext && config.TLSConfig == ours && ours.InsecureSkipVerify, nil
}

// setCredentials sets the user and the password.
func setCredentials(config *msdsn.Config, cr driver.Credentials) {
	config.ChangePassword = ""
	config.Database = padded(config.Database)
	if strings.Contains(cr.User, `\`) { // NTLM
		config.User, config.Password = cr.User, cr.Password.Reveal()
		return
	}
	config.User, config.Password = padded(cr.User), padded(cr.Password.Reveal())
}

func address(config msdsn.Config) string {
	if config.Port == 0 {
		return config.Host + `\` + config.Instance
	}
	return net.JoinHostPort(config.Host, strconv.FormatUint(config.Port, 10))
}

// connect lets the driver connect. It returns how many connections the driver made to servers. All
// of them are closed, whatever the driver does, except the one that it returns.
func (l *login) connect(ctx context.Context, config msdsn.Config) (conn sqldriver.Conn, dialled int, err error) {
	d := &dialer{dial: l.engine.Dial, keepAlive: config.KeepAlive, parallel: config.MultiSubnetFailover}
	connector := mssql.NewConnectorConfig(config)
	connector.Dialer, connector.SessionInitSQL = d, l.engine.SessionInitSQL
	// The driver does not observe the context while it waits for PRELOGIN and TLS.
	stop := context.AfterFunc(ctx, d.close)
	conn, err = connector.Connect(ctx)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		if errors.Is(err, sqldriver.ErrBadConn) {
			err = errors.New("SessionInitSQL failed") // go-mssqldb drops the reason
		}
		// conn may be a nil *mssql.Conn, or one whose SessionInitSQL failed.
		d.close()
		return nil, d.count(), err
	}
	return conn, d.keep(), nil
}

// A dialer makes the connections of one login and owns them until the login is done.
type dialer struct {
	dial      func(ctx context.Context, network, addr string) (net.Conn, error)
	keepAlive time.Duration
	parallel  bool
	owned
}

var _ mssql.HostDialer = (*dialer)(nil)

// HostName returns "", so that the driver lets the dialer look up hosts. The dialer observes the
// context.
func (d *dialer) HostName() string { return "" }

// DialContext dials a server, or SQL Server Browser.
func (d *dialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	dial := d.dial
	switch {
	case dial != nil:
	case network == "tcp" && d.parallel:
		dial = d.dialAll
	default:
		dial = (&net.Dialer{KeepAlive: d.keepAlive}).DialContext
	}
	c, err := dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return c, d.add(c, network == "tcp")
}

// dialAll dials all addresses of a host at once and returns the connection that is ready first.
func (d *dialer) dialAll(ctx context.Context, network, addr string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		c   net.Conn
		err error
	}
	results := make(chan result, len(addrs))
	for _, a := range addrs {
		go func() {
			c, err := (&net.Dialer{KeepAlive: d.keepAlive}).DialContext(ctx, network, net.JoinHostPort(a.Unmap().String(), port))
			results <- result{c, err}
		}()
	}
	var first net.Conn
	for range addrs {
		switch r := <-results; {
		case r.err != nil:
			err = r.err
		case first == nil:
			first = r.c
			cancel() // ends the other dials
		default:
			_ = r.c.Close()
		}
	}
	if first != nil {
		return first, nil
	}
	return nil, err
}
