// Package libpq is an engine that is not part of the library. It connects to PostgreSQL with
// github.com/lib/pq; the library's own engine uses pgx.
//
// It shows the four things that the author of an engine writes: tables of parameters ([Words]),
// [Engine.Prepare], the method Connect of the login that Prepare returns, and [Engine.Rejected],
// which says which errors are rejected credentials.
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

// Words has the names of the parameters of lib/pq, PostgreSQL's JDBC driver and the server.
//
// lib/pq's sslmode=prefer is not allowed, because lib/pq then sends the login in plaintext after any
// TLS error. Without sslmode, the server's certificate is verified.
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
		"tcpKeepAlive":    vocabulary.Only("", "true"), // Go turns it on
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
		// Only sslmode=disable turns TLS off. Info.Files is nil, because lib/pq reads sslrootcert
		// for each new connection.
		TurnsTLSOff: func(params map[string]string) bool { return params["sslmode"] == "disable" }}
}

// ParseURL parses a URL of PostgreSQL's JDBC driver.
func (Engine) ParseURL(url string, own func(property string) bool) (driver.URL, error) {
	return Words.ParseURL(url, own)
}

// CheckParams checks the parameters of a data source name.
func (Engine) CheckParams(params map[string]string) error { return Words.Check(params) }

// Prepare builds the configuration for lib/pq. It does not use pq.NewConfig, which reads the
// environment.
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
	seconds, _ := strconv.Atoi(ep.Params["connect_timeout"]) // Words.Check has checked it
	config.ConnectTimeout = time.Duration(seconds) * time.Second
	maps.Copy(config.Runtime, ep.Params)
	maps.DeleteFunc(config.Runtime, func(name, _ string) bool { _, ok := Words.Params[name]; return ok })
	return login{config}, nil
}

type login struct{ config pq.Config }

// Connect logs in. lib/pq observes ctx only until it has dialed. So the dialer closes the
// connection when ctx ends, which ends the login.
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
	if d.stop != nil && !d.stop() && err == nil { // ctx ended, so the dialer closes the connection
		_ = conn.Close()
		conn, err = nil, ctx.Err()
	}
	if err != nil && ctx.Err() != nil {
		return nil, fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	return conn, err
}

// A dialer dials for one login, and closes the connection when ctx ends. stop turns that off.
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

// Rejected reports whether the server rejected the credentials, by SQLSTATE: 28P01
// (invalid_password), or 28000 (invalid_authorization_specification) for a user that does not
// exist. The routine in the error tells that case apart, because the server also sends 28000 if
// pg_hba.conf does not allow the host.
func (Engine) Rejected(err error) bool {
	e := (*pq.Error)(nil)
	return errors.As(err, &e) && (e.Code == "28P01" || e.Code == "28000" && e.Routine == "InitializeSessionUserId")
}

// NoDatabase reports whether the database does not exist, by SQLSTATE 3D000 (invalid_catalog_name).
func (Engine) NoDatabase(err error) bool {
	e := (*pq.Error)(nil)
	return errors.As(err, &e) && e.Code == "3D000"
}
