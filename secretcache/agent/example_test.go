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

// A program on an EC2 instance, or in an ECS task with the agent as a sidecar. The token comes
// from AWS_TOKEN or one of the other variables, or from /var/run/awssmatoken. The engine comes from
// a vendor's package, such as engines/postgres/pgxv5, so that the program links no AWS SDK.
func ExampleNew() {
	cache := secretcache.New(agent.New(), &secretcache.Options{TTL: time.Minute})
	defer cache.Close()
	var engine driver.Engine // for example pgxv5.Engine{}
	connector, err := driver.NewConnector(engine, "prod/app/db?sslmode=verify-full&sslrootcert=rds.pem",
		&driver.Options{Secrets: cache})
	if err != nil {
		log.Fatal(err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
}

// A program reads the secrets of another account through a role that the agent assumes. The
// token is in a file that the deployment writes.
func ExampleNew_role() {
	source := agent.New(func(o *agent.Options) {
		o.RoleARN = "arn:aws:iam::210987654321:role/secret-reader"
		o.Token = agent.TokenFile("/run/secrets/agent-token")
	})
	fmt.Println(source)
	// Output:
	// source of secrets: Secrets Manager Agent at 127.0.0.1:2773
}

// A Lambda function with the extension's layer. The extension cannot bypass its cache, so the
// API is asked when the database rejected the extension's password. The TTL is more than twice the
// extension's.
func ExampleNewExtension() {
	source := secretcache.Chain(agent.NewExtension(), awssm.New())
	cache := secretcache.New(source, &secretcache.Options{TTL: 15 * time.Minute})
	defer cache.Close()
}

// The token is in a file that the deployment writes.
func ExampleTokenFile() {
	cache := secretcache.New(agent.New(func(o *agent.Options) {
		o.Token = agent.TokenFile("/run/secrets/agent-token")
	}), nil)
	defer cache.Close()
}
