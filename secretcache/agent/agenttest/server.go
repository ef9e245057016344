package agenttest

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/agent"
)

// Defaults of [Options]. They are the defaults of the agent. The extension has the same TTL.
const (
	DefaultMaxConn  = 800
	DefaultMaxRoles = 20
	DefaultVersion  = "2.1.0"
	DefaultConnLife = 61 * time.Second
	DefaultTTL      = 300 * time.Second
)

// Options change what a [Server] does. The zero value means the defaults. The options from
// PathPrefix on are for the agent only.
type Options struct {
	// Token is the token that requests must have. Empty means a random one.
	Token string

	// TTL is how long the server keeps a secret. Zero means DefaultTTL (300 s). Negative means
	// that it keeps none. The extension keeps a secret for at most 300 s.
	TTL time.Duration

	// ConnLife is how long a connection may be open. Zero means DefaultConnLife (61 s) for the
	// agent, and no limit for the extension. Negative means no limit.
	ConnLife time.Duration

	// InMemory makes the server listen in memory, so that it works in a synctest bubble. Only
	// [Server.DialContext] can then reach it; [Server.Source] uses that by itself.
	InMemory bool

	// Headers are the names of the headers that may have the token (ssrf_headers). The
	// extension uses the first. Nil means X-Aws-Parameters-Secrets-Token and X-Vault-Token.
	Headers []string

	// PathPrefix is the beginning of the path of a request that names the secret in the path
	// (path_prefix). Empty means /v1/.
	PathPrefix string

	// MaxConn is the largest number of connections (max_conn); see [Server.SetMaxConn].
	// Zero means DefaultMaxConn (800). Negative allows none.
	MaxConn int

	// Version is the version of the agent. Before "2.1.0" it supports no roles and does not
	// escape JSON. Before "1.1.0" it does not support refreshNow. Empty means DefaultVersion.
	Version string

	// Roles has the roles that the agent can assume, by ARN, each with the source of the
	// secrets that it may read. Nil means that the agent can assume every role, and that each
	// role reads the agent's own source.
	Roles map[string]secretcache.Source

	// MaxRoles is the largest number of roles that the agent assumes (max_roles). Zero means
	// DefaultMaxRoles (20).
	MaxRoles int

	// FailStale makes the agent return the service's error for an expired secret, and not the
	// secret (ignore_transient_errors = false).
	FailStale bool
}

// A Server is an agent or an extension. Its methods may be called from several
// goroutines at once.
type Server struct {
	tb        testing.TB // nil outside tests
	o         Options
	extension bool
	upstream  secretcache.Source
	addr      string

	mu        sync.Mutex
	token     string
	http      *http.Server // nil while the server is stopped
	pipes     *pipes       // nil without Options.InMemory
	conns     int          // open ones
	maxConn   int
	accepted  int
	kept      map[key]kept
	roles     map[string]bool // roles that were assumed
	faults    []*fault
	healed    context.Context // ends at Heal, and when the server stops
	heal      context.CancelFunc
	requests  []*Request
	pings     int
	fetches   int
	listening sync.WaitGroup // http.Server.Serve
}

// NewServer starts an agent that gets its secrets from upstream. It is closed at the end of the
// test. If tb is nil, the caller must call Close.
func NewServer(tb testing.TB, upstream secretcache.Source, optFns ...func(*Options)) *Server {
	return newServer(tb, upstream, false, optFns)
}

// NewExtension starts an extension that gets its secrets from upstream. It is closed at the end
// of the test. If tb is nil, the caller must call Close.
func NewExtension(tb testing.TB, upstream secretcache.Source, optFns ...func(*Options)) *Server {
	return newServer(tb, upstream, true, optFns)
}

func newServer(tb testing.TB, upstream secretcache.Source, extension bool, optFns []func(*Options)) *Server {
	var o Options
	for _, fn := range optFns {
		if fn != nil {
			fn(&o)
		}
	}
	s := &Server{tb: tb, o: withDefaults(o, extension), extension: extension, upstream: upstream, addr: "127.0.0.1:0"}
	s.token, s.maxConn = s.o.Token, s.o.MaxConn
	if o.InMemory {
		s.addr = "127.0.0.1:2773"
	}
	s.Start()
	if tb != nil {
		tb.Cleanup(s.Close)
	}
	return s
}

func withDefaults(o Options, extension bool) Options {
	if o.Token == "" {
		o.Token = rand.Text()
	}
	if o.TTL == 0 || extension && o.TTL > DefaultTTL {
		o.TTL = DefaultTTL
	}
	if o.ConnLife == 0 {
		o.ConnLife = DefaultConnLife
		if extension {
			o.ConnLife = -1
		}
	}
	if o.Headers == nil {
		o.Headers = []string{agent.DefaultHeader, "X-Vault-Token"}
	}
	if o.PathPrefix == "" {
		o.PathPrefix = "/v1/"
	}
	if o.MaxConn == 0 {
		o.MaxConn = DefaultMaxConn
	}
	if o.Version == "" {
		o.Version = DefaultVersion
	}
	if o.MaxRoles == 0 {
		o.MaxRoles = DefaultMaxRoles
	}
	return o
}

