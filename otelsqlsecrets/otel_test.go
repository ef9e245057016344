package otelsqlsecrets_test

import (
	"context"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/otelsqlsecrets"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// An engine is an engine for a database that accepts one password.
type engine struct {
	driver.Engine
	password *string
}

var errRejected = errors.New("wrong password")

func (engine) Info() driver.Info {
	return driver.Info{Name: "postgres", Port: 5432, Database: "postgres", Accepts: func(string) bool { return true }}
}
func (engine) CheckParams(map[string]string) error             { return nil }
func (e engine) Prepare(driver.Endpoint) (driver.Login, error) { return e, nil }
func (engine) Rejected(err error) bool                         { return errors.Is(err, errRejected) }
func (engine) NoDatabase(error) bool                           { return false }
func (e engine) Connect(_ context.Context, c driver.Credentials) (sqldriver.Conn, error) {
	if c.Password.Reveal() != *e.password {
		return nil, errRejected
	}
	return conn{}, nil
}

type conn struct{ sqldriver.Conn }

func (conn) Close() error { return nil }

// A setup is a connector whose secret has version v1 of a password. rotate changes it.
type setup struct {
	*driver.Connector
	*otelsqlsecrets.Instrumentation
	cache    *secretcache.Cache
	password string
	version  string
	down     error // what the source returns; nil if it works
}

func newSetup(t testing.TB, opts *otelsqlsecrets.Options) *setup {
	t.Helper()
	s := &setup{password: "pw v1", version: "v1"}
	var err error
	if s.Instrumentation, err = otelsqlsecrets.New(opts); err != nil {
		t.Fatal(err)
	}
	s.cache = secretcache.New(secretcache.SourceFunc(func(_ context.Context, id, stage string) (*secretcache.Secret, error) {
		switch {
		case s.down != nil:
			return nil, s.down
		case stage != secretcache.StageCurrent:
			return nil, secretcache.ErrNoVersion
		}
		return secretcache.NewSecret(secretcache.Value{ID: id, VersionID: s.version,
			String: fmt.Sprintf(`{"host":"db.example.com","username":"app","password":"pw %s"}`, s.version)}), nil
	}), &secretcache.Options{Trace: s.CacheTrace()})
	t.Cleanup(func() { _ = s.cache.Close() })
	s.Connector, err = driver.NewConnector(engine{password: &s.password}, "prod/app", &driver.Options{Secrets: s.cache, Trace: s.ConnectorTrace()})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// rotate changes the database's password and the secret.
func (s *setup) rotate(version string) { s.version, s.password = version, "pw "+version }

func (s *setup) connect(t testing.TB, ctx context.Context) {
	t.Helper()
	c, err := s.Connect(ctx)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
}

func TestMetricsOfARotation(t *testing.T) {
	reader := metric.NewManualReader()
	s := newSetup(t, &otelsqlsecrets.Options{MeterProvider: metric.NewMeterProvider(metric.WithReader(reader)),
		Attributes: []attribute.KeyValue{attribute.String("db.system.name", "postgresql")}})
	if _, err := s.ObserveCache(s.cache); err != nil {
		t.Fatal(err)
	}
	s.connect(t, t.Context())
	s.rotate("v2")
	s.connect(t, t.Context())
	s.password = "another"
	if _, err := s.Connect(t.Context()); !errors.Is(err, driver.ErrAuthFailed) {
		t.Fatal(err)
	}

	const all = `db.system.name=postgresql,`
	const secret = `sqlsecrets.secret.id=prod/app,`
	const login = `server.address=db.example.com,server.port=5432,sqlsecrets.outcome=%s,` + secret + `sqlsecrets.secret.stage=AWSCURRENT %d`
	want := []string{
		"db.client.connection.create_time s " + all + "error.type=auth_failed," + "sqlsecrets.secret.id=prod/app 1",
		"db.client.connection.create_time s " + all + "sqlsecrets.secret.id=prod/app 2",
		"sqlsecrets.login.duration s " + all + fmt.Sprintf(login, "accepted", 2),
		"sqlsecrets.login.duration s " + all + "error.type=auth_failed," + fmt.Sprintf(login, "rejected", 2),
		"sqlsecrets.refresh.duration s " + all + "sqlsecrets.outcome=found," + secret + "sqlsecrets.secret.stage=AWSCURRENT 1",
		"sqlsecrets.refresh.duration s " + all + "sqlsecrets.outcome=no_version," + secret + "sqlsecrets.secret.stage=AWSPENDING 1",
		"sqlsecrets.fetch.duration s " + all + "sqlsecrets.outcome=changed," + secret + "sqlsecrets.secret.stage=AWSCURRENT 2",
		"sqlsecrets.cache.requests {read} " + all + "sqlsecrets.cache.result=hit 2",
		"sqlsecrets.cache.requests {read} " + all + "sqlsecrets.cache.result=miss 1",
		"sqlsecrets.cache.secrets {secret} " + all[:len(all)-1] + " 1",
	}
	got := collect(t, reader)
	for _, line := range want {
		if !slices.Contains(got, line) {
			t.Errorf("no point\n%s\nin\n%s", line, strings.Join(got, "\n"))
		}
	}
}

// collect returns a line for each point: name, unit, attributes, and the number of events or the
// value.
func collect(t *testing.T, reader metric.Reader) (lines []string) {
	t.Helper()
	var data metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &data); err != nil {
		t.Fatal(err)
	}
	add := func(m metricdata.Metrics, set attribute.Set, n any) {
		lines = append(lines, fmt.Sprintf("%s %s %s %v", m.Name, m.Unit, set.Encoded(attribute.DefaultEncoder()), n))
	}
	for _, scope := range data.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch d := m.Data.(type) {
			case metricdata.Histogram[float64]:
				for _, p := range d.DataPoints {
					add(m, p.Attributes, p.Count)
				}
			case metricdata.Sum[int64]:
				for _, p := range d.DataPoints {
					add(m, p.Attributes, p.Value)
				}
			case metricdata.Gauge[int64]:
				for _, p := range d.DataPoints {
					add(m, p.Attributes, p.Value)
				}
			default:
				t.Errorf("%s is a %T", m.Name, d)
			}
		}
	}
	return lines
}

