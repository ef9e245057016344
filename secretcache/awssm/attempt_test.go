package awssm_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	sm "github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/smithy-go"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm/awssmtest"
)

// first answers the first n calls with a, the others with b.
func first(n int, a, b answer) answer {
	var mu sync.Mutex
	return func(op, id, stage string) (int, string) {
		mu.Lock()
		use := b
		if n > 0 {
			n, use = n-1, a
		}
		mu.Unlock()
		return use(op, id, stage)
	}
}

func TestTimeOfAttempts(t *testing.T) {
	good := secretAnswer("v", time.Unix(1, 0))
	throttle := errorAnswer(400, "ThrottlingException", "slow")
	fail := errorAnswer(503, "ServiceUnavailable", "down")
	for _, tt := range []struct {
		name    string
		answer  answer
		opts    func(*awssm.Options)
		timeout time.Duration // of the context; 0 means none
		calls   int
		min     time.Duration // the least time that the fetch takes
		max     time.Duration
		err     string // empty if the fetch succeeds
		ended   bool   // the error is the context's
	}{
		{name: "works", answer: good, timeout: 10 * time.Second, calls: 1},
		{name: "hangs once", answer: first(1, hang, good), timeout: 10 * time.Second, calls: 2, min: 2 * time.Second},
		{name: "hangs once, no deadline", answer: first(1, hang, good), calls: 2, min: 2 * time.Second},
		{name: "hangs twice", answer: first(2, hang, good), timeout: 10 * time.Second, calls: 3, min: 4 * time.Second},
		{name: "hangs", answer: hang, timeout: 10 * time.Second, calls: 3, min: 6 * time.Second, err: "no answer within 2s (3 attempts)"},
		{name: "hangs, no deadline", answer: hang, calls: 3, min: 6 * time.Second, err: "no answer within 2s (3 attempts)"},
		{name: "hangs once of 3 s", answer: first(1, hang, good), timeout: 3 * time.Second, calls: 2, min: 1500 * time.Millisecond},
		{name: "hangs once of 1 s", answer: first(1, hang, good), timeout: time.Second, calls: 2, min: 500 * time.Millisecond},
		{name: "hangs for 1 s", answer: hang, timeout: time.Second, calls: 2, min: time.Second, err: "context deadline exceeded; before that: no answer within 500ms", ended: true},
		{name: "hangs for 400 ms", answer: hang, timeout: 400 * time.Millisecond, calls: 2, min: 400 * time.Millisecond, err: "context deadline exceeded; before that: no answer within 250ms", ended: true},
		{name: "hangs for 200 ms", answer: hang, timeout: 200 * time.Millisecond, calls: 1, min: 200 * time.Millisecond, err: "context deadline exceeded", ended: true},
		{name: "own time out", answer: hang, opts: func(o *awssm.Options) { o.AttemptTimeout = 300 * time.Millisecond }, timeout: 10 * time.Second, calls: 3, min: 900 * time.Millisecond, err: "no answer within 300ms (3 attempts)"},
		{name: "no time out", answer: hang, opts: func(o *awssm.Options) { o.AttemptTimeout = -1 }, timeout: 10 * time.Second, calls: 1, min: 10 * time.Second, err: "context deadline exceeded", ended: true},
		{name: "5xx once", answer: first(1, fail, good), calls: 2, min: 25 * time.Millisecond, max: 50 * time.Millisecond},
		{name: "5xx", answer: fail, calls: 3, min: 75 * time.Millisecond, max: 150 * time.Millisecond, err: "ServiceUnavailable: down (3 attempts)"},
		{name: "5xx, 5 attempts", answer: fail, opts: func(o *awssm.Options) { o.MaxAttempts = 5 }, calls: 5, min: 375 * time.Millisecond, max: 750 * time.Millisecond, err: "ServiceUnavailable: down (5 attempts)"},
		{name: "5xx, 1 attempt", answer: fail, opts: func(o *awssm.Options) { o.MaxAttempts = -1 }, calls: 1, err: "ServiceUnavailable: down"},
		{name: "5xx, attempts of the SDK's configuration", answer: fail, opts: func(o *awssm.Options) { o.Config.RetryMaxAttempts = 2 }, calls: 2, min: 25 * time.Millisecond, max: 50 * time.Millisecond, err: "ServiceUnavailable: down (2 attempts)"},
		{name: "throttled", answer: throttle, calls: 3, min: 300 * time.Millisecond, max: 600 * time.Millisecond, err: "too many requests for secrets: ThrottlingException: slow (3 attempts)"},
		{name: "throttled, little time", answer: throttle, timeout: 100 * time.Millisecond, calls: 1, err: "too many requests for secrets: ThrottlingException: slow"},
		{name: "connection breaks", answer: first(2, broken, good), calls: 3, min: 75 * time.Millisecond, max: 150 * time.Millisecond},
		{name: "an unreadable answer once", answer: first(1, func(string, string, string) (int, string) { return 200, "{" }, good), calls: 2, min: 25 * time.Millisecond, max: 50 * time.Millisecond},
		{name: "nothing once", answer: first(1, func(string, string, string) (int, string) { return 200, "" }, good), calls: 2, min: 25 * time.Millisecond, max: 50 * time.Millisecond},
		{name: "500 page", answer: first(1, func(string, string, string) (int, string) { return 500, "<html>" }, good), calls: 2, min: 25 * time.Millisecond, max: 50 * time.Millisecond},
		{name: "505", answer: errorAnswer(505, "X", "no"), calls: 1, err: "X: no"},
		{name: "403 page", answer: func(string, string, string) (int, string) { return 403, "<html>" }, calls: 1, err: "status 403 Forbidden, answer could not be read"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				f.set("us-west-2", tt.answer)
				src := f.source(func(o *awssm.Options) {
					if tt.opts != nil {
						tt.opts(o)
					}
				})
				ctx := t.Context()
				if tt.timeout > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, tt.timeout)
					defer cancel()
				}
				start := time.Now()
				sec, err := src.Fetch(ctx, "x", "")
				took := time.Since(start)
				if n := f.count("us-west-2"); n != tt.calls {
					t.Errorf("%d calls, want %d", n, tt.calls)
				}
				if took < tt.min || took > max(tt.min, tt.max) {
					t.Errorf("took %s, want %s to %s", took, tt.min, tt.max)
				}
				if tt.err == "" {
					if err != nil || sec.VersionID() != "v" {
						t.Errorf("got %v, %v", sec, err)
					}
					return
				}
				if want := `GetSecretValue "x" in us-west-2: ` + tt.err; err == nil || err.Error() != want {
					t.Errorf("error\n got %v\nwant %s", err, want)
				}
				if got := errors.Is(err, context.DeadlineExceeded); got != tt.ended {
					t.Errorf("errors.Is(%v, context.DeadlineExceeded) = %t", err, got)
				}
				if strings.HasPrefix(tt.err, "no answer") {
					var n net.Error
					if !errors.As(err, &n) || !n.Timeout() {
						t.Errorf("%v is no net.Error with Timeout", err)
					}
				}
			})
		})
	}
}

