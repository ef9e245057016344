package engines_test

import (
	"context"
	"log"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines"
)

// A service fetches the secrets it will need before it takes requests.
func ExampleCache() {
	cache, err := engines.Cache(driver.Location{})
	if err != nil {
		log.Fatal(err)
	}
	if err := cache.Prefetch(context.Background(), "prod/app/db", "prod/app/reports"); err != nil {
		log.Print(err) // the first connect tries again
	}
}
