package driver_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// A recheckable has an old version of a secret and a newer one. It has no Refresh.
type recheckable struct {
	driver.Secrets
	old, newer *secretcache.Secret
	gets       []string // ids and stages
	rechecks   int
}

func (r *recheckable) Get(_ context.Context, id, stage string) (*secretcache.Secret, error) {
	r.gets = append(r.gets, id+" "+stage)
	return r.old, nil
}

func (r *recheckable) Recheck(context.Context, string, string, *secretcache.Secret) (*secretcache.Secret, error) {
	r.rechecks++
	return r.newer, nil
}

func version(id, value string) *secretcache.Secret {
	return secretcache.NewSecret(secretcache.Value{ID: "app", VersionID: id, String: value})
}

// anyOf returns a connector over engines that log in to one database.
func anyOf(t *testing.T, dsn string, secrets driver.Secrets, at *driver.Location, names ...string) (*driver.AnyConnector, error) {
	t.Helper()
	var engines []driver.Engine
	for _, name := range names {
		engines = append(engines, newEngine(name, newDatabase("app", "pw1")))
	}
	return driver.NewAnyDriver("any", engines, &driver.Options{SecretsAt: func(l driver.Location) (driver.Secrets, error) {
		*at = l
		return secrets, nil
	}}).NewConnector(dsn)
}

func TestAnyConnectorFindsTheEngine(t *testing.T) {
	const arn = "arn:aws:secretsmanager:us-west-2:123456789012:secret:app-a1b2c3"
	inIreland := strings.Replace(arn, "us-west-2", "eu-west-1", 1)
	for _, c := range []struct {
		dsn  string
		want string // what the connector prints, and whether it opens
		gets string // of the secret, by the first Connect call
	}{
		{"app?stage=X", "any app", "app X,app X"},
		{"app?engine=mysql", "any app", "app AWSCURRENT"},
		{arn + "?region=eu-west-1", "any " + inIreland, inIreland + " AWSCURRENT," + inIreland + " AWSCURRENT"},
		{"jdbc-secretsmanager:mysql://h/db?user=app", "any app", "app AWSCURRENT"},
	} {
		r := &recheckable{old: version("v1", strings.Replace(credentials("app", "pw1"), "{", `{"engine":"MySQL",`, 1))}
		var at driver.Location
		conn, err := anyOf(t, c.dsn, r, &at, "postgres", "mysql")
		if err != nil {
			t.Errorf("%q: %v", c.dsn, err)
			continue
		}
		if _, err := conn.Connect(t.Context()); err != nil {
			t.Errorf("%q: %v", c.dsn, err)
		}
		if got := conn.String(); got != c.want {
			t.Errorf("%q: %s, want %s", c.dsn, got, c.want)
		}
		if got := strings.Join(r.gets, ","); got != c.gets {
			t.Errorf("%q: Get was called with %q, want %q", c.dsn, got, c.gets)
		}
	}
	if _, err := driver.NewAnyDriver("any", nil, nil).NewConnector("app"); err == nil {
		t.Error("NewConnector without Secrets and SecretsAt succeeded")
	}
}

// A secret that is to blame is looked at again, by those who can.
func TestAnyConnectorRechecks(t *testing.T) {
	r := &recheckable{old: version("v1", `{}`)}
	var at driver.Location
	conn, err := anyOf(t, "app", r, &at, "postgres")
	if err != nil {
		t.Fatal(err)
	}
	for _, newer := range []*secretcache.Secret{nil, r.old, version("v2", `[]`)} {
		r.newer = newer
		_, err := conn.Connect(t.Context())
		want := "v1"
		if newer != nil {
			want = newer.VersionID()
		}
		if e := (*driver.Error)(nil); !errors.Is(err, driver.ErrMalformedSecret) || !errors.As(err, &e) || e.Version != want || e.SecretID != "app" {
			t.Errorf("Connect = %v, want ErrMalformedSecret of version %s", err, want)
		}
	}
	r.newer = version("v3", strings.Replace(credentials("app", "pw1"), "{", `{"engine":"postgres",`, 1))
	r.rechecks = 0
	if _, err := conn.Connect(t.Context()); err != nil || r.rechecks != 2 { // for the engine, and for what it needs
		t.Errorf("Connect = %v after %d rechecks", err, r.rechecks)
	}
}

// The location that a data source name says is where the connector gets its secrets from.
func TestAnyConnectorHasTheLocation(t *testing.T) {
	for _, dsn := range []string{
		"app?engine=mysql&region=us-west-2,us-east-1",
		"jdbc-secretsmanager:mysql://h/db?user=app&region=us-west-2,us-east-1",
	} {
		var got driver.Location
		conn, err := anyOf(t, dsn, &recheckable{old: version("v1", credentials("app", "pw1"))}, &got, "mysql")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Connect(t.Context()); err != nil {
			t.Errorf("%q: %v", dsn, err)
		}
		if want := (driver.Location{Region: "us-west-2,us-east-1"}); got != want {
			t.Errorf("%q: secrets are opened at %+v, want %+v", dsn, got, want)
		}
	}
}
