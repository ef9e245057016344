package rotation_test

import (
	"context"
	"crypto/tls"
	"database/sql"
	sqldriver "database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	gomysql "github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	mssql "github.com/microsoft/go-mssqldb"
	"github.com/sijms/go-ora/v2/network"

	"github.com/sqlsecrets/sqlsecrets/integration/internal/vendordb"
	"github.com/sqlsecrets/sqlsecrets/integration/rotation"
	"github.com/sqlsecrets/sqlsecrets/integration/testdb"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm/awssmtest"
)

func TestMain(m *testing.M) { os.Exit(testdb.Main(m)) }

// steps are the steps of a rotation, in the order of the AWS user guide.
var steps = []string{"createSecret", "setSecret", "testSecret", "finishSecret"}

var strategies = []rotation.Strategy{rotation.SingleUser, rotation.AlternatingUsers}

// An engine is one of the databases that the tests run on.
type engine struct {
	name    string
	secret  string // "engine" in a secret
	noTLS   bool   // there is no server with TLS
	start   func(testing.TB, testdb.Options) *testdb.Server
	open    func(v *env, user, password string) sqldriver.Connector
	wrong   func(error) bool // the server rejected the name or the password
	session string           // a query for the session's id
	user    string           // a query for the user's name
	atomic  bool             // a clone that cannot be completed is not created

	// awkward is a user's name, with %d for a number. password is a password that a rotation
	// function would not choose. Both contain all special characters that the engine accepts.
	awkward, password string

	clone     func(user string) string
	canonical func(user string) string // the name as the server returns it

	// The following fields are nil if the function makes no clones.

	quoteName func(user string) string // for statements
	exists    func(user string) string // a query that has a row if there is the user

	// share makes an object that the user %[1]s may read and, except with PostgreSQL, may grant to
	// others. Its name contains the number %[2]d and looks like a part of a statement. read is the
	// query for the object, and unshare removes it. pass has statements that only a user who may
	// grant can run.
	share, read, unshare []string
	pass                 []string

	// weak makes a user %[1]s that has some rights of a superuser, or none. grand gives a user a
	// right that the weak user cannot give.
	weak, grand []string
}

var engines = []*engine{
	{
		name: "postgres", secret: "postgres", start: testdb.Postgres, open: openPostgres, atomic: true,
		wrong: func(err error) bool {
			var e *pgconn.PgError
			return errors.As(err, &e) && e.Code == "28P01"
		},
		session: "SELECT pg_backend_pid()", user: "SELECT CURRENT_USER",
		awkward: canary + "'`\"\\ %d", password: canary + `: /@"'\ pä%s$`,
		quoteName: func(user string) string { return `"` + strings.ReplaceAll(user, `"`, `""`) + `"` },
		clone:     suffixed, canonical: unchanged,
		exists: func(user string) string { return "SELECT 1 FROM pg_roles WHERE rolname = " + quoteString(user) },
		share: []string{
			`CREATE TABLE "a TO ""b""%[2]d" AS SELECT 42 AS n`,
			`GRANT SELECT ON "a TO ""b""%[2]d" TO %[1]s`,
		},
		read:    []string{`SELECT n FROM "a TO ""b""%[2]d"`},
		unshare: []string{`DROP TABLE "a TO ""b""%[2]d"`},
		weak:    []string{`CREATE ROLE %[1]s LOGIN CREATEROLE PASSWORD 'canary'`},
		grand:   []string{"ALTER ROLE %[1]s SUPERUSER"},
	},
	// Limits are grants, too. SHOW GRANTS writes them after the hash of the password.
	likeMySQL(&engine{
		name: "mariadb", start: testdb.MariaDB,
		share: []string{"GRANT USAGE ON *.* TO %[1]s WITH MAX_USER_CONNECTIONS 100"},
	}),
	likeMySQL(&engine{name: "mysql", start: testdb.MySQL}),
	likeSQLServer(&engine{name: "sqlserver", start: testdb.SQLServer}),
	likeSQLServer(&engine{name: "sqlserver stand-in", start: testdb.SQLServerStandIn}),
	likeOracle(&engine{name: "oracle", start: testdb.Oracle, noTLS: true}),
	likeOracle(&engine{name: "oracle stand-in", start: testdb.OracleStandIn}),
}

