package otelsqlsecrets

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

const scope = "github.com/sqlsecrets/sqlsecrets/otelsqlsecrets"

// Options are for [New]. A nil *Options means all defaults.
type Options struct {
	MeterProvider  metric.MeterProvider // nil means otel.GetMeterProvider() at the time of New
	TracerProvider trace.TracerProvider // nil means otel.GetTracerProvider() at the time of New
	// Attributes are added to all metrics and spans, for example "db.system.name".
	Attributes []attribute.KeyValue
}

// An Instrumentation makes metrics and spans from what connectors and caches do. One
// Instrumentation is enough for a program. Its methods may be called from several goroutines at
// once.
type Instrumentation struct {
	meter      metric.Meter
	tracer     trace.Tracer
	attributes []attribute.KeyValue

	connect, login, refresh, fetch metric.Float64Histogram
	stale                          metric.Int64Counter
	requests                       metric.Int64ObservableCounter
	secrets                        metric.Int64ObservableGauge
}

// New returns an Instrumentation. The error comes from the meter provider, when it makes an
// instrument.
func New(opts *Options) (*Instrumentation, error) {
	o := *cmp.Or(opts, &Options{})
	if o.MeterProvider == nil {
		o.MeterProvider = otel.GetMeterProvider()
	}
	if o.TracerProvider == nil {
		o.TracerProvider = otel.GetTracerProvider()
	}
	i := &Instrumentation{meter: o.MeterProvider.Meter(scope), tracer: o.TracerProvider.Tracer(scope), attributes: o.Attributes}
	var errs []error
	seconds := func(name, description string) metric.Float64Histogram {
		// The bounds up to 10 s are those that OpenTelemetry advises for a connection's create_time.
		// A Connect call may take 30 s.
		h, err := i.meter.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(description),
			metric.WithExplicitBucketBoundaries(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30))
		errs = append(errs, err)
		return h
	}
	i.connect = seconds("db.client.connection.create_time", "The time it took to create a new connection.")
	i.login = seconds("sqlsecrets.login.duration", "The time of one login.")
	i.refresh = seconds("sqlsecrets.refresh.duration", "The time of one refresh: after a rejection, the secret is read again.")
	i.fetch = seconds("sqlsecrets.fetch.duration", "The time of one call of the source of secrets.")
	var err error
	i.stale, err = i.meter.Int64Counter("sqlsecrets.secret.stale", metric.WithUnit("{read}"),
		metric.WithDescription("Reads that got a secret older than its TTL, because the source failed."))
	errs = append(errs, err)
	i.requests, err = i.meter.Int64ObservableCounter("sqlsecrets.cache.requests", metric.WithUnit("{read}"),
		metric.WithDescription("Reads of the cache."))
	errs = append(errs, err)
	i.secrets, err = i.meter.Int64ObservableGauge("sqlsecrets.cache.secrets", metric.WithUnit("{secret}"),
		metric.WithDescription("Secrets that the cache keeps."))
	return i, errors.Join(append(errs, err)...)
}

// The names of the attributes.
const (
	keyARN     = attribute.Key("aws.secretsmanager.secret.arn")
	keyID      = attribute.Key("sqlsecrets.secret.id")
	keyStage   = attribute.Key("sqlsecrets.secret.stage")
	keyVersion = attribute.Key("sqlsecrets.secret.version")
	keyOutcome = attribute.Key("sqlsecrets.outcome")
	keyResult  = attribute.Key("sqlsecrets.cache.result")
	keyAddress = attribute.Key("server.address")
	keyPort    = attribute.Key("server.port")
	keyError   = attribute.Key("error.type")
)

// An event has the data of one point of a metric and of one span.
type event struct {
	metric     metric.Float64Histogram
	span       string
	duration   time.Duration
	err        error
	version    string
	attributes []attribute.KeyValue
}

