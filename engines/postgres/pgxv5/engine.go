// Package pgxv5 has the [Engine] for PostgreSQL: it logs in with [github.com/jackc/pgx/v5].
//
// Programs that only need a data source name use package engines/postgres, which registers this
// Engine with database/sql. Use this package to change how pgx connects, for example with a dialer
// or a query mode: set the fields of an Engine and give it to [driver.NewConnector] or [NewPool].
//
// A connection is pgx's own. [database/sql.Conn.Raw] yields a
// [*github.com/jackc/pgx/v5/stdlib.Conn].
//
// [docs/postgres.md] lists the parameters that a data source name may have.
//
// Everything comes from the data source name, the secret and [driver.Options]. Unlike pgx alone, an
// Engine takes nothing from PG* environment variables, ~/.pgpass, ~/.pg_service.conf and
// ~/.postgresql. The certificate authorities of the operating system verify a server, unless
// sslrootcert or Options.TLS names others.
//
// # TLS
//
// If neither sslmode nor Options.TLS is given, TLS is used if the server offers it, and the server
// is not verified. That is like sslmode=prefer, with one exception: a login is never repeated in
// plaintext. Only a server that answers the request for TLS with "no" gets a login without TLS.
// This stops passive eavesdropping, not an active attacker. Ask for sslmode=verify-full in
// production.
//
// sslmode is disable, prefer, require, verify-ca or verify-full. allow is an error, because it
// begins with a login in plaintext. With Options.TLS, every sslmode except disable means TLS as
// that configuration says; verify-ca, verify-full and sslrootcert verify the server even if the
// configuration has InsecureSkipVerify.
//
// For logins by tokens of AWS IAM (auth=iam), no sslmode and prefer mean verify-full, and disable
// is an error.
//
// # Several hosts
//
// A JDBC URL, the parameter "host" and the secret may have a list of hosts, such as "h1,h2:5433".
// The hosts are tried in their order, and so are the addresses of each host, with one login each,
// until a server is up and is what target_session_attrs asks for. An error of a server ends the
// search. Above all, rejected credentials do: the next host would reject them too. The exception is
// 57P03 (starting up or shutting down), which a server sends before it reads the credentials. libpq
// does the same, see
// https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-MULTIPLE-HOSTS.
// A host that does not answer gets its share of the time that is left, but not less than 2 s.
//
// # Unix sockets
//
// A host that begins with "/" is the directory of a Unix socket. The socket is the file
// .s.PGSQL.PORT in it. There is no TLS on a Unix socket, so Connect fails if anything requires TLS.
//
// # Pools
//
// [NewPool], [ConfigurePool] and [ConfigureConn] do for pgx's own pool and connections what a
// [driver.Connector] does for database/sql.
//
// [docs/postgres.md]: https://github.com/sqlsecrets/sqlsecrets/blob/main/docs/postgres.md
package pgxv5

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/sqlsecrets/sqlsecrets/driver"
)

// An Engine logs in to PostgreSQL with pgx. The zero Engine is ready to use.
//
// An engine for a similar server embeds an Engine and defines the methods that differ, such as Info
// and Rejected. For example, a new Info does not change what Rejected returns: the methods of an
// Engine do not call each other.
type Engine struct {
	// Configure changes the configuration of one connection before the connection is made, for
	// example the dialer, the tracer, the query mode or the limits of the protocol. Nil changes
	// nothing. An error ends the connection attempt.
	//
	// Configure gets a copy for each host that is tried, without user and password. It may be
	// called from several goroutines at once. Do not change Host, because the name that the
	// certificate must have follows from it. Changes of User, Password, Fallbacks and Port have
	// no effect. If it sets a TLSConfig, or makes the given one verify the server, TLS is required.
	// A tracer that is set here sees everything that pgx shows to it, including the password,
	// except in a pgxpool.
	Configure func(*pgx.ConnConfig) error

	// ShouldPing decides whether pgx pings a connection when database/sql hands the connection
	// out: see stdlib.OptionShouldPing. Nil pings a connection that was idle for more than a
	// second, as pgx does by default. ResetSession is called then, after a ping: see
	// stdlib.OptionResetSession. Nil does nothing. Neither is used for a pgxpool, which has
	// PrepareConn and ShouldPing of its own.
	ShouldPing   func(context.Context, stdlib.ShouldPingParams) bool
	ResetSession func(context.Context, *pgx.Conn) error
}

var (
	_ driver.Engine           = Engine{}
	_ driver.CheckedElsewhere = Engine{}
)

// Info returns what a Connector needs to know about PostgreSQL, such as the default port 5432 and
// the default database "postgres".
func (e Engine) Info() driver.Info {
	return driver.Info{
		Name: "postgres",
		// pgjdbc knows only the first; Go programs often write the second.
		Schemes: []string{"postgresql", "postgres"},
		Accepts: func(s string) bool {
			return s == "postgres" || s == "postgresql" || s == "aurora-postgresql"
		},
		Port:             5432,
		Database:         "postgres",
		HostList:         true,
		HostSocket:       true,
		ClosesSuperseded: true,
		Files:            files,
		TurnsTLSOff:      turnsTLSOff,
		IAM:              forIAM,
	}
}
