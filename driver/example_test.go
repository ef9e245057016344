package driver_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"
	"slices"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// A program with its own cache makes a connector from an engine, a data source name and the cache.
// In this example the engine and the secret are stand-ins.
func ExampleNewConnector() {
	source := secretcache.SourceFunc(func(_ context.Context, id, _ string) (*secretcache.Secret, error) {
		return secretcache.NewSecret(secretcache.Value{ID: id, VersionID: "v1",
			String: `{"host":"db.example.com","username":"app","password":"correct horse"}`}), nil
	})
	engine := newEngine("postgres", newDatabase("app", "correct horse"))

	connector, err := driver.NewConnector(engine, "prod/app?dbname=reports",
		&driver.Options{Secrets: secretcache.New(source, nil)})
	if err != nil {
		fmt.Println(err)
		return
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	fmt.Println(connector, db.PingContext(context.Background()))
	// Output: secretsmanager-postgres prod/app <nil>
}

// A Trace follows each step of a Connect call. A Logger gets the records that an operator should see.
func ExampleOptions() {
	options := &driver.Options{
		Logger: slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
			ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
				if a.Key == slog.TimeKey || a.Key == "duration" {
					return slog.Attr{} // they differ from run to run
				}
				return a
			},
		})),
		Trace: &driver.Trace{
			LoginDone: func(_ context.Context, i driver.LoginInfo) {
				fmt.Printf("version %s to %s: rejected %t\n", i.Version, i.Address, i.Rejected)
			},
			ConnectDone: func(_ context.Context, i driver.ConnectInfo) {
				fmt.Printf("connected after %d logins\n", i.Logins)
			},
		},
	}
	version := 1 // the next reading finds the next version, as after a rotation
	options.Secrets = secretcache.New(secretcache.SourceFunc(func(_ context.Context, id, _ string) (*secretcache.Secret, error) {
		defer func() { version++ }()
		return secretcache.NewSecret(secretcache.Value{ID: id, VersionID: fmt.Sprint("v", version),
			String: fmt.Sprintf(`{"host":"db.example.com","username":"app","password":"pw%d"}`, version)}), nil
	}), nil)

	connector, err := driver.NewConnector(newEngine("mysql", newDatabase("app", "pw2")), "prod/app", options)
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := connector.Connect(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output:
	// version v1 to db.example.com:3306: rejected true
	// level=INFO msg="the server rejected the credentials" secret=prod/app stage=AWSCURRENT version=v1 address=db.example.com:3306 error="vendor: access denied for user app (1045)"
	// level=INFO msg="the secret has another version than the rejected one" secret=prod/app stage=AWSCURRENT rejected=v1 version=v2
	// version v2 to db.example.com:3306: rejected false
	// level=INFO msg="found a version that the server accepts" secret=prod/app stage=AWSCURRENT version=v2
	// connected after 2 logins
}

// errors.Is tells what happened. errors.As finds the *driver.Error, which names the secret, and the
// vendor's own error.
func ExampleError() {
	source := secretcache.SourceFunc(func(_ context.Context, id, _ string) (*secretcache.Secret, error) {
		return secretcache.NewSecret(secretcache.Value{ID: id, VersionID: "v1",
			String: `{"host":"db.example.com","username":"app","password":"outdated"}`}), nil
	})
	connector, err := driver.NewConnector(newEngine("mysql", newDatabase("app", "pw2")), "prod/app",
		&driver.Options{Secrets: secretcache.New(source, nil), FallbackStages: []string{}})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = connector.Connect(context.Background())

	var e *driver.Error
	var vendor *vendorError // *pgconn.PgError, *mysql.MySQLError, …
	switch {
	case errors.Is(err, driver.ErrAuthFailed) && errors.As(err, &e) && errors.As(err, &vendor):
		fmt.Println("secret", e.SecretID, "version", e.Version, "was rejected with code", vendor.Code)
	case err != nil:
		fmt.Println(err)
	}
	// Output: secret prod/app version v1 was rejected with code 1045
}

// A program gets its data source names from others. CheckLocation forbids those that say where
// secrets are fetched, or with which AWS identity.
func ExampleOptions_checkLocation() {
	options := &driver.Options{
		SecretsAt: func(driver.Location) (driver.Secrets, error) { return secretcache.New(nil, nil), nil },
		CheckLocation: func(loc driver.Location) error {
			if loc != (driver.Location{}) {
				return errors.New("this program takes no region, endpoint, source, profile, roleArn or externalId")
			}
			return nil
		},
	}
	_, err := driver.NewConnector(newEngine("postgres", nil), "prod/app?source=file:/etc/secrets", options)
	fmt.Println(err)
	// Output: parse data source name: bad data source name: this program takes no region, endpoint, source, profile, roleArn or externalId
}

