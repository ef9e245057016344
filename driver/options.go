package driver

import (
	"cmp"
	"context"
	"crypto/tls"
	sqldriver "database/sql/driver"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// DefaultConnectTimeout bounds one Connect call if [Options.ConnectTimeout] is zero.
const DefaultConnectTimeout = 30 * time.Second

// Secrets is where a [Connector] gets secrets from. [*secretcache.Cache] implements it. Several
// goroutines call it at once.
//
// An implementation may have three more methods of *secretcache.Cache. The Connector uses them if
// they are there. Without Recheck, only rejected credentials cause a refresh. Without Read, a stale
// secret is not reported. Without LastFailure, an error that ends with a deadline does not say why
// the source did not answer.
//
// A version need not have an id.
type Secrets interface {
	// Get returns the version that the stage names. It may come from a cache. id is the name or
	// ARN in the data source name; stage is a version stage, such as "AWSCURRENT".
	Get(ctx context.Context, id, stage string) (*secretcache.Secret, error)
	// Refresh returns the version that the stage names now, for a caller for whom the version
	// rejected is of no use. If the stage still names that version, Refresh returns it with a
	// nil error. Refresh may return a cached version without calling the source, if that version
	// was fetched after rejected was. Otherwise it fetches the version, and the result of a fetch
	// that began before the call of Refresh does not count. If rejected is nil, Refresh always
	// fetches. secretcache.ErrNoVersion says that the stage names no version; that is an answer,
	// not a failure of the source.
	Refresh(ctx context.Context, id, stage string, rejected *secretcache.Secret) (*secretcache.Secret, error)
}

var _ Secrets = (*secretcache.Cache)(nil)

// Options change what a [Connector] does. A zero field means its default. A nil *Options means the
// default for every field, but then [NewConnector] and [Register] of this package have no source of
// secrets, which is an error: Secrets or SecretsAt must be set. NewConnector and Register of the
// packages engines/<db> accept nil, because they set SecretsAt; so does
// [github.com/sqlsecrets/sqlsecrets/engines.Options].
//
// The parameters "fallback", "rotationWindow", "maxLogins" and "closeSuperseded" of the data source
// name take precedence over FallbackStages, RotationWindow, MaxLogins and CloseSuperseded.
// NewConnector copies the Options; a later change has no effect.
type Options struct {
	// Secrets is the caller's own cache. Several connectors may share it. The caller closes it,
	// after the sql.DB. A data source name with one of the parameters "region", "endpoint",
	// "source", "profile", "roleArn" and "externalId" is then an ErrBadDSN of NewConnector. Nil
	// means that SecretsAt returns the cache.
	Secrets Secrets

	// SecretsAt returns the cache for the Location in a data source name. It is used only if
	// Secrets is nil. The first Connect call calls it; Connect calls that arrive meanwhile wait
	// for the same call. If it fails, they all fail, and the next Connect call calls it again.
	// It gets no context, so it must not wait for a network. Most programs leave it nil, which
	// means the process's default caches in the packages engines/<db>.
	SecretsAt func(Location) (Secrets, error)

	// CheckLocation is for a program whose data source names come from others: it allows or
	// forbids Locations. NewConnector calls it with the Location of the data source name, which is
	// zero if the data source name has none of its keys. If it returns an error, NewConnector
	// returns that as ErrBadDSN. The error must not quote the Location, because somebody may have
	// put a secret there by mistake. To forbid data source names with a Location, return an error
	// unless it is zero, as in the example of Options.
	//
	// It is not called if Secrets is set. If SecretsAt is nil, the packages engines/<db> check
	// the Location too, after this func. Nil allows every Location; SecretsAt may still return
	// an error at the first Connect call.
	CheckLocation func(Location) error

	// ConnectTimeout bounds one Connect call, that is reading the secret and all logins of the
	// call together. The caller's context ends the call too, if that is earlier. When the time is
	// over, the error matches [context.DeadlineExceeded]. The waiting of RotationWindow does not
	// count, and AfterConnect has this time once more. Zero means DefaultConnectTimeout, which is
	// 30 s. Negative means no bound but the caller's context.
	ConnectTimeout time.Duration

	// FallbackStages are version stages to try, in this order, if the server rejects the version
	// of the connector's own stage, which is AWSCURRENT unless the data source name has "stage",
	// and a refresh finds no other version there. In the middle of a rotation the database has
	// the new password already, and AWSCURRENT still names the old one. A version that worked is
	// used for all new connections until the server rejects it or the connector's own stage names
	// another version. Nil means AWSPENDING. Empty but not nil means none.
	FallbackStages []string

	// RotationWindow is how long one Connect call may wait for a rotation to finish if the
	// server accepts no version of the secret. Refreshes are due after 1 s, doubling to 55 s; all
	// calls that wait share each refresh. A minute is enough for a rotation that RDS manages.
	// The caller's context still ends the call. When the window is over, Connect returns
	// ErrAuthFailed. Zero or negative does not wait.
	RotationWindow time.Duration

	// MaxLogins bounds how many logins with one version of a secret are in flight to one
	// address. It protects the account: logins in flight when the password changes are rejected
	// together. Further Connect calls wait for their turn, within ConnectTimeout. Zero means the
	// engine's default, which is 3 for Oracle, SQL Server and Db2, because they lock accounts, and
	// no bound for the others. Negative means no bound.
	//
	// One bound holds for all engines and cannot be turned off: if the server has accepted no
	// login with the version within the last second, at most 3 logins are in flight, even if
	// MaxLogins is higher or negative.
	//
	// Connectors count their logins together if they have the same secret, the same Secrets,
	// which must be a pointer, the same MaxLogins, and the same host and port in the data source
	// name. docs/rotation.md, "Locked accounts", has the whole list. Connectors that log in by
	// tokens always count on their own.
	MaxLogins int

	// CloseSuperseded makes the pool close a connection whose version of the secret is
	// superseded: another version is the one to use, and the server has accepted that one. The
	// connection is checked when the pool hands it out, so no query is interrupted. A connection
	// that stays idle is not checked; [database/sql.DB.SetConnMaxIdleTime] ends it. The
	// connections end one after the other, with a second or 64 checkouts between two of them,
	// because a query fails if the pool finds three bad connections in a row.
	//
	// The connector learns of a newer version when the server rejects the old one, by
	// [secretcache.Cache.Invalidate], or when the cache's TTL ends. If the pool makes no login
	// with the newer version, the connector makes one to try it. That login is outside of the
	// pool's limits.
	//
	// False leaves connections open, as databases do. True works for PostgreSQL and Redshift, and
	// for MySQL and MariaDB on Linux, macOS, the BSDs, Solaris and illumos. For others it is an
	// error of NewConnector, which is ErrBadDSN if the data source name asks for it: use
	// [database/sql.DB.SetConnMaxLifetime] there. An [Engine] says it by Info.ClosesSuperseded.
	CloseSuperseded bool

	// Token returns a token that is sent in place of the secret's password, for example a token
	// that Redshift, Aurora DSQL, Azure or Vault issues. The secret is still read for host, port,
	// database and user, but it need not have a password. The token may bring a user with it.
	// Token.Expires says how long a token is reused. If the server rejects a token that was
	// reused, the Connect call gets a new one and sends one more login, before the version of the
	// secret counts as rejected.
	//
	// For each host, port and user, one call of Token runs at a time, for all Connect calls that
	// wait for it. ctx ends when no Connect call waits any more, or after ConnectTimeout. It has
	// the values of the context of the first of these Connect calls. If Token returns an error
	// or panics, Connect returns an error; this does not count as a rejection. Connect's error
	// has the text of Token's error, which must not contain the token.
	//
	// Nil means the secret's password, unless the data source name has "auth=iam". With both
	// Token and "auth=iam" the error is ErrBadDSN. A token is worth as much as a password while it
	// lasts: make the data source name or TLS ask for verified TLS.
	Token func(ctx context.Context, r TokenRequest) (Token, error)

	// IAMToken is used like Token, but only if the data source name has "auth=iam", which exists
	// for PostgreSQL, MySQL and MariaDB on Amazon RDS and Aurora. The packages engines/<db> set it
	// to tokens of Amazon RDS, signed with the AWS credentials of the data source name's Location.
	// Most programs leave it nil. In this package, nil makes "auth=iam" an error of NewConnector.
	IAMToken func(ctx context.Context, r TokenRequest) (Token, error)

	// TLS is the configuration for connections to the database, for example one that has the
	// certificate authorities of Amazon RDS. It makes TLS required, unless the data source name
	// turns TLS off. It is cloned for each connection. If its ServerName is empty, the
	// certificate must be for the host that is dialled. The engine for Db2 cannot use it, and
	// returns an error. Nil means that the data source name decides.
	TLS *tls.Config

	// AfterConnect is called once for each new connection, after the login and before the pool
	// gets the connection. Use it to set the session up, or to register types. conn is the
	// vendor's own connection, such as pgx's *stdlib.Conn. ctx is the one of the Connect call,
	// bounded by one more ConnectTimeout, which begins when the login has ended. If the func
	// returns an error or panics, the connection is closed and Connect fails. That says nothing
	// about the credentials, so nothing is refreshed. Nil calls nothing.
	AfterConnect func(ctx context.Context, conn sqldriver.Conn) error

	// Logger gets the records that an operator should see: rejected logins, refreshes, fallback
	// versions, stale secrets. A rotation writes a handful of records with level INFO, however
	// many connections there are. docs/observability.md lists all messages. Nil means the
	// Logger that Defaults returns; without that, nothing is logged.
	Logger *slog.Logger

	// Trace has funcs that the Connector calls at events. Nil means the Trace that Defaults
	// returns; without that, nothing is called.
	Trace *Trace

	// Defaults returns a Logger for a Connector without Logger, and a Trace for a Connector
	// without Trace. Both results may be nil. The first Connect call calls it, and no later one,
	// so a program may set its defaults after sql.Open. The packages engines/<db> set it to
	// what engines.SetDefaults was given. Nil means no defaults.
	Defaults func() (*slog.Logger, *Trace)
}

// clone returns a copy that later changes by the caller do not reach.
func (o *Options) clone() Options {
	if o == nil {
		return Options{}
	}
	c := *o
	c.FallbackStages = slices.Clone(o.FallbackStages)
	c.TLS = o.TLS.Clone()
	if o.Trace != nil {
		trace := *o.Trace
		c.Trace = &trace
	}
	return c
}

// setDefaults replaces zero fields by their defaults.
func (o *Options) setDefaults(info *Info) {
	o.ConnectTimeout = cmp.Or(o.ConnectTimeout, DefaultConnectTimeout)
	if o.FallbackStages == nil {
		o.FallbackStages = []string{"AWSPENDING"}
	}
	o.MaxLogins = max(0, cmp.Or(o.MaxLogins, info.MaxLogins))
}

// checkSecrets returns an error if there is nowhere to get secrets from.
func (o *Options) checkSecrets() error {
	if o.Secrets == nil && o.SecretsAt == nil {
		return &Error{Op: "make connector", Err: errors.New("options have neither Secrets nor SecretsAt; use the package engines/<db>, which sets them")}
	}
	return nil
}
