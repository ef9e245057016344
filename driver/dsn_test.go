package driver_test

import (
	"context"
	"crypto/tls"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

const (
	arn  = "arn:aws:secretsmanager:us-west-2:123456789012:secret:prod/app-a1b2c3"
	role = "arn:aws:iam::123456789012:role/path/app"
)

// A request is what a connector asked for in a Connect call.
type request struct {
	secretID, stage string
	location        driver.Location
	endpoint        driver.Endpoint
	user, password  string
}

// secretsFunc is a driver.Secrets without a cache.
type secretsFunc func(id, stage string) (*secretcache.Secret, error)

func (f secretsFunc) Get(_ context.Context, id, stage string) (*secretcache.Secret, error) {
	return f(id, stage)
}

func (f secretsFunc) Refresh(_ context.Context, id, stage string, _ *secretcache.Secret) (*secretcache.Secret, error) {
	return f(id, stage)
}

// open connects once with a secret that has value, and returns the request.
func open(e *engine, dsn, value string) (request, error) {
	var r request
	opts := &driver.Options{SecretsAt: func(l driver.Location) (driver.Secrets, error) {
		r.location = l
		return secretsFunc(func(id, stage string) (*secretcache.Secret, error) {
			r.secretID, r.stage = id, stage
			return secretcache.NewSecret(secretcache.Value{ID: id, VersionID: "v1", String: value}), nil
		}), nil
	}}
	e.db = newDatabase()
	e.db.fault = func(_ context.Context, l *login) error {
		r.user, r.password = l.user, l.password
		e.db.users[l.user] = l.password // accept every login
		return nil
	}
	c, err := driver.NewConnector(e, dsn, opts)
	if err != nil {
		return r, err
	}
	if _, err := c.Connect(context.Background()); err != nil {
		return r, err
	}
	if len(e.endpoints) > 0 {
		r.endpoint = e.endpoints[0]
	}
	return r, nil
}

const fullSecret = `{"host":"secret.example.com","port":1111,"dbname":"secretdb","username":"u","password":"p"}`

// goodDSNs are data source names, and what a connector asks for with them.
var goodDSNs = []struct {
	name, engine, dsn string
	parseURL          func(t *testing.T) func(string, func(string) bool) (driver.URL, error)
	want              string // secret id, host:port/database, and everything that is not the default
}{
	{name: "name", dsn: "prod/app/db", want: "prod/app/db secret.example.com:1111/secretdb"},
	{name: "every character", dsn: "aZ0/_+=.@-!", want: "aZ0/_+=.@-! secret.example.com:1111/secretdb"},
	{name: "managed by RDS", dsn: "rds!cluster-1b2c", want: "rds!cluster-1b2c secret.example.com:1111/secretdb"},
	{name: "empty query", dsn: "prod/app?", want: "prod/app secret.example.com:1111/secretdb"},
	{name: "ARN", dsn: arn, want: arn + " secret.example.com:1111/secretdb"},
	{name: "ARN of another partition", dsn: strings.Replace(arn, "arn:aws:", "arn:aws-us-gov:", 1), want: strings.Replace(arn, "arn:aws:", "arn:aws-us-gov:", 1) + " secret.example.com:1111/secretdb"},
	{name: "sample", dsn: arn + "?sslmode=verify-full&dbname=reports", want: arn + " secret.example.com:1111/reports map[sslmode:verify-full]"},
	{name: "longest name", dsn: strings.Repeat("a", 512), want: strings.Repeat("a", 512) + " secret.example.com:1111/secretdb"},
	{name: "longest ARN", dsn: arn + strings.Repeat("a", 2048-len(arn)), want: arn + strings.Repeat("a", 2048-len(arn)) + " secret.example.com:1111/secretdb"},

	{name: "host, port, dbname", dsn: "s?host=h&port=5433&dbname=d", want: "s h:5433/d"},
	{name: "host only", dsn: "s?host=h", want: "s h:1111/secretdb"},
	{name: "IPv6 host", dsn: "s?host=2001:db8::1", want: "s 2001:db8::1:1111/secretdb"},
	{name: "IPv6 host in brackets", dsn: "s?host=[2001:DB8::1]", want: "s 2001:db8::1:1111/secretdb"},
	{name: "IPv6 host with a zone", dsn: "s?host=fe80::1%25eth0", want: "s fe80::1%eth0:1111/secretdb"},
	{name: "dbname of any characters", dsn: "s?dbname=a%20b%26c%3Fd/e%23=f", want: "s secret.example.com:1111/a b&c?d/e#=f"},
	{name: "plus is no space", dsn: "s?dbname=a+b&app=c+d", want: "s secret.example.com:1111/a+b map[app:c+d]"},
	{name: "first equals sign", dsn: "s?x=a=b", want: "s secret.example.com:1111/secretdb map[x:a=b]"},
	{name: "later question mark", dsn: "s?x=a?b", want: "s secret.example.com:1111/secretdb map[x:a?b]"},
	{name: "empty value of the engine's", dsn: "s?x=", want: "s secret.example.com:1111/secretdb map[x:]"},
	{name: "user variable of the engine's", dsn: "s?@x=1", want: "s secret.example.com:1111/secretdb map[@x:1]"},
	{name: "user variable that is named like a key", dsn: "s?@region=1", want: "s secret.example.com:1111/secretdb map[@region:1]"},
	{name: "engine", dsn: "s?engine=MySQL", want: "s secret.example.com:1111/secretdb"},
	{name: "region", dsn: "s?region=eu-west-1", want: "s secret.example.com:1111/secretdb {Region:eu-west-1}"},
	{name: "region of an ARN", dsn: arn + "?region=eu-west-1", want: strings.Replace(arn, "us-west-2", "eu-west-1", 1) + " secret.example.com:1111/secretdb {Region:eu-west-1}"},
	{name: "regions", dsn: "s?region=us-west-2,us-east-1,eu-west-1", want: "s secret.example.com:1111/secretdb {Region:us-west-2,us-east-1,eu-west-1}"},
	{name: "regions of an ARN", dsn: arn + "?region=eu-west-1,us-west-2", want: strings.Replace(arn, "us-west-2", "eu-west-1", 1) + " secret.example.com:1111/secretdb {Region:eu-west-1,us-west-2}"},
	{name: "URL with regions", dsn: "jdbc-secretsmanager:mysql://h/d?user=" + arn + "&region=us-east-1,us-west-2", want: strings.Replace(arn, "us-west-2", "us-east-1", 1) + " h:3306/d {Region:us-east-1,us-west-2}"},
	{name: "endpoint", dsn: "s?endpoint=http://localhost:4566", want: "s secret.example.com:1111/secretdb {Endpoint:http://localhost:4566}"},
	{name: "endpoint, encoded", dsn: "s?endpoint=https%3A%2F%2Fvpce.example.com", want: "s secret.example.com:1111/secretdb {Endpoint:https://vpce.example.com}"},
	{name: "source", dsn: "s?source=agent", want: "s secret.example.com:1111/secretdb {Source:agent}"},
	{name: "profile", dsn: "s?profile=reports/eu@x", want: "s secret.example.com:1111/secretdb {Profile:reports/eu@x}"},
	{name: "role", dsn: "s?roleArn=" + role + "&externalId=a+b=c:d", want: "s secret.example.com:1111/secretdb {RoleARN:" + role + " ExternalID:a+b=c:d}"},
	{name: "role of another partition", dsn: "s?roleArn=" + strings.Replace(role, "arn:aws:", "arn:aws-us-gov:", 1), want: "s secret.example.com:1111/secretdb {RoleARN:" + strings.Replace(role, "arn:aws:", "arn:aws-us-gov:", 1) + "}"},
	{name: "URL with a profile and a role", dsn: "jdbc-secretsmanager:mysql://h/d?user=s&profile=p&roleArn=" + role, want: "s h:3306/d {Profile:p RoleARN:" + role + "}"},
	{name: "stage", dsn: "s?stage=AWSPREVIOUS", want: "s secret.example.com:1111/secretdb stage AWSPREVIOUS"},
	{name: "fallback, rotationWindow", dsn: "s?fallback=A,B&rotationWindow=1m30s", want: "s secret.example.com:1111/secretdb"},
	{name: "fallback none", dsn: "s?fallback=none&rotationWindow=0", want: "s secret.example.com:1111/secretdb"},
	{name: "maxLogins", dsn: "s?maxLogins=7", want: "s secret.example.com:1111/secretdb"},
	{name: "maxLogins none", dsn: "s?maxLogins=none", want: "s secret.example.com:1111/secretdb"},

	{name: "postgresql URL", engine: "postgres", dsn: "jdbc-secretsmanager:postgresql://example.com:5432/database?user=prod/app/db", want: "prod/app/db example.com:5432/database"},
	{name: "mysql URL", dsn: "jdbc-secretsmanager:mysql://example.com:3306?user=prod/app/db", want: "prod/app/db example.com:3306/secretdb"},
	{name: "redshift URL", engine: "redshift", dsn: "jdbc-secretsmanager:redshift://example.com:5439/dev?user=prod/app/db", want: "prod/app/db example.com:5439/dev"},
	{name: "URL with an ARN", dsn: "jdbc-secretsmanager:mysql://example.com/?user=" + arn, want: arn + " example.com:3306/secretdb"},
	{name: "URL without a port takes the engine's", dsn: "jdbc-secretsmanager:mysql://example.com/d?user=s", want: "s example.com:3306/d"},
	{name: "URL without a host takes the secret's", dsn: "jdbc-secretsmanager:mysql:///d?user=s", want: "s secret.example.com:1111/d"},
	{name: "URL with our keys", dsn: "jdbc-secretsmanager:mysql://h/d?user=s&stage=AWSPREVIOUS&region=eu-west-1&x=y", want: "s h:3306/d map[x:y] {Region:eu-west-1} stage AWSPREVIOUS"},
	{name: "oracle URL", engine: "oracle", dsn: "jdbc-secretsmanager:oracle:thin:@example.com:1521/ORCL?user=prod/app/db",
		parseURL: given("oracle:thin:@example.com:1521/ORCL?user=prod/app/db", driver.URL{SecretID: "prod/app/db", Host: "example.com", Port: 1521, Database: "ORCL"}),
		want:     "prod/app/db example.com:1521/ORCL"},
	{name: "sqlserver URL", engine: "sqlserver", dsn: "jdbc-secretsmanager:sqlserver://example.com:1433;databaseName=app;user=prod/app/db",
		parseURL: given("sqlserver://example.com:1433;databaseName=app;user=prod/app/db", driver.URL{SecretID: "prod/app/db", Host: "example.com", Port: 1433, Database: "app"}),
		want:     "prod/app/db example.com:1433/app"},
	{name: "db2 URL", engine: "db2", dsn: "jdbc-secretsmanager:db2://example.com:50000/SAMPLE:user=prod/app/db;",
		parseURL: given("db2://example.com:50000/SAMPLE:user=prod/app/db;", driver.URL{SecretID: "prod/app/db", Host: "example.com", Port: 50000, Database: "SAMPLE"}),
		want:     "prod/app/db example.com:50000/SAMPLE"},
	{name: "URL with a list of hosts", engine: "postgres", dsn: "jdbc-secretsmanager:postgresql://a:1,b:2/d?user=s",
		parseURL: given("postgresql://a:1,b:2/d?user=s", driver.URL{SecretID: "s", Host: "a:1,b:2", Database: "d"}),
		want:     "s a:1,b:2:5432/d"},
}

// given returns an engine's ParseURL that checks what it gets.
func given(want string, u driver.URL) func(t *testing.T) func(string, func(string) bool) (driver.URL, error) {
	return func(t *testing.T) func(string, func(string) bool) (driver.URL, error) {
		return func(got string, own func(string) bool) (driver.URL, error) {
			if got != want {
				t.Errorf("ParseURL(%q), want %q", got, want)
			}
			for _, key := range []string{"host", "port", "dbname", "engine", "hostKey", "portKey", "dbnameKey", "usernameKey", "passwordKey",
				"region", "endpoint", "source", "profile", "roleArn", "externalId", "stage", "fallback", "rotationWindow"} {
				if !own(key) {
					t.Errorf("own(%q) = false", key)
				}
			}
			for _, key := range []string{"user", "Stage", "sslmode", ""} {
				if own(key) {
					t.Errorf("own(%q) = true", key)
				}
			}
			return u, nil
		}
	}
}

func TestDSN(t *testing.T) {
	for _, test := range goodDSNs {
		t.Run(test.name, func(t *testing.T) {
			e := newEngine("mysql", nil)
			if test.engine != "" {
				e = newEngine(test.engine, nil)
			}
			if test.parseURL != nil {
				e.parseURL = test.parseURL(t)
			}
			r, err := open(e, test.dsn, fullSecret)
			if err != nil {
				t.Fatalf("%q: %v", test.dsn, err)
			}
			got := fmt.Sprintf("%s %s:%d/%s", r.secretID, r.endpoint.Host, r.endpoint.Port, r.endpoint.Database)
			if len(r.endpoint.Params) > 0 {
				got += fmt.Sprint(" ", r.endpoint.Params)
			}
			if r.location != (driver.Location{}) {
				set := slices.DeleteFunc(strings.Fields(strings.Trim(fmt.Sprintf("%+v", r.location), "{}")), func(field string) bool { return strings.HasSuffix(field, ":") })
				got += " {" + strings.Join(set, " ") + "}"
			}
			if r.stage != "AWSCURRENT" {
				got += " stage " + r.stage
			}
			if got != test.want {
				t.Errorf("%q\n got %s\nwant %s", test.dsn, got, test.want)
			}
		})
	}
}

// Each bad data source name has "canary" where a password or another value may
// be: no error may quote it.
var badDSNs = []struct {
	name, dsn string
	want      error
	names     []string // in the error's text
}{
	{"postgres URL", "postgres://user:canary@host/db", driver.ErrBadDSN, []string{"name or ARN"}},
	{"postgres URL, parameter", "postgres://user@host/db?password=canary", driver.ErrBadDSN, nil},
	{"postgres URL, question mark in the password", "postgres://user:pa?canary=x@host/db", driver.ErrBadDSN, nil},
	{"mysql", "user:canary@tcp(host:3306)/db", driver.ErrBadDSN, nil},
	{"mysql, parameters", "user:canary@/db?parseTime=true", driver.ErrBadDSN, nil},
	{"mysql, question mark in the password", "user:a?canary@tcp(host)/db", driver.ErrBadDSN, nil},
	{"libpq", "host=h user=u password=canary", driver.ErrBadDSN, nil},
	{"libpq, one word", "password=canary", driver.ErrBadDSN, nil},
	{"ado", "server=h;user id=u;password=canary", driver.ErrBadDSN, nil},
	{"ado, one word", "Pwd=canary", driver.ErrBadDSN, nil},
	{"sqlserver URL", "sqlserver://u:canary@h?database=d", driver.ErrBadDSN, nil},
	{"oracle", "user/canary@host:1521/ORCL", driver.ErrBadDSN, nil},
	{"jdbc", "jdbc:postgresql://host/db?user=u&password=canary", driver.ErrBadDSN, []string{"jdbc-secretsmanager:"}},
	{"jdbc, other case", "JDBC:mysql://canary/db", driver.ErrBadDSN, []string{"jdbc-secretsmanager:"}},
	{"our prefix in another case", "JDBC-SecretsManager:mysql://canary/db?user=s", driver.ErrBadDSN, []string{"jdbc-secretsmanager:"}},

	{"no id", "?host=canary", driver.ErrBadDSN, []string{"secret id"}},
	{"space", "prod/canary canary", driver.ErrBadDSN, nil},
	{"ampersand", "prod&canary=x", driver.ErrBadDSN, nil},
	{"colon outside of an ARN", "prod:canary", driver.ErrBadDSN, nil},
	{"not ASCII", "prod/canary-ü", driver.ErrBadDSN, nil},
	{"control character", "prod\ncanary", driver.ErrBadDSN, nil},
	{"id with a space", "prod canary", driver.ErrBadDSN, []string{"a space"}},
	{"id in quotation marks", `"prod/canary"`, driver.ErrBadDSN, []string{"a quotation mark"}},
	{"parameter's name with a bracket", "s?a[canary=1", driver.ErrBadDSN, []string{"the character '['"}},
	{"dbnam", "s?dbnam=canary", driver.ErrBadDSN, []string{`"dbnam"`, `did you mean "dbname"?`}},
	{"regoin", "s?regoin=us-west-2", driver.ErrBadDSN, []string{`did you mean "region"?`}},
	{"rotation_window", "s?rotation_window=30s", driver.ErrBadDSN, []string{`did you mean "rotationWindow"?`}},
	{"pool_max_conns", "s?pool_max_conns=4", driver.ErrBadDSN, []string{`"pool_max_conns"`, "set it on sql.DB"}},
	{"maxOpenConns", "s?maxOpenConns=4", driver.ErrBadDSN, []string{"set it on sql.DB"}},
	{"region with a typing error", "s?region=us-west2", driver.ErrBadDSN, []string{`"region"`, `did you mean "us-west-2"?`}},
	{"second region with a typing error", "s?region=us-east-1,us-wst-2&endpoint=http://127.0.0.1:1", driver.ErrBadDSN, []string{`did you mean "us-west-2"?`}},
	{"region of an ARN with a typing error", "arn:aws:secretsmanager:uswest-2:123456789012:secret:canary-a1b2c3", driver.ErrBadDSN, []string{`did you mean "us-west-2"?`}},
	{"ARN as ECS has it", "arn:aws:secretsmanager:us-west-2:123456789012:secret:canary-a1b2c3:password::", driver.ErrBadDSN, []string{"cut off"}},
	{"host with an instance", `s?host=canary\SQL1`, driver.ErrBadDSN, []string{`"host"`, "instance", "the driver for mysql has no instances"}},
	{"host with an instance that is none", `s?host=h\can%20ary`, driver.ErrBadDSN, []string{`"host"`, "instance"}},
	{"socket", "s?host=/canary/mysqld.sock", driver.ErrBadDSN, []string{`"host"`, "Unix socket", "the driver for mysql connects by TCP only"}},
	{"socket with a comma", "s?host=/canary,/canary", driver.ErrBadDSN, []string{`"host"`, "Unix socket"}},
	{"list with a host that is none", "s?host=h,can%20ary", driver.ErrBadDSN, []string{`"host"`, "the list of hosts"}},
	{"list with a port", "s?host=canary,canary2,5432", driver.ErrBadDSN, []string{`"host"`, `"port"`}},
	{"host with a port behind a comma", "s?host=canary,1433", driver.ErrBadDSN, []string{`"port"`}},
	{"host with a port behind a colon", "s?host=canary:1433", driver.ErrBadDSN, []string{`"port"`}},
	{"list of hosts", "s?host=canary,canary2", driver.ErrBadDSN, []string{"list of hosts", "JDBC URL"}},
	{"name too long", "canary" + strings.Repeat("a", 512-5), driver.ErrBadDSN, []string{"512"}},
	{"ARN too long", arn + "canary" + strings.Repeat("a", 2048-len(arn)), driver.ErrBadDSN, []string{"2048"}},
	{"ARN of another service", "arn:aws:rds:us-west-2:123456789012:db:canary", driver.ErrBadDSN, []string{"arn:aws:secretsmanager:"}},
	{"ARN without a name", "arn:aws:secretsmanager:us-west-2:123456789012:canary", driver.ErrBadDSN, nil},
	{"ARN without a region", "arn:aws:secretsmanager::123456789012:secret:canary", driver.ErrBadDSN, nil},

	{"no equals sign", "s?canary", driver.ErrBadDSN, []string{"key=value"}},
	{"empty pair", "s?a=canary&", driver.ErrBadDSN, []string{"key=value"}},
	{"no key", "s?=canary", driver.ErrBadDSN, []string{"key=value"}},
	{"odd key", "s?ho$t=canary", driver.ErrBadDSN, nil},
	{"key with a host in it", "s?canary@host=canary", driver.ErrBadDSN, nil},
	{"key longer than any", "s?canary" + strings.Repeat("a", 65-6) + "=canary", driver.ErrBadDSN, []string{"name"}},
	{"encoded key", "s?ho%73t=canary", driver.ErrBadDSN, nil},
	{"bad escape", "s?app=canary%zz", driver.ErrBadDSN, []string{`"app"`, "%25"}},
	{"escape cut short", "s?app=canary%4", driver.ErrBadDSN, []string{`"app"`}},
	{"NUL", "s?dbname=canary%00", driver.ErrBadDSN, []string{`"dbname"`}},
	{"line feed in the engine's", "s?app=canary%0a", driver.ErrBadDSN, []string{`"app"`}},
	{"duplicate of ours", "s?host=canary&host=canary", driver.ErrBadDSN, []string{`"host"`, "twice"}},
	{"duplicate of the engine's", "s?app=canary&app=canary", driver.ErrBadDSN, []string{`"app"`, "twice"}},
	{"ours in another case", "s?Host=canary", driver.ErrBadDSN, []string{`"Host"`, `"host"`}},
	{"ours in lower case", "s?rotationwindow=1s", driver.ErrBadDSN, []string{`"rotationwindow"`, `"rotationWindow"`}},
	{"ours in upper case", "s?HOSTKEY=canary", driver.ErrBadDSN, []string{`"HOSTKEY"`, `"hostKey"`}},
	{"empty host", "s?host=", driver.ErrBadDSN, []string{`"host"`, "empty"}},
	{"empty stage", "s?stage=", driver.ErrBadDSN, []string{`"stage"`, "empty"}},
	{"host with parameters", "s?host=canary.com:3306/x?allowAllFiles=true", driver.ErrBadDSN, []string{`"host"`}},
	{"host with a port", "s?host=canary:3306", driver.ErrBadDSN, []string{`"host"`, "port"}},
	{"host of a zone with more", "s?host=fe80::1%25canary/x", driver.ErrBadDSN, []string{`"host"`}},
	{"host in brackets", "s?host=[canary]", driver.ErrBadDSN, []string{`"host"`}},
	{"host with a space", "s?host=canary%20h", driver.ErrBadDSN, []string{`"host"`}},
	{"host like an option", "s?host=-canary", driver.ErrBadDSN, []string{`"host"`}},
	{"port zero", "s?port=0", driver.ErrBadDSN, []string{`"port"`, "65535"}},
	{"port too large", "s?port=65536", driver.ErrBadDSN, []string{`"port"`}},
	{"port negative", "s?port=-1", driver.ErrBadDSN, []string{`"port"`}},
	{"port not a number", "s?port=canary", driver.ErrBadDSN, []string{`"port"`}},
	{"region", "s?region=canary.example.com/", driver.ErrBadDSN, []string{`"region"`}},
	{"region in upper case", "s?region=CANARY-WEST-2", driver.ErrBadDSN, []string{`"region"`, "us-west-2"}},
	{"region like an option", "s?region=-canary", driver.ErrBadDSN, []string{`"region"`}},
	{"region with an end like none", "s?region=canary-", driver.ErrBadDSN, []string{`"region"`}},
	{"region longer than a host's label", "s?region=canary" + strings.Repeat("a", 64-6), driver.ErrBadDSN, []string{`"region"`}},
	{"regions, one is empty", "s?region=us-west-2,,canary", driver.ErrBadDSN, []string{`"region"`, "commas"}},
	{"regions, nothing after the comma", "s?region=canary,", driver.ErrBadDSN, []string{`"region"`, "commas"}},
	{"regions, nothing before the comma", "s?region=,canary", driver.ErrBadDSN, []string{`"region"`, "commas"}},
	{"regions, one is none", "s?region=us-west-2,canary.example.com", driver.ErrBadDSN, []string{`"region"`, "commas"}},
	{"regions with a space", "s?region=us-west-2,%20canary", driver.ErrBadDSN, []string{`"region"`, "commas"}},
	{"regions, twice", "s?region=canary,us-west-2,canary", driver.ErrBadDSN, []string{`"region"`, "different"}},
	{"endpoint", "s?endpoint=canary", driver.ErrBadDSN, []string{`"endpoint"`, "https://"}},
	{"endpoint with a password", "s?endpoint=https://u:canary@h", driver.ErrBadDSN, []string{`"endpoint"`}},
	{"endpoint of another scheme", "s?endpoint=file:///canary", driver.ErrBadDSN, []string{`"endpoint"`}},
	{"profile, empty", "s?profile=", driver.ErrBadDSN, []string{`"profile"`, "empty"}},
	{"roleArn of a user", "s?roleArn=arn:aws:iam::123456789012:user/canary", driver.ErrBadDSN, []string{`"roleArn"`, "arn:aws:iam::123456789012:role/app"}},
	{"roleArn without an account", "s?roleArn=arn:aws:iam:::role/canary", driver.ErrBadDSN, []string{`"roleArn"`}},
	{"roleArn of more than 2048 characters", "s?roleArn=" + role + strings.Repeat("x", 2049-len(role)), driver.ErrBadDSN, []string{`"roleArn"`}},
	{"roleArn that is a name", "s?roleArn=canary", driver.ErrBadDSN, []string{`"roleArn"`}},
	{"role_arn", "s?role_arn=canary", driver.ErrBadDSN, []string{`did you mean "roleArn"?`}},
	{"externalId without a role", "s?externalId=canary", driver.ErrBadDSN, []string{`"externalId"`, `"roleArn"`}},
	{"externalId of one character", "s?externalId=x&roleArn=" + role, driver.ErrBadDSN, []string{`"externalId"`}},
	{"externalId with a space", "s?externalId=canary%20x&roleArn=" + role, driver.ErrBadDSN, []string{`"externalId"`}},
	{"fallback, empty part", "s?fallback=canary,", driver.ErrBadDSN, []string{`"fallback"`}},
	{"fallback, twice", "s?fallback=canary,canary", driver.ErrBadDSN, []string{`"fallback"`}},
	{"fallback, none and more", "s?fallback=none,canary", driver.ErrBadDSN, []string{`"fallback"`}},
	{"rotationWindow", "s?rotationWindow=canary", driver.ErrBadDSN, []string{`"rotationWindow"`}},
	{"rotationWindow without a unit", "s?rotationWindow=30", driver.ErrBadDSN, []string{`"rotationWindow"`}},
	{"rotationWindow negative", "s?rotationWindow=-1s", driver.ErrBadDSN, []string{`"rotationWindow"`}},
	{"unknown to the engine", "s?encrypted=canary", driver.ErrBadDSN, []string{`"encrypted"`}},
	{"another engine", "s?engine=canary", driver.ErrEngineMismatch, []string{`"engine"`}},

	{"URL without user", "jdbc-secretsmanager:mysql://canary:3306/d", driver.ErrBadDSN, []string{`"user"`, "secret"}},
	{"URL with an empty user", "jdbc-secretsmanager:mysql://canary:3306/d?user=", driver.ErrBadDSN, []string{`"user"`}},
	{"URL with a user too long", "jdbc-secretsmanager:mysql://h/d?user=canary" + strings.Repeat("a", 512-5), driver.ErrBadDSN, []string{"512"}},
	{"URL with a user that is none", "jdbc-secretsmanager:mysql://h/d?user=canary:x", driver.ErrBadDSN, nil},
	{"URL with a password", "jdbc-secretsmanager:mysql://h/d?user=s&password=canary", driver.ErrBadDSN, []string{`"password"`}},
	{"URL with a host twice", "jdbc-secretsmanager:mysql://h/d?user=s&host=canary", driver.ErrBadDSN, []string{`"host"`}},
	{"URL with engine", "jdbc-secretsmanager:mysql://h/d?user=s&engine=canary", driver.ErrBadDSN, []string{`"engine"`}},
	{"URL with ours in another case", "jdbc-secretsmanager:mysql://h/d?user=s&Stage=canary", driver.ErrBadDSN, []string{`"Stage"`, `"stage"`}},
	{"URL with an unknown property", "jdbc-secretsmanager:mysql://h/d?user=s&encrypted=canary", driver.ErrBadDSN, []string{`"encrypted"`}},
	{"another engine's URL", "jdbc-secretsmanager:postgresql://canary/d?user=s", driver.ErrEngineMismatch, []string{"postgresql", "mysql"}},
	{"no engine's URL", "jdbc-secretsmanager:canary://h/d?user=s", driver.ErrBadDSN, []string{"mysql"}},
	{"URL that is none", "jdbc-secretsmanager:canary", driver.ErrBadDSN, []string{"mysql"}},
}

func TestBadDSN(t *testing.T) {
	for _, test := range badDSNs {
		t.Run(test.name, func(t *testing.T) {
			e := newEngine("mysql", nil)
			e.allowed = []string{"app"}
			opts := &driver.Options{SecretsAt: func(driver.Location) (driver.Secrets, error) { panic("not asked for") }}
			_, err := driver.NewConnector(e, test.dsn, opts)
			checkDSNError(t, test.dsn, err, test.want)
			for _, want := range test.names {
				if err != nil && !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not name %s", err, want)
				}
			}
			if err != nil {
				for _, form := range printed(err) {
					if strings.Contains(form, "canary") {
						t.Errorf("the error quotes the data source name: %s", form)
					}
				}
			}
			// sql.Open, which uses the driver, returns the same error.
			d := must(driver.NewConnector(e, "", opts)).Driver().(*driver.Driver)
			if _, err := d.OpenConnector(test.dsn); !errors.Is(err, test.want) {
				t.Errorf("OpenConnector: got %v, want %v", err, test.want)
			}
			if c, err := d.Open(test.dsn); c != nil || !errors.Is(err, test.want) {
				t.Errorf("Open: got %v, %v, want %v", c, err, test.want)
			}
		})
	}
}