// inProcess are the engines that are always available.
var inProcess = slices.DeleteFunc(slices.Clone(engines), func(e *engine) bool { return !strings.HasSuffix(e.name, "stand-in") })

// clones reports whether the rotation function creates the other one of two users.
func (e *engine) clones() bool { return e.share != nil }

func suffixed(user string) string  { return user + "_clone" }
func unchanged(user string) string { return user }

// quoteString quotes a string for PostgreSQL.
func quoteString(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

func likeMySQL(e *engine) *engine {
	e.secret, e.open, e.wrong = e.name, openMySQL, wrongMySQL
	e.session, e.user = "SELECT CONNECTION_ID()", "SELECT SUBSTRING_INDEX(CURRENT_USER(), '@', 1)"
	e.awkward, e.password = canary+"'`\"\\ %d", canary+`: /@"'\ pä%s$`
	e.quoteName = func(user string) string { return "`" + strings.ReplaceAll(user, "`", "``") + "`@'%'" }
	e.clone, e.canonical = suffixed, unchanged
	e.exists = func(user string) string {
		return fmt.Sprintf("SELECT 1 FROM mysql.user WHERE HEX(User) = '%X'", user)
	}
	e.share = append(e.share,
		"CREATE DATABASE `a``b TO %[2]d`",
		"CREATE TABLE `a``b TO %[2]d`.`TO x FROM y` AS SELECT 42 AS n",
		"GRANT SELECT ON `a``b TO %[2]d`.`TO x FROM y` TO %[1]s WITH GRANT OPTION",
	)
	e.read = []string{"SELECT n FROM `a``b TO %[2]d`.`TO x FROM y`"}
	e.pass = []string{"GRANT SELECT ON `a``b TO %[2]d`.`TO x FROM y` TO %[1]s"}
	e.unshare = []string{"DROP DATABASE `a``b TO %[2]d`"}
	// This user may create users, and has nothing to grant them.
	e.weak = []string{
		"CREATE USER %[1]s IDENTIFIED BY 'canary'",
		"GRANT CREATE USER ON *.* TO %[1]s",
		"GRANT SELECT ON mysql.* TO %[1]s",
		"GRANT SELECT ON app.* TO %[1]s",
	}
	return e
}

func likeSQLServer(e *engine) *engine {
	e.secret, e.open = "sqlserver", openSQLServer
	e.wrong = func(err error) bool {
		var m mssql.Error
		return errors.As(err, &m) && m.Number == 18456
	}
	e.session, e.user = "SELECT @@SPID", "SELECT SUSER_SNAME()"
	// SQL Server's own logins have no backslash in their names.
	e.awkward, e.password = canary+"'`\"[]] %d", canary+`: /@"'\ pä%s$`
	e.clone, e.canonical = suffixed, unchanged
	return e
}

func likeOracle(e *engine) *engine {
	e.secret, e.open = "oracle", openOracle
	e.wrong = func(err error) bool {
		var o *network.OracleError
		return errors.As(err, &o) && o.ErrCode == 1017
	}
	e.session, e.user = "SELECT SYS_CONTEXT('USERENV', 'SESSIONID') FROM DUAL", "SELECT USER FROM DUAL"
	// Oracle allows no double quote in names and passwords.
	e.awkward, e.password = `"`+canary+"'`[\\ %d"+`"`, canary+`: /@'\ pä%s$`
	e.clone = func(user string) string { return `"` + vendordb.OracleName(user) + `_CLONE"` }
	e.canonical = vendordb.OracleName
	return e
}

// MySQL and MariaDB answer 1045 for a wrong name or password.
func wrongMySQL(err error) bool {
	var e *gomysql.MySQLError
	return errors.As(err, &e) && e.Number == 1045
}

func openPostgres(v *env, user, password string) sqldriver.Connector {
	cfg, err := pgx.ParseConfig(fmt.Sprintf("host=%s port=%d user=u password=p dbname=%s sslmode=disable", v.Host, v.Port, v.Database))
	if err != nil {
		panic(err)
	}
	cfg.User, cfg.Password = user, password
	return stdlib.GetConnector(*cfg)
}

func openMySQL(v *env, user, password string) sqldriver.Connector {
	cfg := gomysql.NewConfig()
	cfg.Net, cfg.Addr = "tcp", net.JoinHostPort(v.Host, strconv.Itoa(v.Port))
	cfg.DBName, cfg.User, cfg.Passwd = v.Database, user, password
	c, err := gomysql.NewConnector(cfg)
	if err != nil {
		panic(err)
	}
	return c
}

func openSQLServer(v *env, user, password string) sqldriver.Connector {
	return vendordb.SQLServer(v.account(user, password))
}

func openOracle(v *env, user, password string) sqldriver.Connector {
	return vendordb.Oracle(v.account(user, password))
}

func (v *env) account(user, password string) vendordb.Account {
	return vendordb.Account{Host: v.Host, Port: v.Port, Database: v.Database, User: user, Password: password}
}

// forEach runs a test on the engines, all at once.
func forEach(t *testing.T, f func(t *testing.T, e *engine)) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			f(t, e)
		})
	}
}

