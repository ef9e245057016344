package awssm_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	sm "github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm/awssmtest"
)

var sentinels = []error{secretcache.ErrNotFound, secretcache.ErrNoVersion, secretcache.ErrAccessDenied, secretcache.ErrThrottled}

func TestErrorsMatchTheirSentinels(t *testing.T) {
	s := awssmtest.NewServer(t)
	s.Put("a", canary)
	for _, tt := range []struct {
		name    string
		fault   awssmtest.Fault
		id      string
		stage   string
		want    error // a sentinel, or nil
		code    string
		text    string
		calls   int
		pointer any // for errors.As, in addition to smithy.APIError
	}{
		{
			name: "no such secret", id: "none", want: secretcache.ErrNotFound, code: "ResourceNotFoundException", pointer: new(*types.ResourceNotFoundException), calls: 1,
			text: `GetSecretValue "none" in us-west-2: secret not found: ResourceNotFoundException: Secrets Manager can't find the specified secret.`,
		},
		{
			name: "no such stage", stage: "AWSPENDING", want: secretcache.ErrNoVersion, code: "ResourceNotFoundException", pointer: new(*types.ResourceNotFoundException), calls: 1,
			text: `GetSecretValue "a" in us-west-2: secret has no version with this stage: ResourceNotFoundException: Secrets Manager can't find the specified secret value for staging label: AWSPENDING`,
		},
		{
			name: "marked for deletion", fault: awssmtest.Error(400, "InvalidRequestException", "You can't perform this operation on the secret because it was marked for deletion."),
			want: secretcache.ErrNotFound, code: "InvalidRequestException", pointer: new(*types.InvalidRequestException), calls: 1,
			text: `GetSecretValue "a" in us-west-2: secret not found: InvalidRequestException: You can't perform this operation on the secret because it was marked for deletion.`,
		},
		{
			name: "another invalid request", fault: awssmtest.Error(400, "InvalidRequestException", "no"),
			code: "InvalidRequestException", calls: 1, text: `GetSecretValue "a" in us-west-2: InvalidRequestException: no`,
		},
		{
			name: "invalid parameter", fault: awssmtest.Error(400, "InvalidParameterException", "no"),
			code: "InvalidParameterException", pointer: new(*types.InvalidParameterException), calls: 1,
		},
		{name: "denied", fault: awssmtest.Denied, want: secretcache.ErrAccessDenied, code: "AccessDeniedException", calls: 1},
		{
			name: "denied by KMS", fault: awssmtest.DeniedKMS, want: secretcache.ErrAccessDenied, code: "AccessDeniedException", calls: 1,
			text: `GetSecretValue "a" in us-west-2: access to the secret denied: AccessDeniedException: Access to KMS is not allowed`,
		},
		{
			name: "cannot decrypt", fault: awssmtest.Error(400, "DecryptionFailure", "Secrets Manager can't decrypt the protected secret text using the provided KMS key."),
			want: secretcache.ErrAccessDenied, code: "DecryptionFailure", pointer: new(*types.DecryptionFailure), calls: 1,
		},
		{
			name: "throttled", fault: awssmtest.Throttle, want: secretcache.ErrThrottled, code: "ThrottlingException", calls: 2,
			text: `GetSecretValue "a" in us-west-2: too many requests for secrets: ThrottlingException: Rate exceeded (2 attempts)`,
		},
		{name: "too many requests", fault: awssmtest.Error(429, "Whatever", ""), want: secretcache.ErrThrottled, code: "Whatever", calls: 2},
		{name: "limit exceeded", fault: awssmtest.Error(400, "LimitExceededException", "no"), want: secretcache.ErrThrottled, code: "LimitExceededException", pointer: new(*types.LimitExceededException), calls: 2},
		{name: "slow down", fault: awssmtest.Error(503, "SlowDown", "no"), want: secretcache.ErrThrottled, code: "SlowDown", calls: 2},
		{
			name: "server error", fault: awssmtest.ServerError, code: "InternalServiceError", pointer: new(*types.InternalServiceError), calls: 2,
			text: `GetSecretValue "a" in us-west-2: InternalServiceError: An error occurred on the server side. (2 attempts)`,
		},
		{name: "unavailable", fault: awssmtest.Unavailable, code: "ServiceUnavailable", calls: 2},
		{name: "not implemented", fault: awssmtest.Error(501, "NotImplemented", ""), code: "NotImplemented", calls: 1},
		{name: "request time out", fault: awssmtest.Error(400, "RequestTimeoutException", "no"), code: "RequestTimeoutException", calls: 2},
		{name: "unknown key", fault: awssmtest.Error(400, "UnrecognizedClientException", "The security token included in the request is invalid."), code: "UnrecognizedClientException", calls: 1},
		{
			name:  "wrong signature, with the request and its session token",
			fault: awssmtest.Error(400, "InvalidSignatureException", "The request signature we calculated does not match.\n\nThe Canonical String for this request should have been\n'POST\n/\n\nx-amz-security-token:"+canary+"'"),
			code:  "InvalidSignatureException", calls: 1,
			text: `GetSecretValue "a" in us-west-2: InvalidSignatureException: The request signature we calculated does not match.`,
		},
		{name: "expired", fault: awssmtest.Error(400, "ExpiredTokenException", "The security token included in the request is expired"), code: "ExpiredTokenException", calls: 1},
		{name: "invalid token", fault: awssmtest.Error(400, "InvalidNextTokenException", "no"), code: "InvalidNextTokenException", pointer: new(*types.InvalidNextTokenException), calls: 1},
		{
			name: "a text with control characters", fault: awssmtest.Error(400, "InvalidParameterException", "a\nb"),
			code: "InvalidParameterException", calls: 1, text: `GetSecretValue "a" in us-west-2: InvalidParameterException: a b`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.id == "" {
				tt.id = "a"
			}
			s.Heal()
			if tt.code != "" && tt.fault != (awssmtest.Fault{}) {
				s.Fail(tt.fault)
			}
			s.ResetCalls()
			src := s.Source(func(o *awssm.Options) { o.MaxAttempts = 2 }) // no earlier fetch has failed
			_, err := src.Fetch(t.Context(), tt.id, tt.stage)
			for _, sentinel := range sentinels {
				if got, want := errors.Is(err, sentinel), tt.want == sentinel; got != want {
					t.Errorf("errors.Is(%v, %q) = %t", err, sentinel, got)
				}
			}
			var api smithy.APIError
			if !errors.As(err, &api) || api.ErrorCode() != tt.code {
				t.Errorf("%v: APIError %v, want %s", err, api, tt.code)
			}
			if tt.pointer != nil && !errors.As(err, tt.pointer) {
				t.Errorf("%v: no %T", err, tt.pointer)
			}
			var e *awssm.Error
			if !errors.As(err, &e) || e.Op != "GetSecretValue" || e.SecretID != tt.id || e.Region != "us-west-2" || !errors.Is(e.Kind, tt.want) {
				t.Errorf("Error %+v", e)
			}
			if tt.text != "" && err.Error() != tt.text {
				t.Errorf("text\n got %s\nwant %s", err, tt.text)
			}
			if n := s.Calls("GetSecretValue"); n != tt.calls {
				t.Errorf("%d calls, want %d", n, tt.calls)
			}
			// The parts of the response that may be kept are in the error.
			var res *awshttp.ResponseError
			var smithyRes *smithyhttp.ResponseError
			var op *smithy.OperationError
			if !errors.As(err, &res) || res.ServiceRequestID() == "" || res.HTTPStatusCode() < 400 || !errors.As(err, &smithyRes) || !errors.As(err, &op) {
				t.Errorf("%v: response error %v, operation error %v", err, res, op)
			} else if res.HTTPResponse().Body != http.NoBody || res.HTTPResponse().Request != nil {
				t.Error("the response has a body or a request")
			}
			checkNoLeak(t, err)
		})
	}
}

