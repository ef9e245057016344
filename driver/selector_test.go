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

func TestSelector(t *testing.T) {
	const arn = "arn:aws:secretsmanager:us-west-2:123456789012:secret:app-a1b2c3"
	r := &recheckable{old: version("v1", `{"engine":"MySQL"}`)}
	for _, c := range []struct {
		dsn, scheme, id string
		fixed           bool
		engine          string
		gets            string // of the secret
	}{
		{"app?stage=X&unknown=1", "", "app", false, "mysql", "app X"},
		{"app?engine=Oracle-EE", "", "app", true, "oracle-ee", ""},
		{arn + "?region=eu-west-1", "", strings.Replace(arn, "us-west-2", "eu-west-1", 1), false, "mysql",
			strings.Replace(arn, "us-west-2", "eu-west-1", 1) + " AWSCURRENT"},
		{"jdbc-secretsmanager:postgresql://h/db?user=app", "postgresql", "", true, "", ""},
	} {
		r.gets = nil
		opened := 0
		s, err := driver.NewSelector(c.dsn, &driver.Options{SecretsAt: func(driver.Location) (driver.Secrets, error) {
			opened++
			return r, nil
		}})
		if err != nil {
			t.Errorf("NewSelector(%q): %v", c.dsn, err)
			continue
		}
		if s.Scheme() != c.scheme || s.SecretID() != c.id || s.Fixed() != c.fixed {
			t.Errorf("%q: scheme %q, id %q, fixed %t, want %+v", c.dsn, s.Scheme(), s.SecretID(), s.Fixed(), c)
		}
		if c.scheme != "" {
			continue
		}
		for range 2 {
			if engine, err := s.Engine(t.Context()); engine != c.engine || err != nil {
				t.Errorf("%q: Engine = %q, %v, want %q", c.dsn, engine, err, c.engine)
			}
		}
		if got := strings.Join(r.gets, ","); got != strings.Trim(c.gets+","+c.gets, ",") {
			t.Errorf("%q: Get was called with %q, want %q twice", c.dsn, got, c.gets)
		}
		if c.gets != "" && opened != 1 {
			t.Errorf("%q: secrets were opened %d times, want 1", c.dsn, opened)
		}
	}
	if _, err := driver.NewSelector("app", nil); err == nil {
		t.Error("NewSelector without Secrets and SecretsAt succeeded")
	}
}

// A secret that is to blame is looked at again, by those who can.
func TestSelectorRechecks(t *testing.T) {
	r := &recheckable{old: version("v1", `{}`)}
	s, err := driver.NewSelector("app", &driver.Options{Secrets: r})
	if err != nil {
		t.Fatal(err)
	}
	for _, newer := range []*secretcache.Secret{nil, r.old, version("v2", `[]`)} {
		r.newer = newer
		_, err := s.Engine(t.Context())
		want := "v1"
		if newer != nil {
			want = newer.VersionID()
		}
		if e := (*driver.Error)(nil); !errors.Is(err, driver.ErrMalformedSecret) || !errors.As(err, &e) || e.Version != want || e.SecretID != "app" {
			t.Errorf("Engine = %v, want ErrMalformedSecret of version %s", err, want)
		}
	}
	r.newer = version("v3", `{"engine":"pg"}`)
	if engine, err := s.Engine(t.Context()); engine != "pg" || err != nil || r.rechecks != 4 {
		t.Errorf("Engine = %q, %v after %d looks", engine, err, r.rechecks)
	}
}

// The location that a JDBC URL names is where the connector gets its secrets from, as with
// any other data source name.
func TestSelectorsConnectorHasTheLocation(t *testing.T) {
	for _, dsn := range []string{
		"app?engine=mysql&region=us-west-2,us-east-1",
		"jdbc-secretsmanager:mysql://h/db?user=app&region=us-west-2,us-east-1",
	} {
		var got driver.Location
		r := &recheckable{old: version("v1", credentials("app", "pw1"))}
		s, err := driver.NewSelector(dsn, &driver.Options{SecretsAt: func(l driver.Location) (driver.Secrets, error) {
			got = l
			return r, nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		c, err := s.Connector(newEngine("mysql", newDatabase("app", "pw1")))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Connect(t.Context()); err != nil {
			t.Errorf("%q: %v", dsn, err)
		}
		if want := (driver.Location{Region: "us-west-2,us-east-1"}); got != want {
			t.Errorf("%q: secrets are opened at %+v, want %+v", dsn, got, want)
		}
	}
}
