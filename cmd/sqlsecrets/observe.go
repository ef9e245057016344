package main

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"time"

	gomysql "github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/microsoft/go-mssqldb/msdsn"
	"github.com/sijms/go-ora/v2/configurations"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/db2"
	"github.com/sqlsecrets/sqlsecrets/engines/mysql/gosqldriver"
	"github.com/sqlsecrets/sqlsecrets/engines/oracle/goora"
	"github.com/sqlsecrets/sqlsecrets/engines/postgres/pgxv5"
	"github.com/sqlsecrets/sqlsecrets/engines/redshift"
	"github.com/sqlsecrets/sqlsecrets/engines/sqlserver/mssqldb"
)

// An observer records what the vendors' drivers dial, and their TLS handshakes. It does not change
// how they connect.
type observer struct {
	mu         sync.Mutex
	dials      []dial
	handshakes []handshake
}

// A dial is one attempt of a driver to open a network connection.
type dial struct {
	address string // what the driver asked for
	remote  string // the server's address; empty if the dial failed
	took    time.Duration
	err     error
}

// A handshake is a TLS handshake that succeeded.
type handshake struct {
	state    tls.ConnectionState
	verified string // what was verified, such as "authority and name verified"
}

// engines returns all engines of this command. Their network connections are observed.
func (o *observer) engines() []driver.Engine {
	pg := pgxv5.Engine{Configure: func(c *pgx.ConnConfig) error {
		c.DialFunc = o.dialer(c.DialFunc)
		o.watch(c.TLSConfig)
		return nil
	}}
	mysql := func(c *gomysql.Config) error {
		c.DialFunc = o.dialer((&net.Dialer{}).DialContext)
		o.watch(c.TLS)
		return nil
	}
	return []driver.Engine{
		pg,
		redshift.Engine{Engine: pg},
		gosqldriver.Engine{Configure: mysql},
		gosqldriver.Engine{MariaDB: true, Configure: mysql},
		mssqldb.Engine{Dial: o.dialer((&net.Dialer{}).DialContext), Configure: func(c *msdsn.Config) error {
			o.watch(c.TLSConfig)
			return nil
		}},
		goora.Engine{Configure: func(c *configurations.ConnectionConfig) error {
			c.Dialer = oracleDialer{o.dialer((&net.Dialer{}).DialContext)}
			o.watch(c.TLSConfig)
			return nil
		}},
		db2.Engine{},
	}
}

type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// oracleDialer adapts a dialFunc to the interface of go-ora.
type oracleDialer struct{ dial dialFunc }

func (d oracleDialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return d.dial(ctx, network, address)
}

// dialer returns a dialFunc that calls next and records the dial.
func (o *observer) dialer(next dialFunc) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		start := time.Now()
		conn, err := next(ctx, network, address)
		d := dial{address: address, took: time.Since(start), err: err}
		if err == nil {
			d.remote = conn.RemoteAddr().String()
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		o.dials = append(o.dials, d)
		return conn, err
	}
}

// watch records the handshakes of a configuration. It changes the configuration in place. If the
// driver got another configuration instead, it would require TLS where TLS is now left to the server.
func (o *observer) watch(c *tls.Config) {
	if c == nil {
		return
	}
	verified := verification(c)
	former := c.VerifyConnection
	c.VerifyConnection = func(s tls.ConnectionState) error {
		o.mu.Lock()
		o.handshakes = append(o.handshakes, handshake{s, verified})
		o.mu.Unlock()
		if former != nil {
			return former(s)
		}
		return nil
	}
}

// verification describes what a configuration verifies.
func verification(c *tls.Config) string {
	switch {
	case !c.InsecureSkipVerify:
		return "authority and name verified"
	case c.VerifyPeerCertificate != nil:
		return "authority verified, but not the name"
	case c.VerifyConnection != nil:
		return "verified to be the certificate given in the data source name"
	}
	return "NOT verified"
}

// last returns the last dial that succeeded. If none did, it returns the last dial, and reached is
// false. It also returns the last handshake. Both are nil if there was none.
func (o *observer) last() (d *dial, h *handshake, reached bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range o.dials {
		if one := &o.dials[i]; one.err == nil || !reached {
			d, reached = one, reached || one.err == nil
		}
	}
	if n := len(o.handshakes); n > 0 {
		h = &o.handshakes[n-1]
	}
	return d, h, reached
}