// Everything goes wrong with an answer that holds the password.
func TestNoErrorHoldsTheValue(t *testing.T) {
	good := `{"ARN":"arn:aws:secretsmanager:us-west-2:123456789012:secret:a-a1b2c3","Name":"a","VersionId":"v","SecretString":"` + canary + `","VersionStages":["AWSCURRENT"],"CreatedDate":1.5}`
	type service func(t *testing.T) string // returns an endpoint
	fault := func(f awssmtest.Fault) service {
		return func(t *testing.T) string {
			s := awssmtest.NewServer(t)
			s.Put("a", canary)
			// An earlier answer came on the connection that is used again.
			if _, err := s.Source().Fetch(t.Context(), "a", ""); err != nil {
				t.Fatal(err)
			}
			s.Fail(f)
			return s.URL()
		}
	}
	raw := func(answer string) service { return func(t *testing.T) string { return rawServer(t, answer) } }
	for name, tt := range map[string]struct {
		service service
		as      any // the argument of errors.As
		is      error
	}{
		"truncated":                 {fault(awssmtest.Truncate), new(*smithyhttp.ResponseError), io.ErrUnexpectedEOF},
		"half of the JSON":          {fault(awssmtest.Answer(200, good[:strings.Index(good, canary)+len(canary)])), new(*awshttp.ResponseError), nil},
		"JSON without its end":      {fault(awssmtest.Answer(200, good[:len(good)-1])), new(*awshttp.ResponseError), nil},
		"a value that is an object": {fault(awssmtest.Answer(200, `{"SecretString":{"password":"`+canary+`"}}`)), new(*awshttp.ResponseError), nil},
		"a date that is text":       {fault(awssmtest.Answer(200, `{"SecretString":"`+canary+`","CreatedDate":"`+canary+`"}`)), new(*awshttp.ResponseError), nil},
		"invalid base64":            {fault(awssmtest.Answer(200, `{"SecretBinary":"`+canary+`!"}`)), new(*awshttp.ResponseError), nil},
		"stages that are text":      {fault(awssmtest.Answer(200, `{"VersionStages":"`+canary+`"}`)), new(*awshttp.ResponseError), nil},
		"no JSON":                   {fault(awssmtest.Answer(200, canary)), new(*awshttp.ResponseError), nil},
		"an array":                  {fault(awssmtest.Answer(200, `["`+canary+`"]`)), nil, nil},
		"another object":            {fault(awssmtest.Answer(200, `{"password":"`+canary+`"}`)), nil, nil},
		"404 page":                  {fault(awssmtest.Answer(404, "<html>"+canary)), new(*awshttp.ResponseError), nil},
		"500 page":                  {fault(awssmtest.Answer(500, "<html>"+canary)), new(*awshttp.ResponseError), nil},
		"500 with the value":        {fault(awssmtest.Answer(500, good)), new(smithy.APIError), nil},
		"500 with half the value":   {fault(awssmtest.Answer(500, good[:len(good)/2])), new(*awshttp.ResponseError), nil},
		"400 with a strange text":   {fault(awssmtest.Answer(400, `{"__type":"X","Message":{"a":"`+canary+`"}}`)), new(*awshttp.ResponseError), nil},
		"redirect":                  {fault(awssmtest.Answer(302, canary)), new(*awshttp.ResponseError), nil},
		"denied":                    {fault(awssmtest.Denied), new(smithy.APIError), secretcache.ErrAccessDenied},
		"throttled":                 {fault(awssmtest.Throttle), new(smithy.APIError), secretcache.ErrThrottled},
		"closed":                    {fault(awssmtest.CloseConn), nil, io.EOF},
		"hangs":                     {fault(awssmtest.Hang), new(net.Error), nil},
		"not HTTP":                  {raw(canary + "\r\n\r\n"), nil, nil},
		"an invalid status":         {raw("HTTP/1.1 " + canary + "\r\n\r\n"), nil, nil},
		"an invalid header":         {raw("HTTP/1.1 200 OK\r\n" + canary + "\r\n\r\n"), nil, nil},
		"an invalid length":         {raw("HTTP/1.1 200 OK\r\nContent-Length: " + canary + "\r\n\r\n"), nil, nil},
		"invalid chunks":            {raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + canary + "\r\n"), new(*smithyhttp.ResponseError), nil},
		"a body that is too short":  {raw("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + good), new(*smithyhttp.ResponseError), io.ErrUnexpectedEOF},
		"headers with the value":    {raw("HTTP/1.1 400 Bad Request\r\nX-Amzn-Errortype: X\r\nX-Secret: " + canary + "\r\nContent-Length: 2\r\n\r\n{}"), new(smithy.APIError), nil},
		"no server":                 {func(*testing.T) string { return "http://127.0.0.1:1" }, new(*net.OpError), nil},
		"no TLS": {func(t *testing.T) string {
			return strings.Replace(awssmtest.NewServer(t).URL(), "http:", "https:", 1)
		}, nil, nil},
		"unknown authority": {func(t *testing.T) string {
			ts := httptest.NewUnstartedServer(http.NotFoundHandler())
			ts.Config.ErrorLog = discard
			ts.StartTLS()
			t.Cleanup(ts.Close)
			return ts.URL
		}, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			endpoint := tt.service(t)
			s := awssmtest.NewServer(t)
			for op, fetch := range map[string]func(*awssm.Source) error{
				"Fetch": func(src *awssm.Source) error {
					sec, err := src.Fetch(t.Context(), "a", "")
					if sec != nil {
						t.Errorf("got %v and error %v", sec, err)
					}
					return err
				},
				"FetchBatch": func(src *awssm.Source) error { return src.FetchBatch(t.Context(), []string{"a"})[0].Err },
			} {
				err := fetch(s.Source(func(o *awssm.Options) {
					o.Endpoint, o.AttemptTimeout, o.MaxAttempts = endpoint, 50*time.Millisecond, 2
					if name != "hangs" {
						o.AttemptTimeout = 5 * time.Second
					}
				}))
				if err == nil {
					t.Fatalf("%s: no error", op)
				}
				t.Logf("%s: %v", op, err)
				if tt.as != nil && !errors.As(err, tt.as) {
					t.Errorf("%s: %v: no %T", op, err, tt.as)
				}
				if tt.is != nil && !errors.Is(err, tt.is) {
					t.Errorf("%s: %v is not %v", op, err, tt.is)
				}
				if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
					t.Errorf("%s: %v matches a context error, but the caller's context lives", op, err)
				}
				checkNoLeak(t, err)
			}
		})
	}
}

