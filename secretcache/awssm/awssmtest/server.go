// Package awssmtest is an AWS Secrets Manager in process, for tests and demos. It
// speaks the service's protocol (AWS JSON 1.1) over HTTP on the loopback
// interface, so real SDK clients talk to it as well as package awssm does.
//
// # What it is like
//
// Version stages move as in the service: a new AWSCURRENT makes the version that
// had it AWSPREVIOUS, a stage is on one version at a time, RotateSecret puts
// AWSPENDING on a version without a value. So do idempotency by
// ClientRequestToken, errors and their texts, and the limits of a value (65,536
// bytes), of stages (20 on a secret) and of versions (above 100 those without a
// stage are dropped, oldest first, here also if they are younger than a day). A
// secret is found by name, by ARN, and by an ARN without its suffix of six
// characters; an ARN of another region than the request is signed for is not
// found.
//
// # What it is not
//
// Signatures are not verified, only that a request is signed for Secrets Manager
// with AWS Signature Version 4; the region is taken from there. Any access key is
// good. Every secret is replicated to all regions at once, unless [Server.FreezeReplica]
// says otherwise, and can be changed in its own only; which regions it was replicated to
// is kept and shown. So are KMS keys and the rules of a schedule: nothing is encrypted with
// those and rotated by these. BatchGetSecretValue takes a list of ids, no filters, and
// ListSecrets filters by name, description and tags.
//
// There are no policies. What the service has and this server has not, an operation, a
// parameter or a filter, is an error that says that this is the test server.
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
	// Region is where secrets are that were put by name, and where Source and Config
	// look for them.
	Region = "us-west-2"
	// Account is the account of secrets that were put by name.
	Account = "123456789012"
)

// A Server is a Secrets Manager. Its methods may be called from several
// goroutines at once. Those that have no error to return end the test, or panic
// without one, if they are asked for what cannot be: a version that does not
// exist, a value that is too long.
//
// It is an [http.Handler] too, for who wants to serve it over TLS or HTTP/2.
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
	// removePending has a rotation that ends take AWSPENDING away.
	removePending bool
}

// NewServer starts a server without secrets. It is closed when the test ends; if
// tb is nil, by the caller.
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

// URL returns the server's URL: the endpoint for SDK clients.
func (s *Server) URL() string { return s.http.URL }

// Close stops the server and ends what hangs in it: clients see their connections
// close. It waits for a RotationFunc that is running, whose context ends. It may
// be called again.
func (s *Server) Close() {
	s.cancel()
	s.http.Close()
	s.wg.Wait()
}

// Source returns a Source that fetches from this server, with made-up credentials:
// no environment variables or files are needed. optFns may change its options,
// for example AttemptTimeout or Regions.
func (s *Server) Source(optFns ...func(*awssm.Options)) *awssm.Source {
	cfg := s.Config()
	return awssm.New(append([]func(*awssm.Options){func(o *awssm.Options) {
		o.Region, o.Endpoint, o.Config = Region, s.URL(), &cfg
	}}, optFns...)...)
}

// Config returns a configuration with which SDK clients talk to this server:
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

// Format writes the server's URL, whatever the verb: no secret.
func (s *Server) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "awssmtest server at %s", s.URL()) }

// Put stores a text value as the new AWSCURRENT version and returns its id. id is
// a name, or a full ARN, or an ARN without the suffix; a secret that is not there
// is made, in the ARN's region or in Region.
func (s *Server) Put(id, value string) (versionID string) {
	return s.put(id, "", text(value), current)
}

// PutBinary is Put for a binary value, of which it keeps a copy.
func (s *Server) PutBinary(id string, value []byte) (versionID string) {
	return s.put(id, "", binary(value), current)
}

// PutStage is Put for another stage. It moves no stage but that one, also not to
// the first version of a secret.
func (s *Server) PutStage(id, value, stage string) (versionID string) {
	return s.put(id, "", text(value), stage)
}

// PutVersion stores a value as the version with the given id, as a rotation
// function does with ClientRequestToken, and moves the stages to it.
func (s *Server) PutVersion(id, versionID, value string, stages ...string) {
	s.put(id, versionID, text(value), stages...)
}

// PutEmpty makes a version without a value that bears the stage, as a rotation
// that failed early leaves for AWSPENDING, and returns its id.
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

// MoveStage moves a stage to a version, from whichever has it. If it is
// AWSCURRENT, the version that had it becomes AWSPREVIOUS.
func (s *Server) MoveStage(id, stage, versionID string) {
	s.change("MoveStage", id, func(sec *secret) error {
		v := sec.version(versionID)
		if v == nil {
			return fmt.Errorf("it has no version %q", versionID)
		}
		return sec.move(stage, v)
	})
}

// RemoveStage takes a stage from the version that has it.
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

// Restore takes the mark back.
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

// Stages returns which version each stage is on.
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

// FreezeReplica keeps a region at what its secrets are now, as if replication to
// it were slow. Changes show there after ThawReplica.
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

// ThawReplica brings a region up to date and keeps it so.
func (s *Server) ThawReplica(region string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.frozen, region)
}

// A Request is what the server saw of an HTTP request.
type Request struct {
	Op        string   // "GetSecretValue"; empty if it named no operation of the service
	SecretIDs []string // as sent; several for BatchGetSecretValue
	Stage     string   // as sent, of GetSecretValue
	Region    string   // that it was signed for
	UserAgent string
	Remote    string // the client's address: tells connections apart
	Time      time.Time
}

// Calls returns how many HTTP requests came for an operation, such as
// "GetSecretValue", also those that failed.
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

// ResetCalls forgets all calls and requests.
func (s *Server) ResetCalls() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls, s.requests = map[string]int{}, nil
}

// Hanging returns how many requests hang now, because of Hang or Delay.
func (s *Server) Hanging() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hanging
}

// WaitHanging returns when n requests hang, or ctx ends.
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
