package agent_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqlsecrets/sqlsecrets/secretcache/agent"
	"github.com/sqlsecrets/sqlsecrets/secretcache/agent/agenttest"
)

// write writes a token file.
func write(t *testing.T, path, token string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Which variable and which file the token comes from.
func TestTokenFromTheEnvironment(t *testing.T) {
	if _, err := os.Stat(agent.DefaultTokenFile); err == nil {
		t.Skipf("%s is there", agent.DefaultTokenFile)
	}
	file := filepath.Join(t.TempDir(), "token")
	write(t, file, " of the file\n")
	reference := "file://" + file
	for _, tt := range []struct {
		name  string
		start startFunc
		env   [3]string // values of tokenEnv
		token string    // or err
		err   string
	}{
		{"the first", agenttest.NewServer, [3]string{"one", "two", "three"}, "one", ""},
		{"the second", agenttest.NewServer, [3]string{"", "two", "three"}, "two", ""},
		{"the third", agenttest.NewServer, [3]string{"", "", "three"}, "three", ""},
		{"a file", agenttest.NewServer, [3]string{reference, "two", ""}, "of the file", ""},
		{"a file, by the third", agenttest.NewServer, [3]string{"", "", reference}, "of the file", ""},
		{"a missing file", agenttest.NewServer, [3]string{"file:///nowhere/token", "two", ""}, "", "no token: open /nowhere/token: no such file or directory"},
		{"nothing", agenttest.NewServer, [3]string{}, "",
			"no token: none of AWS_TOKEN, AWS_SESSION_TOKEN, AWS_CONTAINER_AUTHORIZATION_TOKEN is set, and the default file is missing: open /var/run/awssmatoken"},
		{"characters that a header cannot have", agenttest.NewServer, [3]string{"CANARY\nx"}, "", "the token from AWS_TOKEN has characters that are not allowed in a header"},
		{"extension", agenttest.NewExtension, [3]string{"one", "two", "three"}, "two", ""},
		{"extension, no file", agenttest.NewExtension, [3]string{"", reference, ""}, reference, ""},
		{"extension, nothing", agenttest.NewExtension, [3]string{"one", "", "three"}, "", "no token: environment variable AWS_SESSION_TOKEN is not set"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for i, value := range tt.env {
				if value != "" {
					t.Setenv(tokenEnv[i], value)
				}
			}
			server := tt.start(t, &store{version: "v1"}, func(o *agenttest.Options) { o.Token = tt.token })
			src := server.Source(func(o *agent.Options) { o.Token, o.StartTimeout = nil, -1 })
			s, err := src.Fetch(t.Context(), "a", "")
			if tt.err == "" {
				wantVersion(t, s, err, "v1")
				return
			}
			asError(t, s, err)
			checkKind(t, err, nil)
			if text := err.Error(); !strings.Contains(text, tt.err) || strings.Contains(text, "CANARY") {
				t.Errorf("got %q, want …%s…", text, tt.err)
			}
			if n := len(server.Requests()); n != 0 {
				t.Errorf("%d requests without a token", n)
			}
		})
	}
}

// A token that the server does not accept is read again, once.
func TestTokenFileChanges(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	write(t, file, "old")
	server := agenttest.NewServer(t, &store{version: "v1"}, func(o *agenttest.Options) { o.Token = "old" })
	reads := 0
	var reading func()
	src := server.Source(func(o *agent.Options) {
		read := agent.TokenFile(file)
		o.Token = func() (string, error) {
			reads++
			token, err := read()
			if reading != nil {
				reading()
			}
			return token, err
		}
	})
	fetch := func(want string, requests, wantReads int) {
		t.Helper()
		reads = 0
		before := len(server.Requests())
		s, err := src.Fetch(t.Context(), "a", "")
		if want == "" {
			wantVersion(t, s, err, "v1")
		} else {
			asError(t, s, err)
			checkKind(t, err, nil)
			if !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want …%s…", err, want)
			}
		}
		if n := len(server.Requests()) - before; n != requests || reads != wantReads {
			t.Errorf("%d requests, %d reads of the token, want %d and %d", n, reads, requests, wantReads)
		}
	}
	fetch("", 1, 1)

	// The agent was restarted, and the file is written between the read and the request.
	server.SetToken("new")
	reading = func() { write(t, file, "new") }
	fetch("", 2, 2)
	reading = nil
	fetch("", 1, 1)

	// The agent has an unknown token. The token of the file is not sent again.
	server.SetToken("another")
	fetch("does not accept the token", 1, 2)
	// The file changes, but to a wrong token.
	reading = func() { write(t, file, "wrong "+string(rune('a'+reads))) }
	fetch("does not accept the token", 2, 2)
}

// The token file is made when the machine starts, and is empty for a moment.
func TestTokenFileIsWaitedFor(t *testing.T) {
	for name, content := range map[string]*string{"missing": nil, "empty": new(string)} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "token")
			if content != nil {
				write(t, file, *content)
			}
			synctest.Test(t, func(t *testing.T) {
				server := agenttest.NewServer(t, &store{version: "v1"}, inMemory, func(o *agenttest.Options) { o.Token = "token" })
				src := server.Source(func(o *agent.Options) { o.Token = agent.TokenFile(file) })
				took(t, agent.DefaultStartTimeout, longest, func() {
					s, err := src.Fetch(within(t, 10*time.Second), "a", "")
					asError(t, s, err)
					if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "no token: ") || !strings.Contains(err.Error(), file) {
						t.Errorf("got %v", err)
					}
				})
				time.Sleep(3 * time.Minute)
				time.AfterFunc(2*time.Second, func() { write(t, file, "token\n") })
				took(t, 2*time.Second, longest, func() {
					s, err := src.Fetch(within(t, 10*time.Second), "a", "")
					wantVersion(t, s, err, "v1")
				})
			})
		})
	}
}

// If the token file exists but cannot be read, there is no retry.
func TestTokenThatCannotBeRead(t *testing.T) {
	mine := errors.New("mine")
	server := agenttest.NewServer(t, &store{version: "v1"})
	for _, tt := range []struct {
		token func() (string, error)
		err   error
		text  string
	}{
		{agent.TokenFile(t.TempDir()), nil, "is a directory"},
		{func() (string, error) { return "", mine }, mine, "no token: mine"},
		{func() (string, error) { return "", nil }, nil, "no token: the one from Options.Token is empty"},
	} {
		s, err := server.Source(func(o *agent.Options) { o.Token = tt.token }).Fetch(t.Context(), "a", "")
		asError(t, s, err)
		if !strings.Contains(err.Error(), tt.text) || tt.err != nil && !errors.Is(err, tt.err) {
			t.Errorf("got %v, want …%s…", err, tt.text)
		}
	}
}
