// Package mssqldb has the [Engine] for SQL Server: it logs in with
// [github.com/microsoft/go-mssqldb].
//
// Programs that only need a data source name use package engines/sqlserver, which registers this
// Engine with database/sql. Use this package to change how go-mssqldb connects, for example with a
// dialer or a statement for each session: set the fields of an Engine and give it to
// [driver.NewConnector].
//
// A connection is go-mssqldb's own: [database/sql.Conn.Raw] yields it.
//
// [docs/sqlserver.md] lists the parameters that a data source name may have.
//
// # TLS
//
// If neither the parameters nor Options.TLS say anything about TLS, everything is encrypted if the
// server supports encryption, and the server is not verified. If the server says in its PRELOGIN
// that it does not support encryption, a second connection is made, without encryption. No login
// has been sent by then, and an error of the server is never followed by a login. This stops
// passive eavesdropping, not an active attacker. Ask for encrypt=true or set Options.TLS in
// production.
//
// The values of encrypt are:
//
//   - true, mandatory, yes, 1, t: everything is encrypted, and the server is verified, for the host
//     that is dialled.
//   - strict: the same, in TDS 8.0.
//   - false, optional, no, 0, f: only the login is encrypted, and the server is verified. If the
//     server does not support encryption, the login is sent in plaintext.
//   - disable: no encryption.
//
// trustservercertificate=true turns the verification off, except with strict. Without encrypt,
// trustservercertificate=false, certificate, servercertificate and hostnameincertificate mean
// encrypt=true.
//
// With Options.TLS, that configuration verifies the certificate. encrypt=false then means true.
// true and strict verify the server even if the configuration has InsecureSkipVerify.
// trustservercertificate=true changes nothing. certificate and servercertificate are errors.
//
// If the "ssl" of the secret is true, everything is encrypted, also with encrypt=false. That does
// not verify the server. encrypt=disable takes precedence.
//
// With a JDBC URL without encrypt, everything is encrypted and the server is verified, as
// Microsoft's JDBC driver does.
//
// # Windows logins
//
// A user of the form DOMAIN\name logs in with NTLM, on Windows with the operating system's
// implementation. That is the rule of go-mssqldb. The names of SQL Server's own logins have no
// backslash.
//
// # Closing superseded connections
//
// go-mssqldb has nothing that could end a connection when a pool hands it out, so
// Options.CloseSuperseded is an error of NewConnector. Open connections go on after a rotation. To
// end them, set [database/sql.DB.SetConnMaxLifetime].
//
// [docs/sqlserver.md]: https://github.com/sqlsecrets/sqlsecrets/blob/main/docs/sqlserver.md
package mssqldb

import (
	"context"
	"net"
	"strings"

	"github.com/microsoft/go-mssqldb/msdsn"

	"github.com/sqlsecrets/sqlsecrets/driver"
)

// An Engine logs in to SQL Server with go-mssqldb. The zero Engine is ready to use.
type Engine struct {
	// Configure changes the configuration of one connection before the connection is made, for
	// example the name of the application. Nil changes nothing. An error ends the connection
	// attempt.
	//
	// Configure gets a copy, without user and password. It may be called from several goroutines
	// at once. Changes of User, Password and ChangePassword have no effect. A FailOverPartner is an
	// error, because a rejected login would be repeated there. Do not change Host, because the name
	// that the certificate must have follows from it.
	Configure func(*msdsn.Config) error

	// Dial makes the network connections. network is "tcp" for the database and "udp" for SQL
	// Server Browser, which is asked for the port of a named instance. addr has the host as the
	// secret has it. Dial must return when ctx ends. Nil means a dialer that dials all addresses of
	// a host at once, or one after the other with multisubnetfailover=false.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	// SessionInitSQL is a statement such as "SET LOCK_TIMEOUT 10000". It is executed on a new
	// connection, and again each time that a pool hands the connection out, after the server has
	// reset the session. On a new connection it runs before Options.AfterConnect, and its failure
	// is an error of Connect. Later its failure closes the connection, and the pool takes another
	// one. Empty means none.
	SessionInitSQL string
}

var (
	_ driver.Engine        = Engine{}
	_ driver.AccountLocked = Engine{}
)

// Info returns what a Connector needs to know about SQL Server, such as the default port 1433. The
// default database is "master".
func (e Engine) Info() driver.Info {
	return driver.Info{
		Name:    "sqlserver",
		Schemes: []string{"sqlserver"},
		Accepts: func(s string) bool {
			// RDS writes sqlserver-ee, -se, -ex and -web, and RDS Custom custom-sqlserver-*.
			return strings.HasPrefix(strings.TrimPrefix(s, "custom-"), "sqlserver")
		},
		Port:         1433,
		Database:     "master",
		HostInstance: true,
		MaxLogins:    3, // the policy of Windows may lock accounts, often after few wrong passwords

		Instance:    instance,
		Files:       files,
		TurnsTLSOff: turnsTLSOff,
	}
}
