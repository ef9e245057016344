// Package agent is the [secretcache.Source] that asks the AWS Secrets Manager Agent
// (since its version 3 the AWS Workload Credentials Provider), or the AWS Parameters and
// Secrets Lambda Extension, over HTTP on the machine's own loopback interface. It uses
// the standard library only: a program that gets its secrets so links no AWS SDK.
//
// # Caches
//
// Both servers keep a secret for 300 s by default, and what a [secretcache.Cache] keeps
// it for adds to that. The agent can be asked past its cache, which FetchFresh does, so
// a version that a rotation made is found as soon as the old one is rejected. The
// extension cannot: there FetchFresh is [errors.ErrUnsupported], and a new version is
// found when the extension's copy expires, unless [secretcache.Chain] asks the API then.
//
// # Retries
//
// A fetch waits for a server that is not there yet: one that refuses connections, says
// that it is not ready, or whose token file is missing or empty; see
// Options.StartTimeout. Retried up to Options.MaxAttempts times are answers of too many
// requests (429 and ThrottlingException), statuses of 500 and more, connections that
// break, answers that cannot be read, and attempts without an answer within
// Options.AttemptTimeout. After a fetch that failed for one of these reasons, except the
// last, fetches in the next two minutes make one attempt each until the server answers.
// A token that is not accepted is read again, and sent if it is
// another one. All else is final. Pauses are jittered.
//
// # Connections
//
// Every request has a connection of its own. The agent ends a connection 61 s after it
// accepted it, goes on refusing on one that it has refused for its number once, and a
// Lambda function may be frozen between two requests; to connect again over loopback
// takes about 0.1 ms. No proxy is used, whatever the environment says, and no
// redirect followed.
//
// # Errors
//
// Every error is an [*Error]. It matches the sentinels of package secretcache:
//
//	ErrNotFound      ResourceNotFoundException "… can't find the specified secret.",
//	                 InvalidRequestException for a secret marked for deletion
//	ErrNoVersion     ResourceNotFoundException "… can't find the specified secret value for …"
//	ErrAccessDenied  AccessDeniedException, DecryptionFailure, a role that cannot be assumed
//	ErrThrottled     ThrottlingException, status 429
//
// All else matches none, since it says nothing of the secret, so that a
// [secretcache.Chain] asks its next source: a token that is not accepted, an agent whose
// own credentials have expired, and whatever the extension says when a secret cannot be
// had, for it has one text for all reasons. [errors.As] finds network errors and the
// caller's context error. No error quotes an answer, but for the text of an exception.
package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/internal/httpfetch"
)

// Defaults of [Options].
const (
	DefaultEndpoint       = "http://127.0.0.1:2773"
	DefaultHeader         = "X-Aws-Parameters-Secrets-Token"
	DefaultStartTimeout   = 5 * time.Second
	DefaultAttemptTimeout = 2 * time.Second
	DefaultMaxAttempts    = 3
)

// PortEnv is the environment variable that sets the extension's port.
const PortEnv = "PARAMETERS_SECRETS_EXTENSION_HTTP_PORT"

// Options change what a [Source] does. The zero value means the defaults.
type Options struct {
	// Endpoint is the server's URL: "http://127.0.0.1:2773". The servers listen on
	// 127.0.0.1 only, which "localhost" is taken for. Empty means DefaultEndpoint, for
	// the extension with the port of the environment variable PortEnv.
	Endpoint string

	// AllowRemote allows an Endpoint that is not this machine's loopback interface, as
	// that of another container. The token and the secrets then cross the network in
	// clear text, and the agent's packets do so for one hop only.
	AllowRemote bool

	// Token returns the token that the server asks for. It is called for each fetch,
	// and once more when the server did not accept what it returned. An error that
	// matches [fs.ErrNotExist] is waited for as a server is that is not there yet; see
	// TokenFile. Nil: what the agent itself takes, the first that is set of the
	// environment variables AWS_TOKEN, AWS_SESSION_TOKEN and
	// AWS_CONTAINER_AUTHORIZATION_TOKEN, of which "file://PATH" means what is in the
	// file, and if none is, what is in DefaultTokenFile. For the extension:
	// AWS_SESSION_TOKEN.
	Token func() (string, error)

	// Header is the name of the header with the token. Empty means DefaultHeader.
	Header string

	// RoleARN is a role that the agent assumes to read the secrets, as those of
	// another account. It takes an agent of version 2.1.0 or newer, which keeps at
	// most 20 roles (max_roles). Empty: the agent's own credentials. The extension
	// assumes none.
	RoleARN string

	// StartTimeout is how long fetches wait for a server that is not there yet, from
	// the first that did not find it on; later ones fail at once, until it answers or
	// nobody has asked for two minutes. Zero means DefaultStartTimeout (5 s); negative
	// does not wait.
	StartTimeout time.Duration

	// AttemptTimeout is how long one attempt may take from dialling to the end of the
	// answer; it is then given up and made again. When the context has less than twice
	// that left, the first attempt gets half of it (at least 250 ms). The last attempt
	// of a fetch gets all that is left until the context's deadline, if there is one:
	// the agent may be waiting for a slow service, which it asks anew each time. Zero
	// means DefaultAttemptTimeout (2 s); negative means that only the context ends an
	// attempt.
	AttemptTimeout time.Duration

	// MaxAttempts is how many attempts one fetch makes at most, not counting those
	// that StartTimeout waits between. Zero means DefaultMaxAttempts (3); negative
	// means 1.
	MaxAttempts int

	// DialContext makes the connections, as to a Unix socket that forwards to the
	// agent. Nil: a [net.Dialer] does.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)
}

