package integration_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/integration/testdb"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/agent"
	"github.com/sqlsecrets/sqlsecrets/secretcache/agent/agenttest"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm/awssmtest"
	"github.com/sqlsecrets/sqlsecrets/secretcache/file"
)

const (
	faultWorkers = 8
	// Each phase has fetches. If the source hangs, they fail within the phase.
	faultTTL     = 50 * time.Millisecond
	faultTimeout = 300 * time.Millisecond
	faultTime    = 400 * time.Millisecond
)

// A trouble is a fault of a source for some time, and what was counted in that time.
type trouble struct {
	name       string
	begin, end func() error // either may be nil
	fails      bool         // fetches fail

	queries, failed, slowest atomic.Int64
	fetches, errors          uint64
}

// TestSourcesInTroubleUnderLoad: workers open connections while the source of the secrets is
// killed, restarted, throttled, slowed down and broken. No query fails, because a cached password
// works. It prints the numbers (-v).
func TestSourcesInTroubleUnderLoad(t *testing.T) {
	for _, source := range []struct {
		name      string
		make      func(t *testing.T, v *env) (secretcache.Source, []*trouble)
		rotations int
	}{
		{"API", func(t *testing.T, v *env) (secretcache.Source, []*trouble) {
			relay := newRelay(t, v.sm.URL())
			fault := func(name string, fails bool, f awssmtest.Fault) *trouble {
				return &trouble{name: name, fails: fails, begin: ok(func() { v.sm.Fail(f) }), end: ok(v.sm.Heal)}
			}
			return v.sm.Source(func(o *awssm.Options) { o.Endpoint = relay.url() }), []*trouble{
				{name: "killed", fails: true, begin: ok(relay.close), end: ok(relay.open)},
				{name: "restarted", begin: ok(func() { relay.close(); relay.open() })},
				fault("throttled", true, awssmtest.Throttle),
				fault("slow, 100 ms", false, awssmtest.Delay(100*time.Millisecond)),
				fault("hanging", true, awssmtest.Hang),
				fault("at status 500", true, awssmtest.ServerError),
				fault("at status 503", true, awssmtest.Unavailable),
				fault("denying", true, awssmtest.Denied),
				fault("closing connections", true, awssmtest.CloseConn),
				fault("breaking off", true, awssmtest.Truncate),
			}
		}, 0},
		{"agent", func(t *testing.T, v *env) (secretcache.Source, []*trouble) {
			server := agenttest.NewServer(t, v.sm.Source(), func(o *agenttest.Options) { o.TTL = faultTTL })
			return server.Source(), append(troublesOf(t, v, server),
				&trouble{name: "too many connections", fails: true, begin: ok(func() { server.SetMaxConn(0) }),
					end: ok(func() { server.SetMaxConn(agenttest.DefaultMaxConn) })},
				faulty(server, "throttled", true, agenttest.Exception(http.StatusBadRequest, "ThrottlingException", "Rate exceeded")))
		}, 2},
		{"extension", func(t *testing.T, v *env) (secretcache.Source, []*trouble) {
			server := agenttest.NewExtension(t, v.sm.Source(), func(o *agenttest.Options) { o.TTL = faultTTL })
			return server.Source(), append(troublesOf(t, v, server), // the extension has no limit of connections, and one text for all errors
				faulty(server, "not ready", true, agenttest.NotReady),
				faulty(server, "failing", true, agenttest.Answer(http.StatusBadRequest, "an unexpected error occurred while executing request")))
		}, 2},
		{"agent, then the API", func(t *testing.T, v *env) (secretcache.Source, []*trouble) {
			relay := newRelay(t, v.sm.URL())
			server := agenttest.NewServer(t, v.sm.Source(), keepsNothing)
			chain := secretcache.Chain(server.Source(func(o *agent.Options) { o.StartTimeout = -1 }),
				v.sm.Source(func(o *awssm.Options) { o.Endpoint = relay.url() }))
			return chain, []*trouble{
				{name: "the agent killed", begin: ok(server.Stop), end: ok(server.Start)},
				{name: "the API killed", begin: ok(relay.close), end: ok(relay.open)},
				{name: "both killed", fails: true, begin: ok(func() { server.Stop(); relay.close() }), end: ok(func() { server.Start(); relay.open() })},
				{name: "the agent hanging", begin: ok(func() { server.Fail(agenttest.Hang) }), end: ok(server.Heal)},
				{name: "throttled, both", fails: true, begin: ok(func() { v.sm.Fail(awssmtest.Throttle) }), end: ok(v.sm.Heal)},
			}
		}, 0},
		{"file", func(t *testing.T, v *env) (secretcache.Source, []*trouble) {
			dir := filepath.Join(t.TempDir(), "secrets")
			path := filepath.Join(dir, strings.ReplaceAll(v.id, "/", "_"))
			write := func() error { return replace(path, v.secret(v.user, v.password)) }
			if err := errors.Join(os.Mkdir(dir, 0o700), write()); err != nil {
				t.Fatal(err)
			}
			return file.New(dir), []*trouble{
				{name: "removed", fails: true, begin: func() error { return os.Remove(path) }, end: write},
				{name: "rewritten", begin: write},
				{name: "unmounted", fails: true, begin: func() error { return os.Rename(dir, dir+".gone") }, end: func() error { return os.Rename(dir+".gone", dir) }},
				{name: "empty", fails: true, begin: func() error { return os.Truncate(path, 0) }, end: write},
				{name: "half written", fails: true, begin: func() error { return os.Truncate(path, 40) }, end: write},
				{name: "too large", fails: true, begin: func() error { return os.Truncate(path, file.MaxSize+1) }, end: write},
				{name: "an empty directory", fails: true, begin: func() error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) },
					end: func() error { return errors.Join(os.Remove(path), write()) }},
			}
		}, 0},
	} {
		t.Run(source.name, func(t *testing.T) {
			t.Parallel()
			v := newEnv(t, engineNamed("sqlserver stand-in"), testdb.Options{})
			src, troubles := source.make(t, v)
			troubles = append(append([]*trouble{{name: "healthy"}}, troubles...), &trouble{name: "healthy again"})
			underLoad(t, v, source.name, src, troubles)
			if n := v.RejectedLogins(v.user); (n == 0) != (source.rotations == 0) || n > source.rotations*faultWorkers {
				t.Errorf("%d logins rejected in %d rotations with %d workers", n, source.rotations, faultWorkers)
			}
		})
	}
}

