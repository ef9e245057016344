package driver

import (
	"context"
	"crypto/tls"
	sqldriver "database/sql/driver"
	"fmt"
	"io"
	"log/slog"
)

// An Engine adapts one kind of database and its vendor's driver to a
// [Connector]. Engines are in packages of their own, as
// engines/postgres/pgxv5; [github.com/sqlsecrets/sqlsecrets/driver/drivertest]
// checks one. An Engine is used from several goroutines at once.
type Engine interface {
	// Info describes the engine. It is called once for a Connector.
	Info() Info

	// ParseURL parses what follows "jdbc-secretsmanager:" in a data source name.
	// It is asked only for URLs whose scheme is one of Info's. Properties for
	// which own reports true are the Connector's; they go to URL.Params decoded
	// and otherwise as they are. Its errors name the property that is wrong and
	// quote no values; an *Error without Op and SecretID keeps its Kind, any other
	// is ErrBadDSN.
	ParseURL(url string, own func(property string) bool) (URL, error)

	// CheckParams checks the engine's parameters, in the vendor's spelling, as
	// far as that can be done without reading files. Its errors name the
	// parameter that is unknown or wrong and quote no values.
	CheckParams(params map[string]string) error

	// Prepare builds the vendor's configuration for an endpoint, without
	// credentials. A Connector keeps the result for as long as the endpoint
	// stays the same. Prepare may read files, not dial.
	Prepare(ep Endpoint) (Login, error)

	// Rejected reports whether err, from Login.Connect, says that the server
	// rejected the user's credentials: not an account that is locked, a database
	// that is missing or a network that failed, which other credentials do not cure.
	Rejected(err error) bool

	// NoDatabase reports whether err, from Login.Connect, says that the server has
	// no database of the endpoint's name: the secret may name another by now.
	NoDatabase(err error) bool
}

// CheckedElsewhere is implemented by an [Engine] whose server may ask another one whether a
// password is right, as an LDAP directory.
type CheckedElsewhere interface {
	// CheckedElsewhere reports whether err, for which Rejected is true, comes from there. A
	// directory that is down looks the same, so the pause before the version is sent again
	// begins at 30 s, not at 1 s: the directory may lock the account. It is not asked with
	// auth=iam, which locks none.
	CheckedElsewhere(err error) bool
}

// AccountLocked is implemented by an [Engine] whose server locks accounts.
type AccountLocked interface {
	// AccountLocked reports whether err, for which Rejected is false, says that the account is
	// locked, for a while or for good. The secret is then read again, so that the error can say
	// whether there is a newer version; at most once in 5 minutes.
	AccountLocked(err error) bool
}

// A Login connects to one endpoint with the credentials of each call. It is
// used from several goroutines at once.
type Login interface {
	// Connect returns the vendor's own connection. It sends the credentials to
	// the server at most once, and never in a second attempt after the server
	// answered with an error. It ends when ctx does and leaves no socket behind
	// when it fails. Its errors hold no password in any field.
	Connect(ctx context.Context, c Credentials) (sqldriver.Conn, error)
}

// Credentials are what a [Login] logs in with.
type Credentials struct {
	User     string
	Password Password

	// Keys are the values of Info.Keys that the secret has, by key. They come from the same
	// version as user and password.
	Keys map[string]Password

	// Superseded is not nil only if Info.ClosesSuperseded. It reports whether the
	// connection is not to be used any more. The connection calls it each time that
	// a pool hands it out, in [sqldriver.SessionResetter]'s method, and answers
	// [sqldriver.ErrBadConn] if it returns true: the pool then takes another one.
	// It is quick and does not fail.
	Superseded func() bool
}

