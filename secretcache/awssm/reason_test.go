package awssm_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"

	"github.com/sqlsecrets/sqlsecrets/internal/testkit/subprocess"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm/awssmtest"
)

// openServer answers each request with the given bytes and waits for the client to close
// the connection.
func openServer(t *testing.T, answer string) (endpoint string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				r := bufio.NewReader(c)
				for {
					req, err := http.ReadRequest(r)
					if err != nil {
						return
					}
					_, _ = io.Copy(io.Discard, req.Body)
					_, _ = io.WriteString(c, answer)
				}
			})
		}
	})
	return "http://" + l.Addr().String()
}

// net/http may write to the standard logger, and the SDK to standard error or to its own logger.
func TestNoLibraryLogsTheAnswer(t *testing.T) {
	const good = `{"ARN":"arn:aws:secretsmanager:us-west-2:123456789012:secret:a-a1b2c3","Name":"a","VersionId":"v","SecretString":"x"}`
	for name, answer := range map[string]string{
		"a length that is too short": "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}" + canary,
		"more than one answer":       fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(good), good) + "HTTP/1.1 200 OK\r\nX: " + canary + "\r\n\r\n",
		"an invalid trailer":         "HTTP/1.1 200 OK\r\nTrailer: X\r\nTransfer-Encoding: chunked\r\n\r\n" + fmt.Sprintf("%x", len(good)) + "\r\n" + good + "\r\n0\r\n" + canary + "\r\n\r\n",
	} {
		for _, config := range []string{"the caller's", "the default"} {
			t.Run(name+"/"+config, func(t *testing.T) {
				stdout, stderr := subprocess.Run(t, func() {
					endpoint := openServer(t, answer)
					env(t, map[string]string{"AWS_REGION": west, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"})
					sdk := &logBuffer{}
					src := awssm.New(func(o *awssm.Options) {
						o.Endpoint, o.MaxAttempts = endpoint, 1
						if config == "the caller's" {
							cfg := awssmtest.NewServer(t).Config()
							cfg.Logger = sdk
							o.Config = &cfg
						}
					})
					_, err := src.Fetch(t.Context(), "a", "")
					checkNoLeak(t, err)
					time.Sleep(50 * time.Millisecond) // a goroutine of net/http would write
					if text := sdk.text(); strings.Contains(text, canary) {
						t.Errorf("the SDK's logger: %s", text)
					}
				})
				if strings.Contains(stdout+stderr, canary) {
					t.Errorf("standard output: %s\nstandard error: %s", stdout, stderr)
				}
			})
		}
	}
}

func (l *logBuffer) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.String()
}

// proxied returns a configuration whose requests go through an HTTP proxy that answers CONNECT.
func proxied(t *testing.T, answer string) aws.Config {
	u, err := url.Parse(openServer(t, answer))
	if err != nil {
		t.Fatal(err)
	}
	cfg := awssmtest.NewServer(t).Config()
	cfg.BaseEndpoint = nil
	cfg.HTTPClient = awshttp.NewBuildableClient().WithTransportOptions(func(tr *http.Transport) { tr.Proxy = http.ProxyURL(u) })
	return cfg
}

