// Package goora adapts [github.com/sijms/go-ora/v2] to a [driver.Connector], for
// Oracle. A connection is go-ora's own: [database/sql.Conn.Raw] yields a
// [*github.com/sijms/go-ora/v2.Connection].
//
// An endpoint's database is the name of a service, or a SID with a colon before it or with
// the parameter "dbname_is=sid": ":ORCL". An instance, a kind of server process and more have parameters.
//
// # TLS
//
// If nothing says otherwise there is no TLS, as with every client of Oracle, since a
// listener has TLS on a port of its own. SSL=true, PROTOCOL=tcps and driver.Options.TLS
// ask for it, and then the server is verified for the host that is dialled, or the
// one that a listener sends the client to, unless SSL VERIFY=false. A listener cannot
// send it on to an address without TLS.
//
// The authorities are the system's, those of the WALLET, or of Options.TLS, in which
// a ServerName is heeded. With Options.TLS, SSL=false turns TLS off; SSL VERIFY=true
// verifies even if that configuration has InsecureSkipVerify; and the parameter
// PROTOCOL=tcp, which is what a descriptor says, is an error. A secret whose "ssl" is true
// has TLS without verification where nothing else asks for TLS or turns it off, on the port
// that there is.
//
// Oracle's own encryption is used if the server asks for it, ENCRYPTION=ACCEPTED.
// Nothing can make sure of it: go-ora goes on without if the server says so, or
// somebody between. ENCRYPTION=REQUIRED is an error for that reason.
//
// # Several hosts
//
// They are tried in order, or by chance with LOAD BALANCE=true, until a listener
// accepts the connection. A login goes to that one and to no other.
//
// # What go-ora cannot do here
//
// User-defined types: its RegisterType needs a driver of its own behind the
// *sql.DB. So do AddSessionParam and SetStringConverter. And its connections cannot be
// told that they are superseded: closeSuperseded=true is an error, and
// [database/sql.DB.SetConnMaxLifetime] is what ends them.
package goora

import (
	"strings"

	"github.com/sijms/go-ora/v2/configurations"

	"github.com/sqlsecrets/sqlsecrets/driver"
)

// An Engine connects to Oracle. The zero Engine is ready.
type Engine struct {
	// Configure changes the configuration of one connection before it is made:
	// dialer, names that V$SESSION shows, sizes. It gets a copy of its own, without
	// user and password; it may be called from several goroutines at once. UserID and
	// Password are overwritten; Servers should stay. TraceFilePath and TraceDir have
	// go-ora write all that is sent to files. An error ends the connect. Nil changes
	// nothing.
	Configure func(*configurations.ConnectionConfig) error
}

var (
	_ driver.Engine        = Engine{}
	_ driver.AccountLocked = Engine{}
)

// Info describes Oracle. RDS writes the edition into a secret, as "oracle-se2".
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