// Start starts a stopped server again, at the same address and with an empty cache. If the
// server is running, Start does nothing.
func (s *Server) Start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.http != nil {
		return
	}
	var l net.Listener
	if s.o.InMemory {
		s.pipes = newPipes()
		l = s.pipes
	} else {
		var err error
		if l, err = net.Listen("tcp", s.addr); err != nil {
			s.fatal("listen: %v", err)
		}
		s.addr = l.Addr().String()
	}
	s.kept, s.roles = map[key]kept{}, map[string]bool{}
	s.healed, s.heal = context.WithCancel(context.Background())
	server := &http.Server{
		Handler:        s,
		MaxHeaderBytes: 321 << 10,
		ErrorLog:       log.New(io.Discard, "", 0),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, c)
		},
	}
	s.http = server
	s.listening.Go(func() { _ = server.Serve(&listener{l, s}) })
}

// Stop kills the server: its connections break, and new connections are refused.
func (s *Server) Stop() {
	s.mu.Lock()
	server := s.http
	s.http = nil
	if server != nil {
		s.heal()
	}
	s.mu.Unlock()
	if server != nil {
		_ = server.Close()
		s.listening.Wait()
	}
}

// Close stops the server. It may be called again.
func (s *Server) Close() { s.Stop() }

// URL returns the server's URL, for the option Endpoint of a source of package agent.
func (s *Server) URL() string { return "http://" + s.addr }

// Token returns the token that requests must have.
func (s *Server) Token() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.token
}

// SetToken changes the token that requests must have, as a restart of the machine does for the
// agent. Sources that Source returned use the new token from then on.
func (s *Server) SetToken(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.token = token
}

// SetMaxConn changes the largest number of connections. A connection above that number gets
// status 429 for all its requests, even if there are fewer connections later. With zero or a
// negative number every connection does.
func (s *Server) SetMaxConn(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.maxConn = n
}

// Source returns a Source that asks this server. optFns may change its options.
func (s *Server) Source(optFns ...func(*agent.Options)) *agent.Source {
	newSource := agent.New
	if s.extension {
		newSource = agent.NewExtension
	}
	return newSource(append([]func(*agent.Options){func(o *agent.Options) {
		o.Endpoint = s.URL()
		o.Token = func() (string, error) { return s.Token(), nil }
		if s.o.InMemory {
			o.DialContext = s.DialContext
		}
	}}, optFns...)...)
}

// DialContext connects to the server. It ignores the address.
func (s *Server) DialContext(ctx context.Context, network, _ string) (net.Conn, error) {
	s.mu.Lock()
	pipes := s.pipes
	s.mu.Unlock()
	if pipes == nil {
		return new(net.Dialer).DialContext(ctx, network, s.addr)
	}
	return pipes.dial(ctx)
}

// A Request describes a request for a secret that the server got.
type Request struct {
	SecretID, Stage, VersionID string
	Refresh                    bool // refreshNow was true
	Role                       string
	Status                     int       // of the answer; zero before there is one
	Kept                       bool      // the answer came from the server's cache
	Remote                     string    // the client's address and port
	Time                       time.Time // when the request came
}

// Requests returns the last 10,000 requests for secrets, oldest first.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Request
	for _, r := range s.requests[max(0, len(s.requests)-mostRequests):] {
		list = append(list, *r)
	}
	return list
}

const mostRequests = 10_000

func (s *Server) note(r *Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.requests) >= 2*mostRequests {
		s.requests = slices.Delete(s.requests, 0, mostRequests)
	}
	s.requests = append(s.requests, r)
}

// Fetches returns how often the upstream source was asked.
func (s *Server) Fetches() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fetches
}

// Pings returns how often /ping was answered with "healthy".
func (s *Server) Pings() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pings
}

// Accepted returns how many connections were accepted.
func (s *Server) Accepted() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accepted
}

// Format writes what the server is and its URL, for every verb, and no token.
func (s *Server) Format(f fmt.State, _ rune) {
	what := "agent"
	if s.extension {
		what = "extension"
	}
	fmt.Fprintf(f, "agenttest %s at %s", what, s.URL())
}

// fatal ends the test. Without one it panics.
func (s *Server) fatal(format string, args ...any) {
	msg := fmt.Sprintf("agenttest: "+format, args...)
	if s.tb == nil {
		panic(msg)
	}
	s.tb.Helper()
	s.tb.Fatal(msg)
}

var (
	_ http.Handler  = (*Server)(nil)
	_ fmt.Formatter = (*Server)(nil)
)
