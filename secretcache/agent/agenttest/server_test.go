package agenttest_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/agent/agenttest"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm/awssmtest"
)

const (
	header = "X-Aws-Parameters-Secrets-Token"
	role   = "arn:aws:iam::210987654321:role/path/reader"
)

// A client asks a server. It makes a new connection for each request, unless it keeps one.
type client struct {
	t      *testing.T
	s      *agenttest.Server
	http   *http.Client
	method string
	header http.Header
}

func newClient(t *testing.T, s *agenttest.Server) *client {
	tr := &http.Transport{DialContext: s.DialContext, DisableKeepAlives: true}
	t.Cleanup(tr.CloseIdleConnections)
	c := &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return &client{t, s, c, http.MethodGet, http.Header{header: {s.Token()}}}
}

// keep makes the client keep its connection.
func (c *client) keep() *client {
	c.http.Transport.(*http.Transport).DisableKeepAlives = false
	return c
}

func (c *client) do(path string) (status int, body string, h http.Header) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), c.method, c.s.URL()+path, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header = c.header
	resp, err := c.http.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp.StatusCode, string(b), resp.Header
}

func (c *client) want(path string, status int, body string) {
	c.t.Helper()
	if gotStatus, got, _ := c.do(path); gotStatus != status || !strings.Contains(got, body) {
		c.t.Errorf("%s %s: %d %s, want %d …%s…", c.method, path, gotStatus, got, status, body)
	}
}

const get = "/secretsmanager/get?secretId=a"

// upstream returns a Secrets Manager with the secret a, and a source that makes one attempt.
func upstream(t *testing.T) (*awssmtest.Server, *awssm.Source) {
	sm := awssmtest.NewServer(t)
	sm.Put("a", "first")
	return sm, sm.Source(func(o *awssm.Options) { o.MaxAttempts = -1 })
}