func TestCancelEndsAFetchAtOnce(t *testing.T) {
	for name, a := range map[string]answer{"hangs": hang, "between attempts": errorAnswer(400, "ThrottlingException", "slow")} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				f.set("us-west-2", a)
				src := f.source()
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(50*time.Millisecond, cancel)
				start := time.Now()
				_, err := src.Fetch(ctx, "x", "")
				if !errors.Is(err, context.Canceled) || time.Since(start) != 50*time.Millisecond || f.count("us-west-2") != 1 {
					t.Errorf("after %s and %d calls: %v", time.Since(start), f.count("us-west-2"), err)
				}
				if name != "hangs" && !errors.Is(err, secretcache.ErrThrottled) {
					t.Errorf("%v does not say what was wrong before", err)
				}
				// A fetch whose context has already ended does nothing.
				if _, err := src.Fetch(ctx, "x", ""); !errors.Is(err, context.Canceled) || f.count("us-west-2") != 1 {
					t.Errorf("after %d calls: %v", f.count("us-west-2"), err)
				}
				for _, r := range src.FetchBatch(ctx, []string{"x", "y"}) {
					if !errors.Is(r.Err, context.Canceled) {
						t.Errorf("batch: %v", r.Err)
					}
				}
			})
		})
	}
}

// After about 100 failures the SDK's token bucket would return "failed to get rate limit token".
func TestManyFailuresDoNotUseUpAQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.set("us-west-2", errorAnswer(500, "InternalServiceError", "down"))
		src := f.source()
		for i := range 500 {
			if _, err := src.Fetch(t.Context(), "x", ""); err == nil || !strings.Contains(err.Error(), "InternalServiceError: down") {
				t.Fatalf("fetch %d: %v", i, err)
			}
		}
	})
}

