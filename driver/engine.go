package driver

import (
	"context"
	"crypto/tls"
	sqldriver "database/sql/driver"
	"fmt"
	"io"
	"log/slog"
)

// An Engine adapts one kind of database, and the vendor's driver for it, to a [Connector]. The
// module's own engines are in packages such as engines/postgres/pgxv5. The package
// [github.com/sqlsecrets/sqlsecrets/driver/drivertest] tests an Engine. Several goroutines use an
// Engine at once. An Engine may also implement [CheckedElsewhere] and [AccountLocked].
type Engine interface {
	// Info describes the engine. A Connector calls it once.
	Info() Info

	// ParseURL parses the part of a data source name that follows "jdbc-secretsmanager:". It is
	// called only for URLs whose scheme is one of Info.Schemes. If own reports true for a
	// property, that property is for the Connector: ParseURL decodes its value and puts it into
	// URL.Params, unchanged otherwise. Errors name the property that is wrong and quote no
	// values. The Connector returns them as ErrBadDSN. To return another condition, use
	// &Error{Kind: ErrEngineMismatch, Err: err}, without Op and SecretID.
	ParseURL(url string, own func(property string) bool) (URL, error)

	// CheckParams checks the engine's parameters, in the vendor's spelling, without reading
	// files. An error names the parameter that is unknown or wrong and quotes no value.
	CheckParams(params map[string]string) error

	// Prepare builds the vendor's configuration for an endpoint, without credentials. A
	// Connector keeps the Login while the endpoint stays the same. Prepare may read files, but
	// must not dial.
	Prepare(ep Endpoint) (Login, error)

	// Rejected reports whether err, from Login.Connect, says that the server rejected the user's
	// credentials. It is false for errors that other credentials cannot remedy: an account that
	// is locked, a database that does not exist, a network that failed.
	Rejected(err error) bool

	// NoDatabase reports whether err, from Login.Connect, says that the server has no database
	// with the endpoint's name. A newer version of the secret may name another database, so the
	// Connector refreshes the secret; see Connector.Connect.
	NoDatabase(err error) bool
}

// CheckedElsewhere is implemented by an [Engine] whose server may ask another server whether a
// password is right, for example an LDAP directory.
type CheckedElsewhere interface {
	// CheckedElsewhere reports whether the other server caused err. It is called only if
	// Rejected(err) is true. A directory that is down gives the same error as a wrong password,
	// and a directory may lock the account. So the pause before the version is sent again begins at
	// 30 s, not at 1 s. It is not called with auth=iam, because IAM locks no account.
	CheckedElsewhere(err error) bool
}

// AccountLocked is implemented by an [Engine] whose server locks accounts.
type AccountLocked interface {
	// AccountLocked reports whether err says that the account is locked, for a time or until
	// somebody unlocks it. Rejected(err) is false then. The Connector reads the secret again, at
	// most once in 5 minutes for each secret and stage of a cache. If there is a newer version,
	// it logs in with that. Otherwise its error says that there is none. Callers find the locked
	// account in the vendor's error; this package has no variable for it.
	AccountLocked(err error) bool
}

// A Login connects to one endpoint. Each call brings its own credentials. Several goroutines use a
// Login at once.
type Login interface {
	// Connect returns the vendor's own connection. It sends the credentials to the server at
	// most once. After the server has answered with an error, it makes no second attempt. It
	// ends when ctx ends. If it fails, it leaves no socket open. Its errors hold no password in
	// any field.
	Connect(ctx context.Context, c Credentials) (sqldriver.Conn, error)
}

// Credentials are what a [Login] logs in with. They come from one version of the secret.
type Credentials struct {
	User     string   // the secret's user, or Token.User; never empty
	Password Password // the secret's password, or a token in its place

	// Keys are the values of those Info.Keys that the secret has, by key.
	Keys map[string]Password

	// Superseded reports whether the connection is to be closed, because its version of the
	// secret is superseded. The vendor's connection calls it in the method of
	// [sqldriver.SessionResetter], each time the pool hands the connection out. If it returns
	// true, the connection returns [sqldriver.ErrBadConn], and the pool uses another one. It
	// does not block. It is nil unless Options.CloseSuperseded is true, which needs
	// Info.ClosesSuperseded.
	Superseded func() bool
}

