package awssmtest

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm"
)

const (
	// Region is the region of secrets that were put by name. Source and Config use it.
	Region = "us-west-2"
	// Account is the account of secrets that were put by name.
	Account = "123456789012"
)

// A Server is a Secrets Manager. Its methods may be called from several goroutines at once,
// also from a RotationFunc.
//
// Some methods return no error. If such a method cannot do its work, for example because a
// version does not exist or a value is too long, it ends the test with tb.Fatal. If the server
// has no tb, it panics. Call these methods from the goroutine of the test, as tb.Fatal
// requires.
//
// A Server is also an [http.Handler], for a test that serves it over TLS or HTTP/2.
type Server struct {
	tb     testing.TB // nil outside tests
	http   *httptest.Server
	ctx    context.Context // of rotations; ends at Close
	cancel context.CancelFunc
	wg     sync.WaitGroup // rotations

	mu       sync.Mutex
	secrets  map[string][]*secret            // by name
	frozen   map[string]map[string][]*secret // by region: what its replicas have
	faults   []*fault                        // oldest first
	healed   chan struct{}                   // closed by Heal
	hanging  int
	changed  chan struct{} // closed when hanging changes
	calls    map[string]int
	requests []Request
	rotate   RotationFunc
	// removePending says that AWSPENDING is removed at the end of a rotation.
	removePending bool
}

// NewServer starts a server without secrets. It is closed at the end of the test. If tb is
// nil, the caller must call Close.
func NewServer(tb testing.TB) *Server {
	s := &Server{
		tb:      tb,
		secrets: map[string][]*secret{},
		frozen:  map[string]map[string][]*secret{},
		healed:  make(chan struct{}),
		changed: make(chan struct{}),
		calls:   map[string]int{},
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.http = httptest.NewUnstartedServer(s)
	s.http.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.http.Start()
	if tb != nil {
		tb.Cleanup(s.Close)
	}
	return s
}

// URL returns the server's URL, which is the endpoint for SDK clients.
func (s *Server) URL() string { return s.http.URL }

// Close stops the server and closes the connections of requests that hang. It ends the
// context of a RotationFunc that is running, and waits for it. It may be called again.
func (s *Server) Close() {
	s.cancel()
	s.http.Close()
	s.wg.Wait()
}

// Source returns a Source that fetches from this server with made-up credentials. It needs no
// environment variables and no files. optFns may change its options, for example
// AttemptTimeout or Regions. To open a database, set Options.Secrets of package driver to a cache of
// it, which secretcache.New makes.
func (s *Server) Source(optFns ...func(*awssm.Options)) *awssm.Source {
	cfg := s.Config()
	return awssm.New(append([]func(*awssm.Options){func(o *awssm.Options) {
		o.Region, o.Endpoint, o.Config = Region, s.URL(), &cfg
	}}, optFns...)...)
}

// Config returns a configuration for SDK clients of this server:
// secretsmanager.NewFromConfig(server.Config()).
func (s *Server) Config() aws.Config {
	return aws.Config{
		Region:       Region,
		BaseEndpoint: aws.String(s.URL()),
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "AKIDAWSSMTEST", SecretAccessKey: "not a secret", Source: "awssmtest"}, nil
		}),
	}
}

// Format writes the server's URL, for every verb, and no secret.
func (s *Server) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "awssmtest server at %s", s.URL()) }

// Put stores a text value as the new AWSCURRENT version, and returns the version's id. id is a
// name, a full ARN, or an ARN without the suffix. If there is no such secret, Put makes it, in
// the ARN's region or in Region.
func (s *Server) Put(id, value string) (versionID string) {
	return s.put(id, "", text(value), current)
}

// PutBinary is Put for a binary value. It keeps a copy of the value.
func (s *Server) PutBinary(id string, value []byte) (versionID string) {
	return s.put(id, "", binary(value), current)
}

// PutStage is Put for another stage. It moves only that stage. Unlike the service, it does not
// put AWSCURRENT on the first version of a secret.
func (s *Server) PutStage(id, value, stage string) (versionID string) {
	return s.put(id, "", text(value), stage)
}

// PutVersion stores a value as the version with the given id, and moves the stages to it. A
// rotation function does this with its ClientRequestToken.
func (s *Server) PutVersion(id, versionID, value string, stages ...string) {
	s.put(id, versionID, text(value), stages...)
}

// PutEmpty makes a version without a value, puts the stage on it, and returns its id. A
// rotation that failed early leaves such a version with AWSPENDING.
func (s *Server) PutEmpty(id, stage string) (versionID string) {
	return s.put(id, "", nil, stage)
}

func (s *Server) put(id, versionID string, v value, stages ...string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	sec, err := s.find("", id)
	if err != nil {
		if sec, err = s.create("", id); err != nil {
			s.fatal("Put %q: %v", id, err)
		}
	}
	if versionID == "" {
		versionID = newUUID()
	}
	if err := sec.put(versionID, v, stages); err != nil {
		s.fatal("Put %q: %v", id, err)
	}
	return versionID
}