// After a network error there is a retry, unless it would bring the same error. The tests of
// package httpfetch show which parts of the errors are kept.
func TestNetworkErrors(t *testing.T) {
	said := errors.New(canary)
	for _, tt := range []struct {
		err   error
		calls int
		text  string
		as    any
	}{
		{&net.DNSError{Err: "no such host", Name: "h", IsNotFound: true}, 1, "lookup h: no such host", new(*net.DNSError)},
		{&net.DNSError{Err: "try again", Name: "h", IsTemporary: true, UnwrapErr: said}, 2, "lookup h: try again (2 attempts)", new(*net.DNSError)},
		{&net.OpError{Op: "read", Net: "tcp", Err: said}, 2, "read tcp: connection failed (*errors.errorString) (2 attempts)", new(*net.OpError)},
		{&url.Error{Op: "Post", URL: "https://h", Err: context.DeadlineExceeded}, 2, "i/o timeout (2 attempts)", new(net.Error)},
		{said, 2, "request could not be sent or was not answered (2 attempts)", nil},
		{x509.HostnameError{Certificate: &x509.Certificate{}, Host: "h"}, 1, "x509: certificate is not valid for any names, but wanted to match h", new(x509.HostnameError)},
		{&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, 1, "tls: failed to verify certificate: x509: certificate signed by unknown authority", new(x509.UnknownAuthorityError)},
		{errors.New("net/http: TLS handshake timeout"), 2, "net/http: TLS handshake timeout (2 attempts)", nil},
		{errors.New("net/http: invalid header field value for \"Authorization\""), 1, "net/http: invalid header field value for \"Authorization\"", nil},
		{errors.New("Proxy Authentication Required"), 1, "the HTTP proxy answered 407 Proxy Authentication Required: set its user and password in HTTPS_PROXY", nil},
		{errors.New("http: server gave HTTP response to HTTPS client"), 1, "http: server gave HTTP response to HTTPS client", nil},
	} {
		f := newFake()
		calls := 0
		src := f.source(func(o *awssm.Options) {
			o.MaxAttempts = 2
			o.Config.HTTPClient = smithyhttp.ClientDoFunc(func(*http.Request) (*http.Response, error) { calls++; return nil, tt.err })
		})
		_, err := src.Fetch(t.Context(), "a", "")
		if want := `GetSecretValue "a" in us-west-2: ` + tt.text; err == nil || err.Error() != want {
			t.Errorf("%T:\n got %v\nwant %s", tt.err, err, want)
		}
		if calls != tt.calls {
			t.Errorf("%v: %d calls, want %d", err, calls, tt.calls)
		}
		if tt.as != nil && !errors.As(err, tt.as) {
			t.Errorf("%v: is no %T", err, tt.as)
		}
		if errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v is the caller's deadline", err)
		}
		checkNoLeak(t, err)
	}
}

