package integration_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver/drivertest"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/agent"
	"github.com/sqlsecrets/sqlsecrets/secretcache/agent/agenttest"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm"
	"github.com/sqlsecrets/sqlsecrets/secretcache/file"
)

// A sourceRow is a source in front of the one that has the secrets of a test.
type sourceRow struct {
	name string
	// front returns the source. Each fetch of a cache leads to one fetch of upstream.
	front func(tb testing.TB, upstream secretcache.Source) secretcache.Source
}

var sources = []sourceRow{
	{"agent", func(tb testing.TB, upstream secretcache.Source) secretcache.Source {
		return agenttest.NewServer(tb, upstream).Source()
	}},
	{"extension", func(tb testing.TB, upstream secretcache.Source) secretcache.Source {
		return agenttest.NewExtension(tb, upstream, keepsNothing).Source()
	}},
	{"agent that is not there, then another source", func(tb testing.TB, upstream secretcache.Source) secretcache.Source {
		server := agenttest.NewServer(tb, upstream)
		source := server.Source(func(o *agent.Options) { o.StartTimeout = -1 })
		server.Stop()
		return secretcache.Chain(source, upstream)
	}},
	{"extension that keeps secrets, then another source", func(tb testing.TB, upstream secretcache.Source) secretcache.Source {
		return secretcache.Chain(agenttest.NewExtension(tb, upstream).Source(), upstream)
	}},
	{"file", func(tb testing.TB, upstream secretcache.Source) secretcache.Source {
		dir := tb.TempDir()
		path := filepath.Join(dir, "secret.json")
		return written{upstream, file.New(path), func(value string) error { return replace(path, value) }}
	}},
	{"directory of keys", func(tb testing.TB, upstream secretcache.Source) secretcache.Source {
		volume := filepath.Join(tb.TempDir(), "volume")
		return written{upstream, file.NewKeys(volume), func(value string) error { return replaceVolume(volume, value) }}
	}},
	{"environment variable", func(tb testing.TB, upstream secretcache.Source) secretcache.Source {
		name := "SOURCES_TEST_" + strconv.FormatInt(sourceNumber.Add(1), 10)
		tb.Cleanup(func() { _ = os.Unsetenv(name) })
		return written{upstream, file.NewEnv(name), func(value string) error { return os.Setenv(name, value) }}
	}},
}

var sourceNumber atomic.Int64

// written is a source that something else writes to. Before each read, the value of upstream is
// written.
type written struct {
	upstream secretcache.Source
	source   *file.Source
	write    func(value string) error
}

func (w written) Fetch(ctx context.Context, id, stage string) (*secretcache.Secret, error) {
	s, err := w.upstream.Fetch(ctx, id, stage)
	if err == nil {
		err = w.write(s.Reveal())
	}
	if err != nil {
		return nil, err
	}
	return w.source.Fetch(ctx, id, stage)
}

// replace replaces a file by a new one.
func replace(path, value string) error {
	return errors.Join(os.WriteFile(path+".new", []byte(value), 0o600), os.Rename(path+".new", path))
}

// replaceVolume writes a file for each key into a new directory and swaps the link to it, as
// Kubernetes does.
func replaceVolume(volume, value string) error {
	var fields map[string]any
	decoder := json.NewDecoder(bytes.NewReader([]byte(value)))
	decoder.UseNumber()
	if err := decoder.Decode(&fields); err != nil {
		return err
	}
	if err := os.MkdirAll(volume, 0o700); err != nil {
		return err
	}
	data, err := os.MkdirTemp(volume, "..")
	if err != nil {
		return err
	}
	for key, v := range fields {
		if err := os.WriteFile(filepath.Join(data, key), []byte(fmt.Sprint(v)+"\n"), 0o600); err != nil {
			return err
		}
		if err := os.Symlink(filepath.Join("..data", key), filepath.Join(volume, key)); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	link := filepath.Join(volume, "..data_tmp")
	return errors.Join(os.Symlink(filepath.Base(data), link), os.Rename(link, filepath.Join(volume, "..data")))
}

// A front is what stands between the suites and the Secrets Manager.
type front struct {
	name string // empty: nothing
	// server starts the front. Nil with an empty name.
	server func(tb testing.TB, upstream secretcache.Source) *agenttest.Server
	// untold are the states of the Secrets Manager for which the front has no error of its own.
	untold []string
	// keeps says how long the front keeps a secret. A cache adds its own TTL.
	keeps time.Duration
}

var fronts = []front{
	{},
	{name: "agent", keeps: agenttest.DefaultTTL, server: func(tb testing.TB, upstream secretcache.Source) *agenttest.Server {
		return agenttest.NewServer(tb, upstream)
	}},
	{name: "extension", untold: []string{"throttling", "5xx", "denying"}, server: func(tb testing.TB, upstream secretcache.Source) *agenttest.Server {
		return agenttest.NewExtension(tb, upstream, keepsNothing)
	}},
}

// keepsNothing is for the extension, because nothing bypasses the secrets that it keeps.
func keepsNothing(o *agenttest.Options) { o.TTL = -1 }

// suiteSource returns the front that SQLSECRETS_SUITE_SOURCE names: "agent" or "extension". Tests
// read the variable, so go test knows that their results depend on it.
var suiteSource = sync.OnceValue(func() front {
	name := os.Getenv("SQLSECRETS_SUITE_SOURCE")
	i := slices.IndexFunc(fronts, func(f front) bool { return f.name == name })
	if i < 0 {
		panic(fmt.Sprintf("SQLSECRETS_SUITE_SOURCE=%q: want agent or extension, or nothing", name))
	}
	return fronts[i]
})

// tells reports whether an error says what it has to say in a state of the Secrets Manager.
func (f front) tells(state smState, err error) bool {
	return slices.Contains(f.untold, state.name) || state.err(err)
}

// front returns the URL from which the library reads the secrets of v, and a func that makes a
// source for a URL.
func (v *env) front(t testing.TB) (url string, source func(url string) secretcache.Source) {
	t.Helper()
	if suiteSource().server == nil {
		return v.sm.URL(), func(url string) secretcache.Source {
			return v.sm.Source(func(o *awssm.Options) { o.Endpoint = url })
		}
	}
	// The front calls the Secrets Manager once for each of our attempts, without a timeout of its
	// own. The library does not wait for a front that is down.
	server := suiteSource().server(t, v.sm.Source(func(o *awssm.Options) { o.MaxAttempts, o.AttemptTimeout = -1, -1 }))
	return server.URL(), func(url string) secretcache.Source {
		return server.Source(func(o *agent.Options) { o.Endpoint, o.StartTimeout = url, -1 })
	}
}

// TestConformanceOfSources runs the suite that every engine has to pass with secrets from each
// source. It needs no TLS.
func TestConformanceOfSources(t *testing.T) {
	n := 0
	forEach(t, func(t *testing.T, e *engine) {
		for i, source := range sources {
			if testing.Short() && i != n%len(sources) {
				continue // each engine meets other sources
			}
			t.Run(source.name, func(t *testing.T) {
				suite := conformance(t, e, nil)
				suite.TLS, suite.Params, suite.Source = nil, e.noTLS, source.front
				drivertest.Run(t, suite)
			})
		}
		n++
	})
}