// onlyHosts is an engine that connects to the listed hosts only.
type onlyHosts struct {
	*engine // in a program, for example pgxv5.Engine; do not embed the interface, which hides optional methods
	hosts   []string
}

func (e onlyHosts) Prepare(ep driver.Endpoint) (driver.Login, error) {
	if !slices.Contains(e.hosts, ep.Host) {
		return nil, errors.New("this program does not connect to that host")
	}
	return e.engine.Prepare(ep)
}

// A program allows known hosts only, whether the host comes from a data source name or a secret.
// Prepare gets the host before the connector sends anything there.
func ExampleEngine_hosts() {
	secrets := secretcache.New(newStore(credentials("app", "pw1")), nil)
	engine := onlyHosts{newEngine("postgres", newDatabase("app", "pw1")), []string{"db.example.com"}}
	connector, err := driver.NewConnector(engine, "prod/app?host=elsewhere.example.com", &driver.Options{Secrets: secrets})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = connector.Connect(context.Background())
	fmt.Println(err)
	// Output: connect with secret "prod/app" (version v1): this program does not connect to that host
}

// Register makes a third party's engine available to sql.Open, here with a cache of its own.
// engines.Options(nil) returns options with the process's default caches.
func ExampleRegister() {
	var engine driver.Engine // of the third party
	cache := secretcache.New(secretcache.SourceFunc(nil), nil)
	driver.Register("secretsmanager-cockroach", engine, &driver.Options{Secrets: cache})
	db, err := sql.Open("secretsmanager-cockroach", "prod/app")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
}

// One driver serves several engines. The secret's key "engine" tells which one.
func ExampleNewAnyDriver() {
	source := secretcache.SourceFunc(func(_ context.Context, id, _ string) (*secretcache.Secret, error) {
		return secretcache.NewSecret(secretcache.Value{ID: id, VersionID: "v1",
			String: `{"engine":"mysql","host":"db.example.com","username":"app","password":"correct horse"}`}), nil
	})
	database := newDatabase("app", "correct horse")
	d := driver.NewAnyDriver("secretsmanager", []driver.Engine{newEngine("postgres", database), newEngine("mysql", database)},
		&driver.Options{Secrets: secretcache.New(source, nil)})

	connector, err := d.NewConnector("prod/app")
	if err != nil {
		fmt.Println(err)
		return
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	fmt.Println(db.PingContext(context.Background()), connector.Status().Address)
	// Output: <nil> db.example.com:3306
}

// A health page shows which version is in use. Status calls neither the database nor Secrets Manager.
func ExampleConnector_Status() {
	source := secretcache.SourceFunc(func(_ context.Context, id, _ string) (*secretcache.Secret, error) {
		return secretcache.NewSecret(secretcache.Value{ID: id, VersionID: "v1",
			String: `{"host":"db.example.com","username":"app","password":"correct horse"}`}), nil
	})
	connector, err := driver.NewConnector(newEngine("postgres", newDatabase("app", "correct horse")), "prod/app",
		&driver.Options{Secrets: secretcache.New(source, nil)})
	if err != nil {
		fmt.Println(err)
		return
	}
	s := connector.Status()
	fmt.Printf("%s: version %q, accepted: %t\n", s.SecretID, s.Version, !s.Accepted.IsZero())
	if _, err := connector.Connect(context.Background()); err != nil {
		fmt.Println(err)
	}
	s = connector.Status()
	fmt.Printf("%s: version %q (%s) at %s, accepted: %t\n", s.SecretID, s.Version, s.From, s.Address, !s.Accepted.IsZero())
	// Output:
	// prod/app: version "", accepted: false
	// prod/app: version "v1" (AWSCURRENT) at db.example.com:5432, accepted: true
}

// Only Reveal returns the password. Printing it shows [redacted].
func ExampleNewPassword() {
	password := driver.NewPassword("correct horse")
	fmt.Printf("%v %+v\n", password, struct{ Password driver.Password }{password})
	fmt.Println(password.Reveal())
	// Output:
	// [redacted] {Password:[redacted]}
	// correct horse
}
