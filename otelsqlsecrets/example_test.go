package otelsqlsecrets_test

import (
	"context"
	"database/sql"
	"log"

	"go.opentelemetry.io/otel/attribute"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines"
	"github.com/sqlsecrets/sqlsecrets/engines/postgres"
	"github.com/sqlsecrets/sqlsecrets/otelsqlsecrets"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// A program that calls sql.Open. It uses the global providers of OpenTelemetry, which must be set
// before.
func Example() {
	o, err := otelsqlsecrets.New(&otelsqlsecrets.Options{Attributes: []attribute.KeyValue{attribute.String("db.system.name", "postgresql")}})
	if err != nil {
		log.Fatal(err)
	}
	if err := engines.SetDefaults(engines.Defaults{
		Trace: o.ConnectorTrace(),
		Cache: secretcache.Options{Trace: o.CacheTrace()},
	}); err != nil {
		log.Fatal(err)
	}
	// The cache for data source names without a region, a source and the like.
	cache, err := engines.Cache(driver.Location{})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := o.ObserveCache(cache); err != nil {
		log.Fatal(err)
	}
	db, err := sql.Open(postgres.DriverName, "prod/app/db?sslmode=verify-full")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
}

// A connector has one trace. To add a func of your own, wrap the func of this trace.
func ExampleInstrumentation_ConnectorTrace() {
	o, err := otelsqlsecrets.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	t := o.ConnectorTrace()
	record := t.ConnectDone
	t.ConnectDone = func(ctx context.Context, info driver.ConnectInfo) {
		record(ctx, info)
		if info.Err != nil {
			log.Printf("no connection after %v", info.Duration)
		}
	}
	if err := engines.SetDefaults(engines.Defaults{Trace: t, Cache: secretcache.Options{Trace: o.CacheTrace()}}); err != nil {
		log.Fatal(err)
	}
}
