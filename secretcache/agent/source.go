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

// PortEnv is the environment variable with the extension's port.
const PortEnv = "PARAMETERS_SECRETS_EXTENSION_HTTP_PORT"

// Options change what a [Source] does. The zero value means the defaults.
type Options struct {
	// Endpoint is the server's URL, such as "http://127.0.0.1:2773". The servers listen only
	// on 127.0.0.1, so "localhost" means that address. Empty means DefaultEndpoint; for the
	// extension, with the port in the environment variable PortEnv if that is set.
	Endpoint string

	// AllowRemote allows an Endpoint that is not on this machine's loopback interface, for
	// example in another container. The token and the secrets then cross the network in clear
	// text. The agent sends its packets with a hop limit of 1, so they cross no router.
	AllowRemote bool

	// Token returns the token that the server requires. The source calls it for each fetch, and
	// once more if the server does not accept the token. If the error matches [fs.ErrNotExist],
	// the source waits and calls it again, as it waits for a server that is not there yet; see
	// TokenFile and StartTimeout.
	//
	// Nil means the default of the agent: the first of the environment variables AWS_TOKEN,
	// AWS_SESSION_TOKEN and AWS_CONTAINER_AUTHORIZATION_TOKEN that is set or, if none is set,
	// the content of DefaultTokenFile. A value "file://PATH" means the content of that file. If
	// the program has AWS_SESSION_TOKEN for credentials of its own, that token is sent and the
	// agent rejects it: set AWS_TOKEN=file:///var/run/awssmatoken then. For the extension nil
	// means AWS_SESSION_TOKEN.
	Token func() (string, error)

	// Header is the name of the header that has the token. Empty means DefaultHeader.
	Header string

	// RoleARN is a role that the agent assumes to read the secrets, for example those of
	// another account. It needs an agent of version 2.1.0 or newer, which keeps at most 20
	// roles (max_roles). Empty means the agent's own credentials. The extension assumes no
	// roles, so RoleARN is an error with it.
	RoleARN string

	// StartTimeout is how long fetches wait for a server that is not there yet. The time
	// counts from the first fetch that did not find the server. After that time fetches
	// fail at once, until the server answers or until no fetch has come for 2 min. The context
	// of a fetch still ends the wait; AttemptTimeout does not include it. Zero means
	// DefaultStartTimeout (5 s). Negative means no wait.
	StartTimeout time.Duration

	// AttemptTimeout is the longest time of one attempt, from dialling to the end of the
	// answer. The source then gives the attempt up and makes another. If less than twice this time
	// is left until the context's deadline, the first attempt gets half of what is left, but at
	// least 250 ms. The last attempt gets all the time until the deadline, if there is one,
	// because the agent may be waiting for a slow service, and it calls the service again for
	// each attempt. Zero means DefaultAttemptTimeout (2 s). Negative means that only the
	// context ends an attempt.
	AttemptTimeout time.Duration

	// MaxAttempts is the largest number of attempts of one fetch. Attempts that did not find
	// the server do not count (see StartTimeout). Zero means DefaultMaxAttempts (3).
	// Negative means 1.
	MaxAttempts int

	// DialContext makes the connections, for example to a Unix socket that forwards to the
	// agent. Nil means a [net.Dialer].
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)
}

// A Source asks a Secrets Manager Agent or a Lambda extension for secrets. Its methods may
// be called from several goroutines at once. It has goroutines only while a fetch is under
// way, and needs no closing.
type Source struct {
	o         Options // without Endpoint; see base
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

// New returns a Source that asks the Secrets Manager Agent. Each func of optFns may change the
// options. New does nothing that can fail or take time: wrong options and a missing token are
// errors of the first fetch.
func New(optFns ...func(*Options)) *Source { return newSource(false, optFns) }

// NewExtension returns a Source that asks the Parameters and Secrets Lambda Extension. Like
// New, it does nothing that can fail or take time.
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
		Proxy:                  nil, // the agent rejects requests from a proxy, and a proxy must not see the token
	}
	switch {
	case s.optErr != nil:
	case extension && o.RoleARN != "":
		s.optErr = errors.New("the Lambda extension assumes no roles: Options.RoleARN must be empty")
	case !validHeader(o.Header):
		s.optErr = fmt.Errorf("Options.Header is %q, which is not the name of a header", o.Header)
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

// defaultEndpoint returns the server's URL for an empty Options.Endpoint.
func defaultEndpoint(extension bool) (string, error) {
	port := os.Getenv(PortEnv)
	if !extension || port == "" {
		return DefaultEndpoint, nil
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", fmt.Errorf("environment variable %s is %q, which is not a port", PortEnv, port)
	}
	return "http://127.0.0.1:" + port, nil
}

// base returns the server's URL without a path. Its errors do not quote an endpoint, which may hold
// credentials.
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
		return url.URL{}, errors.New("endpoint is not a URL like " + DefaultEndpoint + ", with scheme http, a host and a port only")
	case strings.EqualFold(u.Hostname(), "localhost"):
		// "localhost" may resolve to ::1, where no server listens.
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

// name returns the name of the server for error texts.
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

// String returns which server the source asks, and its address.
func (s *Source) String() string { return "source of secrets: " + s.name() }

// Format writes what String returns, for every verb.
func (s *Source) Format(f fmt.State, _ rune) { fmt.Fprint(f, s.String()) }

// Fetch returns the version of the secret that has the stage, possibly from the server's
// cache. An empty stage means AWSCURRENT. id is the secret's name, or its full or partial
// ARN. The agent's cache does not know that a name and an ARN are the same secret. If the
// version has no value, the secret's value is empty.
//
// Errors are [*Error].
func (s *Source) Fetch(ctx context.Context, id, stage string) (*secretcache.Secret, error) {
	return s.fetch(ctx, id, stage, false)
}

// FetchFresh is Fetch, but bypasses the agent's cache; the agent then caches the answer. With
// the extension, and with an agent older than version 1.1.0, the error matches
// [errors.ErrUnsupported].
func (s *Source) FetchFresh(ctx context.Context, id, stage string) (*secretcache.Secret, error) {
	return s.fetch(ctx, id, stage, true)
}
