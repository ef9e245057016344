// Package gosqldriver has the [Engine] for MySQL and MariaDB: it logs in with
// [github.com/go-sql-driver/mysql].
//
// Programs that only need a data source name use package engines/mysql or engines/mariadb, which
// register this Engine with database/sql. Use this package to change how go-sql-driver connects,
// for example with a dialer or connection attributes: set the fields of an Engine and give it to
// [driver.NewConnector].
//
// A connection is go-sql-driver's own: [database/sql.Conn.Raw] yields it.
//
// [docs/mysql.md] lists the parameters that a data source name may have.
//
// # TLS
//
// If neither the parameter tls nor Options.TLS is given, TLS is used if the server announces it,
// and the server is not verified, as with tls=preferred. The driver decides that before it sends
// the user's name, on the one connection that it makes. This stops passive eavesdropping, not an
// active attacker. Such an attacker can even ask for the password: over TLS, some authentication
// methods of MySQL send it as it is. Ask for tls=true or set Options.TLS in production.
//
// tls is true (the server is verified, for the host that is dialled), skip-verify, preferred,
// false, or a name that the program gave to mysql.RegisterTLSConfig of go-sql-driver before
// sql.Open. ssl-ca, ssl-cert and ssl-key name files in PEM. The files are read again when they
// change. They mean tls=true.
//
// With Options.TLS, only tls=false turns TLS off. tls=true and ssl-ca verify the server even if
// that configuration has InsecureSkipVerify. A registered name is an error. If the "ssl" of the
// secret is true, tls=preferred and no tls mean tls=skip-verify.
//
// For logins by tokens of AWS IAM (auth=iam), no tls and preferred mean true, false is an error,
// and allowCleartextPasswords is true.
//
// # Unix sockets
//
// A host that begins with "/" is the path of the server's Unix socket. There is no TLS on a Unix
// socket, so Connect fails if anything requires TLS.
//
// # Logging
//
// go-sql-driver prints to the standard error stream when a server hangs up. An Engine keeps it
// silent, unless the program has called its mysql.SetLogger or Configure sets a Logger.
//
// # Closing superseded connections
//
// With Options.CloseSuperseded, the network connection that go-sql-driver dials is wrapped, and not
// the connection that database/sql sees. The driver's own check of idle connections then takes a
// superseded connection for dead. This has consequences:
//
//   - checkConnLiveness=false is an error.
//   - A dialer of the program belongs in DialFunc, which Configure can set. If a dialer was given
//     to mysql.RegisterDialContext under the name "tcp", it is not used. Under another name it is
//     an error.
//   - The driver has the check on Linux, macOS, the BSDs, Solaris and illumos. On Windows and AIX
//     Options.CloseSuperseded is an error.
//
// [docs/mysql.md]: https://github.com/sqlsecrets/sqlsecrets/blob/main/docs/mysql.md
package gosqldriver

import (
	gomysql "github.com/go-sql-driver/mysql"

	"github.com/sqlsecrets/sqlsecrets/driver"
)

// An Engine logs in to MySQL or MariaDB with go-sql-driver/mysql. The zero Engine is ready to use,
// for MySQL.
type Engine struct {
	// MariaDB says that the engine is called "mariadb", and that JDBC URLs begin with "mariadb:"
	// and have the properties of MariaDB's JDBC driver. False means MySQL. There is no other
	// difference.
	MariaDB bool

	// Configure changes the configuration of one connection before the connection is made, for
	// example the dialer, connection attributes, session variables or the logger. Nil changes
	// nothing. An error ends the connection attempt.
	//
	// Configure gets a copy, without user and password. It may be called from several goroutines
	// at once. Changes of User and Passwd have no effect. Do not change Addr, because the name that
	// the certificate must have follows from it. If it sets a TLS configuration, or makes the given
	// one verify the server, TLS is required.
	Configure func(*gomysql.Config) error
}

var (
	_ driver.Engine        = Engine{}
	_ driver.AccountLocked = Engine{}
)

// Info returns what a Connector needs to know about MySQL or MariaDB, such as the default port
// 3306. A secret of the one is also accepted for the other: RDS writes "mysql" or "mariadb", and
// Aurora has written both "aurora" and "aurora-mysql".
func (e Engine) Info() driver.Info {
	name := "mysql"
	if e.MariaDB {
		name = "mariadb"
	}
	return driver.Info{
		Name:    name,
		Schemes: []string{name},
		Accepts: func(s string) bool {
			return s == "mysql" || s == "mariadb" || s == "aurora" || s == "aurora-mysql"
		},
		Port:             3306,
		HostSocket:       true,
		ClosesSuperseded: hasConnCheck,
		Files:            files,
		TurnsTLSOff:      turnsTLSOff,
		IAM:              forIAM,
	}
}
