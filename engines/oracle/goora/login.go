package goora

import (
	"context"
	"crypto/tls"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	goora "github.com/sijms/go-ora/v2"
	"github.com/sijms/go-ora/v2/configurations"
	"github.com/sijms/go-ora/v2/network"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/internal/deadline"
	"github.com/sqlsecrets/sqlsecrets/internal/jdbcurl"
	"github.com/sqlsecrets/sqlsecrets/internal/tlserror"
)

// A login logs in to one of its servers.
type login struct {
	configure func(*configurations.ConnectionConfig) error
	settings  *settings   // read-only; its config has no credentials
	tls       *tls.Config // nil: no TLS
	bySecret  bool        // only the secret's "ssl" asks for TLS
	zones     zones
}

// Prepare builds go-ora's configuration and reads the wallet.
func (e Engine) Prepare(ep driver.Endpoint) (driver.Login, error) {
	s, err := readSettings(ep.Params)
	if err != nil {
		return nil, err
	}
	l := &login{configure: e.Configure, settings: s}
	hosts, err := jdbcurl.SplitAddresses(ep.Host, ep.Port)
	if err == nil {
		s.config.Servers, l.zones, err = cutZones(hosts)
	}
	if err != nil {
		return nil, err
	}
	name, err := s.setDatabase(ep.Database)
	if err != nil {
		return nil, err
	}
	if err := l.setTLS(ep); err != nil {
		return nil, err
	}
	describeClient(&s.config.ClientInfo)
	if err := s.config.UpdateDatabaseInfo(descriptor(s)); err != nil {
		return nil, errors.New("go-ora does not accept the descriptor") // the cause may quote it
	}
	// go-ora must read from the descriptor what was written into it.
	if len(s.config.Servers) != len(hosts) || s.config.ServiceName+s.config.SID != name {
		return nil, errors.New("go-ora reads other servers or another database from the descriptor")
	}
	return l, nil
}

// setTLS sets everything about TLS.
func (l *login) setTLS(ep driver.Endpoint) (err error) {
	s := l.settings
	if ep.TLS != nil && s.protocol == "tcp" {
		return errors.New("driver.Options.TLS asks for TLS, and the protocol tcp has none: give tcps")
	}
	if l.tls, err = tlsConfig(ep.TLS, s, ep.Encrypt); err != nil {
		return err
	}
	l.bySecret = ep.Encrypt && s.tls == nil && ep.TLS == nil
	s.config.Protocol = "tcp"
	if l.tls != nil {
		s.config.Protocol, s.config.SSL = "tcps", true
	}
	return nil
}

// setDatabase sets the service or the SID, and returns its name.
func (s *settings) setDatabase(database string) (name string, err error) {
	name, isSID := strings.CutPrefix(database, ":")
	if err := checkName(name); err != nil {
		return "", fmt.Errorf("the database, which is a service or a SID: %w", err)
	}
	switch {
	case isSID && s.dbnameIs == "service":
		return "", errors.New(`parameter "DBNAME IS" says that the database is a service, and the ":" before its name says that it is a SID: leave one out`)
	case isSID || s.dbnameIs == "sid":
		s.config.SID = name
	default:
		s.config.ServiceName = name
	}
	return name, nil
}

// zones has the zones of IPv6 addresses, by host:port. go-ora does not get the zones, because it
// uses the address as the name in a certificate.
type zones map[string]string

// cutZones returns addresses without their zones, and the zones.
func cutZones(hosts []jdbcurl.Address) (cut []configurations.ServerAddr, z zones, err error) {
	z = zones{}
	for _, h := range hosts {
		host, zone, _ := strings.Cut(h.Host, "%")
		s := configurations.ServerAddr{Addr: host, Port: h.Port}
		if other, ok := z[address(s)]; ok && other != zone {
			return nil, nil, errors.New("two hosts differ only in their zones")
		}
		z[address(s)] = zone
		cut = append(cut, s)
	}
	return cut, z, nil
}

