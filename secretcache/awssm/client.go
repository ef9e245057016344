package awssm

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/endpointcreds"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/logging"
	"github.com/aws/smithy-go/middleware"

	"github.com/sqlsecrets/sqlsecrets/secretcache/internal/httpfetch"
)

const (
	// loadTimeout bounds loading the SDK's configuration, which reads files.
	loadTimeout = 10 * time.Second
	// credentialTimeout bounds one HTTP request of a credential provider (security
	// token service, single sign-on) of the configuration that a Source loads. The
	// SDK has no bound, and goes on after the fetch that wanted the credentials was
	// given up: one request that hangs would block all fetches for good.
	credentialTimeout = 5 * time.Second
	// credentialReserve is how long before their end credentials are replaced. What is signed with
	// them has to arrive, and AWS's clock may be ahead.
	credentialReserve = 2 * time.Minute
)

// keepReserve is an option of the SDK's caches of credentials. Some have a longer reserve.
func keepReserve(o *aws.CredentialsCacheOptions) {
	o.ExpiryWindow = max(o.ExpiryWindow, credentialReserve)
}

const loadPhase = "load the SDK's configuration: "

// A load is one loading of the SDK's configuration. Its results are set before
// done is closed.
type load struct {
	done   chan struct{}
	region string // that the providers of credentials have; empty: none is known
	cfg    *aws.Config
	err    error
}

// config returns the SDK's configuration, which it loads if that has not worked
// yet. Callers wait for one loading together, each until its own context ends.
// region is where the first secret is; see loadConfig.
func (s *Source) config(ctx context.Context, region string) (*aws.Config, *failure) {
	if err := ctx.Err(); err != nil {
		return nil, &failure{class: ended, cause: causeOf(err)}
	}
	if s.o.Config != nil {
		return s.o.Config, nil
	}
	s.mu.Lock()
	if s.cfg != nil {
		defer s.mu.Unlock()
		return s.cfg, nil
	}
	l := s.loading
	if l == nil {
		l = &load{done: make(chan struct{})}
		s.loading = l
		// It is not the caller's alone, so it outlives its context.
		lctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), loadTimeout)
		go func() {
			defer cancel()
			cfg, err := s.loadConfig(lctx, region)
			s.mu.Lock()
			defer s.mu.Unlock()
			l.region = cmp.Or(cfg.Region, region, first(s.o.Regions))
			if err == nil && l.region != "" { // else for this secret only: no role can be assumed with it
				s.cfg = &cfg
			}
			l.cfg, l.err, s.loading = &cfg, err, nil
			close(l.done)
		}()
	}
	s.mu.Unlock()

	select {
	case <-l.done:
	case <-ctx.Done():
		return nil, &failure{class: ended, cause: causeOf(ctx.Err()).with(loadPhase + ctx.Err().Error())}
	}
	if l.err != nil {
		c := cleanLocal(l.err)
		c.text = loadPhase + c.text
		return nil, &failure{class: local, cause: c}
	}
	if l.region == "" && region != "" { // it was begun for another secret
		return s.config(ctx, region)
	}
	return l.cfg, nil
}

// loadConfig loads the SDK's default configuration. Its Region is that of the
// chain, which may be empty; its credential providers, which need one to call
// the security token service, then have the given one.
func (s *Source) loadConfig(ctx context.Context, region string) (aws.Config, error) {
	// net/http logs what comes on an idle connection, and an answer may be credentials.
	client := awshttp.NewBuildableClient().WithTimeout(credentialTimeout).
		WithTransportOptions(func(t *http.Transport) { t.DisableKeepAlives = true })
	options := []func(*config.LoadOptions) error{
		config.WithHTTPClient(client),
		// The only provider that does not take the configuration's.
		config.WithEndpointCredentialOptions(func(o *endpointcreds.Options) { o.HTTPClient = client }),
		config.WithCredentialsCacheOptions(keepReserve),
		config.WithLogger(logging.Nop{}),
	}
	if s.o.Profile != "" {
		options = append(options, config.WithSharedConfigProfile(s.o.Profile))
	}
	if r := cmp.Or(s.o.Region, envRegion()); r != "" {
		options = append(options, config.WithRegion(r))
	}
	cfg, err := config.LoadDefaultConfig(ctx, options...)
	own := cfg.Region
	if region = cmp.Or(region, first(s.o.Regions)); err == nil && own == "" && region != "" {
		cfg, err = config.LoadDefaultConfig(ctx, append(options, config.WithRegion(region))...)
	}
	if err == nil && s.o.RoleARN != "" {
		s.assumeRole(&cfg)
	}
	cfg.Region = own
	return cfg, err
}

