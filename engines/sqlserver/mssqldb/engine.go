// Package mssqldb adapts [github.com/microsoft/go-mssqldb] to a [driver.Connector], for
// SQL Server. A connection is that driver's own.
//
// # TLS
//
// If neither the parameters nor driver.Options.TLS say anything, everything is
// encrypted, without verification, as long as the server supports encryption at all. One
// that says in its PRELOGIN that it does not is connected to a second time, without. No
// login has been sent by then, and none is after an error of the server. That stops
// passive eavesdropping, not an active attacker: ask for encrypt=true or set Options.TLS
// in production.
//
// encrypt is true, mandatory, yes, 1 or t (everything is encrypted and the certificate
// verified, for the host that is dialled), strict (the same in TDS 8.0), false, optional,
// no, 0 or f (the login alone, if the server supports it, verified as well) or disable.
// trustservercertificate=true leaves the verification out, but for strict. Without encrypt,
// trustservercertificate=false, certificate, servercertificate or
// hostnameincertificate mean encrypt=true. With Options.TLS that configuration is what the
// certificate is verified by: encrypt=false means true, true and strict verify even if it
// has InsecureSkipVerify, trustservercertificate=true changes nothing, and certificate and
// servercertificate are errors. A secret whose "ssl" is true has everything encrypted, also
// with encrypt=false, and asks for no verification; encrypt=disable takes precedence.
//
// A JDBC URL without encrypt is encrypted and verified, as with Microsoft's JDBC driver.
//
// # Windows logins
//
// A user of the form DOMAIN\name is logged in with NTLM, on Windows with what the system
// has; that is go-mssqldb's rule. SQL Server's own logins have no backslash.
//
// # Superseded passwords
//
// go-mssqldb has nothing that could end a connection at check-out, so that
// driver.Options.CloseSuperseded is an error.
package mssqldb

import (
	"context"
	"net"
	"strings"

	"github.com/microsoft/go-mssqldb/msdsn"

	"github.com/sqlsecrets/sqlsecrets/driver"
)

// An Engine connects to SQL Server. The zero Engine is ready.
type Engine struct {
	// Configure changes the configuration of one connection before it is made. It gets
	// a copy of its own, without user and password; it may be called from several
	// goroutines at once. User, Password and ChangePassword are overwritten, and a
	// FailOverPartner is an error, since a rejected login would be repeated there. Host
	// should stay, since the name in TLS follows from it. An error ends the connect.
	// Nil changes nothing.
	Configure func(*msdsn.Config) error

	// Dial makes the network connections: "tcp" to the database and, for a named
	// instance, "udp" to SQL Server Browser, both with a host as the secret has it. It
	// has to heed its context. Nil dials, all addresses of a host at once, or one after
	// the other with multisubnetfailover=false.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	// SessionInitSQL is executed on a new connection and each time that a pool hands
	// one out, after its session was reset: "SET LOCK_TIMEOUT 10000". Empty is none.
	SessionInitSQL string
}

var (
	_ driver.Engine        = Engine{}
	_ driver.AccountLocked = Engine{}
)

// Info describes SQL Server. The database master is where a login goes that names none.
func (e Engine) Info() driver.Info {
	return driver.Info{
		Name:    "sqlserver",
		Schemes: []string{"sqlserver"},
		Accepts: func(s string) bool {
			// RDS has sqlserver-ee, -se, -ex and -web, RDS Custom custom-sqlserver-*.
			return strings.HasPrefix(strings.TrimPrefix(s, "custom-"), "sqlserver")
		},
		Port:         1433,
		Database:     "master",
		HostInstance: true,
		MaxLogins:    3, // lock-out is a policy of Windows, and a tight one is common

		Instance:    instance,
		Files:       files,
		TurnsTLSOff: turnsTLSOff,
	}
}
