package agent_test

import (
	"database/sql"
	"fmt"
	"log"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/agent"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm"
)

// On an EC2 instance, or in an ECS task with the agent as a sidecar: the token comes from
// AWS_TOKEN and the like, or from /var/run/awssmatoken. The engine is of the
// vendor's package, as engines/postgres/pgxv5, so that the program links no AWS SDK.
func ExampleNew() {
	cache := secretcache.New(agent.New(), &secretcache.Options{TTL: time.Minute})
	defer cache.Close()
	var engine driver.Engine // pgxv5.Engine{}, say
	connector, err := driver.NewConnector(engine, "prod/app/db?sslmode=verify-full&sslrootcert=rds.pem",
		&driver.Options{Secrets: cache})
	if err != nil {
		log.Fatal(err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
}

// The secrets of another account, by a role that the agent assumes, and a token file of
// the deployment's own.
func ExampleNew_role() {
	source := agent.New(func(o *agent.Options) {
		o.RoleARN = "arn:aws:iam::210987654321:role/secret-reader"
		o.Token = agent.TokenFile("/run/secrets/agent-token")
	})
	fmt.Println(source)
	// Output:
	// source of secrets: Secrets Manager Agent at 127.0.0.1:2773
}

// In a Lambda function with the extension's layer. The extension cannot be asked past
// its cache, so the API is asked when the database has rejected what it said. The TTL is
// at least twice the extension's.
func ExampleNewExtension() {
	source := secretcache.Chain(agent.NewExtension(), awssm.New())
	cache := secretcache.New(source, &secretcache.Options{TTL: 15 * time.Minute})
	defer cache.Close()
}

// The token of a service that the deployment writes to a file of its own.
func ExampleTokenFile() {
	cache := secretcache.New(agent.New(func(o *agent.Options) {
		o.Token = agent.TokenFile("/run/secrets/agent-token")
	}), nil)
	defer cache.Close()
}
