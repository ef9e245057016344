// Package goora has the [Engine] for Oracle: it logs in with [github.com/sijms/go-ora/v2].
//
// Programs that only need a data source name use package engines/oracle, which registers this
// Engine with database/sql. Use this package to change how go-ora connects, for example with a
// dialer or a program name: set the fields of an Engine and give it to [driver.NewConnector].
//
// A connection is go-ora's own. [database/sql.Conn.Raw] yields a
// [*github.com/sijms/go-ora/v2.Connection].
//
// [docs/oracle.md] lists the parameters that a data source name may have.
//
// # The database
//
// The "dbname" of the secret or of the data source name is the name of a service. It is a SID if it
// has a colon before it (":ORCL") or if the parameter "dbname_is=sid" is given. The parameters
// "INSTANCE NAME" and "SERVER TYPE" choose the instance and the kind of server process.
//
// # TLS
//
// If nothing asks for TLS, there is none. Every client of Oracle works this way, because a listener
// has TLS on a port of its own. SSL=true, PROTOCOL=tcps and Options.TLS ask for TLS. The server is
// then verified, for the host that is dialled or to which a listener sends the client, unless SSL
// VERIFY=false is given. A listener cannot send the client to an address without TLS.
//
// The certificate authorities are those of the operating system, of the WALLET or of Options.TLS. A
// ServerName in Options.TLS counts. With Options.TLS, SSL=false turns TLS off. SSL VERIFY=true
// verifies the server even if that configuration has InsecureSkipVerify. The parameter
// PROTOCOL=tcp, which a descriptor may contain, is an error.
//
// If the "ssl" of the secret is true, and nothing else asks for TLS or turns it off, the connection
// has TLS without verification, on the port of the secret or of the data source name. If a listener
// without TLS has that port, the login fails, and the error says so.
//
// Oracle's own encryption is used if the server asks for it (ENCRYPTION=ACCEPTED). The client
// cannot require it: go-ora goes on without encryption if the server, or an attacker in between,
// says that there is none. ENCRYPTION=REQUIRED is an error for that reason.
//
// # Several hosts
//
// A JDBC URL may have several hosts. They are tried in a random order with LOAD BALANCE=true, which is
// the default for a list of hosts, and otherwise in their order, until a listener accepts the
// connection. The login goes to that host and to no other.
//
// # What go-ora cannot do here
//
// User-defined types, AddSessionParam and SetStringConverter are not available, because they need
// go-ora's own driver behind the *sql.DB. And nothing can tell a connection of go-ora that it is
// superseded, so closeSuperseded=true is an error. Open connections go on after a rotation. To end
// them, set [database/sql.DB.SetConnMaxLifetime].
//
// [docs/oracle.md]: https://github.com/sqlsecrets/sqlsecrets/blob/main/docs/oracle.md
package goora

import (
	"strings"

	"github.com/sijms/go-ora/v2/configurations"

	"github.com/sqlsecrets/sqlsecrets/driver"
)

// An Engine logs in to Oracle with go-ora. The zero Engine is ready to use.
type Engine struct {
	// Configure changes the configuration of one connection before the connection is made, for
	// example the dialer, the names that V$SESSION shows, or sizes. Nil changes nothing. An error
	// ends the connection attempt.
	//
	// Configure gets a copy, without user and password. It may be called from several goroutines
	// at once. Changes of UserID and Password have no effect. Do not change Servers. If it sets
	// TraceFilePath or TraceDir, go-ora writes everything that is sent to files.
	Configure func(*configurations.ConnectionConfig) error
}

var (
	_ driver.Engine        = Engine{}
	_ driver.AccountLocked = Engine{}
)

// Info returns what a Connector needs to know about Oracle, such as the default port 1521. The
// "engine" of a secret may contain the edition, as RDS writes it: "oracle-se2".
func (e Engine) Info() driver.Info {
	return driver.Info{
		Name:    "oracle",
		Schemes: []string{"oracle"},
		Accepts: func(s string) bool {
			return strings.HasPrefix(s, "oracle") || strings.HasPrefix(s, "custom-oracle")
		},
		Port:             1521,
		DatabaseRequired: true,
		MaxLogins:        3,
		Files:            files,
		TurnsTLSOff:      turnsTLSOff,
	}
}
