package agent_test

import (
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/agent"
	"github.com/sqlsecrets/sqlsecrets/secretcache/agent/agenttest"
)

// The error that each answer of the agent and the extension becomes: its kind, and after how many
// requests. The name of a subtest is the answer. In a chain, errors without a kind and too many
// requests lead to the next source.
func TestAnswers(t *testing.T) {
	const mine = "xxx a body that is not quoted"
	for _, tt := range []struct {
		status   int
		body     string
		kind     error
		requests int // 0 means one
		class    error
		text     string // part of the error
	}{
		// Plain texts of the agent.
		{status: 400, body: "missing parameter secretId", text: "no id of a secret in the request"},
		{status: 400, body: "missing secret ID", text: "no id of a secret in the request"},
		{status: 400, body: "unknown parameter: stage", text: "does not know a parameter of the request"},
		{status: 400, body: "unknown parameter: roleArn", text: "does not support Options.RoleARN: use an agent of version 2.1.0 or newer"},
		{status: 400, body: "unknown parameter: refreshNow", class: errors.ErrUnsupported, text: "cannot bypass its cache: use an agent of version 1.1.0 or newer"},
		{status: 400, body: "invalid refreshNow value", text: "does not know this value of refreshNow"},
		{status: 400, body: "Forwarded", text: "a proxy has forwarded the request"},
		{status: 400, body: "invalid roleArn format, expected arn:<partition>:iam::<account>:role/<name>", text: "Options.RoleARN is not the ARN of a role"},
		{status: 400, body: "invalid port number", text: "status 400, for a reason that neither the agent nor the extension is known to give"}, // a URL parse error
		{status: 403, body: "Bad Token", text: "does not accept the token or the name of the header (the token is from Options.Token)"},
		{status: 404, body: "Not found", text: "does not know the path of the request"},
		{status: 405, body: "Not allowed", text: "does not allow GET"},
		{status: 429, body: "Connection limit exceeded", kind: secretcache.ErrThrottled, requests: 3, text: "more connections than it allows (max_conn)"},
		// Exceptions.
		{status: 400, body: `{"__type":"ResourceNotFoundException","message":"Secrets Manager can't find the specified secret."}`,
			kind: secretcache.ErrNotFound, text: "secret not found: ResourceNotFoundException: Secrets Manager can't find the specified secret."},
		{status: 400, body: `{"__type":"ResourceNotFoundException","message":"Secrets Manager can't find the specified secret value for staging label: AWSPENDING"}`,
			kind: secretcache.ErrNoVersion, text: "staging label: AWSPENDING"},
		{status: 400, body: `{"__type":"InvalidParameterException","message":"No."}`, text: "InvalidParameterException: No."},
		{status: 400, body: `{"__type":"AccessDeniedException","message":"Access to KMS is not allowed"}`, kind: secretcache.ErrAccessDenied, text: "Access to KMS is not allowed"},
		{status: 400, body: `{"__type":"ThrottlingException","message":"Rate exceeded"}`, kind: secretcache.ErrThrottled, requests: 3, text: "ThrottlingException: Rate exceeded (3 attempts)"},
		{status: 503, body: `{"__type":"ThrottlingException","message":"Rate exceeded"}`, kind: secretcache.ErrThrottled, requests: 3},
		{status: 400, body: `{"__type":"ExpiredTokenException","message":"The security token included in the request is expired"}`, text: "ExpiredTokenException"},
		{status: 400, body: `{"__type":"InvalidSignatureException","message":"The request signature we calculated does not match"}`, text: "InvalidSignatureException"},
		{status: 400, body: `{"__type":"MaxRolesExceeded","message":"Maximum number of roles (20) exceeded"}`, text: "as many roles as it may (max_roles): MaxRolesExceeded"},
		{status: 403, body: `{"__type":"AccessDeniedException","message":"not authorized to perform: sts:AssumeRole"}`, kind: secretcache.ErrAccessDenied,
			text: "it may not assume the role: AccessDeniedException: not authorized to perform: sts:AssumeRole"},
		{status: 500, body: `{"__type":"InternalServiceError","message":"An error occurred on the server side."}`, requests: 3, text: "InternalServiceError"},
		{status: 503, body: `{"__type":"AccessDeniedException","message":"not a refusal"}`, requests: 3},
		{status: 502, body: `{"__type":"ConnectionError","message":"Read Error"}`, requests: 3, text: "ConnectionError: Read Error (3 attempts)"},
		{status: 502, body: `{"__type":"ConnectionError","message":"Response Error"}`, requests: 3},
		{status: 504, body: `{"__type":"TimeoutError","message":"Timeout"}`, requests: 3},
		{status: 500, body: `{"__type":"InternalFailure"}`, requests: 3, text: "InternalFailure (3 attempts)"},
		{status: 400, body: `{"__type":"InternalFailure"}`, requests: 3}, // an exception of the service without a text
		// The same from agents before version 2.1.0, which do not escape.
		{status: 400, body: `{"__type":"ResourceNotFoundException", "message":"can't find the specified "secret"."}`,
			kind: secretcache.ErrNotFound, text: `ResourceNotFoundException: can't find the specified "secret".`},
		{status: 400, body: "{\"__type\":\"AccessDeniedException\", \"message\":\"a \"line\"\nand another\"}", kind: secretcache.ErrAccessDenied, text: `a "line" and another`},
		{status: 400, body: `{"__type":"ThrottlingException", "message":"\"}`, kind: secretcache.ErrThrottled, requests: 3},
		// Texts of the extension.
		{status: 400, body: "an unexpected error occurred while executing request", text: "does not say why"},
		{status: 401, body: "bad session token or header key", text: "does not accept the token or the name of the header (the token is from Options.Token)"},
		// Answers of other servers.
		{status: 200, body: mine, requests: 3, text: "answer could not be read"},
		{status: 200, body: `{"SecretString":"` + mine, requests: 3, text: "answer could not be read"},
		{status: 200, body: "{}", requests: 3, text: "answer could not be read"},
		{status: 200, body: "[]", requests: 3, text: "answer could not be read"},
		{status: 204, text: "status 204, for a reason"},
		{status: 302, body: mine, text: "status 302, a redirect"},
		{status: 400, body: mine, text: "status 400, for a reason"},
		{status: 400, body: `{"message":"` + mine + `"}`, text: "status 400, for a reason"},
		{status: 401, body: mine, text: "status 401 (the token is from Options.Token)"},
		{status: 403, body: mine, text: "status 403 (the token is from Options.Token)"},
		{status: 404, body: mine, text: "status 404, for a reason"},
		{status: 418, body: mine, text: "status 418, for a reason"},
		{status: 429, body: mine, kind: secretcache.ErrThrottled, requests: 3, text: "status 429 (3 attempts)"},
		{status: 500, body: mine, requests: 3, text: "status 500 (3 attempts)"},
		{status: 503, body: mine, requests: 3, text: "status 503 (3 attempts)"},
	} {
		t.Run(tt.body, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for _, start := range []startFunc{agenttest.NewServer, agenttest.NewExtension} {
					server := start(t, &store{version: "v1"}, inMemory)
					server.Fail(agenttest.Answer(tt.status, tt.body))
					s, err := server.Source().Fetch(within(t, 10*time.Second), "prod/app", "")
					e := asError(t, s, err)
					checkKind(t, err, tt.kind)
					if e.Status != tt.status || e.SecretID != "prod/app" || e.Kind != tt.kind || !strings.HasSuffix(e.Server, " at 127.0.0.1:2773") {
						t.Errorf("status %d, id %q, kind %v, server %s", e.Status, e.SecretID, e.Kind, e.Server)
					}
					if n := len(server.Requests()); n != max(1, tt.requests) {
						t.Errorf("%d requests, want %d", n, max(1, tt.requests))
					}
					if tt.class != nil && !errors.Is(err, tt.class) {
						t.Errorf("%v does not match %v", err, tt.class)
					}
					if text := err.Error(); !strings.HasPrefix(text, "ask the "+e.Server+` for "prod/app": `) ||
						!strings.Contains(text, tt.text) || strings.Contains(text, "xxx") || strings.ContainsAny(text, "\n\r") {
						t.Errorf("text: %s", text)
					}
				}
			})
		})
	}
}

