// Package pgxv5 adapts [github.com/jackc/pgx/v5] to a [driver.Connector], for
// PostgreSQL and what speaks its protocol. A connection is pgx's own:
// [database/sql.Conn.Raw] yields a [*github.com/jackc/pgx/v5/stdlib.Conn].
//
// What a data source name, a secret and [driver.Options] say is all that counts:
// unlike pgx alone, an [Engine] takes nothing from PG* environment variables,
// ~/.pgpass, ~/.pg_service.conf and ~/.postgresql. The operating system's
// certificate authorities are the ones that verify a server, unless sslrootcert
// or Options.TLS name others.
//
// # TLS
//
// If neither sslmode nor Options.TLS says anything, TLS is used if the server
// offers it, without verification: like sslmode=prefer, except that a login is
// never repeated in clear text. Only a server that answers the request for TLS
// with a plain no gets a login without TLS. That stops passive eavesdropping, not an
// active attacker: ask for sslmode=verify-full in production.
//
// For logins by tokens of AWS IAM (auth=iam), nothing said and prefer mean verify-full, and
// disable is an error.
//
// sslmode is disable, prefer, require, verify-ca or verify-full. allow is refused,
// since it begins with a login in clear text. With Options.TLS every sslmode but
// disable means TLS as that configuration says; verify-ca, verify-full and
// sslrootcert verify even if it has InsecureSkipVerify.
//
// # Several hosts
//
// A JDBC URL, "host" and the secret may have a list of hosts, "h1,h2:5433". They are tried in order, and a host's
// addresses likewise, with one login each, until one is up and is what
// target_session_attrs asks for. A server's error ends the search, above all
// rejected credentials, which the next host would only reject again; but not
// 57P03 (starting up or shutting down), which a server sends before it looks at
// credentials. libpq does the same, see
// https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-MULTIPLE-HOSTS.
// A host that does not answer gets its share of the time that is left, but not
// less than 2 s.
//
// # Unix sockets
//
// A host that begins with "/" is the directory of a Unix socket, in which the server's is
// .s.PGSQL.PORT. There is no TLS on it, and what requires TLS is an error.
package pgxv5

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/sqlsecrets/sqlsecrets/driver"
)

// An Engine connects to PostgreSQL. The zero Engine is ready.
//
// An engine for a server with other rules embeds it and defines the methods that
// differ, as Info and Rejected: they do not call each other.
type Engine struct {
	// Configure changes the configuration of one connection before it is made:
	// dialer, tracer, query mode, protocol limits. It gets a copy of its own,
	// without user and password, for each host that is tried; it may be called
	// from several goroutines at once. User, Password, Fallbacks and, as the
	// addresses of a host are tried one by one, changes of Port have no effect. A
	// TLSConfig that it sets, or has verify the server, is not left to the server.
	// An error ends the connect. A tracer that is set here sees what pgx shows it,
	// the password included, except in a pgxpool. Nil changes nothing.
	Configure func(*pgx.ConnConfig) error

	// ShouldPing and ResetSession are pgx's, see stdlib.OptionShouldPing and
	// stdlib.OptionResetSession: whether a connection is pinged when database/sql hands it
	// out, and what is done to it then. Nil is pgx's default: pinged if it was idle for more
	// than a second, and nothing. A pgxpool has PrepareConn and ShouldPing of its own.
	ShouldPing   func(context.Context, stdlib.ShouldPingParams) bool
	ResetSession func(context.Context, *pgx.Conn) error
}

var (
	_ driver.Engine           = Engine{}
	_ driver.CheckedElsewhere = Engine{}
)

// Info describes PostgreSQL.
func (e Engine) Info() driver.Info {
	return driver.Info{
		Name: "postgres",
		// pgjdbc knows the first only; the second is what Go programs are used to.
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