// forEachStrategy runs a test on the engines with both strategies.
func forEachStrategy(t *testing.T, f func(t *testing.T, e *engine, s rotation.Strategy)) {
	forEach(t, func(t *testing.T, e *engine) {
		for _, s := range strategies {
			t.Run(s.String(), func(t *testing.T) { f(t, e, s) })
		}
	})
}

const (
	superuserID = "admin/db"

	// canary is in every value that an error must not show.
	canary = "canary"
)

var number atomic.Int64 // of the env

// An env is a server with a user, and a Secrets Manager with the user's secret and
// the superuser's.
type env struct {
	*testdb.Server
	t      testing.TB
	engine *engine
	sm     *awssmtest.Server
	client *secretsmanager.Client
	f      *rotation.Function
	n      int64

	id        string // of the secret
	port      int    // in the secrets
	masterARN string // the superuser's secret, for alternating users
	first     string // the first version
	user      string // the first user

	firstPassword string
}

// newEnv returns an env. Its secret names the superuser if the strategy needs one.
func newEnv(t testing.TB, e *engine, s rotation.Strategy) *env {
	t.Helper()
	// All tests of an engine share one server. The server takes plaintext, too.
	server := e.start(t, testdb.Options{TLS: !e.noTLS})
	return newEnvAt(t, e, s, server, server.Port)
}

// newEnvOverTLS is newEnv with the port for TLS in the secrets.
func newEnvOverTLS(t testing.TB, e *engine, s rotation.Strategy) *env {
	t.Helper()
	server := e.start(t, testdb.Options{TLS: true})
	return newEnvAt(t, e, s, server, server.TLSPort)
}

func newEnvAt(t testing.TB, e *engine, s rotation.Strategy, server *testdb.Server, port int) *env {
	t.Helper()
	v := &env{Server: server, t: t, engine: e, sm: awssmtest.NewServer(t), n: number.Add(1), port: port, firstPassword: e.password}
	v.client = newClient(v.sm)
	v.f = &rotation.Function{Client: v.client, Strategy: s, SetPassword: v.SetPassword}
	v.sm.SetRotation(v.f.Rotate)

	v.user = fmt.Sprintf(e.awkward, v.n)
	v.CreateUser(v.user, v.firstPassword)
	// The clone is dropped first: in PostgreSQL it may own objects that the user does not own.
	t.Cleanup(func() {
		if err := v.DropUser(context.Background(), v.clone()); err != nil {
			t.Errorf("drop the clone: %v", err)
		}
	})
	if s == rotation.AlternatingUsers && !e.clones() {
		v.CreateUser(v.clone(), "not yet")
	}
	v.id = fmt.Sprintf("prod/app-%d", v.n)
	v.putSuperuser(v.User, v.Password, nil)
	if s == rotation.AlternatingUsers {
		v.masterARN = v.sm.ARN(superuserID)
	}
	v.first = v.sm.Put(v.id, v.secret(v.user, v.firstPassword, nil))
	return v
}

// newClient returns a client without retries, so that failures show.
func newClient(sm *awssmtest.Server) *secretsmanager.Client {
	return secretsmanager.NewFromConfig(sm.Config(), func(o *secretsmanager.Options) { o.RetryMaxAttempts = 1 })
}

func (v *env) clone() string { return v.engine.clone(v.user) }