// The walk finds the value in the errors that the SDK returns. So the test above would find a leak.
func TestTheSDKsErrorsHoldTheValue(t *testing.T) {
	f := newFake()
	c := sm.NewFromConfig(aws.Config{
		Region: "us-west-2", HTTPClient: f, Retryer: func() aws.Retryer { return aws.NopRetryer{} },
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "a", SecretAccessKey: "b"}, nil
		}),
	})
	found := 0
	for status, body := range map[int]string{
		200: `{"SecretString":"` + canary,
		201: `{"SecretString":"` + canary + `","CreatedDate":"` + canary + `"}`,
		500: "<html>" + canary,
	} {
		f.set("us-west-2", func(string, string, string) (int, string) { return status, body })
		_, err := c.GetSecretValue(t.Context(), &sm.GetSecretValueInput{SecretId: aws.String("a")})
		if path := findCanary(err); path != "" {
			found++
			t.Logf("%d: %v: %s", status, err, path)
		}
	}
	if found == 0 {
		t.Error("the walk does not find the password in the SDK's errors")
	}
}

// The same for an Options.Client that is a client of the SDK, with its own retries.
func TestErrorsOfAClientAreCleanedToo(t *testing.T) {
	s := awssmtest.NewServer(t)
	s.Put("a", canary)
	retries := sm.NewFromConfig(s.Config(), func(o *sm.Options) {
		o.Retryer = retry.NewStandard(func(o *retry.StandardOptions) {
			o.Backoff = retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return time.Millisecond, nil })
		})
	})
	for _, f := range []awssmtest.Fault{
		awssmtest.Answer(200, `{"SecretString":"`+canary+`","CreatedDate":"`+canary+`"}`),
		awssmtest.Answer(500, "<html>"+canary), awssmtest.Truncate, awssmtest.Denied, awssmtest.CloseConn,
	} {
		s.Heal()
		s.Fail(f)
		_, err := awssm.New(func(o *awssm.Options) { o.Client = retries }).Fetch(t.Context(), "a", "")
		if err == nil {
			t.Errorf("%v: no error", f)
		}
		checkNoLeak(t, err)
	}

	// An error that is not the SDK's is the program's own, and is kept.
	boom := errors.New("boom")
	_, err := awssm.New(func(o *awssm.Options) { o.Client = clientFunc(func(context.Context) error { return boom }) }).Fetch(t.Context(), "a", "")
	if !errors.Is(err, boom) || err.Error() != `GetSecretValue "a": boom` {
		t.Errorf("got %v", err)
	}
	// The error of another call, for credentials.
	sts := &smithy.OperationError{ServiceID: "STS", OperationName: "AssumeRole", Err: &smithy.GenericAPIError{Code: "AccessDenied", Message: "no"}}
	_, err = awssm.New(func(o *awssm.Options) {
		o.Client = clientFunc(func(context.Context) error {
			return &smithy.OperationError{ServiceID: "Secrets Manager", OperationName: "GetSecretValue", Err: fmt.Errorf("get identity: %w", sts)}
		})
	}).Fetch(t.Context(), "a", "")
	if errors.Is(err, secretcache.ErrAccessDenied) || !strings.Contains(err.Error(), "get identity: operation error STS: AssumeRole, api error AccessDenied: no") {
		t.Errorf("got %v", err)
	}
}