// The error names the reason if something on the way to the service is wrong.
func TestTheReasonIsInTheFirstLine(t *testing.T) {
	proxy := func(answer string) func(*testing.T, *awssm.Options) {
		return func(t *testing.T, o *awssm.Options) {
			cfg := proxied(t, "HTTP/1.1 "+answer+"\r\nContent-Length: 0\r\n\r\n")
			o.Config = &cfg
		}
	}
	answer := func(text string) func(*testing.T, *awssm.Options) {
		return func(t *testing.T, o *awssm.Options) {
			cfg := awssmtest.NewServer(t).Config()
			o.Config, o.Endpoint = &cfg, openServer(t, "HTTP/1.1 "+text+"\r\nContent-Length: 0\r\n\r\n")
		}
	}
	keys := func(c aws.Credentials) func(*testing.T, *awssm.Options) {
		return func(t *testing.T, o *awssm.Options) {
			cfg := awssmtest.NewServer(t).Config()
			cfg.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return c, nil })
			o.Config = &cfg
		}
	}
	base := func(endpoint string) func(*testing.T, *awssm.Options) {
		return func(t *testing.T, o *awssm.Options) {
			cfg := awssmtest.NewServer(t).Config()
			cfg.BaseEndpoint = &endpoint
			o.Config = &cfg
		}
	}
	for _, tt := range []struct {
		name  string
		set   func(*testing.T, *awssm.Options)
		want  string
		again bool // there is a retry, and then another region is asked
	}{
		{"proxy wants a login", proxy("407 " + canary), "the HTTP proxy answered 407 Proxy Authentication Required", false},
		{"proxy forbids", proxy("403 Forbidden"), "the HTTP proxy answered 403 Forbidden", false},
		{"proxy cannot", proxy("503 Service Unavailable"), "the HTTP proxy answered 503 Service Unavailable", true},
		{"key id with a newline", keys(aws.Credentials{AccessKeyID: canary + "\n", SecretAccessKey: "b"}), "the access key id has a line break", false},
		{"secret key with a newline", keys(aws.Credentials{AccessKeyID: "a", SecretAccessKey: canary + "\r\n"}), "the secret access key has a line break", false},
		{"session token with a newline", keys(aws.Credentials{AccessKeyID: "a", SecretAccessKey: "b", SessionToken: canary + "\n"}), "the session token has a line break", false},
		{"endpoint without a scheme", base("vpce-1.example.com"), "endpoint is not a URL like https://host", false},
		{"endpoint without a scheme, with a port", base("localhost:4566"), "endpoint is not a URL like https://host", false},
		{"TLS alert", alerts, "remote error: tls: ", false},
		{"redirect", answer("302 Found\r\nLocation: http://" + canary), "status 302 Found: a redirect", false},
		{"403 without a body", answer("403 Forbidden"), "status 403 Forbidden, without a reason", false},
		{"500 without a body", answer("500 Internal Server Error"), "status 500 Internal Server Error, without a reason", true},
		{"503 without a body", answer("503 Service Unavailable"), "status 503 Service Unavailable, without a reason", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			src := awssm.New(func(o *awssm.Options) {
				o.Region, o.Regions, o.MaxAttempts = west, []string{east}, 2
				tt.set(t, o)
			})
			_, err := src.Fetch(t.Context(), "a", "")
			if err == nil || !strings.HasPrefix(err.Error(), `GetSecretValue "a" in us-west-2: `) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got  %v\nwant …%s…", err, tt.want)
			}
			text := ""
			if err != nil {
				text = err.Error()
			}
			if strings.Contains(text, "UnknownError") || strings.Contains(text, "errorString") {
				t.Errorf("%s: says nothing", text)
			}
			if got := strings.Contains(text, "(2 attempts)"); got != tt.again {
				t.Errorf("%s: repeated is %t", text, got)
			}
			if got := strings.Contains(text, east); got != tt.again {
				t.Errorf("%s: another region was asked is %t", text, got)
			}
			checkNoLeak(t, err)
		})
	}
}

// alerts starts a server that requires a certificate from the client.
func alerts(t *testing.T, o *awssm.Options) {
	ts := httptest.NewUnstartedServer(http.NotFoundHandler())
	ts.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	ts.Config.ErrorLog = discard
	ts.StartTLS()
	t.Cleanup(ts.Close)
	cfg := awssmtest.NewServer(t).Config()
	cfg.HTTPClient = awshttp.NewBuildableClient().WithTransportOptions(func(tr *http.Transport) {
		tr.TLSClientConfig = ts.Client().Transport.(*http.Transport).TLSClientConfig
	})
	o.Config, o.Endpoint = &cfg, ts.URL
}