// ConnectorTrace returns a new trace for [driver.Options] or the Defaults of package engines. The
// caller may change its funcs before a connector uses it.
func (i *Instrumentation) ConnectorTrace() *driver.Trace {
	return &driver.Trace{
		ConnectStart: i.connectStart,
		ConnectDone:  i.connectDone,
		SecretDone: func(ctx context.Context, s driver.SecretInfo) {
			if s.StaleCause != nil && i.stale.Enabled(ctx) {
				i.stale.Add(ctx, 1, metric.WithAttributes(i.of(s.SecretID, keyStage.String(s.Stage))...))
			}
		},
		LoginDone: func(ctx context.Context, l driver.LoginInfo) {
			if i.off(ctx, i.login) {
				return
			}
			outcome, err := "accepted", l.Err
			switch {
			case l.Rejected:
				outcome, err = "rejected", fmt.Errorf("%w: %w", driver.ErrAuthFailed, l.Err)
			case l.Err != nil:
				outcome = "failed"
			}
			i.record(ctx, event{i.login, "sqlsecrets.login", l.Duration, err, l.Version,
				i.of(l.SecretID, append(address(l.Address), keyStage.String(l.Stage), keyOutcome.String(outcome))...)})
		},
		RefreshDone: func(ctx context.Context, r driver.RefreshInfo) {
			if i.off(ctx, i.refresh) {
				return
			}
			outcome, err := "found", r.Err
			switch {
			case errors.Is(r.Err, secretcache.ErrNoVersion): // the source answered, so the event did not fail
				outcome, err = "no_version", nil
			case r.Err != nil:
				outcome = "failed"
			case r.Version == r.Rejected:
				outcome = "unchanged"
			}
			i.record(ctx, event{i.refresh, "sqlsecrets.refresh", r.Duration, err, r.Version,
				i.of(r.SecretID, keyStage.String(r.Stage), keyOutcome.String(outcome))})
		},
	}
}

// connectStart starts the span of a Connect call, if ctx has a span that is recorded.
func (i *Instrumentation) connectStart(ctx context.Context, c driver.ConnectInfo) context.Context {
	if !trace.SpanFromContext(ctx).IsRecording() {
		return ctx
	}
	ctx, span := i.tracer.Start(ctx, "sqlsecrets.connect", trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(i.of(c.SecretID)...))
	return context.WithValue(ctx, connectKey{}, span)
}

type connectKey struct{}

func (i *Instrumentation) connectDone(ctx context.Context, c driver.ConnectInfo) {
	if span, ok := ctx.Value(connectKey{}).(trace.Span); ok {
		span.SetAttributes(keyVersion.String(c.Version), attribute.Int("sqlsecrets.logins", c.Logins))
		setError(span, c.Err)
		span.End()
	}
	if i.connect.Enabled(ctx) {
		i.connect.Record(ctx, c.Duration.Seconds(), metric.WithAttributes(withError(i.of(c.SecretID), c.Err)...))
	}
}

// CacheTrace returns a new trace for [secretcache.Options]. The caller may change its funcs before
// a cache uses it.
func (i *Instrumentation) CacheTrace() *secretcache.Trace {
	return &secretcache.Trace{FetchDone: func(ctx context.Context, f secretcache.FetchInfo) {
		if i.off(ctx, i.fetch) {
			return
		}
		outcome, err := "unchanged", f.Err
		switch {
		case errors.Is(f.Err, secretcache.ErrNoVersion): // the source answered, so the event did not fail
			outcome, err = "no_version", nil
		case f.Err != nil:
			outcome = "failed"
		case f.Changed:
			outcome = "changed"
		}
		i.record(ctx, event{i.fetch, "sqlsecrets.fetch", f.Duration, err, f.VersionID,
			i.of(f.ID, keyStage.String(f.Stage), keyOutcome.String(outcome))})
	}}
}

