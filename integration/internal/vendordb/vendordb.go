// Package vendordb connects to SQL Server and Oracle with the vendors' drivers, without the library
// under test. Tests use it to administer a server, to rotate a password, and to ask the server what
// it saw.
package vendordb

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	sqldriver "database/sql/driver"
	"errors"
	"net"
	"sync"

	mssql "github.com/microsoft/go-mssqldb"
	"github.com/microsoft/go-mssqldb/msdsn"
	goora "github.com/sijms/go-ora/v2"
	"github.com/sijms/go-ora/v2/configurations"
)

// An Account is an address, a user and a password.
type Account struct {
	Host           string
	Port           int
	Database       string // Oracle: the name of a service
	User, Password string
	TLS            *tls.Config // everything is encrypted, and verified by this configuration; nil: plaintext
}

// SQLServer returns a connector of go-mssqldb.
func SQLServer(a Account) sqldriver.Connector {
	return connector{&mssql.Driver{}, func(ctx context.Context, dial dialFunc) (sqldriver.Conn, error) {
		c, err := msdsn.Parse("protocol=tcp;encrypt=disable")
		if err != nil {
			return nil, err
		}
		c.Host, c.Port, c.Database, c.User, c.Password = a.Host, uint64(a.Port), a.Database, a.User, a.Password
		if a.TLS != nil {
			c.Encryption, c.TLSConfig = msdsn.EncryptionRequired, a.TLS.Clone()
		}
		connector := mssql.NewConnectorConfig(c)
		connector.Dialer = dial
		conn, err := connector.Connect(ctx)
		if err != nil {
			return nil, err // conn may be a nil *mssql.Conn
		}
		return conn, nil
	}}
}

// Oracle returns a connector of go-ora. SYS logs in as SYSDBA.
func Oracle(a Account) sqldriver.Connector {
	return connector{&goora.OracleDriver{}, func(ctx context.Context, dial dialFunc) (sqldriver.Conn, error) {
		c := &configurations.ConnectionConfig{PrefetchRows: 25}
		c.Servers = []configurations.ServerAddr{{Addr: a.Host, Port: a.Port}}
		c.ServiceName, c.UserID, c.Password = a.Database, a.User, a.Password
		c.Protocol, c.SessionDataUnitSize, c.TransportDataUnitSize = "tcp", 0x200000, 0x200000
		c.Language, c.Territory = "AMERICAN", "AMERICA"
		if OracleName(a.User) == "SYS" {
			c.DBAPrivilege = configurations.SYSDBA
		}
		if a.TLS != nil {
			c.Protocol, c.SSL, c.SSLVerify, c.TLSConfig = "tcps", true, true, forServerName(a.TLS)
		}
		c.RegisterDial(dial)
		conn, err := goora.NewConnection("", c)
		if err != nil {
			return nil, err
		}
		// Otherwise go-ora would end its session in the middle of its own queries.
		if err := conn.OpenWithContext(context.WithoutCancel(ctx)); err != nil {
			return nil, err
		}
		return conn, nil
	}}
}

// forServerName returns a configuration that verifies the ServerName itself, because go-ora
// replaces the ServerName with the host.
func forServerName(config *tls.Config) *tls.Config {
	c := config.Clone()
	if c.ServerName == "" || c.InsecureSkipVerify {
		return c
	}
	name := c.ServerName
	c.InsecureSkipVerify = true
	c.VerifyConnection = func(s tls.ConnectionState) error {
		_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: c.RootCAs, DNSName: name})
		return err
	}
	return c
}

type dialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

func (f dialFunc) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	return f(ctx, network, addr)
}

// A connector connects with a driver. It closes the dialed connection if the login fails, because
// go-ora does not. It also closes it if the context ends, because neither driver obeys the context
// everywhere.
type connector struct {
	driver sqldriver.Driver
	open   func(ctx context.Context, dial dialFunc) (sqldriver.Conn, error)
}

func (c connector) Connect(ctx context.Context) (sqldriver.Conn, error) {
	var mu sync.Mutex
	var dialed []net.Conn
	ended := false
	end := func() {
		mu.Lock()
		defer mu.Unlock()
		ended = true
		for _, c := range dialed {
			_ = c.Close()
		}
	}
	stop := context.AfterFunc(ctx, end)
	conn, err := c.open(ctx, func(_ context.Context, network, addr string) (net.Conn, error) {
		raw, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		mu.Lock()
		defer mu.Unlock()
		if dialed = append(dialed, raw); ended {
			_ = raw.Close()
		}
		return raw, nil
	})
	if !stop() { // ctx has ended, and so have the connections
		err = errors.Join(ctx.Err(), err)
	}
	if err != nil {
		end()
		return nil, err
	}
	return conn, nil
}

func (c connector) Driver() sqldriver.Driver { return c.driver }
