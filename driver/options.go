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

// DefaultConnectTimeout is the time that one Connect call may take where
// [Options.ConnectTimeout] is zero.
const DefaultConnectTimeout = 30 * time.Second

// Secrets is where a [Connector] gets secrets from; [*secretcache.Cache]
// implements it.
type Secrets interface {
	// Get returns the version of the secret that bears the stage, possibly from
	// a cache.
	Get(ctx context.Context, id, stage string) (*secretcache.Secret, error)
	// Refresh looks for another version than rejected. It returns without a call
	// only what was fetched after rejected was, and is never satisfied by a fetch
	// that began before the call. If the stage still names rejected's version, it
	// returns that with a nil error. rejected may be nil: then it always fetches.
	// A stage that names no version is secretcache.ErrNoVersion, an answer and not
	// a failure.
	Refresh(ctx context.Context, id, stage string, rejected *secretcache.Secret) (*secretcache.Secret, error)
	// Versions need not have ids. Three more methods of *secretcache.Cache are used where
	// they are there: Recheck, without which only rejected credentials are a reason to
	// refresh; Read, without which a stale secret is not reported; and LastFailure, without
	// which an error that ends with a deadline does not tell what kept the source.
}

var _ Secrets = (*secretcache.Cache)(nil)

// Options change what a [Connector] does. A nil *Options means all defaults; the
// DSN's keys win over the options. NewConnector copies what it keeps.
type Options struct {
	// Secrets is a cache of the caller's. The DSN may then not carry what a Location has.
	// Nil means SecretsAt.
	Secrets Secrets

	// SecretsAt returns the cache for a DSN's location. It is used when Secrets is nil. The
	// first Connect call calls it, once for all that come meanwhile; if it fails, the next
	// one calls it again. It takes no context, so it must not wait for a network.
	// The packages engines/<db> set it to the process's default caches.
	SecretsAt func(Location) (Secrets, error)

	// CheckLocation returns what is wrong with a DSN's location, which is then an
	// error of NewConnector, ErrBadDSN; it must not quote what may be a secret by
	// mistake. It is used with SecretsAt. A DSN that says nothing of it has the zero Location:
	// a func that returns an error for every other one refuses DSNs that carry a location. Nil:
	// only SecretsAt's own error, at the first Connect call. Without SecretsAt the packages
	// engines/<db> check the location as well, after this func.
	CheckLocation func(Location) error

	// ConnectTimeout bounds one Connect call: reading the secret and all its logins
	// together. Zero means DefaultConnectTimeout, negative none. Time spent
	// waiting in RotationWindow does not count.
	ConnectTimeout time.Duration

	// FallbackStages are the version stages to try when the server rejects the
	// current version and the secret did not change: in the middle of a rotation
	// the database has the new password before the secret's AWSCURRENT does. Nil
	// means AWSPENDING; empty and not nil means none.
	FallbackStages []string

	// RotationWindow is how long one Connect call may wait for a rotation to finish
	// when no version that the secret offers is accepted. It waits for the next refresh,
	// and does not poll. Zero does not wait.
	RotationWindow time.Duration

	// MaxLogins bounds the logins in flight with one version of a secret to one
	// address. Zero means the engine's default: 3 for Oracle, SQL Server and Db2,
	// which lock accounts, none for the others. Negative means none. While no login with the
	// version was accepted within the last second, 3 is the bound in any case. Connectors of
	// one secret that share Secrets, a pointer, and have the same MaxLogins and the same host and
	// port in the DSN, are bounded together; those that log in by tokens are not.
	MaxLogins int

	// CloseSuperseded has a pool discard connections that were opened with a version
	// of the secret that is no longer the one to use, once the server has accepted
	// another. That is checked when the pool hands a connection out, so what it is in
	// use for goes on; one that stays idle ends by [database/sql.DB.SetConnMaxIdleTime].
	// They end one after the other, the next a second or 64 checkouts later, since a
	// query fails for which a pool finds three bad connections in a row.
	//
	// A newer version becomes known when the server rejects the old one, by
	// [secretcache.Cache.Invalidate] or at the cache's TTL; a login of its own, outside
	// the pool's bound, tries it first if the pool makes none. False leaves connections
	// open, as the databases do. It is an error where Info.ClosesSuperseded is false.
	CloseSuperseded bool

	// Token returns what to log in with in place of the secret's password, which is then not
	// read: for example of Redshift, Aurora DSQL, Azure or Vault. It may bring a user as well.
	// One call at a time is made for each host, port and user, for all Connect calls that wait
	// for it; see Token.Expires for how long its result is reused. If the server rejects one
	// that was reused, Token is called and one more login is sent, before the version of the
	// secret counts as rejected. ctx ends when nobody waits any more, and after ConnectTimeout;
	// it has the values of the first call's context. An error or a panic is one of Connect, and
	// no rejection; the text of an error is shown, so it must not hold the token. Nil means
	// the secret's password, or what the DSN's "auth" says, with which Token is an error.
	//
	// A token is as good as a password while it lasts: have the DSN or TLS ask for verified TLS.
	Token func(ctx context.Context, r TokenRequest) (Token, error)

	// IAMToken does the same for a DSN with auth=iam. The packages engines/<db> set it to tokens
	// of Amazon RDS, which are signed with the AWS credentials of the DSN's location. It is not
	// called otherwise.
	IAMToken func(ctx context.Context, r TokenRequest) (Token, error)

	// TLS is the configuration for connections to the database, as one with the
	// certificate authorities of Amazon RDS. It is cloned for each connection and
	// makes TLS required; the server's name is the host dialled unless it is set
	// here. Nil means what the DSN says.
	TLS *tls.Config

	// AfterConnect is called once for each new connection, after the server has accepted the
	// login and before the pool has the connection: to set the session up, or to register
	// types. conn is the vendor's own, such as pgx's *stdlib.Conn. ctx is Connect's, with a
	// ConnectTimeout of its own. If the func fails or panics, the connection is closed and
	// Connect fails, which says nothing about the credentials: nothing is refreshed. Nil
	// calls nothing.
	AfterConnect func(ctx context.Context, conn sqldriver.Conn) error

	// Logger gets the records that an operator wants to see: rejected logins, refreshes,
	// fallback versions, stale secrets. A rotation writes a handful at level INFO, however
	// many connections there are. Nil means that of Defaults, or else silence.
	Logger *slog.Logger

	// Trace has funcs that are called at events. Nil means that of Defaults, or else none.
	Trace *Trace

	// Defaults returns the Logger and the Trace of a connector that lacks one; either may be nil.
	// It is called once at most, by the first Connect call, so that a program can set them after
	// sql.Open. The packages engines/<db> set it to those of package engines. Nil: there are none.
	Defaults func() (*slog.Logger, *Trace)
}

// clone returns a copy of what a later change by the caller would reach.
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

// setDefaults replaces what is zero.
func (o *Options) setDefaults(info *Info) {
	o.ConnectTimeout = cmp.Or(o.ConnectTimeout, DefaultConnectTimeout)
	if o.FallbackStages == nil {
		o.FallbackStages = []string{"AWSPENDING"}
	}
	o.MaxLogins = max(0, cmp.Or(o.MaxLogins, info.MaxLogins))
}

// checkSecrets makes sure that there is somewhere to get secrets from.
func (o *Options) checkSecrets() error {
	if o.Secrets == nil && o.SecretsAt == nil {
		return &Error{Op: "make connector", Err: errors.New("options have neither Secrets nor SecretsAt; use the package engines/<db>, which sets them")}
	}
	return nil
}
