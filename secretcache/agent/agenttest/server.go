// Package agenttest is a Secrets Manager Agent and a Parameters and Secrets Lambda
// Extension in process, for tests and demos. They take secrets from any
// [secretcache.Source], as that of an awssmtest.Server, and speak HTTP on the loopback
// interface, or in memory, for tests in a [testing/synctest] bubble.
//
// # What they are like
//
// The agent is written after the source of the real one (aws/aws-secretsmanager-agent,
// Apache License 2.0): the order of its checks, its parameters, texts and statuses, a
// cache that knows an id, a version and a stage by their spelling, serves what has
// expired while the service fails (but not while it throttles), and is empty after a
// restart; connections that are counted when they are accepted and end after 61 s.
//
// The extension is written after recorded answers, as its source is not public. How it
// takes a parameter that it does not know is not known; this one ignores it.
//
// # What they are not
//
// A version that has expired is fetched again, where the agent calls DescribeSecret
// first. The cache has no bound, nothing is prefetched, credentials are none of a
// Source's business, and there is no Parameter Store.
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

// Defaults of [Options], which are the agent's. The last two are the extension's, too.
const (
	DefaultMaxConn  = 800
	DefaultMaxRoles = 20
	DefaultVersion  = "2.1.0"
	DefaultConnLife = 61 * time.Second
	DefaultTTL      = 300 * time.Second
)

// Options change what a [Server] is like. The zero value means the defaults. Those from
// Headers on are the agent's alone.
type Options struct {
	// Token is what requests have to bear. Empty: a random one.
	Token string

	// TTL is how long a secret is kept. Zero means DefaultTTL (300 s); negative keeps
	// none. The extension keeps none for longer than 300 s.
	TTL time.Duration

	// ConnLife is how long a connection may be open. Zero means DefaultConnLife (61 s);
	// negative is for good. The extension's are, by default.
	ConnLife time.Duration

	// InMemory has the server listen in memory: it is reached through
	// [Server.DialContext] alone, and works in a synctest bubble.
	InMemory bool

	// Headers are the names of headers that may hold the token (ssrf_headers). Nil:
	// X-Aws-Parameters-Secrets-Token and X-Vault-Token.
	Headers []string

	// PathPrefix is where secrets are found by path (path_prefix). Empty means /v1/.
	PathPrefix string

	// MaxConn is how many connections there may be (max_conn); see [Server.SetMaxConn].
	// Zero means DefaultMaxConn (800).
	MaxConn int

	// Version is the agent's: before "2.1.0" it knows no roles and writes JSON without
	// escaping, before "1.1.0" it knows no refreshNow. Empty means DefaultVersion.
	Version string

	// Roles are those that the agent can assume, by ARN, with what they can read. Nil:
	// all, and they can read what the agent can.
	Roles map[string]secretcache.Source

	// MaxRoles is how many roles it assumes at most (max_roles). Zero means
	// DefaultMaxRoles (20).
	MaxRoles int

	// FailStale has it return the service's error for what has expired, not what it has
	// (ignore_transient_errors = false).
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
	roles     map[string]bool // that were assumed
	faults    []*fault
	healed    context.Context // ends at Heal, and when the server stops
	heal      context.CancelFunc
	requests  []*Request
	pings     int
	fetches   int
	listening sync.WaitGroup // http.Server.Serve
}

// NewServer starts an agent in front of upstream. It is closed when the test ends; if
// tb is nil, by the caller.
func NewServer(tb testing.TB, upstream secretcache.Source, optFns ...func(*Options)) *Server {
	return newServer(tb, upstream, false, optFns)
}

// NewExtension starts an extension, in the same way.
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

// Start starts a server that was stopped, at the same address, with nothing in its
// cache. It does nothing to one that runs.
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

// Stop kills the server: its connections break, new ones are refused.
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

// URL returns the server's URL: the Endpoint of a Source.
func (s *Server) URL() string { return "http://" + s.addr }

// Token returns what requests have to bear.
func (s *Server) Token() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.token
}

// SetToken changes that, as a restart of the machine does for the agent.
func (s *Server) SetToken(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.token = token
}

// SetMaxConn changes how many connections there may be. Those that are accepted while
// there are more get status 429 for all their requests, also later. Zero or less refuses
// all.
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

// DialContext connects to the server, whatever the address.
func (s *Server) DialContext(ctx context.Context, network, _ string) (net.Conn, error) {
	s.mu.Lock()
	pipes := s.pipes
	s.mu.Unlock()
	if pipes == nil {
		return new(net.Dialer).DialContext(ctx, network, s.addr)
	}
	return pipes.dial(ctx)
}

// A Request is what the server saw of a request for a secret.
type Request struct {
	SecretID, Stage, VersionID string
	Refresh                    bool // refreshNow was true
	Role                       string
	Status                     int       // of the answer; zero as long as there is none
	Kept                       bool      // it was answered from the cache
	Remote                     string    // the client's address
	Time                       time.Time // of the request
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

// Format writes what the server is and its URL, whatever the verb: no token.
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