func address(s configurations.ServerAddr) string {
	return net.JoinHostPort(s.Addr, strconv.Itoa(s.Port))
}

// add returns a host:port with the zone that cutZones removed.
func (z zones) add(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil || z[address] == "" {
		return address
	}
	return net.JoinHostPort(host+"%"+z[address], port)
}

// describeClient fills in the fields that V$SESSION shows, as go-ora's ParseConfig does.
func describeClient(c *configurations.ClientInfo) {
	c.HostName, _ = os.Hostname()
	c.PID = os.Getpid()
	c.DriverName = "OracleClientGo"
	c.ProgramPath = os.Args[0]
	if c.ProgramName == "" {
		c.ProgramName = filepath.Base(os.Args[0])
	}
	if c.OSUserName == "" {
		c.OSUserName = osUser()
	}
	// After a redirect go-ora writes these unchanged into a descriptor.
	c.Cid = clientID(c)
}

// osUser returns the user of the operating system, without a Windows domain.
func osUser() string {
	if name := os.Getenv("USER"); name != "" {
		return name
	}
	u, err := user.Current()
	if err != nil {
		return ""
	}
	return u.Username[strings.LastIndexByte(u.Username, '\\')+1:]
}

// descriptor returns the descriptor that the listener gets.
func descriptor(s *settings) string {
	var b strings.Builder
	b.WriteString("(DESCRIPTION=")
	for _, a := range s.config.Servers {
		fmt.Fprintf(&b, "(ADDRESS=(PROTOCOL=%s)(HOST=%s)(PORT=%d))", s.config.Protocol, a.Addr, a.Port)
	}
	b.WriteString("(CONNECT_DATA=")
	for _, p := range []struct{ name, value string }{
		{"SERVICE_NAME", s.config.ServiceName}, {"SID", s.config.SID},
		{"SERVER", s.serverType}, {"INSTANCE_NAME", s.config.InstanceName},
	} {
		if p.value != "" {
			b.WriteString("(" + p.name + "=" + p.value + ")")
		}
	}
	b.WriteString(s.config.Cid + "))")
	return b.String()
}

// clientID returns the description of the client in a descriptor.
func clientID(c *configurations.ClientInfo) string {
	plain := func(s string) string {
		return strings.Map(func(r rune) rune {
			if r < 0x80 && (jdbcurl.IsName(string(r)) || r == ' ') {
				return r
			}
			return '?'
		}, s)
	}
	return "(CID=(PROGRAM=" + plain(c.ProgramName) + ")(HOST=" + plain(c.HostName) + ")(USER=" + plain(c.OSUserName) + "))"
}

// Connect lets go-ora connect once.
func (l *login) Connect(ctx context.Context, cr driver.Credentials) (sqldriver.Conn, error) {
	config, err := l.configuration()
	if err != nil {
		return nil, fmt.Errorf("configure the connection: %w", err)
	}
	if t := l.settings.connectTimeout; t > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, t)
		defer cancel()
	}
	d := &dialer{dial: (&net.Dialer{}).DialContext, timeout: l.settings.dialTimeout, zones: l.zones,
		servers: len(config.Servers), tlsOnly: strings.EqualFold(config.Protocol, "tcps")}
	if config.Dialer != nil {
		d.dial = config.Dialer.DialContext
	}
	config.RegisterDial(d.Dial)
	config.UserID = cr.User
	config.Password = cr.Password.Reveal()

	stop := context.AfterFunc(ctx, d.close)
	conn, err := open(ctx, config)
	if !stop() && err == nil {
		err = ctx.Err() // go-ora ignores an error of its last query
	}
	if err != nil {
		d.close()
		return nil, l.failed(ctx, l.zones.add(address(config.Servers[0])), err)
	}
	return conn, nil
}