func TestAClientsCallsAreRepeatedOnlyWhenTheyHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		src := awssm.New(func(o *awssm.Options) {
			o.Client = clientFunc(func(ctx context.Context) error { calls++; <-ctx.Done(); return ctx.Err() })
			o.Regions = []string{"us-east-1"} // not used
			o.Region = "not a region"         // not used either
		})
		start := time.Now()
		_, err := src.Fetch(t.Context(), "arn:aws:secretsmanager:eu-west-1:1:secret:x", "")
		if calls != 3 || time.Since(start) != 6*time.Second || errors.Is(err, context.DeadlineExceeded) ||
			err.Error() != `GetSecretValue "arn:aws:secretsmanager:eu-west-1:1:secret:x" in eu-west-1: no answer within 2s (3 attempts)` {
			t.Errorf("%d calls in %s: %v", calls, time.Since(start), err)
		}

		for _, e := range []error{
			&smithy.GenericAPIError{Code: "ThrottlingException"}, io.ErrUnexpectedEOF,
			&smithy.OperationError{ServiceID: "Secrets Manager", Err: &smithy.DeserializationError{Err: io.ErrUnexpectedEOF}},
		} {
			calls = 0
			_, err := awssm.New(func(o *awssm.Options) {
				o.Client = clientFunc(func(context.Context) error { calls++; return e })
			}).Fetch(t.Context(), "x", "")
			if err == nil || calls != 1 {
				t.Errorf("%v: %d calls, %v", e, calls, err)
			}
		}
	})
}

// A fake client needs to return only a value.
func TestAClientMayAnswerWithOnlyAValue(t *testing.T) {
	src := awssm.New(func(o *awssm.Options) { o.Client = little{} })
	sec, err := src.Fetch(t.Context(), "x", "")
	if err != nil || sec.Reveal() != "v" || sec.ID() != "x" || sec.Stages() != nil || !sec.CreatedAt().IsZero() {
		t.Errorf("%v, %v", sec, err)
	}
	if r := src.FetchBatch(t.Context(), []string{"x", "y"}); r[0].Err != nil || r[1].Secret.ID() != "y" {
		t.Errorf("%v", r)
	}
}

type little struct{}

func (little) GetSecretValue(context.Context, *sm.GetSecretValueInput, ...func(*sm.Options)) (*sm.GetSecretValueOutput, error) {
	return &sm.GetSecretValueOutput{SecretString: aws.String("v")}, nil
}

func (little) BatchGetSecretValue(context.Context, *sm.BatchGetSecretValueInput, ...func(*sm.Options)) (*sm.BatchGetSecretValueOutput, error) {
	return nil, errors.ErrUnsupported
}

func TestEveryRequestHasAConnectionOfItsOwn(t *testing.T) {
	for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(proto, func(t *testing.T) {
			t.Parallel()
			s := awssmtest.NewServer(t)
			s.Put("a", "v")
			ts := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Proto != proto {
					t.Errorf("request is %s", r.Proto)
				}
				s.ServeHTTP(w, r)
			}))
			ts.EnableHTTP2 = proto == "HTTP/2.0"
			ts.Config.ErrorLog = discard
			ts.StartTLS()
			defer ts.Close()

			cfg := s.Config()
			roots := x509.NewCertPool()
			roots.AddCert(ts.Certificate())
			cfg.HTTPClient = awshttp.NewBuildableClient().WithTransportOptions(func(tr *http.Transport) {
				tr.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
			})
			src := s.Source(func(o *awssm.Options) {
				o.Endpoint, o.Config, o.AttemptTimeout = ts.URL, &cfg, 500*time.Millisecond
			})
			s.Fail(awssmtest.Hang.Times(1))
			for range 2 {
				if _, err := src.Fetch(t.Context(), "a", ""); err != nil {
					t.Fatal(err)
				}
			}
			from := map[string]bool{}
			for _, r := range s.Requests() {
				from[r.Remote] = true
			}
			if got := len(s.Requests()); got != 3 || len(from) != got {
				t.Errorf("%d requests over %d connections, want 3 over 3: %+v", got, len(from), s.Requests())
			}
		})
	}
}

// Other fetches work while a request hangs, and after its caller has given up.
func TestTheNextFetchWorksWhileARequestHangs(t *testing.T) {
	s := awssmtest.NewServer(t)
	s.Put("a", "v")
	src := s.Source()
	s.Fail(awssmtest.Hang.Times(1))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error)
	go func() {
		_, err := src.Fetch(ctx, "a", "")
		done <- err
	}()
	if err := s.WaitHanging(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if _, err := src.Fetch(t.Context(), "a", ""); err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := src.Fetch(t.Context(), "a", ""); err != nil {
		t.Error(err)
	}
	if r := s.Requests(); len(r) != 3 || r[0].Remote == r[1].Remote || r[0].Remote == r[2].Remote {
		t.Errorf("%+v", r)
	}
}

