// Package gosqldriver adapts [github.com/go-sql-driver/mysql] to a
// [driver.Connector], for MySQL and MariaDB. A connection is that driver's own.
//
// # TLS
//
// If neither the parameter tls nor driver.Options.TLS says anything, TLS is used if
// the server announces it, without verification, as with tls=preferred. The driver
// decides that before it sends the user's name, on the one connection that it makes.
// That stops passive eavesdropping, not an active attacker, who can also ask for the
// password: over TLS some authentication methods of MySQL send it as it is. Ask for
// tls=true or set Options.TLS in production.
//
// tls is true (verified, for the host that is dialled), skip-verify, preferred,
// false, or a name that was given to [mysql.RegisterTLSConfig] before sql.Open.
// ssl-ca, ssl-cert and ssl-key name files in PEM, which are read again when they
// change, and mean tls=true. With Options.TLS, tls=false alone turns TLS off; true
// and ssl-ca verify even if that configuration has InsecureSkipVerify; and a
// registered name is an error. A secret whose "ssl" is true makes skip-verify of
// what is preferred.
//
// For logins by tokens of AWS IAM (auth=iam), nothing said and preferred mean true, false is
// an error, and allowCleartextPasswords is true.
//
// # Unix sockets
//
// A host that begins with "/" is the path of the server's Unix socket. There is no TLS on it,
// and what requires TLS is an error.
//
// # Logging
//
// The driver prints to stderr where a server hangs up. An [Engine] keeps it silent
// unless the program has called [mysql.SetLogger] or Configure sets a Logger.
//
// # Superseded passwords
//
// Where driver.Credentials.Superseded is given, the connection that the driver dials is
// wrapped, not the driver's, and the driver's own check of idle connections finds it
// dead. So checkConnLiveness=false is an error then, and a dialer of the program's own
// belongs in DialFunc, by Configure: one given to [mysql.RegisterDialContext] is an
// error under a name of its own, and not used under the name tcp. The driver has that
// check on Linux, macOS, the BSDs, Solaris and illumos, and not on Windows and AIX.
package gosqldriver

import (
	gomysql "github.com/go-sql-driver/mysql"

	"github.com/sqlsecrets/sqlsecrets/driver"
)

// An Engine connects to MySQL or MariaDB. The zero Engine is ready, for MySQL.
type Engine struct {
	// MariaDB has JDBC URLs begin with "mariadb:" and follow MariaDB's JDBC driver.
	// The servers are treated alike.
	MariaDB bool

	// Configure changes the configuration of one connection before it is made:
	// dialer, connection attributes, session variables, logger. It gets a copy of
	// its own, without user and password; it may be called from several goroutines
	// at once. User and Passwd are overwritten; Addr should stay, since the name in
	// TLS follows from it. A TLS configuration that it sets, or has verify the server,
	// is not left to the server. An error ends the connect. Nil changes nothing.
	Configure func(*gomysql.Config) error
}

var (
	_ driver.Engine        = Engine{}
	_ driver.AccountLocked = Engine{}
)

// Info describes MySQL or MariaDB. A secret of the one is taken for the other: RDS
// writes "mysql" or "mariadb", and Aurora's has had both of its names.
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