func TestSpansOfARotation(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	provider := trace.NewTracerProvider(trace.WithSpanProcessor(spans))
	s := newSetup(t, &otelsqlsecrets.Options{TracerProvider: provider})
	s.connect(t, t.Context()) // the caller has no span
	if n := len(spans.Ended()); n > 0 {
		t.Errorf("%d spans for a caller that has no span, want none", n)
	}
	s.rotate("v2")
	ctx, request := provider.Tracer("test").Start(t.Context(), "request")
	s.connect(t, ctx)
	request.End()

	names := map[string]string{}
	for _, span := range spans.Ended() {
		names[span.SpanContext().SpanID().String()] = span.Name()
	}
	var got []string
	for _, span := range spans.Ended() {
		line := names[span.Parent().SpanID().String()] + " > " + span.Name() + " " + span.Status().Code.String()
		for _, a := range span.Attributes() {
			if a.Key == "sqlsecrets.outcome" || a.Key == "sqlsecrets.secret.version" {
				line += " " + a.Value.AsString()
			}
		}
		if span.StartTime().After(span.EndTime()) {
			t.Errorf("span %s ends before it starts", span.Name())
		}
		got = append(got, line)
	}
	want := []string{
		"sqlsecrets.connect > sqlsecrets.login Error rejected v1",
		"sqlsecrets.connect > sqlsecrets.fetch Unset changed v2",
		"sqlsecrets.connect > sqlsecrets.refresh Unset found v2",
		"sqlsecrets.connect > sqlsecrets.login Unset accepted v2",
		"request > sqlsecrets.connect Unset v2",
		" > request Unset",
	}
	if !slices.Equal(got, want) {
		t.Errorf("spans\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestAFailureOfTheSourceIsInTheMetrics(t *testing.T) {
	reader := metric.NewManualReader()
	s := newSetup(t, &otelsqlsecrets.Options{MeterProvider: metric.NewMeterProvider(metric.WithReader(reader))})
	s.down = fmt.Errorf("get: %w", secretcache.ErrThrottled)
	if _, err := s.Connect(t.Context()); err == nil {
		t.Fatal("no error")
	}
	for _, name := range []string{"db.client.connection.create_time", "sqlsecrets.fetch.duration"} {
		if got := collect(t, reader); !slices.ContainsFunc(got, func(line string) bool {
			return strings.HasPrefix(line, name) && strings.Contains(line, "error.type=throttled")
		}) {
			t.Errorf("%s has no error.type=throttled:\n%s", name, strings.Join(got, "\n"))
		}
	}
}

// A host and its port are two attributes. A list of hosts or a socket's path is one.
func TestAddresses(t *testing.T) {
	reader := metric.NewManualReader()
	i, err := otelsqlsecrets.New(&otelsqlsecrets.Options{MeterProvider: metric.NewMeterProvider(metric.WithReader(reader))})
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{"[::1]:5432", "a:1,b:2", "/run/postgresql"} {
		i.ConnectorTrace().LoginDone(t.Context(), driver.LoginInfo{SecretID: "arn:aws:x", Address: address})
	}
	got := strings.Join(collect(t, reader), "\n")
	for _, want := range []string{"server.address=::1,server.port=5432,", `server.address=a:1\,b:2,sqlsecrets`, "server.address=/run/postgresql,sqlsecrets", "aws.secretsmanager.secret.arn=arn:aws:x,"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

// If no metrics and no spans are collected, an event costs no allocation.
func TestOffAllocatesNothing(t *testing.T) {
	i, err := otelsqlsecrets.New(&otelsqlsecrets.Options{MeterProvider: metricnoop.NewMeterProvider(), TracerProvider: tracenoop.NewTracerProvider()})
	if err != nil {
		t.Fatal(err)
	}
	connector, cache := i.ConnectorTrace(), i.CacheTrace()
	ctx := t.Context()
	if n := testing.AllocsPerRun(100, func() {
		connector.ConnectStart(ctx, driver.ConnectInfo{})
		connector.SecretDone(ctx, driver.SecretInfo{StaleCause: errRejected})
		connector.LoginDone(ctx, driver.LoginInfo{Address: "db:1"})
		connector.RefreshDone(ctx, driver.RefreshInfo{})
		connector.ConnectDone(ctx, driver.ConnectInfo{Err: errRejected})
		cache.FetchDone(ctx, secretcache.FetchInfo{})
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func BenchmarkConnect(b *testing.B) {
	for _, bm := range []struct {
		name string
		opts *otelsqlsecrets.Options
	}{
		{"off", &otelsqlsecrets.Options{MeterProvider: metricnoop.NewMeterProvider(), TracerProvider: tracenoop.NewTracerProvider()}},
		{"metrics", &otelsqlsecrets.Options{MeterProvider: metric.NewMeterProvider(metric.WithReader(metric.NewManualReader())), TracerProvider: tracenoop.NewTracerProvider()}},
	} {
		s := newSetup(b, bm.opts)
		s.connect(b, b.Context())
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s.connect(b, b.Context())
			}
		})
	}
}
