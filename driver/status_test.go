package driver_test

import (
	"errors"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
)

// Status has the version in use, the address, and whether the server accepts the version.
func TestStatusTellsVersionAndEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, withDSN("prod/app?dbname=shop"))
		want := func(when string, want driver.Status, rejected bool) {
			t.Helper()
			got := b.Status()
			if (got.Rejected != nil) != rejected {
				t.Errorf("%s: Rejected = %v", when, got.Rejected)
			}
			got.Rejected = nil
			if got != want {
				t.Errorf("%s: Status = %+v, want %+v", when, got, want)
			}
		}
		s := driver.Status{SecretID: "prod/app", Stage: "AWSCURRENT"}
		want("before the first Connect call", s, false)

		b.mustPing(t)
		s.Version, s.From, s.Address, s.Database, s.Accepted = "v1", "AWSCURRENT", "db.example.com:3306", "shop", time.Now()
		want("after a login", s, false)

		time.Sleep(time.Minute)
		b.startRotation("v2", "pw2")
		b.mustPing(t)
		s.Version, s.From, s.Accepted = "v2", "AWSPENDING", time.Now()
		want("in a rotation", s, false)

		b.db.set("app", "other")
		if err := b.ping(t.Context()); !errors.Is(err, driver.ErrAuthFailed) {
			t.Fatal(err)
		}
		s.Version, s.From, s.Accepted = "v1", "AWSCURRENT", time.Time{}
		want("while the server rejects both", s, true)
		if text := b.Status().Rejected.Error(); strings.Contains(text, "pw") {
			t.Errorf("Rejected is %q", text)
		}
	})
}

func TestStatusOfAnyEngine(t *testing.T) {
	c, err := anyOf(t, "app", &recheckable{old: version("v1", `{"engine":"mysql","host":"db","username":"app","password":"pw1"}`)}, new(driver.Location), "postgres", "mysql")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.Status(), (driver.Status{SecretID: "app", Stage: "AWSCURRENT"}); got != want {
		t.Errorf("before the first Connect call: Status = %+v, want %+v", got, want)
	}
	if _, err := c.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := c.Status(); got.Version != "v1" || got.Address != "db:3306" {
		t.Errorf("Status = %+v, want version v1 at db:3306", got)
	}
}

// Explain for a version of another engine does not change Status, because no connection uses that version.
func TestStatusOfAnyEngineIsOfTheOneThatConnects(t *testing.T) {
	const mysql = `{"engine":"mysql","host":"db","username":"app","password":"pw1"}`
	c, err := anyOf(t, "app", &recheckable{old: version("v1", mysql)}, new(driver.Location), "postgres", "mysql")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Explain(version("v0", strings.Replace(mysql, "mysql", "postgres", 1))); err != nil {
		t.Fatal(err)
	}
	if got := c.Status(); got.Version != "v1" {
		t.Errorf("after Explain: Status = %+v, want version v1", got)
	}
}

// Status may be called before and during the first Connect call. This test is for the race detector.
func TestStatusDuringTheFirstConnectCall(t *testing.T) {
	for range 20 {
		c, err := anyOf(t, "app", &recheckable{old: version("v1", `{"engine":"mysql","host":"db","username":"app","password":"pw1"}`)}, new(driver.Location), "postgres", "mysql")
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			if _, err := c.Connect(t.Context()); err != nil {
				t.Error(err)
			}
		}()
		for c.Status().Accepted.IsZero() && !t.Failed() {
			runtime.Gosched()
		}
		<-done
	}
}
