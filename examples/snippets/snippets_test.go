// Package snippets_test has Go code that pages in docs and the README show parts of. So the compiler
// checks it. TestGuides compares it with the pages. No example here runs, because none has an output.
package snippets_test

import (
	"context"
	"crypto/tls"
	"database/sql"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines"
	_ "github.com/sqlsecrets/sqlsecrets/engines/mysql"
	"github.com/sqlsecrets/sqlsecrets/engines/postgres"
	"github.com/sqlsecrets/sqlsecrets/engines/postgres/pgxv5"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/agent"
	"github.com/sqlsecrets/sqlsecrets/secretcache/agent/agenttest"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm/awssmtest"
	"github.com/sqlsecrets/sqlsecrets/secretcache/file"
)

import _ "github.com/sqlsecrets/sqlsecrets/engines/postgres"

var (
	ctx            = context.Background()
	opts           = &driver.Options{}
	rdsAuthorities = &tls.Config{MinVersion: tls.VersionTLS12}
)

// README.md

func Example_readme() {
	db, err := sql.Open("secretsmanager-postgres",
		"prod/app/db?sslmode=verify-full&sslrootcert=global-bundle.pem")
	rows, err := db.Query("SELECT name FROM items")
	use(rows, err)
}

func Example_options() {
	connector, err := postgres.NewConnector("prod/app/db?sslmode=verify-full", &driver.Options{
		TLS:    rdsAuthorities,
		Logger: slog.Default(),
	})
	db := sql.OpenDB(connector)
	use(db, err)
}

func Example_pool() {
	pool, err := postgres.NewPool(ctx, "prod/app/db?sslmode=verify-full&pool_max_conns=10", nil, nil)
	use(pool, err)
}

// docs/agent.md

func Example_agent() {
	cache := secretcache.New(agent.New(), &secretcache.Options{TTL: time.Minute})
	connector, err := driver.NewConnector(pgxv5.Engine{}, "prod/app/db?sslmode=verify-full", &driver.Options{Secrets: cache})
	db := sql.OpenDB(connector)
	use(db, err)
}

func TestAgent(t *testing.T) {
	secretsManager := awssmtest.NewServer(t)
	server := agenttest.NewServer(t, secretsManager.Source())
	cache := secretcache.New(server.Source(), nil)
	use(cache)
}

// docs/iam.md

func Example_iam() {
	db, err := sql.Open("secretsmanager-postgres", "prod/app/db?auth=iam&sslrootcert=rds.pem")
	use(db, err)
}

func Example_iamOfMySQL() {
	db, err := sql.Open("secretsmanager-mysql", "prod/app/db?auth=iam&ssl-ca=rds.pem")
	use(db, err)
}

func Example_iamForTheRealName() {
	sign := engines.Options(nil).IAMToken
	opts.IAMToken = func(ctx context.Context, r driver.TokenRequest) (driver.Token, error) {
		r.Host, r.Port = "db.c1a2b3d4.us-west-2.rds.amazonaws.com", 5432
		return sign(ctx, r)
	}
}

func Example_token() {
	connector, err := postgres.NewConnector("prod/app/db?sslmode=verify-full", &driver.Options{
		Token: func(ctx context.Context, r driver.TokenRequest) (driver.Token, error) {
			text, expires, err := tokenOf(ctx, r.Host, r.User) // the provider's SDK
			return driver.Token{Password: driver.NewPassword(text), Expires: expires}, err
		},
	})
	use(connector, err)
}

func tokenOf(context.Context, string, string) (text string, expires time.Time, err error) {
	return "", time.Time{}, nil
}

// docs/observability.md

func Example_logger() {
	engines.SetDefaults(engines.Defaults{Logger: slog.Default()})
}

func Example_status() {
	connector, err := postgres.NewConnector("prod/app/db?sslmode=verify-full", nil)
	db := sql.OpenDB(connector)
	http.HandleFunc("/health", func(w http.ResponseWriter, r *http.Request) {
		s := connector.Status()
		fmt.Fprintf(w, "version %s (%s) at %s, accepted at %v\n", s.Version, s.From, s.Address, s.Accepted)
	})
	use(db, err)
}

// docs/postgres.md

func Example_keepAlive() {
	engine := pgxv5.Engine{Configure: func(c *pgx.ConnConfig) error {
		c.DialFunc = (&net.Dialer{KeepAliveConfig: net.KeepAliveConfig{
			Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3,
		}}).DialContext // and Control, to set TCP_USER_TIMEOUT
		return nil
	}}
	use(engine)
}

func Example_dialer() {
	engine := pgxv5.Engine{Configure: func(c *pgx.ConnConfig) error {
		c.DialFunc = cloudDialer // func(ctx context.Context, network, addr string) (net.Conn, error)
		return nil
	}}
	connector, err := driver.NewConnector(engine, "prod/app/db", engines.Options(opts))
	use(connector, err)
}

func cloudDialer(ctx context.Context, network, addr string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, network, addr)
}

// docs/sources.md

func Example_files() {
	cache := secretcache.New(file.New("/mnt/secrets-store"), nil)
	connector, err := postgres.NewConnector("prod/app/db?sslmode=verify-full", &driver.Options{Secrets: cache})
	use(connector, err)
}

// use keeps the compiler from complaining that its arguments are not used.
func use(...any) {}
