package driver_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/driver"
)

// fieldsOf writes fields as "name=value (origin key)".
func fieldsOf(e driver.Explanation) string {
	var parts []string
	for _, f := range e.Fields {
		parts = append(parts, fmt.Sprintf("%s=%s (%s %s)", f.Name, f.Value, f.From, f.Key))
	}
	return strings.Join(parts, ", ")
}

func TestExplainTellsWhereEachFieldComesFrom(t *testing.T) {
	for _, c := range []struct {
		dsn, value string
		want       string // the fields
		err        error
	}{
		{"prod/app?engine=postgres&host=h&usernameKey=login", `{"login":"CANARY","password":"CANARY","port":"6432"}`,
			"host=h (data source name host), port=6432 (secret port), dbname=postgres (default dbname), username= (secret login), password= (secret password)", nil},
		{"prod/app", `{"engine":"mysql","host":"h","username":"CANARY","password":"CANARY"}`,
			"host=h (secret host), port=3306 (default port), dbname= (nowhere dbname), username= (secret username), password= (secret password)", nil},
		{"prod/app?engine=mysql&port=1&dbname=d", `{"username":"CANARY"}`,
			"host= (nowhere host), port=1 (data source name port), dbname=d (data source name dbname), username= (secret username), password= (nowhere password)", driver.ErrMalformedSecret},
		{"prod/app?engine=mysql", `{"host":"postgres://u:CANARY@h,CANARY","dbname":"d?password=CANARY","username":"u","password":"p"}`,
			"host= (secret host), port=3306 (default port), dbname= (secret dbname), username= (secret username), password= (secret password)", driver.ErrMalformedSecret},
		{"prod/app", `{"host":"h"}`, "", driver.ErrMalformedSecret}, // no engine
		{"prod/app", `{"engine":"oracle"}`, "", driver.ErrEngineMismatch},
		{"prod/app?engine=mysql", `CANARY`,
			"host= (nowhere host), port=3306 (default port), dbname= (nowhere dbname), username= (nowhere username), password= (nowhere password)", driver.ErrMalformedSecret},
	} {
		conn, err := anyOf(t, c.dsn, &recheckable{}, new(driver.Location), "postgres", "mysql")
		if err != nil {
			t.Fatal(err)
		}
		e, err := conn.Explain(version("v1", c.value))
		if got := fieldsOf(e); got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s of %s:\n%s, %v, want\n%s, %v", c.dsn, c.value, got, err, c.want, c.err)
		}
		if strings.Contains(fmt.Sprintf("%+v %v", e, err), "CANARY") {
			t.Errorf("%s of %s shows a value: %+v, %v", c.dsn, c.value, e, err)
		}
	}
}

func TestExplainWithoutASecret(t *testing.T) {
	conn, err := anyOf(t, "prod/app?stage=X&region=eu-west-1&source=aws", &recheckable{}, new(driver.Location), "postgres", "mysql")
	if err != nil {
		t.Fatal(err)
	}
	e, err := conn.Explain(nil)
	if err != nil || e.SecretID != "prod/app" || e.Stage != "X" || e.Location.Region != "eu-west-1" || e.Engine != "" || e.Fields != nil {
		t.Errorf("the secret tells the engine: %+v, %v", e, err)
	}
	conn, err = anyOf(t, "jdbc-secretsmanager:mysql://h/db?user=app&fallback=none", &recheckable{}, new(driver.Location), "postgres", "mysql")
	if err != nil {
		t.Fatal(err)
	}
	e, err = conn.Explain(nil)
	if err != nil || e.SecretID != "app" || e.Engine != "mysql" || len(e.FallbackStages) != 0 || e.Fields != nil {
		t.Errorf("a URL tells the engine: %+v, %v", e, err)
	}
	e, err = conn.Explain(version("v1", `{"username":"u","password":"p","b":1,"a":2}`))
	if want := []string{"a", "b", "password", "username"}; err != nil || !slices.Equal(e.Keys, want) || e.Address != "h:3306" {
		t.Errorf("keys %q at %s, %v, want %q", e.Keys, e.Address, err, want)
	}
}

func TestAnExplanationIsTheCallersOwn(t *testing.T) {
	for _, dsn := range []string{"prod/app?fallback=A,B", "prod/app?fallback=A,B&engine=mysql"} {
		conn, err := anyOf(t, dsn, &recheckable{}, new(driver.Location), "mysql")
		if err != nil {
			t.Fatal(err)
		}
		e, _ := conn.Explain(nil)
		e.FallbackStages[0] = "changed"
		if e, _ = conn.Explain(nil); e.FallbackStages[0] != "A" {
			t.Errorf("%s: a change of an Explanation changed the connector", dsn)
		}
	}
}