// After the answer "not ready to serve traffic, please wait" a fetch waits.
func TestNotReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := agenttest.NewExtension(t, &store{version: "v1"}, inMemory)
		server.Fail(agenttest.NotReady)
		time.AfterFunc(3*time.Second, server.Heal)
		start := time.Now()
		s, err := server.Source().Fetch(within(t, 10*time.Second), "a", "")
		wantVersion(t, s, err, "v1")
		if took := time.Since(start); took < 3*time.Second || took > 3*time.Second+500*time.Millisecond {
			t.Errorf("took %v, want 3 s and a pause at most", took)
		}

		server.Fail(agenttest.NotReady)
		start = time.Now()
		s, err = server.Source().Fetch(within(t, 10*time.Second), "a", "")
		if e := asError(t, s, err); e.Status != 400 || !strings.Contains(err.Error(), "it is not ready, for example in the init phase") {
			t.Errorf("got %v", err)
		}
		if took := time.Since(start); took < agent.DefaultStartTimeout || took > agent.DefaultStartTimeout+500*time.Millisecond {
			t.Errorf("gave up after %v", took)
		}
		checkKind(t, err, nil)
	})
}

// Connections that break in different ways, and the errors that callers can match.
func TestBrokenConnections(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fault agenttest.Fault
		class error
		text  string
	}{
		{"closed before the answer", agenttest.CloseConn, io.EOF, "connection closed before the answer"},
		{"closed in the answer", agenttest.Truncate, io.ErrUnexpectedEOF, "unexpected EOF"},
		{"a huge answer", agenttest.Answer(200, `{"SecretString":"`+strings.Repeat("x", 1<<20)+`"}`), nil, "longer than 1 MiB"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := agenttest.NewServer(t, &store{version: "v1"}, inMemory)
				server.FailTimes(2, tt.fault)
				s, err := server.Source().Fetch(within(t, 10*time.Second), "a", "")
				if tt.class != nil {
					wantVersion(t, s, err, "v1") // from the third attempt
					server.Fail(tt.fault)
					s, err = server.Source().Fetch(within(t, 10*time.Second), "a", "")
				}
				asError(t, s, err)
				checkKind(t, err, nil)
				if tt.class != nil && !errors.Is(err, tt.class) || !strings.Contains(err.Error(), tt.text) {
					t.Errorf("got %v, want %v …%s…", err, tt.class, tt.text)
				}
			})
		})
	}
}

// The server is not there.
func TestRefusedConnection(t *testing.T) {
	server := agenttest.NewServer(t, &store{version: "v1"})
	server.Stop()
	s, err := server.Source(func(o *agent.Options) { o.StartTimeout = -1 }).Fetch(t.Context(), "a", "")
	asError(t, s, err)
	checkKind(t, err, nil)
	if !errors.Is(err, syscall.ECONNREFUSED) || !strings.HasSuffix(err.Error(), "connection refused: is it running?") {
		t.Errorf("got %v", err)
	}
}
