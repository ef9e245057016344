package agent_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/agent"
)

// If a caller's deadline comes before the agent starts, the error says that the agent is not
// running.
func TestFailedAttemptsAreReported(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	endpoint := "http://" + l.Addr().String()
	_ = l.Close()
	t.Setenv("AWS_TOKEN", "token")
	c := secretcache.New(agent.New(func(o *agent.Options) { o.Endpoint = endpoint }), nil)
	t.Cleanup(func() { _ = c.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err = c.Get(ctx, "prod/app", "")
	var e *agent.Error
	if !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &e) || !strings.Contains(err.Error(), "is it running?") {
		t.Errorf("Get() = %v, want the deadline, and that the agent is not there", err)
	}
}
