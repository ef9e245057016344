package agent_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/agent"
	"github.com/sqlsecrets/sqlsecrets/secretcache/agent/agenttest"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm/awssmtest"
)

// Both servers, over the network, in front of a Secrets Manager.
func TestFetch(t *testing.T) {
	sm := awssmtest.NewServer(t)
	big := strings.Repeat("0123456789<\x01\"\\", 65536/14)
	old := sm.Put("prod/app", "one")
	version := sm.Put("prod/app", "two")
	pending := sm.PutStage("prod/app", "three", "AWSPENDING")
	odd := "a+b=c@d.e-f!_/g"
	sm.Put(odd, "odd")
	sm.PutBinary("binary", []byte{0, 0xff, '+', '/'})
	sm.PutBinary("binary/empty", nil)
	sm.Put("big", big)
	sm.Put("empty", "")
	arn := sm.ARN("prod/app")
	for name, start := range map[string]startFunc{"agent": agenttest.NewServer, "extension": agenttest.NewExtension} {
		t.Run(name, func(t *testing.T) {
			server := start(t, sm.Source())
			src := server.Source()
			for _, tt := range []struct {
				id, stage, version, value string
				binary                    bool
			}{
				{"prod/app", "", version, "two", false},
				{"prod/app", "AWSCURRENT", version, "two", false},
				{"prod/app", "AWSPREVIOUS", old, "one", false},
				{"prod/app", "AWSPENDING", pending, "three", false},
				{arn, "", version, "two", false},
				{arn[:len(arn)-7], "", version, "two", false},
				{odd, "", "", "odd", false},
				{"binary", "", "", "\x00\xff+/", true},
				{"binary/empty", "", "", "", true},
				{"big", "", "", big, false},
				{"empty", "", "", "", false},
			} {
				s, err := src.Fetch(t.Context(), tt.id, tt.stage)
				if err != nil {
					t.Errorf("%q %s: %v", tt.id, tt.stage, err)
					continue
				}
				stage := tt.stage
				if stage == "" {
					stage = "AWSCURRENT"
				}
				if s.ID() != tt.id || s.Reveal() != tt.value || s.IsBinary() != tt.binary || strings.Join(s.Stages(), ",") != stage ||
					tt.version != "" && (s.VersionID() != tt.version || s.ARN() != arn || s.Name() != "prod/app") ||
					time.Since(s.CreatedAt()).Abs() > time.Minute {
					t.Errorf("%q %s: %v, ARN %s, stages %v, created %v", tt.id, tt.stage, s, s.ARN(), s.Stages(), s.CreatedAt())
				}
				direct, err := sm.Source().Fetch(t.Context(), tt.id, tt.stage)
				if err != nil || !direct.CreatedAt().Equal(s.CreatedAt()) || direct.VersionID() != s.VersionID() {
					t.Errorf("%q %s: created %v, the API says %v, %v", tt.id, tt.stage, s.CreatedAt(), direct.CreatedAt(), err)
				}
			}
			for _, r := range server.Requests() {
				if r.Stage == "" || r.Refresh || r.Status != http.StatusOK || r.VersionID != "" || r.Role != "" {
					t.Errorf("request %+v", r)
				}
			}
			if n, conns := len(server.Requests()), server.Accepted(); n != 11 || conns != n {
				t.Errorf("%d requests on %d connections, want 11 on as many", n, conns)
			}
		})
	}
}

// FetchFresh bypasses the agent's cache, which then keeps the answer. For the extension it returns
// an error without a request.
func TestFetchFresh(t *testing.T) {
	sm := &store{version: "v1"}
	server := agenttest.NewServer(t, sm)
	src := server.Source()
	fetch := func(f func(context.Context, string, string) (*secretcache.Secret, error), version string) {
		t.Helper()
		s, err := f(t.Context(), "a", "AWSCURRENT")
		wantVersion(t, s, err, version)
	}
	fetch(src.Fetch, "v1")
	sm.version = "v2"
	fetch(src.Fetch, "v1")
	fetch(src.FetchFresh, "v2")
	fetch(src.Fetch, "v2")
	if n := server.Fetches(); n != 2 {
		t.Errorf("the agent fetched %d times, want 2", n)
	}
	var fresh []bool
	for _, r := range server.Requests() {
		fresh = append(fresh, r.Refresh)
	}
	if got := fmt.Sprint(fresh); got != "[false false true false]" {
		t.Errorf("refreshNow: %s", got)
	}

	for name, tt := range map[string]struct {
		server   *agenttest.Server
		requests int
	}{
		"extension": {agenttest.NewExtension(t, sm), 0},
		"old agent": {agenttest.NewServer(t, sm, func(o *agenttest.Options) { o.Version = "1.0.1" }), 1},
	} {
		s, err := tt.server.Source().FetchFresh(t.Context(), "a", "")
		asError(t, s, err)
		checkKind(t, err, nil)
		if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "bypass its cache") {
			t.Errorf("%s: %v, want errors.ErrUnsupported", name, err)
		}
		if n := len(tt.server.Requests()); n != tt.requests {
			t.Errorf("%s: %d requests, want %d", name, n, tt.requests)
		}
		s, err = tt.server.Source().Fetch(t.Context(), "a", "")
		wantVersion(t, s, err, "v2")
	}
}