// Getting credentials fails or hangs before the API is asked.
func TestErrorsNameTheSourceOfTheCredentials(t *testing.T) {
	var over chan struct{}
	hang := func(http.ResponseWriter, *http.Request) { <-over }
	unavailable := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }
	token := filepath.Join(t.TempDir(), "token")
	process := filepath.Join(t.TempDir(), "config")
	for name, text := range map[string]string{
		token:   "token",
		process: "[default]\ncredential_process = sleep 20\n[profile assume]\nrole_arn = arn:aws:iam::123456789012:role/app\nsource_profile = keys\n[profile keys]\naws_access_key_id = a\naws_secret_access_key = b\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name  string
		serve http.HandlerFunc
		env   map[string]string // URL means the URL of the server
		want  string
	}{
		{"web identity, 503", unavailable, map[string]string{"AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/app", "AWS_WEB_IDENTITY_TOKEN_FILE": token, "AWS_ENDPOINT_URL_STS": "URL"},
			"get AWS credentials from web identity (AssumeRoleWithWebIdentity of AWS STS): "},
		{"web identity, hangs", hang, map[string]string{"AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/app", "AWS_WEB_IDENTITY_TOKEN_FILE": token, "AWS_ENDPOINT_URL_STS": "URL"},
			"get AWS credentials from web identity (AssumeRoleWithWebIdentity of AWS STS): "},
		{"AssumeRole, hangs", hang, map[string]string{"AWS_PROFILE": "assume", "AWS_CONFIG_FILE": process, "AWS_ENDPOINT_URL_STS": "URL"},
			"get AWS credentials from AssumeRole of AWS STS: "},
		{"container, hangs", hang, map[string]string{"AWS_CONTAINER_CREDENTIALS_FULL_URI": "URL"}, "get AWS credentials from the container's endpoint: "},
		{"process, hangs", hang, map[string]string{"AWS_CONFIG_FILE": process}, "get AWS credentials from credential_process: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			over = make(chan struct{})
			ts := httptest.NewServer(tt.serve)
			defer func() { close(over); ts.Close() }()
			vars := map[string]string{"AWS_REGION": west}
			for k, v := range tt.env {
				vars[k] = strings.Replace(v, "URL", ts.URL, 1)
				if k == "AWS_PROFILE" {
					vars[k] = v
				}
			}
			env(t, vars)
			src := awssm.New(func(o *awssm.Options) { o.Endpoint, o.Regions = "http://127.0.0.1:1", []string{east} })

			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := src.Fetch(ctx, "a", "")
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want …%s…", err, tt.want)
			}
			if got, want := errors.Is(err, context.DeadlineExceeded), ctx.Err() != nil; got != want {
				t.Errorf("%v matches the deadline: %t, want %t", err, got, want)
			}
			// In a cache, for a caller with less time than the fetch.
			ctx, cancel = context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			c := secretcache.New(src, nil)
			defer c.Close()
			if _, err := c.Get(ctx, "a", ""); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("cache: got %v, want …%s…", err, tt.want)
			}
		})
	}
}

// The wait for credentials ends before the fetch ends, so the error is not the caller's deadline.
func TestCredentialsThatHangAreNotTheCallersDeadline(t *testing.T) {
	if testing.Short() {
		t.Skip("takes as long as a fetch may")
	}
	t.Parallel()
	cfg := awssmtest.NewServer(t).Config()
	cfg.Credentials = aws.CredentialsProviderFunc(func(ctx context.Context) (aws.Credentials, error) {
		<-ctx.Done()
		return aws.Credentials{}, ctx.Err()
	})
	c := secretcache.New(awssm.New(func(o *awssm.Options) { o.Config = &cfg }), nil)
	defer c.Close()
	_, err := c.Get(t.Context(), "a", "")
	if err == nil || errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "get AWS credentials from Options.Config: no answer within ") {
		t.Errorf("got %v", err)
	}
}