func checkDSNError(t *testing.T, dsn string, err, want error) {
	t.Helper()
	var e *driver.Error
	if !errors.As(err, &e) || !errors.Is(err, want) {
		t.Fatalf("%q: got %v, want %v", dsn, err, want)
	}
	for _, other := range []error{driver.ErrBadDSN, driver.ErrEngineMismatch, driver.ErrMalformedSecret, driver.ErrAuthFailed} {
		if other != want && errors.Is(err, other) {
			t.Errorf("%q: error %v matches %v too", dsn, err, other)
		}
	}
	if e.SecretID != "" || e.Version != "" || e.Op == "" {
		t.Errorf("%q: error has Op %q, SecretID %q, Version %q", dsn, e.Op, e.SecretID, e.Version)
	}
}

func TestRefusedKeys(t *testing.T) {
	keys := []string{"user", "uid", "username", "user id", "password", "pwd", "passfile", "service", "servicefile",
		"database", "server", "connStr", "sid", "service name", "changepassword", "failoverpartner",
		"UserID", "user_id", "user-id", "SERVICE_NAME", "initial catalog", "data source", "address", "addr", "network address", "hostaddr", "hostname"}
	for _, key := range keys {
		for _, key := range []string{key, strings.ToUpper(key), strings.ToUpper(key[:1]) + key[1:]} {
			for _, dsn := range []string{"s?" + key + "=canary", "jdbc-secretsmanager:mysql://h/d?user=s&other=" + key} {
				e := newEngine("mysql", nil)
				e.parseURL = func(string, func(string) bool) (driver.URL, error) {
					return driver.URL{SecretID: "s", Params: map[string]string{key: "canary"}}, nil
				}
				_, err := driver.NewConnector(e, dsn, &driver.Options{Secrets: secretsFunc(nil)})
				if !errors.Is(err, driver.ErrBadDSN) || !strings.Contains(err.Error(), fmt.Sprintf("%q", key)) || strings.Contains(err.Error(), "canary") {
					t.Errorf("%q: got %v, want %v that names %q", dsn, err, driver.ErrBadDSN, key)
				}
			}
		}
	}
	if r, err := open(newEngine("mysql", nil), "s?serverPubKey=x&userAgent=y", fullSecret); err != nil || len(r.endpoint.Params) != 2 {
		t.Errorf("near misses: got %v, %v", r.endpoint.Params, err)
	}
}

