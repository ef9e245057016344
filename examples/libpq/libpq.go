// Package libpq is an engine of a third party: PostgreSQL by github.com/lib/pq, in place of
// the library's own on pgx. It shows what the author of an engine writes: tables of names,
// Prepare and Connect, and which errors are rejected credentials.
package libpq

import (
	"context"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/lib/pq"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/driver/vocabulary"
)

// Words are what lib/pq, PostgreSQL's JDBC driver and the server call things. lib/pq's
// sslmode=prefer is not among the values: it sends the login in plaintext after any error of
// TLS. Without sslmode, the server's certificate is verified.
var Words = &vocabulary.Vocabulary{
	Vendor: "lib/pq",
	Params: map[string]vocabulary.Param{
		"sslmode":         {Check: vocabulary.OneOf("disable", "require", "verify-ca", "verify-full")},
		"sslrootcert":     {File: true},
		"connect_timeout": {Check: vocabulary.Number("a number of seconds", 0, 3600)},
	},
	Properties: map[string]vocabulary.Property{
		"ApplicationName": {Param: "application_name"},
		"connectTimeout":  {Param: "connect_timeout"},
		"currentSchema":   {Param: "search_path"},
		"tcpKeepAlive":    vocabulary.Only("", "true"), // Go has it on
		"sslfactory":      vocabulary.None("sslrootcert names authorities"),
	},
	Absent: "autosave binaryTransfer loadBalanceHosts stringtype",
	Server: &vocabulary.Settings{Harmless: []string{"password_encryption"}},
	Together: func(params map[string]string) error {
		if _, ok := params["sslrootcert"]; ok && params["sslmode"] == "disable" {
			return errors.New(`parameter "sslrootcert" has no effect with sslmode=disable`)
		}
		return nil
	},
}

// An Engine connects to PostgreSQL with lib/pq. The zero Engine is ready.
type Engine struct{}

var _ driver.Engine = Engine{}

// Info describes PostgreSQL.
func (Engine) Info() driver.Info {
	names := []string{"postgres", "postgresql", "aurora-postgresql"}
	return driver.Info{Name: "libpq", Schemes: []string{"postgresql"}, Port: 5432, Database: "postgres",
		Accepts: func(engine string) bool { return slices.Contains(names, engine) },
		// Else TLS is always on. Info.Files is nil: lib/pq reads sslrootcert at each connect.
		TurnsTLSOff: func(params map[string]string) bool { return params["sslmode"] == "disable" }}
}

// ParseURL parses a URL of PostgreSQL's JDBC driver.
func (Engine) ParseURL(url string, own func(property string) bool) (driver.URL, error) {
	return Words.ParseURL(url, own)
}

// CheckParams checks parameters.
func (Engine) CheckParams(params map[string]string) error { return Words.Check(params) }

// Prepare builds lib/pq's configuration. NewConfig would read the environment.
func (Engine) Prepare(ep driver.Endpoint) (driver.Login, error) {
	if err := Words.Check(ep.Params); err != nil {
		return nil, err
	}
	if ep.TLS != nil {
		return nil, errors.New("Options.TLS is not for lib/pq: name the authorities with sslrootcert")
	}
	config := pq.Config{Host: ep.Host, Port: uint16(ep.Port), Database: ep.Database,
		SSLMode: pq.SSLModeVerifyFull, SSLRootCert: ep.Params["sslrootcert"], SSLSNI: true, Runtime: map[string]string{}}
	if mode, ok := ep.Params["sslmode"]; ok {
		config.SSLMode = pq.SSLMode(mode)
	}
	seconds, _ := strconv.Atoi(ep.Params["connect_timeout"]) // was checked
	config.ConnectTimeout = time.Duration(seconds) * time.Second
	maps.Copy(config.Runtime, ep.Params)
	maps.DeleteFunc(config.Runtime, func(name, _ string) bool { _, ok := Words.Params[name]; return ok })
	return login{config}, nil
}

type login struct{ config pq.Config }

// Connect logs in. lib/pq heeds ctx until it has dialled, so this ends the rest.
func (l login) Connect(ctx context.Context, c driver.Credentials) (sqldriver.Conn, error) {
	config := l.config.Clone()
	config.User, config.Password = c.User, c.Password.Reveal()
	connector, err := pq.NewConnectorConfig(config)
	if err != nil {
		return nil, err
	}
	d := &dialer{ctx: ctx}
	connector.Dialer(d)
	conn, err := connector.Connect(ctx)
	if d.stop != nil && !d.stop() && err == nil { // ctx ended just now
		_ = conn.Close()
		conn, err = nil, ctx.Err()
	}
	if err != nil && ctx.Err() != nil {
		return nil, fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	return conn, err
}

// A dialer closes its connection when ctx ends.
type dialer struct {
	net.Dialer
	ctx  context.Context
	stop func() bool
}

func (d *dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := d.Dialer.DialContext(ctx, network, address)
	if err == nil {
		d.stop = context.AfterFunc(d.ctx, func() { _ = conn.Close() })
	}
	return conn, err
}

func (d *dialer) DialTimeout(network, address string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(d.ctx, timeout)
	defer cancel()
	return d.DialContext(ctx, network, address)
}

// Rejected tells rejected credentials by SQLSTATE: 28P01 (invalid_password), and 28000
// (invalid_authorization_specification) where it is about a user that does not exist. The
// latter is also what pg_hba.conf says of a host.
func (Engine) Rejected(err error) bool {
	e := (*pq.Error)(nil)
	return errors.As(err, &e) && (e.Code == "28P01" || e.Code == "28000" && e.Routine == "InitializeSessionUserId")
}

// NoDatabase tells a missing database by SQLSTATE 3D000 (invalid_catalog_name).
func (Engine) NoDatabase(err error) bool {
	e := (*pq.Error)(nil)
	return errors.As(err, &e) && e.Code == "3D000"
}