// All answers of the agent (server.rs, parse.rs, cache_manager.rs).
func TestAgentAnswers(t *testing.T) {
	for _, tt := range []struct {
		name    string
		request func(*client)
		fault   awssmtest.Fault
		options func(*agenttest.Options)
		path    string
		status  int
		body    string // part of the body
	}{
		{name: "ping needs no token", request: func(c *client) { c.header = nil }, path: "/ping", status: 200, body: "healthy"},
		{name: "ping takes GET only", request: func(c *client) { c.method = "POST" }, path: "/ping", status: 405, body: "Not allowed"},
		{name: "by query", path: get, status: 200, body: `"SecretString":"first"`},
		{name: "by path", path: "/v1/a", status: 200, body: `"Name":"a"`},
		{name: "by another path", options: func(o *agenttest.Options) { o.PathPrefix = "/secrets/" }, path: "/secrets/a", status: 200, body: `"Name":"a"`},
		{name: "the query is form-decoded", path: "/secretsmanager/get?secretId=%61&versionStage=AWSCURRENT", status: 200, body: `"Name":"a"`},
		{name: "the other header", request: func(c *client) { c.header = http.Header{"X-Vault-Token": c.header[header]} }, path: get, status: 200},
		{name: "another header by the options", options: func(o *agenttest.Options) { o.Headers = []string{"X-Own"} },
			request: func(c *client) { c.header = http.Header{"X-Own": c.header[header]} }, path: get, status: 200},
		{name: "400 missing parameter secretId", path: "/secretsmanager/get?versionStage=AWSCURRENT", status: 400, body: "missing parameter secretId"},
		{name: "400 missing secret ID", path: "/v1/?versionStage=AWSCURRENT", status: 400, body: "missing secret ID"},
		{name: "400 unknown parameter", path: get + "&stage=AWSCURRENT", status: 400, body: "unknown parameter: stage"},
		{name: "400 unknown parameter by path", path: "/v1/a?secretId=b", status: 400, body: "unknown parameter: secretId"},
		{name: "400 invalid refreshNow value", path: get + "&refreshNow=yes", status: 400, body: "invalid refreshNow value"},
		{name: "refreshNow in any case", path: get + "&refreshNow=TRUE", status: 200},
		{name: "refreshNow as a number", path: get + "&refreshNow=0", status: 200},
		{name: "400 Forwarded", request: func(c *client) { c.header.Set("X-Forwarded-For", "10.0.0.1") }, path: get, status: 400, body: "Forwarded"},
		{name: "Forwarded comes before the token", request: func(c *client) { c.header = http.Header{"X-Forwarded-For": {"10.0.0.1"}} }, path: get, status: 400, body: "Forwarded"},
		{name: "400 invalid roleArn format", path: get + "&roleArn=reader", status: 400, body: "invalid roleArn format, expected"},
		{name: "403 without a token", request: func(c *client) { c.header = nil }, path: get, status: 403, body: "Bad Token"},
		{name: "403 with a wrong one", request: func(c *client) { c.header.Set(header, "x") }, path: get, status: 403, body: "Bad Token"},
		{name: "the token is checked before the method", request: func(c *client) { c.header, c.method = nil, "POST" }, path: get, status: 403, body: "Bad Token"},
		{name: "the method is checked before the path", request: func(c *client) { c.method = "POST" }, path: "/nowhere", status: 405, body: "Not allowed"},
		{name: "404", path: "/nowhere?secretId=a", status: 404, body: "Not found"},
		{name: "405", request: func(c *client) { c.method = "POST" }, path: get, status: 405, body: "Not allowed"},
		{name: "429", options: func(o *agenttest.Options) { o.MaxConn = -1 }, path: get, status: 429, body: "Connection limit exceeded"},
		{name: "429 comes first", options: func(o *agenttest.Options) { o.MaxConn = -1 }, request: func(c *client) { c.header = nil }, path: get, status: 429},
		{name: "ping gets two more connections", options: func(o *agenttest.Options) { o.MaxConn = -1 }, path: "/ping", status: 200},
		{name: "not found", path: "/secretsmanager/get?secretId=b", status: 400,
			body: `{"__type":"ResourceNotFoundException","message":"Secrets Manager can't find the specified secret."}`},
		{name: "no version", path: get + "&versionStage=AWSPENDING", status: 400,
			body: `{"__type":"ResourceNotFoundException","message":"Secrets Manager can't find the specified secret value for staging label: AWSPENDING"}`},
		{name: "no such version", path: get + "&versionId=0", status: 400, body: "ResourceNotFoundException"},
		{name: "denied", fault: awssmtest.Denied, path: get, status: 400, body: "AccessDeniedException"},
		{name: "throttled", fault: awssmtest.Throttle, path: get, status: 400, body: "ThrottlingException"},
		{name: "AWS's 500", fault: awssmtest.ServerError, path: get, status: 500, body: "InternalServiceError"},
		{name: "400 MaxRolesExceeded", options: func(o *agenttest.Options) { o.MaxRoles = -1 }, path: get + "&roleArn=" + role, status: 400, body: `{"__type":"MaxRolesExceeded"`},
		{name: "403 for a role", options: func(o *agenttest.Options) { o.Roles = map[string]secretcache.Source{} },
			path: get + "&roleArn=" + role, status: 403, body: `{"__type":"AccessDeniedException"`},
		{name: "502", fault: awssmtest.CloseConn, path: get, status: 502, body: `{"__type":"ConnectionError","message":"Read Error"}`},
		{name: "504", fault: awssmtest.Hang, path: get, status: 504, body: `{"__type":"TimeoutError","message":"Timeout"}`},
		{name: "500", fault: awssmtest.Answer(200, "{}"), path: get, status: 500, body: `{"__type":"InternalFailure"}`},
		{name: "an exception without a text", fault: awssmtest.Error(400, "DecryptionFailure", ""), path: get, status: 400, body: `{"__type":"InternalFailure"}`},
		{name: "before 2.1.0 there are no roles", options: func(o *agenttest.Options) { o.Version = "2.0.0" },
			path: get + "&roleArn=" + role, status: 400, body: "unknown parameter: roleArn"},
		{name: "before 1.1.0 there is no refreshNow", options: func(o *agenttest.Options) { o.Version = "1.0.1" },
			path: get + "&refreshNow=true", status: 400, body: "unknown parameter: refreshNow"},
		{name: "before 2.1.0 texts are not escaped", options: func(o *agenttest.Options) { o.Version = "2.0.0" },
			fault: awssmtest.Error(400, "AccessDeniedException", `no "x"`), path: get, status: 400, body: `{"__type":"AccessDeniedException", "message":"no "x""}`},
		{name: "since 2.1.0 texts are escaped", fault: awssmtest.Error(400, "AccessDeniedException", `no "x"`), path: get, status: 400, body: `no \"x\"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sm, _ := upstream(t)
			if (tt.fault != awssmtest.Fault{}) {
				sm.Fail(tt.fault)
			}
			src := sm.Source(func(o *awssm.Options) {
				o.MaxAttempts = -1
				if tt.fault == awssmtest.Hang {
					o.AttemptTimeout = 50 * time.Millisecond
				}
			})
			s := agenttest.NewServer(t, src, tt.options)
			c := newClient(t, s)
			if tt.request != nil {
				tt.request(c)
			}
			c.want(tt.path, tt.status, tt.body)
		})
	}
}

// The recorded answers of the extension.
func TestExtensionAnswers(t *testing.T) {
	for _, tt := range []struct {
		name   string
		with   func(*client)
		path   string
		status int
		body   string
	}{
		{"by query", nil, get + "&versionStage=AWSCURRENT", 200, `"SecretString":"first"`},
		{"a parameter that it does not know", nil, get + "&refreshNow=true", 200, `"Name":"a"`},
		{"400 not ready", func(c *client) { c.s.Fail(agenttest.NotReady) }, get, 400, "not ready to serve traffic, please wait"},
		{"401 without a token", func(c *client) { c.header = nil }, get, 401, "bad session token or header key"},
		{"401 by another header", func(c *client) { c.header = http.Header{"X-Vault-Token": c.header[header]} }, get, 401, "bad session token or header key"},
		{"not found", nil, "/secretsmanager/get?secretId=b", 400, "an unexpected error occurred while executing request"},
		{"no version", nil, get + "&versionStage=AWSPENDING", 400, "an unexpected error occurred while executing request"},
		{"no id", nil, "/secretsmanager/get", 400, "an unexpected error occurred while executing request"},
		{"no path", nil, "/v1/a", 404, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, src := upstream(t)
			c := newClient(t, agenttest.NewExtension(t, src))
			if tt.with != nil {
				tt.with(c)
			}
			c.want(tt.path, tt.status, tt.body)
			if status, _, h := c.do(tt.path); status == 401 && (h.Get("X-Amzn-Errortype") != "AccessDeniedException" || h.Get("Content-Type") != "text/plain") {
				t.Errorf("headers of a 401: %v", h)
			}
		})
	}
}

// The JSON of a secret from each server.
func TestBodies(t *testing.T) {
	created := time.Date(2022, 11, 16, 8, 22, 40, 499_000_000, time.UTC)
	src := secretcache.SourceFunc(func(_ context.Context, id, _ string) (*secretcache.Secret, error) {
		v := secretcache.Value{ID: id, ARN: "arn:aws:secretsmanager:us-west-2:123456789012:secret:" + id + "-NhBWsc", Name: id,
			VersionID: "5767290c", Stages: []string{"AWSCURRENT"}, CreatedAt: created, String: `a "b"`}
		switch id {
		case "binary":
			v.Binary = []byte{0, 0xff}
		case "bare":
			v = secretcache.Value{ID: id, String: "x"}
		}
		return secretcache.NewSecret(v), nil
	})
	for _, tt := range []struct {
		name  string
		start func(testing.TB, secretcache.Source, ...func(*agenttest.Options)) *agenttest.Server
		id    string
		want  string
	}{
		{"agent", agenttest.NewServer, "text", `{"ARN":"arn:aws:secretsmanager:us-west-2:123456789012:secret:text-NhBWsc","Name":"text",` +
			`"VersionId":"5767290c","SecretString":"a \"b\"","VersionStages":["AWSCURRENT"],"CreatedDate":"1668586960.499"}`},
		{"agent", agenttest.NewServer, "binary", `{"ARN":"arn:aws:secretsmanager:us-west-2:123456789012:secret:binary-NhBWsc","Name":"binary",` +
			`"VersionId":"5767290c","SecretBinary":"AP8=","VersionStages":["AWSCURRENT"],"CreatedDate":"1668586960.499"}`},
		{"agent", agenttest.NewServer, "bare", `{"ARN":null,"Name":null,"VersionId":null,"SecretString":"x","CreatedDate":null}`},
		{"extension", agenttest.NewExtension, "text", `{"ARN":"arn:aws:secretsmanager:us-west-2:123456789012:secret:text-NhBWsc",` +
			`"CreatedDate":"2022-11-16T08:22:40.499Z","Name":"text","SecretBinary":null,"SecretString":"a \"b\"","VersionId":"5767290c",` +
			`"VersionStages":["AWSCURRENT"],"ResultMetadata":{}}`},
		{"extension", agenttest.NewExtension, "binary", `{"ARN":"arn:aws:secretsmanager:us-west-2:123456789012:secret:binary-NhBWsc",` +
			`"CreatedDate":"2022-11-16T08:22:40.499Z","Name":"binary","SecretBinary":"AP8=","SecretString":null,"VersionId":"5767290c",` +
			`"VersionStages":["AWSCURRENT"],"ResultMetadata":{}}`},
	} {
		t.Run(tt.name+" "+tt.id, func(t *testing.T) {
			_, body, h := newClient(t, tt.start(t, src)).do("/secretsmanager/get?secretId=" + tt.id)
			if body != tt.want {
				t.Errorf("got  %s\nwant %s", body, tt.want)
			}
			if ct, ok := h["Content-Type"]; ok {
				t.Errorf("Content-Type: %q, want none", ct)
			}
		})
	}
}

// The path is not decoded, but the query is.
func TestThePathIsNotDecoded(t *testing.T) {
	s := agenttest.NewServer(t, &fake{value: "v1"})
	c := newClient(t, s)
	c.want("/v1/a%2Bb", 200, `"Name":"a%2Bb"`)
	c.want("/v1/a+b", 200, `"Name":"a+b"`)
	c.want("/v1/a/b", 200, `"Name":"a/b"`)
	c.want("/secretsmanager/get?secretId=a%2Bb", 200, `"Name":"a+b"`)
}

// What the cache keeps, by which spelling and for how long, and which requests bypass it.
func TestCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{value: "v1"}
		s := agenttest.NewServer(t, f, func(o *agenttest.Options) { o.InMemory = true })
		c := newClient(t, s)
		step := func(what, path, want string, fetches int) {
			t.Helper()
			c.want(path, 200, `"SecretString":"`+want+`"`)
			if got := s.Fetches(); got != fetches {
				t.Errorf("%s: %d fetches, want %d", what, got, fetches)
			}
		}
		step("the first", get, "v1", 1)
		f.value = "v2"
		step("kept", get, "v1", 1)
		step("kept by path", "/v1/a", "v1", 1)
		step("with a stage it is another", get+"&versionStage=AWSCURRENT", "v2", 2)
		step("and with an ARN", "/secretsmanager/get?secretId=arn:a", "v2", 3)
		step("and with a role", get+"&roleArn="+role, "v2", 4)
		step("still kept", get, "v1", 4)
		step("refreshNow", get+"&refreshNow=true", "v2", 5)
		step("rewrites it", get, "v2", 5)

		f.value = "v3"
		time.Sleep(agenttest.DefaultTTL)
		step("as old as the TTL", get, "v2", 5)
		time.Sleep(time.Second)
		f.err = os.ErrDeadlineExceeded
		step("expired, and the service does not answer", get, "v2", 6)
		step("kept again", get, "v2", 6)
		c.want(get+"&refreshNow=true", 504, "TimeoutError")
		time.Sleep(agenttest.DefaultTTL + time.Second)
		f.err = secretcache.ErrThrottled
		c.want(get, 400, "ThrottlingException")
		f.err = nil
		step("the service answers", get, "v3", 9)

		f.value = "v4"
		s.Stop()
		s.Start()
		step("empty after a restart", get, "v4", 10)
	})
}

func TestCacheOfTheExtension(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{value: "v1"}
		s := agenttest.NewExtension(t, f, func(o *agenttest.Options) { o.InMemory, o.TTL = true, time.Hour })
		c := newClient(t, s)
		c.want(get, 200, "v1")
		f.value = "v2"
		c.want(get+"&refreshNow=true", 200, "v1")
		time.Sleep(agenttest.DefaultTTL)
		c.want(get, 200, "v1")
		time.Sleep(time.Second)
		c.want(get, 200, "v2") // 300 s is the maximum
	})
}

func TestWithoutACache(t *testing.T) {
	f := &fake{value: "v1"}
	s := agenttest.NewServer(t, f, func(o *agenttest.Options) { o.TTL = -1 })
	c := newClient(t, s)
	c.want(get, 200, "v1")
	f.value = "v2"
	c.want(get, 200, "v2")
	f.err = os.ErrDeadlineExceeded
	c.want(get, 200, "v2") // because of ignore_transient_errors
	strict := newClient(t, agenttest.NewServer(t, f, func(o *agenttest.Options) { o.TTL, o.FailStale = -1, true }))
	f.err = nil
	strict.want(get, 200, "v2")
	f.err = os.ErrDeadlineExceeded
	strict.want(get, 504, "TimeoutError")
}

// If a request names a version and a stage, both must agree.
func TestVersionByID(t *testing.T) {
	sm, src := upstream(t)
	second := sm.Put("a", "second")
	pending := sm.PutStage("a", "third", "AWSPENDING")
	c := newClient(t, agenttest.NewServer(t, src))
	c.want(get+"&versionId="+pending, 200, "third")
	c.want(get+"&versionId="+second+"&versionStage=AWSCURRENT", 200, "second")
	c.want(get+"&versionId="+pending+"&versionStage=AWSCURRENT", 400, "can't find the specified secret value for VersionId: "+pending)
}

// The number of connections at accept counts, as long as the connection lives.
func TestConnectionLimit(t *testing.T) {
	s := agenttest.NewServer(t, &fake{value: "v1"}, func(o *agenttest.Options) { o.MaxConn = 1 })
	first := newClient(t, s).keep()
	first.want(get, 200, "v1")
	second := newClient(t, s).keep()
	second.want(get, 429, "Connection limit exceeded")
	first.http.CloseIdleConnections()
	second.want(get, 429, "Connection limit exceeded")
	second.want("/ping", 200, "healthy")
	first.want(get, 429, "") // now the connection of second counts
	if n := s.Accepted(); n != 3 {
		t.Errorf("%d connections, want 3", n)
	}
}

// A connection ends 61 s after it was accepted, whether it is in use or not.
func TestConnectionLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := agenttest.NewServer(t, &fake{value: "v1"}, func(o *agenttest.Options) { o.InMemory = true })
		c := newClient(t, s).keep()
		for _, want := range []int{1, 1, 1, 1, 2} { // at 0, 20, 40, 60 and 80 s
			c.want(get, 200, "v1")
			if n := s.Accepted(); n != want {
				t.Errorf("%d connections, want %d", n, want)
			}
			time.Sleep(20 * time.Second)
		}
		c.http.CloseIdleConnections()
	})
}

func TestStopAndStart(t *testing.T) {
	s := agenttest.NewServer(t, &fake{value: "v1"})
	url := s.URL()
	c := newClient(t, s)
	c.want(get, 200, "v1")
	hangs := make(chan struct{})
	s.Fail(func(w http.ResponseWriter, r *http.Request) bool {
		close(hangs)
		return agenttest.Hang(w, r)
	})
	errs := make(chan error, 1)
	go func() {
		req, _ := http.NewRequest(http.MethodGet, url+get, nil)
		req.Header = c.header
		resp, err := c.http.Do(req)
		if err == nil {
			resp.Body.Close()
		}
		errs <- err
	}()
	<-hangs
	s.Stop()
	if err := <-errs; err == nil {
		t.Error("a request that hung when the server was killed got an answer")
	}
	if conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://")); err == nil {
		conn.Close()
		t.Error("a stopped server listens")
	}
	s.Heal()
	s.Start()
	if s.URL() != url {
		t.Errorf("after a restart: %s, was %s", s.URL(), url)
	}
	c.want(get, 200, "v1")
	s.SetToken("another")
	c.want(get, 403, "Bad Token")
}

func TestFaults(t *testing.T) {
	s := agenttest.NewServer(t, &fake{value: "v1"})
	c := newClient(t, s)
	broken := func(name string, f agenttest.Fault) {
		t.Helper()
		s.FailTimes(1, f)
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL()+get, nil)
		req.Header = c.header
		resp, err := c.http.Do(req)
		if err == nil {
			_, err = io.ReadAll(resp.Body)
			resp.Body.Close()
		}
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	broken("CloseConn", agenttest.CloseConn)
	broken("Truncate", agenttest.Truncate)
	s.FailTimes(2, agenttest.Answer(500, "oops"))
	c.want(get, 500, "oops")
	c.want(get, 500, "oops")
	c.want(get, 200, "v1")
	s.Fail(agenttest.Redirect("http://elsewhere.test/"))
	s.FailTimes(1, agenttest.Exception(400, "ThrottlingException", `"`))
	c.want(get, 400, `{"__type":"ThrottlingException","message":"\""}`) // the last fault is asked first
	c.want(get, 302, "")
	s.Heal()
	s.Fail(agenttest.Delay(time.Hour))
	time.AfterFunc(10*time.Millisecond, s.Heal)
	c.want(get, 200, "v1")
	var statuses []int
	for _, r := range s.Requests() {
		if r.SecretID != "a" || r.Remote == "" || r.Time.IsZero() {
			t.Errorf("request %+v", r)
		}
		statuses = append(statuses, r.Status)
	}
	if got, want := fmt.Sprint(statuses), "[0 200 500 500 200 400 302 200]"; got != want {
		t.Errorf("statuses: %s, want %s", got, want)
	}
}

func TestNoTokenIsPrinted(t *testing.T) {
	s := agenttest.NewServer(nil, &fake{value: "v1"}, func(o *agenttest.Options) { o.Token = "CANARY-token" })
	defer s.Close()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
		if text := fmt.Sprintf(verb, s); strings.Contains(text, "CANARY") || !strings.Contains(text, "agenttest agent at http://127.0.0.1:") {
			t.Errorf("%s: %s", verb, text)
		}
	}
}

// A fake is a source with one value.
type fake struct {
	value string
	err   error
}

func (f *fake) Fetch(_ context.Context, id, stage string) (*secretcache.Secret, error) {
	if f.err != nil {
		return nil, f.err
	}
	return secretcache.NewSecret(secretcache.Value{ID: id, Name: id, VersionID: f.value, Stages: []string{stage}, String: f.value}), nil
}
