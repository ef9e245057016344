package engines_test

import (
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/agent"
	"github.com/sqlsecrets/sqlsecrets/secretcache/agent/agenttest"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm/awssmtest"
)

func write(t *testing.T, content string, path ...string) string {
	t.Helper()
	name := filepath.Join(path...)
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestSources(t *testing.T) {
	credentials(t)
	const id, value = "prod/app", `{"username":"app"}`
	sm := awssmtest.NewServer(t)
	sm.Put(id, value)
	agentServer := agenttest.NewServer(t, sm.Source(), func(o *agenttest.Options) { o.Token = "token of the agent" })
	extension := agenttest.NewExtension(t, sm.Source(), func(o *agenttest.Options) { o.Token = "token of the session" })
	t.Setenv("AWS_TOKEN", "token of the agent")
	t.Setenv("AWS_SESSION_TOKEN", "token of the session")
	t.Setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", sm.URL())
	dir := t.TempDir()
	one := write(t, value, dir, "one.json")
	write(t, value, dir, "secrets", "prod_app")
	write(t, "app\n", dir, "keys", "username")
	t.Setenv("SOURCES_TEST_VALUE", value)
	t.Setenv("SOURCES_TEST_FILE", one)

	for _, tt := range []struct {
		name   string
		loc    driver.Location
		port   string // of an extension, where the location does not say
		agent  int    // requests that the agent sees
		ext    int
		signed int // that the API sees of this cache itself
	}{
		{name: "API", loc: driver.Location{Source: "aws", Region: "eu-west-3"}, signed: 1},
		{name: "agent", loc: driver.Location{Source: "agent", Endpoint: agentServer.URL()}, agent: 1},
		{name: "extension", loc: driver.Location{Source: "extension", Endpoint: extension.URL()}, ext: 1},
		{name: "extension, then the API", loc: driver.Location{Source: "extension,aws", Region: "eu-west-1"}, port: port(t, extension.URL()), ext: 1},
		{name: "extension that is not there, then the API", loc: driver.Location{Source: "extension,aws", Region: "eu-west-2"}, port: closedPort(t), signed: 1},
		{name: "file", loc: driver.Location{Source: "file:" + one}},
		{name: "directory of secrets", loc: driver.Location{Source: "file:" + filepath.Join(dir, "secrets")}},
		{name: "directory of keys", loc: driver.Location{Source: "keys:" + filepath.Join(dir, "keys")}},
		{name: "variable", loc: driver.Location{Source: "env:SOURCES_TEST_VALUE"}},
		{name: "variable with a path", loc: driver.Location{Source: "envfile:SOURCES_TEST_FILE"}},
		{name: "variable, and a file that is not asked", loc: driver.Location{Source: "env:SOURCES_TEST_VALUE,file:" + filepath.Join(dir, "none")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv(agent.PortEnv, tt.port)
			agentBefore, extBefore := len(agentServer.Requests()), len(extension.Requests())
			through := sm.Calls("GetSecretValue") // by the servers, when they have not kept it
			start := time.Now()
			_, s := get(t, tt.loc, id)
			if got := s.Reveal(); got != value {
				t.Errorf("the value is %q, want %q", got, value)
			}
			if d := time.Since(start); d > agent.DefaultStartTimeout/2 {
				t.Errorf("it took %v: a server that is not there was waited for", d)
			}
			agentCalls, extCalls := len(agentServer.Requests())-agentBefore, len(extension.Requests())-extBefore
			if agentCalls != tt.agent || extCalls != tt.ext {
				t.Errorf("the agent saw %d requests and the extension %d, want %d and %d", agentCalls, extCalls, tt.agent, tt.ext)
			}
			if got := sm.Calls("GetSecretValue") - through; got < tt.signed || tt.signed == 0 && got > agentCalls+extCalls {
				t.Errorf("%d calls of the API, want %d besides the servers'", got, tt.signed)
			}
		})
	}
}

func port(t *testing.T, rawURL string) string {
	t.Helper()
	u, err := url.Parse(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	return u.Port()
}

func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return port(t, "http://"+l.Addr().String())
}

// After a rotation, a forced refresh bypasses the cache of the agent.
func TestRotationThroughTheAgent(t *testing.T) {
	sm := awssmtest.NewServer(t)
	sm.Put("prod/app", "first")
	server := agenttest.NewServer(t, sm.Source(), func(o *agenttest.Options) { o.Token = "token" })
	t.Setenv("AWS_TOKEN", "token")
	c, first := get(t, driver.Location{Source: "agent", Endpoint: server.URL()}, "prod/app")
	version := sm.Put("prod/app", "second")
	second, err := c.Refresh(t.Context(), "prod/app", "", first)
	if err != nil || second.VersionID() != version {
		t.Errorf("Refresh = %v, %v, want version %q", second, err, version)
	}
}

func TestDefaultTTL(t *testing.T) {
	t.Setenv("DEFAULT_TTL_TEST", "value")
	for _, tt := range []struct {
		source string
		want   time.Duration
	}{
		{"aws", secretcache.DefaultTTL},
		{"agent", time.Minute},
		{"extension", time.Minute},
		{"file:x", 10 * time.Second},
		{"keys:x", 10 * time.Second},
		{"envfile:X", 10 * time.Second},
		{"env:X", secretcache.DefaultTTL},
		{"agent,aws", time.Minute},
		{"aws,agent", time.Minute},
		{"agent,file:x,aws", 10 * time.Second},
		{"env:X,aws", secretcache.DefaultTTL},
	} {
		if got := engines.TTLOf(driver.Location{Source: tt.source}); got != tt.want {
			t.Errorf("the TTL of %s is %v, want %v", tt.source, got, tt.want)
		}
	}
}

// The error of a wrong source says what is wrong. It quotes nothing that may be a secret by
// mistake.
func TestWrongSourceIsAnErrorThatQuotesNoSecret(t *testing.T) {
	const marked = "hunter2-marked"
	for _, tt := range []struct {
		loc  driver.Location
		want string
	}{
		{driver.Location{Source: "agnet"}, `source "agnet" is unknown: give one of aws, agent, `},
		{driver.Location{Source: "AWS"}, `source "AWS" is unknown`},
		{driver.Location{Source: "agent,"}, "a source is empty"},
		{driver.Location{Source: "agent, aws"}, "a source is unknown"},
		{driver.Location{Source: "agent,agent"}, "given twice"},
		{driver.Location{Source: "agent:2773"}, `"agent" takes nothing after a colon`},
		{driver.Location{Source: "file"}, "file:PATH"},
		{driver.Location{Source: "file:"}, "file:PATH"},
		{driver.Location{Source: "keys"}, "keys:DIR"},
		{driver.Location{Source: "env"}, "env:NAME"},
		{driver.Location{Source: "env:A=" + marked}, `source "env"`},
		{driver.Location{Source: "file:/a," + marked}, "a path cannot have"},
		{driver.Location{Source: "postgres://user:" + marked + "@host"}, `source "postgres" is unknown`},
		{driver.Location{Source: "{" + marked + ":1}"}, "a source is unknown"},
		{driver.Location{Source: "agent", Region: "us-west-2"}, `"region" has no effect`},
		{driver.Location{Source: "file:/a", Region: "us-west-2"}, `"region" has no effect`},
		{driver.Location{Source: "env:A", Endpoint: "http://127.0.0.1:1"}, `"endpoint" has no effect`},
		{driver.Location{Source: "agent", Profile: "p"}, `"profile" has no effect on source ["agent"]`},
		{driver.Location{Source: "extension", RoleARN: role}, `"roleArn" has no effect`},
		{driver.Location{Source: "file:/a", RoleARN: role}, `"roleArn" has no effect`},
		{driver.Location{Source: "env:A", Profile: "p"}, `"profile" has no effect`},
		// The agent would answer with its own credentials.
		{driver.Location{Source: "agent,aws", RoleARN: role}, `"profile" and "roleArn" are for source "aws" alone, and source ["agent" "aws"] also asks a server with credentials of its own`},
		{driver.Location{Source: "aws,extension", Profile: "p"}, "credentials of its own"},
		{driver.Location{Source: "agent,aws", Endpoint: "http://127.0.0.1:1"}, "AWS_ENDPOINT_URL_SECRETS_MANAGER"},
	} {
		_, err := engines.Cache(tt.loc)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Cache(%+v) = %v, want an error with %q", tt.loc, err, tt.want)
			continue
		}
		if strings.Contains(err.Error(), marked) {
			t.Errorf("Cache(%+v) quotes what may be a secret: %v", tt.loc, err)
		}
	}
}
