package otelsqlsecrets_test

import (
	"database/sql"
	"log"

	"go.opentelemetry.io/otel/attribute"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines"
	"github.com/sqlsecrets/sqlsecrets/engines/postgres"
	"github.com/sqlsecrets/sqlsecrets/otelsqlsecrets"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// A program that only calls sql.Open. The global providers are used; set them before.
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
	cache, err := engines.Cache(driver.Location{}) // of data source names that say nothing of it
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