// ObserveCache reports a cache's counts each time metrics are collected. A program with several
// caches gives each one different attributes.
//
// To stop it, call Unregister on the registration. Without Unregister, the meter provider keeps the
// cache in memory. A program that uses its caches until it ends need not call Unregister.
func (i *Instrumentation) ObserveCache(c *secretcache.Cache, attributes ...attribute.KeyValue) (metric.Registration, error) {
	own := append(i.attributes[:len(i.attributes):len(i.attributes)], attributes...)
	set := func(result string) metric.ObserveOption {
		return metric.WithAttributes(append(own[:len(own):len(own)], keyResult.String(result))...)
	}
	hit, stale, miss, all := set("hit"), set("stale"), set("miss"), metric.WithAttributes(own...)
	return i.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		s := c.Stats()
		o.ObserveInt64(i.requests, int64(s.Hits), hit)
		o.ObserveInt64(i.requests, int64(s.StaleHits), stale)
		o.ObserveInt64(i.requests, int64(s.Misses), miss)
		o.ObserveInt64(i.secrets, int64(s.Entries), all)
		return nil
	}, i.requests, i.secrets)
}

// off reports whether neither the metric nor a span is recorded.
func (i *Instrumentation) off(ctx context.Context, h metric.Float64Histogram) bool {
	return !h.Enabled(ctx) && !trace.SpanFromContext(ctx).IsRecording()
}

// record records an event that ended now.
func (i *Instrumentation) record(ctx context.Context, e event) {
	if e.metric.Enabled(ctx) {
		e.metric.Record(ctx, e.duration.Seconds(), metric.WithAttributes(withError(e.attributes, e.err)...))
	}
	if !trace.SpanFromContext(ctx).IsRecording() {
		return
	}
	end := time.Now()
	_, span := i.tracer.Start(ctx, e.span, trace.WithSpanKind(trace.SpanKindClient), trace.WithTimestamp(end.Add(-e.duration)),
		trace.WithAttributes(append(e.attributes, keyVersion.String(e.version))...))
	setError(span, e.err)
	span.End(trace.WithTimestamp(end))
}

// of returns the attributes from Options, the attribute of a secret's id, and more. The slice has
// room for two other attributes.
func (i *Instrumentation) of(id string, more ...attribute.KeyValue) []attribute.KeyValue {
	key := keyID
	if strings.HasPrefix(id, "arn:") {
		key = keyARN
	}
	return append(append(append(make([]attribute.KeyValue, 0, len(i.attributes)+len(more)+3), i.attributes...), key.String(id)), more...)
}

// address returns the attributes of a server. A list of hosts or a Unix socket has no port.
func address(text string) []attribute.KeyValue {
	host, port, err := net.SplitHostPort(text)
	if n, bad := strconv.Atoi(port); err == nil && bad == nil {
		return []attribute.KeyValue{keyAddress.String(host), keyPort.Int(n)}
	}
	return []attribute.KeyValue{keyAddress.String(text)}
}

// setError marks a span as failed, if err is not nil. The library's errors hold no secret value.
func setError(span trace.Span, err error) {
	if err != nil {
		span.SetAttributes(keyError.String(errorType(err)))
		span.SetStatus(codes.Error, err.Error())
	}
}

// withError returns attributes, with error.type if err is not nil. It does not change the array of
// attributes.
func withError(attributes []attribute.KeyValue, err error) []attribute.KeyValue {
	if err == nil {
		return attributes
	}
	return append(attributes[:len(attributes):len(attributes)], keyError.String(errorType(err)))
}

// conditions lists the errors that have an error.type of their own. The first that matches is used.
var conditions = []struct {
	err  error
	name string
}{
	{driver.ErrAuthFailed, "auth_failed"},
	{driver.ErrMalformedSecret, "malformed_secret"},
	{driver.ErrEngineMismatch, "engine_mismatch"},
	{driver.ErrBadDSN, "bad_dsn"},
	{secretcache.ErrNotFound, "secret_not_found"},
	{secretcache.ErrNoVersion, "no_version"},
	{secretcache.ErrAccessDenied, "access_denied"},
	{secretcache.ErrThrottled, "throttled"},
	{secretcache.ErrClosed, "cache_closed"},
	{context.DeadlineExceeded, "timeout"},
	{context.Canceled, "canceled"},
}

// errorType returns the error.type of an error. It has few values, because it is an attribute of
// metrics. The value "_OTHER" is OpenTelemetry's, see
// https://opentelemetry.io/docs/specs/semconv/registry/attributes/error/.
func errorType(err error) string {
	for _, c := range conditions {
		if errors.Is(err, c.err) {
			return c.name
		}
	}
	return "_OTHER"
}