// configuration returns the configuration of one connection, without credentials.
func (l *login) configuration() (*configurations.ConnectionConfig, error) {
	// A copy, because go-ora changes the configuration, and the ServerName of the TLS
	// configuration.
	config := l.settings.config
	config.Servers = slices.Clone(config.Servers)
	if l.settings.loadBalance {
		rand.Shuffle(len(config.Servers), func(i, j int) {
			config.Servers[i], config.Servers[j] = config.Servers[j], config.Servers[i]
		})
	}
	config.TLSConfig = l.tls.Clone()
	if l.configure != nil {
		if err := l.configure(&config); err != nil {
			return nil, err
		}
		if len(config.Servers) == 0 {
			return nil, errors.New("Engine.Configure has removed all Servers: leave them as they are")
		}
		config.TLSConfig = config.TLSConfig.Clone() // Configure may have set another one
	}
	if t := config.TLSConfig; t != nil && t.ServerName != "" && !t.InsecureSkipVerify {
		verifyName(t, t.ServerName)
	}
	return &config, nil
}

// failed returns why a login failed. An error of the server has its short form. If the context has
// ended, the error says that first.
func (l *login) failed(ctx context.Context, server string, err error) error {
	var oe *network.OracleError
	ofServer := errors.As(err, &oe)
	if ofServer {
		err = &serverError{oe}
	}
	if end := deadline.Err(ctx); end != nil && !errors.Is(err, end) {
		err = fmt.Errorf("%w: %w", end, err)
	}
	err = tlserror.Connect(server, err, remedy)
	if l.bySecret && !ofServer {
		err = fmt.Errorf(`%w; the secret's "ssl" asks for TLS, and a listener has TLS on a port of its own: check the port`, err)
	}
	return err
}

// A quietContext never ends. go-ora gets a quietContext, and Connect closes the sockets when the
// real context ends. With the real context, go-ora would close its session while another goroutine
// reads from it, or send a break in the middle of its own first queries.
type quietContext struct{ context.Context }

func (quietContext) Deadline() (time.Time, bool) { return time.Time{}, false }
func (quietContext) Done() <-chan struct{}       { return nil }
func (quietContext) Err() error                  { return nil }

// open lets go-ora log in.
func open(ctx context.Context, config *configurations.ConnectionConfig) (conn *goora.Connection, err error) {
	defer func() {
		// If the server is no Oracle server, go-ora reads past the end of the answer.
		if e, ok := recover().(runtime.Error); ok {
			conn, err = nil, fmt.Errorf("go-ora does not understand the answer of the server: %w", e)
		}
	}()
	conn, err = goora.NewConnection("", config)
	if err != nil {
		return nil, err
	}
	if err := conn.OpenWithContext(quietContext{ctx}); err != nil {
		return nil, err
	}
	return conn, nil
}

// minDialTime is how long a server has to answer at least, if there are others to try.
const minDialTime = 2 * time.Second

// maxRedirects is how often listeners may send a client to another address.
const maxRedirects = 4

// A dialer dials for one login and keeps the connections, because go-ora closes nothing when a
// login fails.
type dialer struct {
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
	timeout time.Duration // of one dial; zero: none
	servers int
	zones   zones
	tlsOnly bool

	mu     sync.Mutex
	dialed int
	conns  []net.Conn
	closed bool
}

// Dial dials one server. The server gets a share of the time that is left.
func (d *dialer) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	if q, ok := ctx.(quietContext); ok {
		ctx = q.Context
	}
	d.mu.Lock()
	d.dialed++
	left := d.servers - d.dialed + 1
	d.mu.Unlock()
	if left <= -maxRedirects {
		return nil, errors.New("the listeners keep sending the client to other addresses")
	}
	timeout := d.timeout
	if deadline, ok := ctx.Deadline(); ok && left > 1 {
		if share := max(time.Until(deadline)/time.Duration(left), minDialTime); timeout == 0 || share < timeout {
			timeout = share
		}
	}
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	conn, err := d.dial(ctx, network, d.zones.add(address))
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	d.conns = append(d.conns, conn)
	if d.tlsOnly {
		conn = &tlsOnlyConn{Conn: conn}
	}
	return conn, nil
}

// close closes all connections, and every connection that is dialled later.
func (d *dialer) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	for _, c := range d.conns {
		_ = c.Close()
	}
}