// A Source asks a Secrets Manager Agent or a Lambda extension for secrets. Its methods
// may be called from several goroutines at once. It has no goroutines but those of
// fetches.
type Source struct {
	o         Options // without Endpoint, which is in base
	extension bool
	base      url.URL
	optErr    error // what is wrong with the options; every fetch returns it
	transport *http.Transport
	away      outage
	failing   httpfetch.Failing
}

var (
	_ secretcache.FreshSource = (*Source)(nil)
	_ fmt.Formatter           = (*Source)(nil)
)

// New returns a Source that asks the Secrets Manager Agent. It does nothing that can
// fail or take time: wrong options and a missing token are errors of the first fetch.
func New(optFns ...func(*Options)) *Source { return newSource(false, optFns) }

// NewExtension returns a Source that asks the Parameters and Secrets Lambda Extension.
// It does nothing that can fail or take time, as New.
func NewExtension(optFns ...func(*Options)) *Source { return newSource(true, optFns) }

func newSource(extension bool, optFns []func(*Options)) *Source {
	var o Options
	for _, fn := range optFns {
		if fn != nil {
			fn(&o)
		}
	}
	s := &Source{extension: extension}
	s.base, s.optErr = base(extension, &o)
	o.Endpoint = ""
	o.Header = cmp.Or(o.Header, DefaultHeader)
	o.StartTimeout = cmp.Or(o.StartTimeout, DefaultStartTimeout)
	o.AttemptTimeout = cmp.Or(o.AttemptTimeout, DefaultAttemptTimeout)
	o.MaxAttempts = max(1, cmp.Or(o.MaxAttempts, DefaultMaxAttempts)) // negative means 1
	if o.DialContext == nil {
		o.DialContext = new(net.Dialer).DialContext
	}
	s.o = o
	s.transport = &http.Transport{
		DialContext:            o.DialContext,
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: 64 << 10,
		Proxy:                  nil, // the agent refuses what a proxy forwards, and the token is for it alone
	}
	switch {
	case s.optErr != nil:
	case extension && o.RoleARN != "":
		s.optErr = errors.New("Options.RoleARN is set, and the Lambda extension assumes no roles")
	case !validHeader(o.Header):
		s.optErr = fmt.Errorf("Options.Header is %q, not a header's name", o.Header)
	}
	return s
}

func validHeader(name string) bool {
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// defaultEndpoint is where the server listens without Options.Endpoint.
func defaultEndpoint(extension bool) (string, error) {
	port := os.Getenv(PortEnv)
	if !extension || port == "" {
		return DefaultEndpoint, nil
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", fmt.Errorf("environment variable %s is %q, not a port", PortEnv, port)
	}
	return "http://127.0.0.1:" + port, nil
}

// base returns the server's URL without a path. Its errors do not quote an endpoint
// that may hold credentials.
func base(extension bool, o *Options) (url.URL, error) {
	endpoint, err := o.Endpoint, error(nil)
	if endpoint == "" {
		endpoint, err = defaultEndpoint(extension)
	}
	if err != nil {
		return url.URL{}, err
	}
	u, err := url.Parse(endpoint)
	switch {
	case err != nil, u.Scheme != "http", u.Hostname() == "", u.User != nil,
		u.Path != "" && u.Path != "/", u.RawQuery != "", u.Fragment != "":
		return url.URL{}, errors.New("endpoint is not a URL like " + DefaultEndpoint + ", of scheme http and with nothing but host and port")
	case strings.EqualFold(u.Hostname(), "localhost"):
		// It may be looked up as ::1, where nobody listens.
		u.Host = strings.TrimSuffix(net.JoinHostPort("127.0.0.1", u.Port()), ":")
	default:
		ip, err := netip.ParseAddr(u.Hostname())
		if !o.AllowRemote && (err != nil || !ip.IsLoopback()) {
			return url.URL{}, fmt.Errorf("endpoint's host %q is not this machine's loopback interface, 127.0.0.1: "+
				"the token and the secrets would cross the network in clear text; Options.AllowRemote allows it", u.Hostname())
		}
	}
	return url.URL{Scheme: "http", Host: u.Host}, nil
}

// name is the server's in errors.
func (s *Source) name() string {
	name := "Secrets Manager Agent"
	if s.extension {
		name = "Lambda extension"
	}
	if s.base.Host != "" {
		name += " at " + s.base.Host
	}
	return name
}

// String says which server is asked, and where.
func (s *Source) String() string { return "source of secrets: " + s.name() }

// Format writes what String returns, whatever the verb.
func (s *Source) Format(f fmt.State, _ rune) { fmt.Fprint(f, s.String()) }

// Fetch returns the version of the secret that bears the stage, which may come from the
// server's cache; an empty stage means AWSCURRENT. id is the secret's name, or its full
// or partial ARN; the agent's cache does not know that a name and an ARN are one secret.
// A version without a value is a secret with an empty one.
//
// Its errors are [*Error].
func (s *Source) Fetch(ctx context.Context, id, stage string) (*secretcache.Secret, error) {
	return s.fetch(ctx, id, stage, false)
}

// FetchFresh is Fetch past the agent's cache, which then keeps the answer. Of the
// extension, and of agents before version 1.1.0, its error matches
// [errors.ErrUnsupported].
func (s *Source) FetchFresh(ctx context.Context, id, stage string) (*secretcache.Secret, error) {
	return s.fetch(ctx, id, stage, true)
}