// Info tells a [Connector] about an [Engine]. A zero field means no, none or no bound, unless it
// says otherwise. Name and Accepts must be set.
type Info struct {
	// Name is for error texts and for names of drivers: "postgres".
	Name string
	// Schemes are the schemes of the engine's JDBC URLs, without the colon: "postgresql".
	Schemes []string
	// Accepts reports whether s means this engine. s is the value of the secret's key "engine", or
	// of the data source name's; the Connector has made it lower case. It is not called if there
	// is none.
	Accepts func(s string) bool
	// Port is used if neither the data source name nor the secret has a port.
	Port int
	// Database is used if neither the data source name nor the secret has a database.
	Database string
	// DatabaseRequired says that Connect fails if there is no database in the data source name, in
	// the secret, or in Database.
	DatabaseRequired bool

	// HostList allows a list as the host, in the secret and in the data source name:
	// "h1,h2:5433". A host without a port has Endpoint.Port.
	HostList bool
	// HostSocket allows, as the host, the path of a Unix socket or of its directory. It begins
	// with "/".
	HostSocket bool
	// HostInstance allows `host\INSTANCE` as the host.
	HostInstance bool

	// MaxLogins is the default of Options.MaxLogins. 0 means no bound.
	MaxLogins int
	// ClosesSuperseded says that the engine's connections call Credentials.Superseded.
	ClosesSuperseded bool

	// Keys are further keys of the secret that the engine uses, such as "account" or
	// "privateKey". Their values are strings. They are passed on in Credentials.Keys.
	Keys []string
	// NoPassword says that a secret need not have a password.
	NoPassword bool

	// Instance returns the instance that params name, or "". It takes precedence over the
	// instance in the host, and becomes a part of Endpoint.Host. Nil means that no parameter
	// names an instance.
	Instance func(params map[string]string) string
	// Files returns the names of the files that params name, such as certificates and keys. In
	// each Connect call the Connector checks whether one has changed, and then calls Prepare
	// again. If Prepare fails, the Connector logs the error and goes on with the Login that it
	// has. Nil means that no parameter names a file.
	Files func(params map[string]string) []string
	// TurnsTLSOff reports whether params turn TLS off. That takes precedence over the secret's
	// "ssl". Nil means that the engine does not support Endpoint.Encrypt; a secret whose "ssl"
	// is true is then an error.
	TurnsTLSOff func(params map[string]string) bool

	// IAM returns a copy of params for logins with tokens of AWS IAM ("auth=iam"), which
	// CheckParams accepts. In it TLS is required, and verified unless params ask for less, and
	// the token may be sent in clear text inside TLS. An error names the parameter that
	// contradicts this. Nil means that the database has no such logins.
	IAM func(params map[string]string) (map[string]string, error)
}

// A URL is what [Engine].ParseURL reads from a JDBC URL.
type URL struct {
	SecretID string            // value of the property "user"
	Host     string            // empty means the secret's; the engine may allow a list of hosts with ports
	Port     int               // 0 means the engine's default if Host is set, otherwise the secret's
	Database string            // empty means the secret's
	Params   map[string]string // the engine's parameters in the vendor's spelling, and the Connector's properties
}

// An Endpoint tells [Engine].Prepare where and how to connect. It has no credentials.
type Endpoint struct {
	// Host is a name, an IP address without brackets, a form that Info allows, or a list that
	// Engine.ParseURL returned.
	Host     string
	Port     int    // of Host; in a list, of the hosts without a port
	Database string // may be empty
	// Params are the engine's parameters, which CheckParams has accepted.
	Params map[string]string
	// IAM says that the password is a token of AWS IAM. Params are as Info.IAM returned them.
	IAM bool
	// Encrypt says that the secret's "ssl" asks for TLS. The engine must then not make a
	// connection without TLS. Encrypt does not ask for verification of the server; if Params or
	// TLS do, the server is verified. Encrypt is false if Info.TurnsTLSOff reports true.
	Encrypt bool
	// TLS is the caller's configuration. The engine must clone it and never change it. If it is
	// not nil, TLS is required, unless Params turn TLS off, and the server is verified as TLS
	// says. If its ServerName is empty, the certificate must be for the host that is dialled.
	TLS *tls.Config
}

// A Password is the password of a secret, or a token in its place. Printing, logging or marshaling
// it shows "[redacted]". The zero Password reveals the empty string. Passwords cannot be compared
// with ==.
type Password struct {
	// A func, because fmt would print a string field.
	reveal func() string
}

// NewPassword returns a Password whose Reveal returns s. Options.Token and tests of an [Engine] need
// it.
func NewPassword(s string) Password { return Password{func() string { return s }} }

// Reveal returns the password. Call it in the line that passes it to the vendor's driver.
func (p Password) Reveal() string {
	if p.reveal == nil {
		return ""
	}
	return p.reveal()
}

// String returns "[redacted]".
func (p Password) String() string { return "[redacted]" }

// Format writes "[redacted]" for every verb.
func (p Password) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, p.String()) }

// MarshalText returns "[redacted]".
func (p Password) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// LogValue returns "[redacted]".
func (p Password) LogValue() slog.Value { return slog.StringValue(p.String()) }

var (
	_ fmt.Formatter  = Password{}
	_ slog.LogValuer = Password{}
)