func TestCredentialErrors(t *testing.T) {
	s := awssmtest.NewServer(t)
	boom := errors.New("boom")
	for name, tt := range map[string]struct {
		err  error
		text string
	}{
		"provider": {boom, `GetSecretValue "a" in us-west-2: get AWS credentials from Options.Config: boom`},
		"an error of another service": {
			&smithy.OperationError{ServiceID: "STS", OperationName: "AssumeRole", Err: &smithy.GenericAPIError{Code: "AccessDenied", Message: "no"}},
			`GetSecretValue "a" in us-west-2: get AWS credentials from Options.Config: operation error STS: AssumeRole, api error AccessDenied: no`,
		},
		"an unreadable answer": {
			&smithy.DeserializationError{Err: errors.New(canary), Snapshot: []byte(canary)},
			`GetSecretValue "a" in us-west-2: get AWS credentials from Options.Config: the answer to a request for credentials could not be read`,
		},
		"network": {
			&net.OpError{Op: "dial", Net: "tcp", Err: os.ErrDeadlineExceeded},
			`GetSecretValue "a" in us-west-2: get AWS credentials from Options.Config: dial tcp: i/o timeout`,
		},
		"output of a process": {
			fmt.Errorf("process provider error: parse failed of process output: %s, error: x", canary),
			`GetSecretValue "a" in us-west-2: get AWS credentials from Options.Config: process provider error: the output of credential_process is not valid JSON`,
		},
		"a deadline of its own": {
			fmt.Errorf("metadata service: %w", context.DeadlineExceeded),
			`GetSecretValue "a" in us-west-2: get AWS credentials from Options.Config: metadata service: context deadline exceeded`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := s.Config()
			calls := 0
			cfg.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { calls++; return aws.Credentials{}, tt.err })
			_, err := s.Source(func(o *awssm.Options) { o.Config = &cfg; o.Regions = []string{"us-east-1"} }).Fetch(t.Context(), "a", "")
			if err == nil || err.Error() != tt.text {
				t.Errorf("got  %v\nwant %s", err, tt.text)
			}
			for _, sentinel := range sentinels {
				if errors.Is(err, sentinel) {
					t.Errorf("%v is %v", err, sentinel)
				}
			}
			if errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v is the caller's deadline", err)
			}
			if calls != 1 || s.Calls("GetSecretValue") != 0 {
				t.Errorf("%d calls for credentials, %d of the API, want 1 and 0", calls, s.Calls("GetSecretValue"))
			}
			checkNoLeak(t, err)
		})
	}
}

