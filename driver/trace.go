package driver

import (
	"context"
	"time"
)

// A Trace has funcs that a [Connector] calls at the events of a Connect call, in the way of
// [net/http/httptrace.ClientTrace]. A nil func is not called. The events of one Connect call are,
// in order: ConnectStart, SecretDone, LoginStart and LoginDone for each login, ConnectDone. If the
// server rejects a login, RefreshDone may come before the next login.
//
// Several goroutines call the funcs at once: those that call Connect; a goroutine of the library
// for RefreshDone; and, with CloseSuperseded, one that tries a newer version by a login. The
// goroutine waits until the func returns. The arguments never hold a password. The only values of a
// secret in them are the address, and the user and database if the server's error names them.
//
// The calls of Secrets Manager itself are events of [secretcache.Trace], because many connectors may
// share one cache. To use two Traces together, set funcs that call both.
type Trace struct {
	// ConnectStart is called at the beginning of each Connect call. Only info.SecretID is set.
	// The Connect call and the other funcs use the context that ConnectStart returns, for example
	// one with a tracing span. Derive it from ctx: the Connect call must end when ctx ends. If
	// ConnectStart returns nil, they use ctx.
	ConnectStart func(ctx context.Context, info ConnectInfo) context.Context
	// SecretDone is called when the Connect call has read the secret, usually from the cache, or
	// has failed to.
	SecretDone func(ctx context.Context, info SecretInfo)
	// RefreshDone is called when a refresh has ended: once, however many Connect calls wait for
	// it. ctx has the values of the first call's context, but does not end with it. A panic in
	// RefreshDone is logged.
	RefreshDone func(ctx context.Context, info RefreshInfo)
	// LoginStart is called before credentials are sent to the server. Only SecretID, Stage,
	// Version and Address of info are set.
	LoginStart func(ctx context.Context, info LoginInfo)
	// LoginDone is called when the server has answered, or the login has failed.
	LoginDone func(ctx context.Context, info LoginInfo)
	// ConnectDone is called at the end of each Connect call, with ConnectStart's context, unless
	// the vendor's driver panics.
	ConnectDone func(ctx context.Context, info ConnectInfo)
}

// SecretInfo describes how a Connect call read the secret.
type SecretInfo struct {
	SecretID string        // as in the data source name
	Stage    string        // version stage that was read, such as "AWSCURRENT"
	Version  string        // id of the version; empty on an error
	Duration time.Duration // of the reading; short if the cache has the secret
	Err      error         // nil if the secret was read
	// StaleCause is set if the secret is older than its TTL because the last fetch failed. It is
	// the error of that fetch. Otherwise it is nil.
	StaleCause error
	// StaleUntil is the time until which the cache serves the stale secret at most. It is zero
	// if StaleCause is nil.
	StaleUntil time.Time
}

// RefreshInfo describes a refresh: the secret was read again to find another version.
type RefreshInfo struct {
	SecretID string // as in the data source name
	Stage    string // version stage that was read: the connector's own, or a fallback stage
	// Rejected is the id of the version of the connector's own stage that the server rejected. It
	// is empty if the refresh had another reason, for example that the host has no address.
	Rejected string
	Version  string        // id of the version that the stage names; equal to Rejected if there is no other one; empty on an error
	Duration time.Duration // includes the wait until the refresh was due
	Err      error         // secretcache.ErrNoVersion: the stage names no version
}

// LoginInfo describes one login.
type LoginInfo struct {
	SecretID string // as in the data source name
	Stage    string // version stage that the credentials came from
	Version  string // id of the version
	Address  string // "host:port", or a list of hosts, a socket's path or `host\INSTANCE` as it was given
	// Duration, Rejected and Err are set in LoginDone only.
	Duration time.Duration
	Rejected bool  // the server rejected the credentials; Err is then its error
	Err      error // nil if the server accepted them
}

// ConnectInfo describes one whole Connect call.
type ConnectInfo struct {
	SecretID string        // as in the data source name
	Version  string        // id of the version that was used last; empty if the secret could not be read
	Logins   int           // how many logins this call sent; it can be 0
	Duration time.Duration // of the whole call
	Err      error         // the error that Connect returned, or nil
}