// troublesOf are the troubles of an agent and of an extension.
func troublesOf(t *testing.T, v *env, server *agenttest.Server) []*trouble {
	restart := func() { server.Stop(); server.Start() }
	return []*trouble{
		{name: "rotated", begin: ok(func() { v.changePassword(t, "second password") })},
		{name: "killed", begin: ok(server.Stop), fails: true, end: ok(server.Start)},
		faulty(server, "slow, 100 ms", false, agenttest.Delay(100*time.Millisecond)),
		faulty(server, "hanging", true, agenttest.Hang),
		faulty(server, "at status 500", true, agenttest.Answer(http.StatusInternalServerError, "")),
		faulty(server, "closing connections", true, agenttest.CloseConn),
		faulty(server, "answering nonsense", true, agenttest.Answer(http.StatusOK, "nonsense")),
		{name: "of another token", begin: ok(func() { server.SetToken("another token") })},
		{name: "restarted, rotated", begin: ok(func() { restart(); v.changePassword(t, "third password") })},
	}
}

func faulty(server *agenttest.Server, name string, fails bool, f agenttest.Fault) *trouble {
	return &trouble{name: name, fails: fails, begin: ok(func() { server.Fail(f) }), end: ok(server.Heal)}
}

func ok(f func()) func() error { return func() error { f(); return nil } }

func engineNamed(name string) *engine {
	for _, e := range engines {
		if e.name == name {
			return e
		}
	}
	panic("no engine " + name)
}

func underLoad(t *testing.T, v *env, name string, src secretcache.Source, troubles []*trouble) {
	cache := secretcache.New(src, &secretcache.Options{TTL: faultTTL, FetchTimeout: faultTimeout})
	t.Cleanup(func() { _ = cache.Close() })
	db := v.open(t, v.engine.noTLS, &driver.Options{Secrets: cache})
	db.SetMaxOpenConns(faultWorkers)
	db.SetMaxIdleConns(-1) // every query logs in
	mustPing(t, db)

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var now atomic.Pointer[trouble]
	now.Store(troubles[0])
	var wg sync.WaitGroup
	for range faultWorkers {
		wg.Go(func() {
			for ctx.Err() == nil {
				in, start := now.Load(), time.Now()
				err := db.PingContext(t.Context())
				took := int64(time.Since(start))
				in.queries.Add(1)
				for old := in.slowest.Load(); took > old && !in.slowest.CompareAndSwap(old, took); old = in.slowest.Load() {
				}
				if err != nil && in.failed.Add(1) == 1 {
					t.Errorf("%s: %v", in.name, err)
				}
			}
		})
	}
	for _, p := range troubles {
		now.Store(p)
		before := cache.Stats()
		if p.begin != nil {
			if err := p.begin(); err != nil {
				t.Error(err)
			}
		}
		time.Sleep(faultTime)
		until(t, p.name+": a fetch that fails", func() bool { return !p.fails || cache.Stats().Errors > before.Errors })
		after := cache.Stats()
		p.fetches, p.errors = after.Fetches-before.Fetches, after.Errors-before.Errors
		if p.end != nil {
			if err := p.end(); err != nil {
				t.Error(err)
			}
		}
		cache.Invalidate(v.id) // otherwise the pause after a failure has to pass
		until(t, p.name+": a fetch that works afterwards", func() bool {
			n := cache.Stats()
			return n.Fetches-n.Errors > after.Fetches-after.Errors
		})
	}
	stop()
	wg.Wait()

	text := fmt.Sprintf("%-22s %8s %7s %8s %8s %9s\n", name, "queries", "failed", "fetches", "failed", "slowest")
	for _, p := range troubles {
		text += fmt.Sprintf("%-22s %8d %7d %8d %8d %9v\n", p.name, p.queries.Load(), p.failed.Load(), p.fetches, p.errors,
			time.Duration(p.slowest.Load()).Round(time.Millisecond))
		if p.queries.Load() == 0 {
			t.Errorf("%s: no query", p.name)
		}
	}
	t.Logf("%d workers, a connection for each query, TTL %v, FetchTimeout %v\n%s", faultWorkers, faultTTL, faultTimeout, text)
}

// until waits until a condition holds, for a generous time.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Errorf("%s: it did not come", what)
			return
		}
	}
}