// A Cache knows when the agent must bypass its cache. With the extension, a Chain then asks the
// API.
func TestCacheBypassesTheCacheOfTheAgent(t *testing.T) {
	for name, tt := range map[string]struct {
		start   startFunc
		chained bool
		version string
	}{
		"agent":               {agenttest.NewServer, false, "v2"},
		"extension":           {agenttest.NewExtension, false, "v1"},
		"agent, then API":     {agenttest.NewServer, true, "v2"},
		"extension, then API": {agenttest.NewExtension, true, "v2"},
	} {
		t.Run(name, func(t *testing.T) {
			sm := &store{version: "v1"}
			var src secretcache.Source = tt.start(t, sm).Source()
			if tt.chained {
				src = secretcache.Chain(src, sm)
			}
			c := secretcache.New(src, nil)
			defer c.Close()
			v1, err := c.Get(t.Context(), "a", "")
			wantVersion(t, v1, err, "v1")
			sm.version = "v2"
			s, err := c.Refresh(t.Context(), "a", "", v1)
			wantVersion(t, s, err, tt.version)
		})
	}
}

// Which address is dialled, and which endpoints are an error. The proxy that TestMain sets is not
// dialled.
func TestEndpoint(t *testing.T) {
	remote := func(o *agent.Options) { o.AllowRemote = true }
	for _, tt := range []struct {
		endpoint string
		with     func(*agent.Options)
		new      func(...func(*agent.Options)) *agent.Source
		port     string // the value of PortEnv
		dialled  string // or err
		err      string
	}{
		{endpoint: "", dialled: "127.0.0.1:2773"},
		{endpoint: "", port: "2774", dialled: "127.0.0.1:2773"}, // PortEnv has no effect on the agent
		{endpoint: "", new: agent.NewExtension, dialled: "127.0.0.1:2773"},
		{endpoint: "", new: agent.NewExtension, port: "2774", dialled: "127.0.0.1:2774"},
		{endpoint: "http://127.0.0.1:4000", new: agent.NewExtension, port: "2774", dialled: "127.0.0.1:4000"},
		{endpoint: "", new: agent.NewExtension, port: "0", err: `environment variable PARAMETERS_SECRETS_EXTENSION_HTTP_PORT is "0", which is not a port`},
		{endpoint: "", new: agent.NewExtension, port: "65536", err: `not a port`},
		{endpoint: "", new: agent.NewExtension, port: "x", err: `not a port`},
		{endpoint: "http://127.0.0.1", dialled: "127.0.0.1:80"},
		{endpoint: "http://127.0.0.1:2773/", dialled: "127.0.0.1:2773"},
		{endpoint: "http://127.9.9.9:2773", dialled: "127.9.9.9:2773"},
		{endpoint: "http://[::1]:2773", dialled: "[::1]:2773"},
		{endpoint: "http://[::ffff:127.0.0.1]:2773", dialled: "[::ffff:127.0.0.1]:2773"},
		{endpoint: "http://localhost:2773", dialled: "127.0.0.1:2773"},
		{endpoint: "http://LocalHost", dialled: "127.0.0.1:80"},
		{endpoint: "http://10.0.0.1:2773", err: `endpoint's host "10.0.0.1" is not this machine's loopback interface`},
		{endpoint: "http://0.0.0.0:2773", err: "Options.AllowRemote"},
		{endpoint: "http://localhost.evil.test:2773", err: "Options.AllowRemote"},
		{endpoint: "http://127.0.0.1.evil.test:2773", err: "Options.AllowRemote"},
		{endpoint: "http://sidecar:2773", with: remote, dialled: "sidecar:2773"},
		{endpoint: "http://10.0.0.1:2773", with: remote, dialled: "10.0.0.1:2773"},
		{endpoint: "https://127.0.0.1:2773", err: "not a URL like http://127.0.0.1:2773"},
		{endpoint: "127.0.0.1:2773", err: "not a URL like"},
		{endpoint: "http://", err: "not a URL like"},
		{endpoint: "http://127.0.0.1:2773/v1/", err: "not a URL like"},
		{endpoint: "http://127.0.0.1:2773?x=CANARY", err: "not a URL like"},
		{endpoint: "http://127.0.0.1:2773#CANARY", err: "not a URL like"},
		{endpoint: "http://user:CANARY@127.0.0.1:2773", err: "not a URL like"},
		{endpoint: "http://CANARY@127.0.0.1:2773", with: remote, err: "not a URL like"},
		{endpoint: "http://127.0.0.1:CANARY", err: "not a URL like"},
		{endpoint: "http://127.0.0.1:2773", with: func(o *agent.Options) { o.Header = "X Y" }, err: `Options.Header is "X Y"`},
		{endpoint: "http://127.0.0.1:2773", new: agent.NewExtension, with: func(o *agent.Options) { o.RoleARN = "arn:x" }, err: "the Lambda extension assumes no roles"},
	} {
		t.Run(tt.endpoint+" "+tt.dialled+tt.err, func(t *testing.T) {
			if tt.port != "" {
				t.Setenv(agent.PortEnv, tt.port)
			}
			if tt.new == nil {
				tt.new = agent.New
			}
			var dialled []string
			src := tt.new(func(o *agent.Options) {
				o.Endpoint, o.StartTimeout = tt.endpoint, -1
				o.Token = func() (string, error) { return "token", nil }
				o.DialContext = func(_ context.Context, _, addr string) (net.Conn, error) {
					dialled = append(dialled, addr)
					return nil, errors.New("no")
				}
			}, tt.with)
			s, err := src.Fetch(t.Context(), "a", "")
			asError(t, s, err)
			if got := strings.Join(dialled, " "); got != tt.dialled {
				t.Errorf("dialled %q, want %q", got, tt.dialled)
			}
			if tt.err != "" && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("got %q, want …%s…", err, tt.err)
			}
			for _, text := range []string{err.Error(), fmt.Sprintf("%+v %#v", src, src)} {
				if strings.Contains(text, "CANARY") {
					t.Errorf("quoted: %s", text)
				}
			}
		})
	}
}

