package agent_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/agent"
	"github.com/sqlsecrets/sqlsecrets/secretcache/agent/agenttest"
)

// TestMain sets proxies that must not be used, and no token. net/http reads the variables of
// proxies only once.
func TestMain(m *testing.M) {
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"} {
		_ = os.Setenv(name, "http://proxy.test:1") // fails for malformed names only
	}
	for _, name := range append(tokenEnv, agent.PortEnv, "NO_PROXY", "no_proxy") {
		_ = os.Unsetenv(name)
	}
	os.Exit(m.Run())
}

var tokenEnv = []string{"AWS_TOKEN", "AWS_SESSION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN"}

// A startFunc starts one of the two servers.
type startFunc = func(testing.TB, secretcache.Source, ...func(*agenttest.Options)) *agenttest.Server

// inMemory makes a server listen in memory.
func inMemory(o *agenttest.Options) { o.InMemory = true }

// A store is a source in which all secrets have the same version, which changes.
type store struct {
	version string
	created time.Time // zero means the time in the variable created
	err     error
}

func (s *store) Fetch(_ context.Context, id, stage string) (*secretcache.Secret, error) {
	if s.err != nil {
		return nil, s.err
	}
	at := s.created
	if at.IsZero() {
		at = created
	}
	return secretcache.NewSecret(secretcache.Value{
		ID: id, ARN: "arn:aws:secretsmanager:us-west-2:123456789012:secret:" + id + "-a1b2c3", Name: id,
		VersionID: s.version, Stages: []string{stage}, CreatedAt: at, String: "value of " + s.version,
	}), nil
}

var created = time.Date(2022, 11, 16, 8, 22, 40, 499_000_000, time.UTC)

// within returns a context that ends after a time.
func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// wantVersion checks the result of a fetch.
func wantVersion(t *testing.T, s *secretcache.Secret, err error, version string) {
	t.Helper()
	if err != nil || s.VersionID() != version {
		t.Errorf("got %v, %v, want version %q", s, err, version)
	}
}

// asError returns the *Error of a fetch.
func asError(t *testing.T, s *secretcache.Secret, err error) *agent.Error {
	t.Helper()
	var e *agent.Error
	if s != nil || !errors.As(err, &e) {
		t.Fatalf("got %v, %T %v, want an *agent.Error", s, err, err)
	}
	return e
}

// sentinels are the errors of package secretcache that a source reports.
var sentinels = []error{secretcache.ErrNotFound, secretcache.ErrNoVersion, secretcache.ErrAccessDenied, secretcache.ErrThrottled}

// checkKind checks that an error matches only the given sentinel, or none if it is nil.
func checkKind(t *testing.T, err, kind error) {
	t.Helper()
	for _, s := range sentinels {
		if errors.Is(err, s) != (s == kind) {
			t.Errorf("%v: matches %q: %v", err, s, errors.Is(err, s))
		}
	}
}