// haveClone makes the clone with the first password, unless newEnv has made it.
func (v *env) haveClone(s rotation.Strategy) {
	v.t.Helper()
	if s == rotation.AlternatingUsers && !v.engine.clones() {
		v.setPassword(v.clone(), v.firstPassword)
		return
	}
	v.CreateUser(v.clone(), v.firstPassword)
}

// secret returns the JSON of a version, with changes: nil removes a key.
func (v *env) secret(user, password string, changes map[string]any) string {
	m := map[string]any{
		"engine": v.engine.secret, "host": v.Host, "port": v.port, "dbname": v.Database,
		"username": user, "password": password, "note": []string{"<kept>", "as & is"},
	}
	if v.masterARN != "" {
		m["masterarn"] = v.masterARN
	}
	return marshal(m, changes)
}

// putSuperuser stores the superuser's secret. Its database has no effect: the superuser logs in to
// the user's database.
func (v *env) putSuperuser(user, password string, changes map[string]any) {
	m := map[string]any{
		"engine": v.engine.secret, "host": v.Host, "port": v.port, "dbname": "no_such_database",
		"username": user, "password": password,
	}
	v.sm.Put(superuserID, marshal(m, changes))
}

// marshal returns the JSON of m with changes: nil removes a key.
func marshal(m, changes map[string]any) string {
	for key, value := range changes {
		if m[key] = value; value == nil {
			delete(m, key)
		}
	}
	b, err := json.Marshal(m)
	if err != nil {
		panic(err) // a map of strings and numbers
	}
	return string(b)
}

// event returns the event of a step.
func (v *env) event(step, token string) awssmtest.RotationEvent {
	return awssmtest.RotationEvent{Step: step, SecretID: v.sm.ARN(v.id), ClientRequestToken: token}
}

// step does one step.
func (v *env) step(step, token string) error { return v.f.Rotate(v.t.Context(), v.event(step, token)) }

// mustStep does steps.
func (v *env) mustStep(token string, steps ...string) {
	v.t.Helper()
	for _, s := range steps {
		if err := v.step(s, token); err != nil {
			v.t.Fatal(err)
		}
	}
}

// mustRotate rotates the secret to the end and returns the new version.
func (v *env) mustRotate() string {
	v.t.Helper()
	token, err := v.sm.Rotate(v.t.Context(), v.id)
	if err != nil {
		v.t.Fatal(err)
	}
	return token
}

// version reads a version of the secret.
func (v *env) version(token string) map[string]any {
	v.t.Helper()
	m, err := v.versionOrError(token)
	if err != nil {
		v.t.Fatal(err)
	}
	return m
}

func (v *env) versionOrError(token string) (map[string]any, error) {
	out, err := v.client.GetSecretValue(v.t.Context(), &secretsmanager.GetSecretValueInput{SecretId: &v.id, VersionId: &token})
	if err != nil {
		return nil, err
	}
	var m map[string]any
	return m, json.Unmarshal([]byte(aws.ToString(out.SecretString)), &m)
}

// A credential is the user and the password of a version.
type credential struct{ user, password string }

func (v *env) credential(token string) credential {
	v.t.Helper()
	m := v.version(token)
	return credential{m["username"].(string), m["password"].(string)}
}

// connect logs in with the vendor's driver alone.
func (v *env) connect(c credential) (*sql.Conn, error) {
	db := sql.OpenDB(v.engine.open(v, c.user, c.password))
	db.SetMaxIdleConns(-1) // the session ends with the connection
	v.t.Cleanup(func() { _ = db.Close() })
	return db.Conn(v.t.Context())
}

// mustConnect returns a connection and its session's id.
func (v *env) mustConnect(c credential) (*sql.Conn, int64) {
	v.t.Helper()
	conn, err := v.connect(c)
	if err != nil {
		v.t.Fatal(err)
	}
	return conn, scan[int64](v.t, conn, v.engine.session)
}

