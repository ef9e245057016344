package main

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/util/teststorage"

	"github.com/sqlsecrets/sqlsecrets/engines/postgres"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/pgserver"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm/awssmtest"
)

// A monitor stands for a Prometheus server. Its clock advances by one minute with each scrape.
type monitor struct {
	t       *testing.T
	handler http.Handler
	storage *teststorage.TestStorage
	engine  *promql.Engine
	now     time.Time
}

func newMonitor(t *testing.T, handler http.Handler) *monitor {
	return &monitor{t, handler, teststorage.New(t), promql.NewEngine(promql.EngineOpts{
		MaxSamples: 1e6, Timeout: time.Minute, Parser: parser.NewParser(parser.Options{})}), time.Unix(1e9, 0)}
}

// scrape reads the program's metrics.
func (m *monitor) scrape() {
	m.t.Helper()
	m.now = m.now.Add(time.Minute)
	response := httptest.NewRecorder()
	m.handler.ServeHTTP(response, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	p := expfmt.NewTextParser(model.UTF8Validation)
	families, err := p.TextToMetricFamilies(response.Body)
	if err != nil {
		m.t.Fatal(err)
	}
	app := m.storage.Appender(m.t.Context())
	for _, f := range families {
		samples, err := expfmt.ExtractSamples(&expfmt.DecodeOptions{Timestamp: model.TimeFromUnix(m.now.Unix())}, f)
		if err != nil {
			m.t.Fatal(err)
		}
		for _, s := range samples {
			var names []string
			for name, value := range s.Metric {
				names = append(names, string(name), string(value))
			}
			if _, err := app.Append(0, labels.FromStrings(names...), m.now.UnixMilli(), float64(s.Value)); err != nil {
				m.t.Fatal(err)
			}
		}
	}
	if err := app.Commit(); err != nil {
		m.t.Fatal(err)
	}
}

// query returns the present result of a PromQL expression.
func (m *monitor) query(expr string) promql.Vector {
	m.t.Helper()
	q, err := m.engine.NewInstantQuery(m.t.Context(), m.storage, nil, expr, m.now)
	if err != nil {
		m.t.Fatalf("%s: %v", expr, err)
	}
	defer q.Close()
	v, err := q.Exec(m.t.Context()).Vector()
	if err != nil {
		m.t.Fatalf("%s: %v", expr, err)
	}
	return slices.Clone(v)
}

// firing returns the names of the alerts in alerts.yaml that fire now.
func (m *monitor) firing() (names []string) {
	m.t.Helper()
	groups, errs := rulefmt.ParseFile("alerts.yaml", false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	if len(errs) > 0 {
		m.t.Fatal(errs)
	}
	for _, g := range groups.Groups {
		for _, r := range g.Rules {
			if len(m.query(r.Expr)) > 0 {
				names = append(names, r.Alert)
			}
		}
	}
	return names
}

func TestDashboardAndAlertsThroughARotationAndAnOutage(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "example")
	sm := awssmtest.NewServer(t)
	t.Setenv("AWS_REGION", "us-west-2")
	t.Setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", sm.URL())
	server := (&pgserver.Server{CheckPasswords: true}).Start(t)
	password := func(p string) { server.SetPassword(t, "app", p) }
	secret := func(p string) {
		sm.Put("prod/app", fmt.Sprintf(`{"host":%q,"port":%d,"username":"app","password":%q}`, server.Host, server.Port, p))
	}
	password("pw1")
	secret("pw1")

	const ttl = 20 * time.Millisecond
	metrics, err := observe(secretcache.Options{TTL: ttl})
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open(postgres.DriverName, "prod/app?sslmode=disable&fallback=none")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxIdleConns(0) // each ping is a Connect call
	m := newMonitor(t, metrics)
	ping := func(works bool) {
		t.Helper()
		if err := db.PingContext(t.Context()); (err == nil) != works {
			t.Fatalf("ping: %v, want it to work: %t", err, works)
		}
	}
	want := func(when string, names ...string) {
		t.Helper()
		if got := m.firing(); !slices.Equal(got, names) {
			t.Errorf("%s: %q fire, want %q", when, got, names)
		}
	}

	for range 2 { // Prometheus sees an increase from the second scrape on
		ping(true)
		m.scrape()
	}
	want("normal operation")
	for n := range 2 {
		password(fmt.Sprint("rotated ", n))
		secret(fmt.Sprint("rotated ", n))
		ping(true)
		m.scrape()
	}
	want("after rotations")

	sm.Fail(awssmtest.Unavailable)
	time.Sleep(2 * ttl)
	for range 2 {
		for range 3 {
			ping(true)
			time.Sleep(ttl)
		}
		m.scrape()
	}
	want("while Secrets Manager fails", "SecretStale")

	password("another")
	for range 2 {
		ping(false)
		time.Sleep(1100 * time.Millisecond) // the pause after a refresh
		ping(false)
		m.scrape()
	}
	want("after a change of the password while Secrets Manager fails", "SecretStale", "LoginsRejected", "RefreshFails")

	dashboard, err := os.ReadFile("dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.NewDecoder(bytes.NewReader(dashboard)).Decode(&d); err != nil {
		t.Fatal(err)
	}
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			if len(m.query(target.Expr)) == 0 {
				t.Errorf("panel %q: %s returns nothing", p.Title, target.Expr)
			}
		}
	}
}
