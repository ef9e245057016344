package awssm_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"

	"github.com/sqlsecrets/sqlsecrets/internal/deadline"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm/awssmtest"
)

// The text of the SDK's errors about credentials is kept, except these texts.
func TestAnErrorOfCredentialsQuotesNoPassword(t *testing.T) {
	for name, tt := range map[string]struct {
		err  error
		want string
	}{
		"session token in the request that STS quotes": {
			&smithy.OperationError{ServiceID: "STS", OperationName: "AssumeRole", Err: &smithy.GenericAPIError{Code: "SignatureDoesNotMatch",
				Message: "The request signature we calculated does not match.\n\nThe Canonical String for this request should have been\n'POST\n/\n\nx-amz-security-token:" + canary + "'"}},
			"The request signature we calculated does not match.",
		},
		"password of a proxy": {
			&smithy.OperationError{ServiceID: "STS", OperationName: "AssumeRole", Err: &url.Error{Op: "Post", URL: "https://sts.us-west-2.amazonaws.com/",
				Err: fmt.Errorf("invalid proxy address %q: %w", "http://app:"+canary+"%@proxy", url.EscapeError("%@p"))}},
			"HTTPS_PROXY or HTTP_PROXY is not a URL",
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := awssmtest.NewServer(t).Config()
			cfg.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return aws.Credentials{}, tt.err })
			_, err := awssm.New(func(o *awssm.Options) { o.Config = &cfg }).Fetch(t.Context(), "a", "")
			if err == nil || !strings.Contains(err.Error(), "get AWS credentials from Options.Config: ") || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want …%s…", err, tt.want)
			}
			checkNoLeak(t, err)
		})
	}
}

// If the instance did not answer within its time, it is not asked again for a while. If the caller
// gave up earlier, the next fetch asks again.
func TestACallerThatGivesUpDoesNotStopOthersFromAskingForTheRegion(t *testing.T) {
	var asked atomic.Int32
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 {
			<-r.Context().Done()
			return
		}
		if r.Method == http.MethodPut {
			w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "60")
			_, _ = io.WriteString(w, "token")
			return
		}
		_, _ = io.WriteString(w, `{"region":"eu-west-3"}`)
	}))
	defer ts.Close()
	env(t, map[string]string{
		"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b",
		"AWS_EC2_METADATA_DISABLED": "", "AWS_EC2_METADATA_SERVICE_ENDPOINT": ts.URL,
	})
	src := awssm.New(func(o *awssm.Options) { o.MaxAttempts = 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := src.Fetch(ctx, "a", ""); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the caller that gave up: got %v, want its deadline", err)
	}
	_, err := src.Fetch(t.Context(), "a", "")
	if e := (*awssm.Error)(nil); !errors.As(err, &e) || e.Region != "eu-west-3" {
		t.Errorf("the next: got %v, want one of region eu-west-3", err)
	}
}

// A logger may read the id of a request from its context.
func TestTheSDKsLoggerGetsTheContext(t *testing.T) {
	l := &contextLogger{}
	cfg := awssmtest.NewServer(t).Config()
	cfg.Logger, cfg.ClientLogMode = l, aws.LogRequest
	type id struct{}
	_, _ = awssm.New(func(o *awssm.Options) { o.Config = &cfg }).Fetch(context.WithValue(t.Context(), id{}, "7"), "a", "")
	if l.ctx == nil || l.ctx.Value(id{}) != "7" {
		t.Errorf("logged with the context %v, want the fetch's", l.ctx)
	}
}

type contextLogger struct {
	logging.Nop
	ctx context.Context
}

func (l *contextLogger) WithContext(ctx context.Context) logging.Logger {
	l.ctx = ctx
	return l
}

// credential_process may ask a person, so it may take most of a long deadline.
func TestCredentialsMayTakeMostOfALongDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, tt := range []struct {
			time, take time.Duration
			works      bool
		}{
			{time.Minute, 30 * time.Second, true},
			{10 * time.Second, 7 * time.Second, true},
			{10 * time.Second, 9 * time.Second, false},
			{time.Second, 900 * time.Millisecond, true},
			{0, 30 * time.Second, true},
		} {
			f := newFake()
			f.set(west, secretAnswer("v", time.Now()))
			src := f.source(func(o *awssm.Options) {
				o.Config.Credentials = aws.CredentialsProviderFunc(func(ctx context.Context) (aws.Credentials, error) {
					return aws.Credentials{AccessKeyID: "a", SecretAccessKey: "b"}, deadline.Sleep(ctx, tt.take)
				})
			})
			ctx := context.Background()
			if tt.time > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, tt.time)
				defer cancel()
			}
			_, err := src.Fetch(ctx, "a", "")
			if (err == nil) != tt.works {
				t.Errorf("credentials after %v, fetch within %v: got %v, want success: %t", tt.take, tt.time, err, tt.works)
			}
			if err != nil && (errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "get AWS credentials from ")) {
				t.Errorf("credentials after %v, fetch within %v: got %v, want the phase and no deadline", tt.take, tt.time, err)
			}
		}
	})
}

// The credentials take long, and then the API does not answer. The error is about the API.
func TestSlowCredentialsAreNotTheReasonIfTheyCame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.set(west, hang)
		c := secretcache.New(f.source(func(o *awssm.Options) {
			o.Config.Credentials = aws.CredentialsProviderFunc(func(ctx context.Context) (aws.Credentials, error) {
				return aws.Credentials{AccessKeyID: "a", SecretAccessKey: "b"}, deadline.Sleep(ctx, 700*time.Millisecond)
			})
		}), nil)
		defer c.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := c.Get(ctx, "a", "")
		if err == nil || strings.Contains(err.Error(), "get AWS credentials") || !strings.Contains(err.Error(), "AWS credentials came after 700ms") {
			t.Errorf("got %v, want that credentials came after 700ms", err)
		}
	})
}

// A caller gets the error that the fetch waits for credentials, and later the fetch fails for
// another reason.
func TestSlowCredentialsThatFailCauseNoDataRace(t *testing.T) {
	f := newFake()
	src := f.source(func(o *awssm.Options) {
		o.Config.Credentials = aws.CredentialsProviderFunc(func(ctx context.Context) (aws.Credentials, error) {
			_ = deadline.Sleep(ctx, 600*time.Millisecond)
			return aws.Credentials{}, errors.New("no EC2 IMDS role found")
		})
	})
	if _, err := src.Fetch(t.Context(), "a", ""); err == nil || !strings.Contains(err.Error(), "no AWS credentials found: set ") {
		t.Errorf("got %v", err)
	}
}
