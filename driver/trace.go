package driver

import (
	"context"
	"time"
)

// A Trace is a set of funcs that a [Connector] calls as a Connect call proceeds, such as
// [net/http/httptrace.ClientTrace] is for a request. Each may be nil. They are called from
// several goroutines at once: those that call Connect; one of the library, for RefreshDone;
// and, with CloseSuperseded, another one that proves a newer version by a login. The goroutine
// waits while they run. What they are given holds no value of a secret. The cache's fetches
// are events of [secretcache.Trace], which sees one cache of many connectors.
type Trace struct {
	// ConnectStart is called at the beginning of every Connect, with the SecretID only. The
	// Connect call and the other funcs use the context that it returns in place of ctx, for
	// example one with a tracing span. That context must end when ctx does. Nil means ctx.
	ConnectStart func(ctx context.Context, info ConnectInfo) context.Context
	// SecretDone is called when the secret was read, from the cache or not.
	SecretDone func(ctx context.Context, info SecretInfo)
	// RefreshDone is called when a refresh ended: once, however many calls wait for it. Its
	// context has the values of the first of them, and not its cancellation. A panic in it
	// is logged.
	RefreshDone func(ctx context.Context, info RefreshInfo)
	// LoginStart is called before credentials are sent to the server.
	LoginStart func(ctx context.Context, info LoginInfo)
	// LoginDone is called when the server answered, or the login failed.
	LoginDone func(ctx context.Context, info LoginInfo)
	// ConnectDone is called at the end of every Connect, with ConnectStart's context.
	ConnectDone func(ctx context.Context, info ConnectInfo)
}

// SecretInfo describes how a secret was read.
type SecretInfo struct {
	SecretID string
	Stage    string        // version stage asked for
	Version  string        // id of the version; empty on an error
	Duration time.Duration // from the call to the answer
	Err      error
	// StaleCause is why the last fetch failed, if the secret is older than its TTL for
	// that reason; else nil. StaleUntil is until when it will be served at most.
	StaleCause error
	StaleUntil time.Time
}

// RefreshInfo describes a refresh: a reading of a secret to find another version.
type RefreshInfo struct {
	SecretID string
	Stage    string        // version stage asked for
	Rejected string        // id of the version that the server rejected, of the stage of the data source name; empty if one was of no use for another reason
	Version  string        // id of the version found; equal to Rejected if none is newer, empty on an error
	Duration time.Duration // including the wait until the refresh was due
	Err      error
}

// LoginInfo describes one login.
type LoginInfo struct {
	SecretID string
	Stage    string // version stage that the credentials came from
	Version  string // id of the version
	Address  string // "host:port", or a list of hosts, a socket's path or `host\INSTANCE` as it was given
	// Duration, Rejected and Err are set in LoginDone only.
	Duration time.Duration
	Rejected bool  // the server rejected the credentials
	Err      error // nil if the server accepted them
}

// ConnectInfo describes one whole Connect call.
type ConnectInfo struct {
	SecretID string
	Version  string        // id of the version that was used last
	Logins   int           // how many logins this call sent
	Duration time.Duration // from the call to its end
	Err      error         // what Connect returned
}
