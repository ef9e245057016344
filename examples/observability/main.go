// Command observability serves metrics to Prometheus. They show what the pool, the connector and
// the cache do while passwords rotate. dashboard.json is a dashboard for Grafana, and alerts.yaml
// has alerts for Prometheus.
//
//	go run . 'prod/app/db?sslmode=verify-full&sslrootcert=rds.pem'
//	curl localhost:9464/metrics
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/attribute"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines"
	"github.com/sqlsecrets/sqlsecrets/engines/postgres"
	"github.com/sqlsecrets/sqlsecrets/otelsqlsecrets"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "observability:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errors.New("usage: observability secretID[?parameters]")
	}
	metrics, err := observe(secretcache.Options{})
	if err != nil {
		return err
	}
	db, err := sql.Open(postgres.DriverName, args[0])
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetConnMaxLifetime(10 * time.Minute)
	go work(ctx, db)
	server := &http.Server{Addr: "localhost:9464", Handler: metrics, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// observe connects all connectors and the default cache to OpenTelemetry. It returns the handler that
// serves the metrics to Prometheus. Call it before the first connection.
func observe(cache secretcache.Options) (http.Handler, error) {
	registry := prometheus.NewRegistry()
	exporter, err := otelprometheus.New(otelprometheus.WithRegisterer(registry), otelprometheus.WithoutScopeInfo())
	if err != nil {
		return nil, err
	}
	o, err := otelsqlsecrets.New(&otelsqlsecrets.Options{
		MeterProvider: metric.NewMeterProvider(metric.WithReader(exporter)),
		Attributes:    []attribute.KeyValue{attribute.String("db.system.name", "postgresql")},
	})
	if err != nil {
		return nil, err
	}
	cache.Trace = o.CacheTrace()
	if err := engines.SetDefaults(engines.Defaults{Logger: slog.Default(), Trace: o.ConnectorTrace(), Cache: cache}); err != nil {
		return nil, err
	}
	// The cache for data source names without a region, an endpoint or a source.
	c, err := engines.Cache(driver.Location{})
	if err != nil {
		return nil, err
	}
	if _, err := o.ObserveCache(c); err != nil {
		return nil, err
	}
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{}), nil
}

// work stands for the real work of the program.
func work(ctx context.Context, db *sql.DB) {
	for ctx.Err() == nil {
		if err := db.PingContext(ctx); err != nil {
			slog.Error("ping", "error", err)
		}
		time.Sleep(time.Second)
	}
}