func TestInvalidIDsAreNotSentAndURLsNotQuoted(t *testing.T) {
	s := awssmtest.NewServer(t)
	src := s.Source()
	for id, want := range map[string]string{
		"":                                       "GetSecretValue: the secret id is empty",
		strings.Repeat("x", 513):                 "GetSecretValue: the secret id is longer than 512 characters (an ARN: 2048)",
		"postgres://app:" + canary + "@host/db":  "GetSecretValue: the secret id is a database's URL; give the name or ARN of a secret that holds the credentials",
		"app:" + canary + "@host":                `GetSecretValue: the secret id has the character ':' in it, which none has; it is a name of letters, digits and "/_+=.@-!", or an ARN`,
		"a?b":                                    `GetSecretValue: the secret id has the character '?' in it, which none has; it is a name of letters, digits and "/_+=.@-!", or an ARN`,
		"arn:" + canary:                          "GetSecretValue: the ARN is not a secret's; one is arn:aws:secretsmanager:<region>:<account>:secret:<name>",
		"arn:aws:rds:us-west-2:1:db:x":           "GetSecretValue: the ARN is not a secret's; one is arn:aws:secretsmanager:<region>:<account>:secret:<name>",
		"arn:aws:secretsmanager:us-west-2:1:x":   "GetSecretValue: the ARN is not a secret's; one is arn:aws:secretsmanager:<region>:<account>:secret:<name>",
		"arn:aws:secretsmanager::1:secret:x":     "GetSecretValue: the ARN is not a secret's; one is arn:aws:secretsmanager:<region>:<account>:secret:<name>",
		"arn:aws:secretsmanager:a.b:1:secret:x":  "GetSecretValue: the region in the ARN is not an AWS region's name like us-west-2",
		"arn:aws:secretsmanager:-ab:1:secret:x":  "GetSecretValue: the region in the ARN is not an AWS region's name like us-west-2",
		"arn:aws:secretsmanager:A:1:secret:prod": "GetSecretValue: the region in the ARN is not an AWS region's name like us-west-2",
	} {
		_, err := src.Fetch(t.Context(), id, "")
		if err == nil || err.Error() != want {
			t.Errorf("%.60q:\n got %v\nwant %s", id, err, want)
		}
		checkNoLeak(t, err)
		res := src.FetchBatch(t.Context(), []string{id})
		if res[0].Err == nil {
			t.Errorf("%.60q: batch: no error", id)
		}
		checkNoLeak(t, res[0].Err)
	}
	if n := len(s.Requests()); n != 0 {
		t.Errorf("%d requests", n)
	}
}