// assumeRole has a configuration, which has a region if one is known, use the role's credentials
// in place of its own.
func (s *Source) assumeRole(cfg *aws.Config) {
	client := sts.NewFromConfig(*cfg, func(o *sts.Options) {
		if o.BaseEndpoint != nil { // as in newRegional
			o.EndpointOptions.UseFIPSEndpoint = aws.FIPSEndpointStateUnset
			o.EndpointOptions.UseDualStackEndpoint = aws.DualStackEndpointStateUnset
		}
	})
	cfg.Credentials = aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(client, s.o.RoleARN, func(o *stscreds.AssumeRoleOptions) {
		o.RoleSessionName = "sqlsecrets" // for CloudTrail
		if s.o.ExternalID != "" {
			o.ExternalID = aws.String(s.o.ExternalID)
		}
	}), keepReserve)
}

// A regional is a region's client.
type regional struct {
	client    Client
	transport *transport
	failing   map[string]*httpfetch.Failing // by operation; see place.failing
}

// place returns the region's client for an operation. It makes the client if there is none yet.
func (s *Source) place(rt route, region, op string) *place {
	if s.o.Client != nil {
		return &place{client: s.o.Client, region: region, first: true, failing: new(httpfetch.Failing)}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.clients[region]
	if c == nil {
		c = s.newRegional(rt.cfg, region)
		s.clients[region] = c
	}
	return &place{client: c.client, transport: c.transport, failing: c.failing[op], region: region, first: region == rt.region}
}

func (s *Source) newRegional(cfg *aws.Config, region string) *regional {
	r := &regional{failing: map[string]*httpfetch.Failing{opGet: new(httpfetch.Failing), opBatch: new(httpfetch.Failing)}}
	r.client = secretsmanager.NewFromConfig(*cfg, func(o *secretsmanager.Options) {
		o.Region = region
		if s.o.Endpoint != "" {
			o.BaseEndpoint = aws.String(s.o.Endpoint)
		}
		if o.BaseEndpoint != nil {
			// An endpoint that is named takes precedence over the kind that is asked for
			// (AWS SDKs and Tools Reference Guide, "Dual-stack and FIPS endpoints"). The SDK
			// refuses the two together (aws-sdk-go-v2 issue 3196).
			o.EndpointOptions.UseFIPSEndpoint = aws.FIPSEndpointStateUnset
			o.EndpointOptions.UseDualStackEndpoint = aws.DualStackEndpointStateUnset
		}
		// Retries are ours. A clock that is wrong is noticed all the same.
		o.Retryer, o.RetryMaxAttempts = aws.NopRetryer{}, 0
		o.ClientLogMode &^= aws.LogResponseWithBody | aws.LogRequestWithBody
		if o.Logger != nil {
			o.Logger = quietLogger{o.Logger}
		}
		o.Credentials = newCredentials(o.Credentials)
		// The time out of the configuration that we load is for credentials only.
		r.transport = newTransport(o.HTTPClient, s.o.AttemptTimeout, s.o.Config != nil)
		o.HTTPClient = r.transport
		o.APIOptions = append(o.APIOptions[:len(o.APIOptions):len(o.APIOptions)],
			awsmiddleware.AddUserAgentKeyValue("sqlsecrets", version()), addAttempt)
	})
	return r
}

// addAttempt adds the middleware that bounds an attempt. It comes last before the
// request is sent, after the credentials were fetched and the request was signed.
func addAttempt(stack *middleware.Stack) error {
	return stack.Finalize.Add(middleware.FinalizeMiddlewareFunc("sqlsecrets:Attempt", handleAttempt), middleware.After)
}

func handleAttempt(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (
	middleware.FinalizeOutput, middleware.Metadata, error,
) {
	at, ok := ctx.Value(attemptKey{}).(*attempt)
	if !ok {
		return next.HandleFinalize(ctx, in)
	}
	at.sent = true
	actx := ctx
	if at.timeout > 0 {
		var cancel context.CancelFunc
		actx, cancel = context.WithTimeout(ctx, at.timeout)
		defer cancel()
	}
	out, md, err := next.HandleFinalize(actx, in)
	if err != nil {
		at.timedOut = actx.Err() != nil && ctx.Err() == nil
		// Here already, so that neither the SDK's tracing nor its metrics see a body.
		err = clean(err, false)
	}
	return out, md, err
}

// A transport is the HTTP client of a region's client.
type transport struct {
	own   *http.Client
	fixed aws.HTTPClient // one of the caller's, used as it is, instead of own
}

// newTransport makes a transport of the HTTP client that the SDK would use.
func newTransport(c aws.HTTPClient, dial time.Duration, keepTimeout bool) *transport {
	b, ok := c.(*awshttp.BuildableClient)
	if !ok {
		return &transport{fixed: c}
	}
	base := b.GetTransport()
	base.DisableKeepAlives = true
	if base.OnProxyConnectResponse == nil {
		base.OnProxyConnectResponse = onProxyConnectResponse
	}
	if dial > 0 {
		// A connection that nobody waits for any more is not dialled for long.
		base.TLSHandshakeTimeout = min(base.TLSHandshakeTimeout, dial)
		if d := base.DialContext; d != nil {
			base.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
				ctx, cancel := context.WithTimeout(ctx, dial)
				defer cancel()
				return d(ctx, network, addr)
			}
		}
	}
	t := &transport{own: &http.Client{
		Transport: base,
		// The API does not redirect, and a signed request goes nowhere else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	if keepTimeout {
		t.own.Timeout = b.GetTimeout()
	}
	return t
}

// onProxyConnectResponse keeps the status of a proxy that does not connect us: net/http's
// error has only the proxy's words for it.
func onProxyConnectResponse(_ context.Context, _ *url.URL, _ *http.Request, resp *http.Response) error {
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	return &httpfetch.ProxyError{Status: resp.StatusCode}
}

// Do sends the request.
func (t *transport) Do(req *http.Request) (*http.Response, error) {
	if t.fixed != nil {
		return t.fixed.Do(req)
	}
	// As a reader that net/http knows, the body goes out in one packet with the
	// headers. The SDK's does not, and breaks the connection now and then: the SDK
	// closes it when the answer has come, and if net/http asks only then whether
	// there is more, smithy-go's WriteTo returns io.EOF, which counts as an error.
	if req.Body != nil {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, err
		}
		r := *req
		r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
		r.Body, _ = r.GetBody()
		req = &r
	}
	return t.own.Do(req)
}

// hung leaves the idle connections of the caller's HTTP client, of which an attempt has
// hung. Ours has none.
func (t *transport) hung() {
	if t == nil {
		return
	}
	if c, ok := t.fixed.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// A quietLogger is a logger of the SDK without errors: they may quote an answer, as that of
// a trailer which is none does.
type quietLogger struct{ logging.Logger }

// WithContext gives the context to the caller's logger, if that takes one.
func (l quietLogger) WithContext(ctx context.Context) logging.Logger {
	return quietLogger{logging.WithContext(ctx, l.Logger)}
}

// Logf logs what is no error, and the types of errors.
func (l quietLogger) Logf(c logging.Classification, format string, v ...any) {
	v = slices.Clone(v)
	for i, arg := range v {
		if err, ok := arg.(error); ok {
			v[i] = cmp.Or(httpfetch.Transport(err), fmt.Errorf("error of type %T", err))
		}
	}
	l.Logger.Logf(c, format, v...)
}