// Info is what a [Connector] has to know about an [Engine].
type Info struct {
	Name             string              // for error texts and names of drivers: "postgres"
	Schemes          []string            // what a JDBC URL of the engine may begin with, before the colon: "postgresql"
	Accepts          func(s string) bool // whether a secret's "engine" of value s, in lower case, is this engine's
	Port             int                 // where neither the DSN nor the secret has one
	Database         string              // likewise; empty is none
	DatabaseRequired bool                // an empty database is an error
	HostList         bool                // "h1,h2:5433" is a host, in the secret and in the DSN; those without a port have Endpoint.Port
	HostSocket       bool                // so is the path of a Unix socket, or of its directory: it begins with "/"
	HostInstance     bool                // so is `host\INSTANCE`
	MaxLogins        int                 // the default of Options.MaxLogins; 0 = no bound
	ClosesSuperseded bool                // connections heed Credentials.Superseded

	// Keys are further keys of the secret that the engine takes, such as "account" or
	// "privateKey". Their values are strings, and go to Credentials.Keys.
	Keys []string
	// NoPassword says that a secret need not have a password.
	NoPassword bool

	// Instance returns the instance that params name, or "". It takes precedence over the host's,
	// and is part of Endpoint.Host then. Nil: no parameter names one.
	Instance func(params map[string]string) string
	// Files returns the files that params name, as certificates and keys. A Connector looks
	// at each when it connects and calls Prepare again if one has changed. If that fails, it
	// goes on with what Prepare returned before, and logs the error. Nil is none.
	Files func(params map[string]string) []string
	// TurnsTLSOff reports whether params turn TLS off, which takes precedence over the
	// secret's "ssl". Nil says that the engine does not heed Endpoint.Encrypt: a secret whose
	// "ssl" is true is then an error.
	TurnsTLSOff func(params map[string]string) bool

	// IAM returns a copy of params for logins by tokens of AWS IAM ("auth=iam"), as CheckParams
	// takes them: TLS is required, and verified unless params ask for less;
	// the token may be sent as it is. An error names the parameter that does not go with that.
	// Nil says that the database has no such logins.
	IAM func(params map[string]string) (map[string]string, error)
}

// A URL is what an [Engine] read out of a JDBC URL.
type URL struct {
	SecretID string            // the "user"
	Host     string            // empty: the secret's; the engine may allow a list of hosts with ports
	Port     int               // 0: the engine's default where Host is given, else the secret's
	Database string            // empty: the secret's
	Params   map[string]string // in the vendor's spelling, and the Connector's own
}

// An Endpoint is where a [Login] goes, all but the credentials.
type Endpoint struct {
	Host     string // a name, an IP address without brackets, a form that Info allows, or a list of Engine.ParseURL's
	Port     int
	Database string // may be empty
	// Params are the engine's parameters as CheckParams accepted them.
	Params map[string]string
	// IAM says that the password is a token of AWS IAM. Params are as Info.IAM returned them.
	IAM bool
	// Encrypt says that the secret's "ssl" asks for TLS: a connection without it must not be
	// made. It asks for no verification; where Params or TLS do, that stays. It is false
	// where Info.TurnsTLSOff is true.
	Encrypt bool
	// TLS is the caller's configuration, to be cloned and never changed. Not nil:
	// TLS is required, verified as it says, for the host that is dialled unless it
	// has a ServerName, except where Params turn TLS off.
	TLS *tls.Config
}

// A Password is the password of a secret, or a token in its place. Its printed forms never show it.
type Password struct {
	// A func, because fmt prints a string field of any type.
	reveal func() string
}

// NewPassword returns a Password that reveals s. Tests of an [Engine] need it.
func NewPassword(s string) Password { return Password{func() string { return s }} }

// Reveal returns the password. Call it on the line that hands it to the vendor's driver.
func (p Password) Reveal() string {
	if p.reveal == nil {
		return ""
	}
	return p.reveal()
}

// String returns a fixed text.
func (p Password) String() string { return "[redacted]" }

// Format writes a fixed text, whatever the verb.
func (p Password) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, p.String()) }

// MarshalText returns a fixed text.
func (p Password) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// LogValue returns a fixed text.
func (p Password) LogValue() slog.Value { return slog.StringValue(p.String()) }

var (
	_ fmt.Formatter  = Password{}
	_ slog.LogValuer = Password{}
)