// wantLogin checks the server's answer to credentials.
func (v *env) wantLogin(what string, c credential, accepted bool) {
	v.t.Helper()
	conn, err := v.connect(c)
	switch {
	case err == nil:
		if user := scan[string](v.t, conn, v.engine.user); user != v.engine.canonical(c.user) {
			v.t.Errorf("%s: logged in as %q, want %q", what, user, c.user)
		}
		if err := conn.Close(); err != nil {
			v.t.Error(err)
		}
		if !accepted {
			v.t.Errorf("%s: the login was accepted, want a rejection", what)
		}
	case !v.engine.wrong(err):
		v.t.Errorf("%s: %v, want the server to accept or reject the password", what, err)
	case accepted:
		v.t.Errorf("%s: %v, want the login accepted", what, err)
	}
}

func scan[T any](t testing.TB, c *sql.Conn, query string) (value T) {
	t.Helper()
	if err := c.QueryRowContext(t.Context(), query).Scan(&value); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return value
}

// wantStages checks the labels. pending is the version of AWSPENDING. If it is also the current
// version, AWSPENDING may be missing: "after a successful rotation AWSPENDING is either on the same
// version as AWSCURRENT or on none".
func (v *env) wantStages(what, current, previous, pending string) {
	v.t.Helper()
	got := v.sm.Stages(v.id)
	if got["AWSCURRENT"] != current || got["AWSPREVIOUS"] != previous ||
		got["AWSPENDING"] != pending && (pending != current || got["AWSPENDING"] != "") {
		v.t.Errorf("%s: stages %v, want AWSCURRENT %q, AWSPREVIOUS %q, AWSPENDING %q", what, got, current, previous, pending)
	}
}

// admin runs statements as the administrator, with the quoted user for %[1]s and the
// env's number for %[2]d.
func (v *env) admin(user string, statements ...string) {
	v.t.Helper()
	for _, s := range v.statements(user, statements) {
		if _, err := v.Admin().ExecContext(v.t.Context(), s); err != nil {
			v.t.Fatalf("%s: %v", s, err)
		}
	}
}

func (v *env) statements(user string, formats []string) []string {
	var all []string
	for _, format := range formats {
		// The marks are replaced without Sprintf, because not every statement has all of them.
		s := strings.ReplaceAll(format, "%[1]s", v.engine.quoteName(user))
		all = append(all, strings.ReplaceAll(s, "%[2]d", strconv.FormatInt(v.n, 10)))
	}
	return all
}

// share makes an object that the user may read, and returns the query for it. It returns nothing if
// a clone would not get access.
func (v *env) share(user string) (query string) {
	v.t.Helper()
	if !v.engine.clones() {
		return ""
	}
	v.admin(user, v.engine.share...)
	v.t.Cleanup(func() {
		for _, s := range v.statements(user, v.engine.unshare) {
			if _, err := v.Admin().ExecContext(context.Background(), s); err != nil {
				v.t.Errorf("%s: %v", s, err)
			}
		}
	})
	return v.statements(user, v.engine.read)[0]
}

// wantRead checks that a user, or its clone, can read the object of share.
func (v *env) wantRead(c credential, query string) {
	v.t.Helper()
	if query == "" {
		return
	}
	conn, _ := v.mustConnect(c)
	defer conn.Close()
	if n := scan[int](v.t, conn, query); n != 42 {
		v.t.Errorf("%s: %d, want 42", query, n)
	}
}

// A proxy forwards connections to a server, or cuts them off.
type proxy struct {
	port int
	cut  atomic.Bool // closes connections at once
}

func newProxy(t testing.TB, s *testdb.Server) *proxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{port: ln.Addr().(*net.TCPAddr).Port}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		_ = ln.Close()
		wg.Wait()
	})
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return // closed
			}
			wg.Go(func() { p.forward(ctx, conn, net.JoinHostPort(s.Host, strconv.Itoa(s.Port))) })
		}
	})
	return p
}

// forward ends when either side or ctx ends.
func (p *proxy) forward(ctx context.Context, client net.Conn, addr string) {
	defer client.Close()
	if p.cut.Load() {
		return
	}
	server, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer server.Close()
	defer context.AfterFunc(ctx, func() { _, _ = client.Close(), server.Close() })()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(server, client)
		_ = server.Close()
	}()
	_, _ = io.Copy(client, server)
	_ = client.Close()
	<-done
}

// trust returns a configuration that trusts an authority.
func trust(ca *testdb.CA) *tls.Config {
	return &tls.Config{RootCAs: ca.Pool, MinVersion: tls.VersionTLS12}
}
