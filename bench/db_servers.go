package main

import (
	"context"
	sqldriver "database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	gomysql "github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/sqlsecrets/sqlsecrets/bench/internal/report"
	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/mariadb"
	"github.com/sqlsecrets/sqlsecrets/engines/mysql/gosqldriver"
	"github.com/sqlsecrets/sqlsecrets/engines/postgres"
	"github.com/sqlsecrets/sqlsecrets/engines/postgres/pgxv5"
	"github.com/sqlsecrets/sqlsecrets/integration/testdb"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm/awssmtest"
)

// Peers that the module proxy does not serve.
const (
	noRefresh = "github.com/davepgreene/go-db-credential-refresh: the module proxy answers 403 for every version. " +
		"In its source, `Connect` holds one mutex from its beginning to its end, so Connect calls log in one after the other."
	noWrapper = "github.com/aws/aws-advanced-go-wrapper (awssql, pgx-driver, mysql-driver, aws-secrets-manager): " +
		"the module proxy answers 403 for every version."
)

// A product is a database that is measured with a real server.
type product struct {
	name     string // for readers
	engine   string // as in a secret
	vendors  string // the name of the vendor's driver
	noTLS    string // a parameter that turns TLS off
	start    func(testing.TB, testdb.Options) *testdb.Server
	vendor   func(s *testdb.Server, user, password string) (sqldriver.Connector, error)
	ours     func(dsn string, opts *driver.Options) (*driver.Connector, error)
	rejected func(error) bool
}

var products = []*product{
	{name: "PostgreSQL", engine: "postgres", vendors: "pgx", noTLS: "sslmode=disable", start: testdb.Postgres,
		vendor: pgxConnector, ours: postgres.NewConnector, rejected: pgxv5.Engine{}.Rejected},
	{name: "MariaDB", engine: "mariadb", vendors: "go-sql-driver", noTLS: "tls=false", start: testdb.MariaDB,
		vendor: mysqlConnector, ours: mariadb.NewConnector, rejected: gosqldriver.Engine{MariaDB: true}.Rejected},
}

func pgxConfig(s *testdb.Server, user, password string) (*pgx.ConnConfig, error) {
	cfg, err := pgx.ParseConfig(fmt.Sprintf("host=%s port=%d dbname=%s sslmode=disable", s.Host, s.Port, s.Database))
	if err != nil {
		return nil, err
	}
	cfg.User, cfg.Password = user, password
	return cfg, nil
}

func pgxConnector(s *testdb.Server, user, password string) (sqldriver.Connector, error) {
	cfg, err := pgxConfig(s, user, password)
	if err != nil {
		return nil, err
	}
	return stdlib.GetConnector(*cfg), nil
}

func mysqlConnector(s *testdb.Server, user, password string) (sqldriver.Connector, error) {
	cfg := gomysql.NewConfig()
	cfg.Net, cfg.Addr, cfg.DBName = "tcp", net.JoinHostPort(s.Host, strconv.Itoa(s.Port)), s.Database
	cfg.User, cfg.Passwd = user, password
	return gomysql.NewConnector(cfg)
}

// A database is a server with a user, and a Secrets Manager with the user's secret.
type database struct {
	*product
	*testdb.Server
	sm             *awssmtest.Server
	id             string // of the secret
	user, password string // of the first version
	rotations      int
}

// onServers calls measure for each product, with a server that ends with the call. If a server is
// not available, its name is added to the section's Absent.
func onServers(ctx context.Context, s *report.Section, which []*product, measure func(tb testing.TB, p *product)) error {
	for _, p := range which {
		err := testdb.Run(ctx, func(tb testing.TB) {
			p.start(tb, testdb.Options{}) // so that a missing server is noticed first
			measure(tb, p)
		})
		if errors.Is(err, testdb.ErrMissing) {
			s.Absent = append(s.Absent, strings.TrimPrefix(err.Error(), testdb.ErrMissing.Error()+": "))
		} else if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}

// newDatabase creates a user and its secret.
func newDatabase(tb testing.TB, p *product) *database {
	d := &database{product: p, Server: p.start(tb, testdb.Options{}), sm: awssmtest.NewServer(tb)}
	d.user = "u" + strconv.FormatInt(time.Now().UnixNano(), 36)
	d.id, d.password = "prod/"+d.user, "first password of "+d.user
	d.CreateUser(d.user, d.password)
	d.sm.Put(d.id, d.secret(d.password))
	return d
}

// secret returns the JSON of a version.
func (d *database) secret(password string) string {
	b, err := json.Marshal(map[string]any{
		"engine": d.engine, "host": d.Host, "port": d.Port, "dbname": d.Database, "username": d.user, "password": password})
	if err != nil {
		panic(err) // a map of strings and a number
	}
	return string(b)
}

// rotate gives the user and its secret another password.
func (d *database) rotate(tb testing.TB) {
	d.rotations++
	password := fmt.Sprintf("password %d of %s", d.rotations, d.user)
	if err := d.SetPassword(tb.Context(), d.user, password); err != nil {
		tb.Fatal(err)
	}
	d.sm.Put(d.id, d.secret(password))
}

// calls returns how many calls the Secrets Manager has had.
func (d *database) calls() int { return d.sm.Calls("GetSecretValue") + d.sm.Calls("DescribeSecret") }

// dsn is the library's data source name.
func (d *database) dsn() string { return d.id + "?" + d.noTLS }

// options returns options with a cache of the Secrets Manager.
func (d *database) options(tb testing.TB) *driver.Options {
	cache := secretcache.New(d.sm.Source(), nil)
	tb.Cleanup(func() { _ = cache.Close() })
	return &driver.Options{Secrets: cache}
}

// vendorConnector returns the vendor's own connector with the fixed password.
func (d *database) vendorConnector(tb testing.TB) sqldriver.Connector {
	c, err := d.vendor(d.Server, d.user, d.password)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// connector returns the library's connector. closeSuperseded makes it check each connection when
// the pool hands it out.
func (d *database) connector(tb testing.TB, closeSuperseded bool) sqldriver.Connector {
	opts := d.options(tb)
	opts.CloseSuperseded = closeSuperseded
	c, err := d.ours(d.dsn(), opts)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// connectOnce opens and closes one connection.
func connectOnce(ctx context.Context, c sqldriver.Connector) error {
	conn, err := c.Connect(ctx)
	if err != nil {
		return err
	}
	return conn.Close()
}

// awsEnv returns the environment in which the SDK of a program finds the Secrets Manager.
func (d *database) awsEnv() []string {
	return []string{
		"AWS_REGION=us-west-2", "AWS_ENDPOINT_URL_SECRETS_MANAGER=" + d.sm.URL(),
		"AWS_ACCESS_KEY_ID=AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY=example", "AWS_EC2_METADATA_DISABLED=true",
		"AWS_CONFIG_FILE=" + os.DevNull, "AWS_SHARED_CREDENTIALS_FILE=" + os.DevNull,
	}
}