// The Java SDK's default chain asks the instance last, too.
func TestTheRegionOfAnEC2InstanceIsTheLastResort(t *testing.T) {
	for _, tt := range []struct {
		name   string
		env    map[string]string
		set    func(*awssm.Options)
		id     string
		region string // empty means the error that there is no region
		asked  bool
	}{
		{"nothing else", nil, nil, "a", "eu-west-3", true},
		{"an environment variable", map[string]string{"AWS_REGION": west}, nil, "a", west, false},
		{"Regions", nil, func(o *awssm.Options) { o.Regions = []string{east} }, "a", east, false},
		{"an ARN", nil, nil, "arn:aws:secretsmanager:sa-east-1:123456789012:secret:a-a1b2c3", "sa-east-1", false},
		{"switched off", map[string]string{"AWS_EC2_METADATA_DISABLED": "true"}, nil, "a", "", false},
		{"an endpoint", nil, func(o *awssm.Options) { o.Endpoint = "http://127.0.0.1:1" }, "a", "", false},
		{"an endpoint in the environment", map[string]string{"AWS_ENDPOINT_URL_SECRETS_MANAGER": "http://127.0.0.1:1"}, nil, "a", "", false},
		{"a configuration", nil, func(o *awssm.Options) { o.Config = &aws.Config{} }, "a", "", false},
		{"hangs", map[string]string{"hangs": "true"}, nil, "a", "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var asked atomic.Int32
			ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked.Add(1)
				switch {
				case tt.env["hangs"] != "":
					<-r.Context().Done()
				case r.Method == http.MethodPut:
					w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "60")
					_, _ = io.WriteString(w, "token")
				case strings.HasSuffix(r.URL.Path, "/instance-identity/document"):
					_, _ = io.WriteString(w, `{"region":"eu-west-3"}`)
				default:
					http.NotFound(w, r)
				}
			}))
			defer ts.Close()
			vars := map[string]string{
				"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b",
				"AWS_EC2_METADATA_DISABLED": "", "AWS_EC2_METADATA_SERVICE_ENDPOINT": ts.URL,
			}
			maps.Copy(vars, tt.env)
			env(t, vars)
			src := awssm.New(tt.set, func(o *awssm.Options) { o.MaxAttempts = 1 })
			start := time.Now()
			for range 3 {
				_, err := src.Fetch(t.Context(), tt.id, "")
				var e *awssm.Error
				if !errors.As(err, &e) || e.Region != tt.region {
					t.Fatalf("got %v, want one of region %q", err, tt.region)
				}
				if tt.region == "" && !strings.Contains(err.Error(), "no AWS region: set ") {
					t.Errorf("got %v, want that there is no region", err)
				}
			}
			if got := asked.Load() > 0; got != tt.asked {
				t.Errorf("the instance was asked %d times, want %t", asked.Load(), tt.asked)
			}
			if took := time.Since(start); tt.region == "" && took > 3*time.Second {
				t.Errorf("took %v for three fetches, want about 1 s", took)
			}
		})
	}
}

// The error says what to set, and nothing is written to standard error.
func TestNoCredentialsSaysWhatToSet(t *testing.T) {
	imds := httptest.NewServer(http.NotFoundHandler())
	defer imds.Close()
	for name, vars := range map[string]map[string]string{
		"no instance":             {"AWS_EC2_METADATA_DISABLED": "true"},
		"instance without a role": {"AWS_EC2_METADATA_DISABLED": "", "AWS_EC2_METADATA_SERVICE_ENDPOINT": imds.URL},
		"empty configuration":     nil,
	} {
		t.Run(name, func(t *testing.T) {
			stdout, stderr := subprocess.Run(t, func() {
				env(t, vars)
				t.Setenv("AWS_REGION", west)
				_, err := awssm.New(func(o *awssm.Options) {
					if vars == nil {
						o.Config = &aws.Config{Region: west}
					}
				}).Fetch(t.Context(), "a", "")
				if err == nil || !strings.HasPrefix(err.Error(), `GetSecretValue "a" in us-west-2: no AWS credentials found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile (AWS_PROFILE), or give this machine a role: `) {
					t.Errorf("got %v", err)
				}
			})
			if stdout+stderr != "" {
				t.Errorf("standard output: %s\nstandard error: %s", stdout, stderr)
			}
		})
	}
}
