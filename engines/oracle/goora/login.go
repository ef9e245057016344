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

// A login connects to one of its servers.
type login struct {
	configure func(*configurations.ConnectionConfig) error
	settings  *settings   // its config is without credentials; not changed
	tls       *tls.Config // nil: no TLS
	bySecret  bool        // nothing but the secret's "ssl" asks for TLS
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
		return nil, errors.New("go-ora does not take the descriptor") // the cause may quote it
	}
	// What go-ora reads out of the descriptor has to be what is in it.
	if len(s.config.Servers) != len(hosts) || s.config.ServiceName+s.config.SID != name {
		return nil, errors.New("go-ora reads other servers or another database out of the descriptor")
	}
	return l, nil
}

// setTLS sets what is about TLS.
func (l *login) setTLS(ep driver.Endpoint) (err error) {
	s := l.settings
	if ep.TLS != nil && s.protocol == "tcp" {
		return errors.New("driver.Options.TLS asks for TLS, and the protocol tcp has none; say tcps")
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
		return "", errors.New(`parameter "DBNAME IS" says that the database is a service, and the ":" before its name that it is a SID`)
	case isSID || s.dbnameIs == "sid":
		s.config.SID = name
	default:
		s.config.ServiceName = name
	}
	return name, nil
}

// zones are those of IPv6 addresses by host:port. go-ora does not get them, since it
// takes an address for the name in a certificate.
type zones map[string]string

// cutZones takes the zones off addresses.
func cutZones(hosts []jdbcurl.Address) (cut []configurations.ServerAddr, z zones, err error) {
	z = zones{}
	for _, h := range hosts {
		host, zone, _ := strings.Cut(h.Host, "%")
		s := configurations.ServerAddr{Addr: host, Port: h.Port}
		if other, ok := z[address(s)]; ok && other != zone {
			return nil, nil, errors.New("two hosts differ in nothing but their zones")
		}
		z[address(s)] = zone
		cut = append(cut, s)
	}
	return cut, z, nil
}

func address(s configurations.ServerAddr) string {
	return net.JoinHostPort(s.Addr, strconv.Itoa(s.Port))
}

// add returns a host:port with the zone that was taken off.
func (z zones) add(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil || z[address] == "" {
		return address
	}
	return net.JoinHostPort(host+"%"+z[address], port)
}

// describeClient fills in what V$SESSION shows, as go-ora's ParseConfig does.
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
	// After a redirect go-ora writes these into a descriptor as they are.
	c.Cid = clientID(c)
}

// osUser returns the user of the operating system, without a domain of Windows.
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

// descriptor is what the listener gets.
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

// clientID is the client's description in a descriptor.
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

// Connect has go-ora connect once.
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
		err = ctx.Err() // go-ora does not mind if its last query fails
	}
	if err != nil {
		d.close()
		return nil, l.failed(ctx, l.zones.add(address(config.Servers[0])), err)
	}
	return conn, nil
}

// configuration returns that of one connection, without credentials.
func (l *login) configuration() (*configurations.ConnectionConfig, error) {
	// A copy, since go-ora changes it, as it does the name in a TLS configuration.
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
			return nil, errors.New("no Servers are left")
		}
		config.TLSConfig = config.TLSConfig.Clone() // it may be another by now
	}
	if t := config.TLSConfig; t != nil && t.ServerName != "" && !t.InsecureSkipVerify {
		verifyName(t, t.ServerName)
	}
	return &config, nil
}

// failed returns why a login failed: an error of the server in its short form, and first of
// all that the context has ended.
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
		err = fmt.Errorf(`%w; the secret's "ssl" asks for TLS, which a listener has on a port of its own`, err)
	}
	return err
}

// A quietContext does not end. go-ora gets one, and the sockets are closed when the
// context in it does: by itself it would close its session without regard to the
// goroutine that reads, or send a break in the middle of its own first queries.
type quietContext struct{ context.Context }

func (quietContext) Deadline() (time.Time, bool) { return time.Time{}, false }
func (quietContext) Done() <-chan struct{}       { return nil }
func (quietContext) Err() error                  { return nil }

// open has go-ora log in.
func open(ctx context.Context, config *configurations.ConnectionConfig) (conn *goora.Connection, err error) {
	defer func() {
		// From a server that is none, go-ora reads past the end of what came.
		if e, ok := recover().(runtime.Error); ok {
			conn, err = nil, fmt.Errorf("go-ora does not understand the server: %w", e)
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

// minDialTime is what a server gets to answer, if there are others to try.
const minDialTime = 2 * time.Second

// maxRedirects is how often listeners may send a client on.
const maxRedirects = 4

// A dialer dials for one connect and keeps what it dialled: go-ora closes nothing
// when a login fails.
type dialer struct {
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
	timeout time.Duration // of one dial; 0: none
	servers int
	zones   zones
	tlsOnly bool

	mu     sync.Mutex
	dialed int
	conns  []net.Conn
	closed bool
}

// Dial dials one server, which gets a share of the time that is left.
func (d *dialer) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	if q, ok := ctx.(quietContext); ok {
		ctx = q.Context
	}
	d.mu.Lock()
	d.dialed++
	left := d.servers - d.dialed + 1
	d.mu.Unlock()
	if left <= -maxRedirects {
		return nil, errors.New("the listeners send the client on and on")
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

// close closes all that was dialled, and what may still be.
func (d *dialer) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	for _, c := range d.conns {
		_ = c.Close()
	}
}