// Open connections carry no data any more, and new connections work.
func TestADeadServer(t *testing.T) {
	t.Parallel()
	s := awssmtest.NewServer(t)
	s.Put("a", "v")
	p := newProxy(t, strings.TrimPrefix(s.URL(), "http://"))
	src := s.Source(func(o *awssm.Options) { o.Endpoint, o.AttemptTimeout = "http://"+p.addr, 500*time.Millisecond })
	for range 3 {
		if _, err := src.Fetch(t.Context(), "a", ""); err != nil {
			t.Fatal(err)
		}
	}
	p.freeze()
	if _, err := src.Fetch(t.Context(), "a", ""); err != nil {
		t.Error(err)
	}
	if n := s.Calls("GetSecretValue"); n != 4 {
		t.Errorf("%d calls arrived, want 4", n)
	}
}

// A custom HTTP client is used as it is; its idle connections are closed after a hang.
func TestACustomHTTPClient(t *testing.T) {
	s := awssmtest.NewServer(t)
	s.Put("a", "v")
	s.Fail(awssmtest.Hang.Times(1))
	cfg := s.Config()
	h := &closer{}
	cfg.HTTPClient = h
	src := s.Source(func(o *awssm.Options) { o.Config, o.AttemptTimeout = &cfg, time.Second })
	if _, err := src.Fetch(t.Context(), "a", ""); err != nil {
		t.Fatal(err)
	}
	if h.done != 2 || h.closed != 1 {
		t.Errorf("%d requests, closed %d times, want 2 and 1", h.done, h.closed)
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()

	// The client's own timeout is not the caller's deadline.
	cfg.HTTPClient = awshttp.NewBuildableClient().WithTimeout(50 * time.Millisecond)
	s.Fail(awssmtest.Hang)
	_, err := s.Source(func(o *awssm.Options) { o.Config = &cfg }).Fetch(t.Context(), "a", "")
	if !errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

type closer struct{ done, closed int }

func (c *closer) Do(r *http.Request) (*http.Response, error) {
	c.done++
	return http.DefaultClient.Do(r)
}
func (c *closer) CloseIdleConnections() { c.closed++ }

// The clock of the machine is wrong. The service rejects the signature, the SDK reads the time from
// the answer, and signs the second attempt with it.
func TestAWrongClock(t *testing.T) {
	s := awssmtest.NewServer(t)
	s.Put("a", "v")
	calls := 0
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls++
		now := time.Now().Add(time.Hour)
		w.Header().Set("Date", now.UTC().Format(http.TimeFormat))
		signed, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
		if err != nil || now.Sub(signed).Abs() > 5*time.Minute {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"__type":"InvalidSignatureException","message":"Signature expired"}`)
			return
		}
		s.ServeHTTP(w, r)
	}))
	defer ts.Close()
	src := s.Source(func(o *awssm.Options) { o.Endpoint = ts.URL })
	for _, want := range []int{2, 3} {
		if _, err := src.Fetch(t.Context(), "a", ""); err != nil || calls != want {
			t.Errorf("%d calls, want %d: %v", calls, want, err)
		}
	}
}

// A proxy whose open connections can be frozen.
type proxy struct {
	addr   string
	mu     sync.Mutex
	frozen chan struct{}
}

func (p *proxy) freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.frozen)
	p.frozen = make(chan struct{})
}

func newProxy(t *testing.T, to string) *proxy {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{addr: l.Addr().String(), frozen: make(chan struct{})}
	done := make(chan struct{})
	var wg sync.WaitGroup
	t.Cleanup(func() { close(done); l.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				in.Close()
				return
			}
			p.mu.Lock()
			frozen := p.frozen
			p.mu.Unlock()
			for _, c := range [][2]net.Conn{{in, out}, {out, in}} {
				wg.Go(func() {
					buf := make([]byte, 4096)
					for {
						n, err := c[0].Read(buf)
						select {
						case <-frozen:
							<-done
						default:
						}
						if n > 0 {
							_, _ = c[1].Write(buf[:n])
						}
						if err != nil {
							c[1].Close()
							return
						}
					}
				})
			}
			wg.Go(func() { <-done; in.Close(); out.Close() })
		}
	})
	return p
}