// A text that is not the id of a secret is neither sent nor quoted.
func TestInvalidIDsAreNeitherSentNorQuoted(t *testing.T) {
	server := agenttest.NewServer(t, &store{version: "v1"})
	for _, id := range []string{"", "a?b", "postgres://user:CANARY@host/", "a&versionId=x", "a b", "a\nb", strings.Repeat("a", 2049)} {
		s, err := server.Source().Fetch(t.Context(), id, "")
		if e := asError(t, s, err); e.SecretID != "" || strings.Contains(err.Error(), "CANARY") || !strings.Contains(err.Error(), "secret id ") {
			t.Errorf("%.20q: %v", id, err)
		}
	}
	if n := len(server.Requests()); n != 0 {
		t.Errorf("%d requests, want none", n)
	}
}

// The agent assumes a role, and keeps the secrets of the role apart.
func TestRole(t *testing.T) {
	const role = "arn:aws:iam::210987654321:role/path/rea+der=,.@-_"
	own, other := &store{version: "own"}, &store{version: "other's"}
	server := agenttest.NewServer(t, own, func(o *agenttest.Options) { o.Roles = map[string]secretcache.Source{role: other} })
	s, err := server.Source().Fetch(t.Context(), "a", "")
	wantVersion(t, s, err, "own")
	s, err = server.Source(func(o *agent.Options) { o.RoleARN = role }).Fetch(t.Context(), "a", "")
	wantVersion(t, s, err, "other's")
}

// The token is in the header that Options.Header names.
func TestHeader(t *testing.T) {
	server := agenttest.NewServer(t, &store{version: "v1"}, func(o *agenttest.Options) { o.Headers = []string{"X-Own"} })
	s, err := server.Source(func(o *agent.Options) { o.Header = "x-own" }).Fetch(t.Context(), "a", "")
	wantVersion(t, s, err, "v1")
	if _, err := server.Source().Fetch(t.Context(), "a", ""); err == nil || !strings.Contains(err.Error(), "the name of the header") {
		t.Errorf("by the default header: %v", err)
	}
}

func TestForms(t *testing.T) {
	src := agent.New(func(o *agent.Options) { o.Token = func() (string, error) { return "CANARY", nil } })
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		if got, want := fmt.Sprintf(verb, src), "source of secrets: Secrets Manager Agent at 127.0.0.1:2773"; got != want {
			t.Errorf("%s: %s, want %s", verb, got, want)
		}
	}
	if got, want := agent.NewExtension().String(), "source of secrets: Lambda extension at 127.0.0.1:2773"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// A redirect is not followed, so that no other server gets the token.
func TestRedirect(t *testing.T) {
	other := agenttest.NewServer(t, &store{version: "v1"})
	server := agenttest.NewServer(t, &store{version: "v1"})
	for _, to := range []string{other.URL() + "/secretsmanager/get?secretId=a", "/v1/a"} {
		server.FailTimes(1, agenttest.Redirect(to))
		before := len(server.Requests())
		s, err := server.Source().Fetch(t.Context(), "a", "")
		if e := asError(t, s, err); e.Status != http.StatusFound {
			t.Errorf("to %s: %v", to, err)
		}
		if n := len(server.Requests()) - before + len(other.Requests()); n != 1 {
			t.Errorf("to %s: %d requests, want 1", to, n)
		}
	}
}

// A connection and a request over loopback, answered from a cache.
func BenchmarkFetch(b *testing.B) {
	src := agenttest.NewServer(b, &store{version: "v1"}).Source()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := src.Fetch(b.Context(), "prod/app", ""); err != nil {
			b.Fatal(err)
		}
	}
}