func TestNoLogHoldsTheValue(t *testing.T) {
	s := awssmtest.NewServer(t)
	s.Put("a", canary)
	var log logBuffer
	cfg := s.Config()
	cfg.Logger = &log
	cfg.ClientLogMode = aws.LogResponseWithBody | aws.LogRequestWithBody | aws.LogRetries | aws.LogRequest | aws.LogResponse
	src := s.Source(func(o *awssm.Options) { o.Config = &cfg })
	if _, err := src.Fetch(t.Context(), "a", ""); err != nil {
		t.Fatal(err)
	}
	if res := src.FetchBatch(t.Context(), []string{"a"}); res[0].Err != nil {
		t.Fatal(res[0].Err)
	}
	s.Fail(awssmtest.Answer(500, canary))
	_, _ = src.Fetch(t.Context(), "a", "")
	if log.Len() == 0 || strings.Contains(log.String(), canary) {
		t.Errorf("the log has %d bytes, with the password: %t", log.Len(), strings.Contains(log.String(), canary))
	}
	for _, verb := range []string{"%v", "%+v", "%s", "%#v"} {
		if strings.Contains(fmt.Sprintf(verb, src), canary) {
			t.Errorf("%s of the source shows the password", verb)
		}
	}
	if got := fmt.Sprint(src); got != "awssm.Source" {
		t.Errorf("prints as %q", got)
	}
}

type logBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (l *logBuffer) Logf(_ logging.Classification, format string, v ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintf(&l.Buffer, format+"\n", v...)
}

// A clientFunc is an Options.Client that fails.
type clientFunc func(ctx context.Context) error

func (f clientFunc) GetSecretValue(ctx context.Context, _ *sm.GetSecretValueInput, _ ...func(*sm.Options)) (*sm.GetSecretValueOutput, error) {
	return nil, f(ctx)
}

func (f clientFunc) BatchGetSecretValue(ctx context.Context, _ *sm.BatchGetSecretValueInput, _ ...func(*sm.Options)) (*sm.BatchGetSecretValueOutput, error) {
	return nil, f(ctx)
}
