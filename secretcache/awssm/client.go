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
	// token service, single sign-on) of the configuration that a Source loads. The SDK has no
	// bound, and its request goes on after the fetch that wanted the credentials was given
	// up. Without a bound, one request that hangs would block all fetches from then on.
	credentialTimeout = 5 * time.Second
	// Credentials are replaced this long before they expire. A signed request needs time to
	// arrive, and AWS's clock may be ahead.
	credentialReserve = 2 * time.Minute
)

// keepReserve is an option of the SDK's caches of credentials. Providers with a longer
// reserve keep theirs.
func keepReserve(o *aws.CredentialsCacheOptions) {
	o.ExpiryWindow = max(o.ExpiryWindow, credentialReserve)
}

const loadPhase = "load the SDK's configuration: "

// A load is one loading of the SDK's configuration. Its results are set before done is closed.
type load struct {
	done   chan struct{}
	region string // the region that the providers of credentials use; empty if none is known
	cfg    *aws.Config
	err    error
}

// config returns the SDK's configuration. It loads the configuration if no earlier loading
// succeeded. Concurrent callers share one loading; each waits until its own context ends.
// region is the region of the caller's secret; see loadConfig.
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
		// Other callers wait for it too, so it does not end with this caller's context.
		lctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), loadTimeout)
		go func() {
			defer cancel()
			cfg, err := s.loadConfig(lctx, region)
			s.mu.Lock()
			defer s.mu.Unlock()
			l.region = cmp.Or(cfg.Region, region, first(s.o.Regions))
			if err == nil && l.region != "" { // without a region no role can be assumed: use it for this secret only
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
	if l.region == "" && region != "" { // it was loaded for another secret, without a region
		return s.config(ctx, region)
	}
	return l.cfg, nil
}

// loadConfig loads the SDK's default configuration. The Region of the result is the one of the
// default chain, and may be empty. The credential providers need a region to call the
// security token service. If the chain has none, they use the given region.
func (s *Source) loadConfig(ctx context.Context, region string) (aws.Config, error) {
	// net/http logs data that arrives on an idle connection, and that may be credentials.
	client := awshttp.NewBuildableClient().WithTimeout(credentialTimeout).
		WithTransportOptions(func(t *http.Transport) { t.DisableKeepAlives = true })
	options := []func(*config.LoadOptions) error{
		config.WithHTTPClient(client),
		// This is the only provider that does not use the HTTP client of the configuration.
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

// assumeRole replaces the credentials of cfg with those of the role. cfg has a region if one is
// known.
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

// place returns the region with its client for an operation. It makes the client if there is
// none yet.
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
			// A configured endpoint takes precedence over the FIPS and dual-stack settings
			// (AWS SDKs and Tools Reference Guide, "Dual-stack and FIPS endpoints"). The SDK
			// returns an error for the two together (aws-sdk-go-v2 issue 3196).
			o.EndpointOptions.UseFIPSEndpoint = aws.FIPSEndpointStateUnset
			o.EndpointOptions.UseDualStackEndpoint = aws.DualStackEndpointStateUnset
		}
		// The Source retries, not the SDK. The SDK still corrects a wrong clock.
		o.Retryer, o.RetryMaxAttempts = aws.NopRetryer{}, 0
		o.ClientLogMode &^= aws.LogResponseWithBody | aws.LogRequestWithBody
		if o.Logger != nil {
			o.Logger = quietLogger{o.Logger}
		}
		o.Credentials = newCredentials(o.Credentials)
		// The timeout in the configuration that we load is for credentials only.
		r.transport = newTransport(o.HTTPClient, s.o.AttemptTimeout, s.o.Config != nil)
		o.HTTPClient = r.transport
		o.APIOptions = append(o.APIOptions[:len(o.APIOptions):len(o.APIOptions)],
			awsmiddleware.AddUserAgentKeyValue("sqlsecrets", version()), addAttempt)
	})
	return r
}

// addAttempt adds the middleware that bounds an attempt. It runs last before the request is
// sent, after the credentials were fetched and the request was signed.
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
		// Clean the error here, so that neither the SDK's tracing nor its metrics see a body.
		err = clean(err, false)
	}
	return out, md, err
}

// A transport is the HTTP client of a region's client.
type transport struct {
	own   *http.Client
	fixed aws.HTTPClient // the caller's, used unchanged in place of own
}

// newTransport makes a transport from the HTTP client that the SDK would use.
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
		// Dialling must end soon after the attempt that wanted the connection.
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
		// The API does not redirect, and a signed request must not go to another host.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	if keepTimeout {
		t.own.Timeout = b.GetTimeout()
	}
	return t
}

// onProxyConnectResponse returns an error with the status of a proxy that did not connect.
// The error of net/http has only the proxy's text.
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
	// net/http sends a body of a type that it knows in one packet with the headers. It does not
	// know the SDK's type of body. Also, that type sometimes breaks the connection: the SDK
	// closes the body when the answer has come. If net/http asks for more of the body only
	// after that, smithy-go's WriteTo returns io.EOF, which counts as an error.
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

// hung closes the idle connections of the caller's HTTP client after an attempt that hung.
// Our own client has no idle connections.
func (t *transport) hung() {
	if t == nil {
		return
	}
	if c, ok := t.fixed.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// A quietLogger is a logger for the SDK that does not log the text of errors. That text may
// quote an answer, for example in the error for a bad trailer.
type quietLogger struct{ logging.Logger }

// WithContext passes the context to the caller's logger, if the logger takes one.
func (l quietLogger) WithContext(ctx context.Context) logging.Logger {
	return quietLogger{logging.WithContext(ctx, l.Logger)}
}

// Logf logs a message. In place of an error among its arguments it logs the network error in
// it or, if there is none, the error's type.
func (l quietLogger) Logf(c logging.Classification, format string, v ...any) {
	v = slices.Clone(v)
	for i, arg := range v {
		if err, ok := arg.(error); ok {
			v[i] = cmp.Or(httpfetch.Transport(err), fmt.Errorf("error of type %T", err))
		}
	}
	l.Logger.Logf(c, format, v...)
}