func TestEmptyDSNWaitsForConnect(t *testing.T) {
	c := must(driver.NewConnector(newEngine("mysql", nil), "", &driver.Options{Secrets: secretsFunc(nil)}))
	if got := c.String(); got != "secretsmanager-mysql" {
		t.Errorf("String() = %q", got)
	}
	if d, ok := c.Driver().(*driver.Driver); !ok {
		t.Errorf("Driver() is a %T", d)
	}
	_, err := c.Connect(t.Context())
	checkDSNError(t, "", err, driver.ErrBadDSN)
}

func TestDriverOpensOtherDSNs(t *testing.T) {
	b := newBench(t)
	db := sql.OpenDB(b.Connector)
	defer db.Close()
	c, err := db.Driver().(*driver.Driver).OpenConnector("prod/other")
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(c); got != "secretsmanager-mysql prod/other" {
		t.Errorf("got %q", got)
	}
	if _, err := c.Connect(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := db.Driver().Open("prod/other"); err != nil {
		t.Error(err)
	}
}

func TestEngineMismatchFromTheEngine(t *testing.T) {
	e := newEngine("mysql", nil)
	e.parseURL = func(string, func(string) bool) (driver.URL, error) {
		return driver.URL{}, &driver.Error{Kind: driver.ErrEngineMismatch, Err: errors.New("an Aurora URL")}
	}
	_, err := driver.NewConnector(e, "jdbc-secretsmanager:mysql://h", &driver.Options{Secrets: secretsFunc(nil)})
	checkDSNError(t, "", err, driver.ErrEngineMismatch)
}

func TestLocationNeedsSecretsAt(t *testing.T) {
	for _, param := range []string{"region=eu-west-1", "endpoint=http://localhost:1", "source=agent", "profile=p", "roleArn=" + role} {
		_, err := driver.NewConnector(newEngine("mysql", nil), "s?"+param, &driver.Options{Secrets: secretsFunc(nil)})
		key, _, _ := strings.Cut(param, "=")
		if !errors.Is(err, driver.ErrBadDSN) || !strings.Contains(err.Error(), key) {
			t.Errorf("%s: got %v, want %v", param, err, driver.ErrBadDSN)
		}
	}
	if _, err := driver.NewConnector(newEngine("mysql", nil), "s", nil); err == nil || !strings.Contains(err.Error(), "SecretsAt") {
		t.Errorf("without options: got %v", err)
	}
}

func TestSecretsAt(t *testing.T) {
	calls := 0
	fail := errors.New("no such profile")
	var result driver.Secrets
	e := newEngine("mysql", newDatabase("u", "p"))
	c, err := driver.NewConnector(e, "s", &driver.Options{SecretsAt: func(driver.Location) (driver.Secrets, error) {
		calls++
		return result, fail
	}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		var e *driver.Error
		if _, err := c.Connect(t.Context()); !errors.Is(err, fail) || !errors.As(err, &e) || calls != i+1 {
			t.Errorf("got %v after %d calls, want %v: a failure is not remembered", err, calls, fail)
		}
	}
	fail = nil
	if _, err := c.Connect(t.Context()); err == nil || !strings.Contains(err.Error(), "SecretsAt") {
		t.Errorf("neither secrets nor an error: got %v", err)
	}
	calls = 0
	result = secretsFunc(func(id, stage string) (*secretcache.Secret, error) {
		return secretcache.NewSecret(secretcache.Value{ID: id, VersionID: "v1", String: fullSecret}), nil
	})
	for range 3 {
		if _, err := c.Connect(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if calls != 1 {
		t.Errorf("SecretsAt was called %d times after it had succeeded, want 1", calls)
	}
}

// NewConnector and Register copy what they keep.
func TestOptionsAreCopied(t *testing.T) {
	e := newEngine("mysql", newDatabase("u", "p"))
	var asked []string
	opts := &driver.Options{
		FallbackStages: []string{"AWSPREVIOUS"},
		TLS:            &tls.Config{ServerName: "before"},
		Trace:          &driver.Trace{},
		Secrets: secretsFunc(func(id, stage string) (*secretcache.Secret, error) {
			asked = append(asked, stage)
			return secretcache.NewSecret(secretcache.Value{ID: id, VersionID: "v1", String: strings.Replace(fullSecret, `"p"`, `"wrong"`, 1)}), nil
		}),
	}
	name := fmt.Sprintf("copied-%d-%d", os.Getpid(), time.Now().UnixNano())
	driver.Register(name, e, opts)
	c := must(driver.NewConnector(e, "s", opts))
	opts.FallbackStages[0] = "CHANGED"
	opts.TLS.ServerName = "changed"
	opts.Trace.ConnectDone = func(context.Context, driver.ConnectInfo) { t.Error("the trace was changed") }
	db, err := sql.Open(name, "s")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Ping(); !errors.Is(err, driver.ErrAuthFailed) {
		t.Errorf("Ping: %v", err)
	}
	for _, c := range []sqldriver.Connector{c, must(c.Driver().(*driver.Driver).OpenConnector("s"))} {
		if _, err := c.Connect(t.Context()); !errors.Is(err, driver.ErrAuthFailed) {
			t.Errorf("Connect: %v", err)
		}
	}
	if slices.Contains(asked, "CHANGED") || !slices.Contains(asked, "AWSPREVIOUS") {
		t.Errorf("stages asked for: %q", asked)
	}
	for _, ep := range e.endpoints {
		if ep.TLS.ServerName != "before" {
			t.Errorf("TLS server name %q", ep.TLS.ServerName)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("Register did not panic on a name that is taken")
		}
	}()
	driver.Register(name, e, opts)
}

// Prepare is called once for an endpoint, and gets the parameters of the data source name.
func TestPrepareOncePerEndpoint(t *testing.T) {
	b := newBench(t, withDSN("prod/app?app=x&dbname=d"))
	for range 3 {
		b.mustPing(t)
	}
	want := driver.Endpoint{Host: "db.example.com", Port: 3306, Database: "d"}
	if n := len(b.engine.endpoints); n != 1 {
		t.Fatalf("Prepare was called %d times, want 1", n)
	}
	got := b.engine.endpoints[0]
	if !maps.Equal(got.Params, map[string]string{"app": "x"}) || got.Host != want.Host || got.Port != want.Port || got.Database != want.Database {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