// MoveStage moves a stage to a version. If the stage is AWSCURRENT, the version that had it
// becomes AWSPREVIOUS.
func (s *Server) MoveStage(id, stage, versionID string) {
	s.change("MoveStage", id, func(sec *secret) error {
		v := sec.version(versionID)
		if v == nil {
			return fmt.Errorf("the secret has no version %q", versionID)
		}
		return sec.move(stage, v)
	})
}

// RemoveStage removes a stage from the version that has it.
func (s *Server) RemoveStage(id, stage string) {
	s.change("RemoveStage", id, func(sec *secret) error {
		if sec.holder(stage) == nil {
			return fmt.Errorf("no version has the stage %q", stage)
		}
		return sec.move(stage, nil)
	})
}

// Delete marks the secret for deletion in 30 days, as DeleteSecret does.
func (s *Server) Delete(id string) {
	s.change("Delete", id, func(sec *secret) error {
		at := time.Now().AddDate(0, 0, 30)
		sec.deleted, sec.deleteAt = time.Now(), at
		return nil
	})
}

// Restore undoes Delete, as RestoreSecret does.
func (s *Server) Restore(id string) {
	s.change("Restore", id, func(sec *secret) error {
		sec.deleted, sec.deleteAt = time.Time{}, time.Time{}
		return nil
	})
}

// ARN returns the secret's full ARN in its own region.
func (s *Server) ARN(id string) (arn string) {
	s.change("ARN", id, func(sec *secret) error {
		arn = sec.arn(sec.region)
		return nil
	})
	return arn
}

// Stages returns, for each stage, the id of the version that it is on.
func (s *Server) Stages(id string) map[string]string {
	m := map[string]string{}
	s.change("Stages", id, func(sec *secret) error {
		for _, v := range sec.versions {
			for _, stage := range v.stages {
				m[stage] = v.id
			}
		}
		return nil
	})
	return m
}

func (s *Server) change(what, id string, f func(*secret) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sec, err := s.find("", id)
	if err != nil {
		s.fatal("%s %q: there is no such secret", what, id)
	}
	if err := f(sec); err != nil {
		s.fatal("%s %q: %v", what, id, err)
	}
}

// fatal ends the test. Without one it panics.
func (s *Server) fatal(format string, args ...any) {
	msg := fmt.Sprintf("awssmtest: "+format, args...)
	if s.tb == nil {
		panic(msg)
	}
	s.tb.Helper()
	s.tb.Fatal(msg)
}

// FreezeReplica stops the replication to a region, as if it were slow: the region keeps the
// secrets as they are now. It gets later changes after ThawReplica.
func (s *Server) FreezeReplica(region string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	copies := map[string][]*secret{}
	for name, list := range s.secrets {
		for _, sec := range list {
			copies[name] = append(copies[name], sec.clone())
		}
	}
	s.frozen[region] = copies
}

// ThawReplica starts the replication to a region again, and brings it up to date.
func (s *Server) ThawReplica(region string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.frozen, region)
}

// A Request describes an HTTP request that the server got.
type Request struct {
	Op        string   // such as "GetSecretValue"; empty if the server does not know the operation
	SecretIDs []string // as sent; several for BatchGetSecretValue
	Stage     string   // as sent; AWSCURRENT if a GetSecretValue named none
	Region    string   // the region that the request was signed for
	UserAgent string
	Remote    string    // the client's address and port, different for each connection
	Time      time.Time // when the request came
}

// Calls returns how many HTTP requests came for an operation, such as "GetSecretValue".
// Requests that failed count too.
func (s *Server) Calls(op string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[op]
}

// Requests returns the last 10,000 requests, oldest first.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests[max(0, len(s.requests)-10_000):])
}

// ResetCalls sets the counts of Calls to zero and empties the list of Requests.
func (s *Server) ResetCalls() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls, s.requests = map[string]int{}, nil
}

// Hanging returns how many requests hang now because of a Hang or a Delay.
func (s *Server) Hanging() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hanging
}

// WaitHanging waits until exactly n requests hang. It returns an error if ctx ends first.
func (s *Server) WaitHanging(ctx context.Context, n int) error {
	for {
		s.mu.Lock()
		hanging, changed := s.hanging, s.changed
		s.mu.Unlock()
		if hanging == n {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("awssmtest: %d requests hang, waiting for %d: %w", hanging, n, ctx.Err())
		}
	}
}

func (s *Server) hang(by int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hanging += by
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *Server) note(r Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[r.Op]++
	const most = 10_000
	if len(s.requests) >= 2*most {
		s.requests = slices.Delete(s.requests, 0, most)
	}
	s.requests = append(s.requests, r)
}

var (
	_ http.Handler  = (*Server)(nil)
	_ fmt.Formatter = (*Server)(nil)
)
