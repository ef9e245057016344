package driver_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/driver"
)

// withSSL returns a secret with more fields at its end.
func withSSL(ssl string) string {
	return strings.TrimSuffix(credentials("app", "pw1"), "}") + ssl + "}"
}

func TestSSLInTheSecretAsksForTLS(t *testing.T) {
	for _, c := range []struct {
		ssl, dsn string
		encrypt  bool
		warnings int
	}{
		{`,"ssl":true`, "", true, 0},
		{`,"ssl":"true"`, "", true, 0},
		{`,"ssl":"True"`, "", true, 0},
		{`,"ssl":true`, "?tls=prefer", true, 0},
		{`,"ssl":true`, "?tls=off", false, 1},
		{`,"ssl":false`, "", false, 0},
		{`,"ssl":"yes"`, "", false, 0},
		{`,"ssl":1`, "", false, 0},
		{`,"ssl":{"a":1}`, "", false, 0},
		{"", "", false, 0},
		{"", "?tls=off", false, 0},
	} {
		t.Run(c.ssl+c.dsn, func(t *testing.T) {
			log := &bytes.Buffer{}
			b := newBench(t, func(b *bench, dsn *string) {
				*dsn += c.dsn
				b.opts.Logger = slog.New(slog.NewTextHandler(log, nil))
				b.store = newStore(withSSL(c.ssl))
				b.engine.info.TurnsTLSOff = func(params map[string]string) bool { return params["tls"] == "off" }
			})
			b.prepared(t)
			b.prepared(t)
			if got := b.engine.endpoints[0].Encrypt; got != c.encrypt || len(b.engine.endpoints) != 1 {
				t.Errorf("Encrypt = %t, want %t; prepared %d times", got, c.encrypt, len(b.engine.endpoints))
			}
			if n := strings.Count(log.String(), "level=WARN"); n != c.warnings {
				t.Errorf("%d warnings, want %d: %s", n, c.warnings, log)
			}
		})
	}
}

func TestSSLInANewerVersionIsUsed(t *testing.T) {
	b := newBench(t, func(b *bench, _ *string) {
		b.engine.info.TurnsTLSOff = func(map[string]string) bool { return false }
	})
	b.prepared(t)
	b.store.put("v2", withSSL(`,"ssl":true`), "AWSCURRENT")
	b.cache.Invalidate("prod/app")
	b.prepared(t)
	if n := len(b.engine.endpoints); n != 2 || b.engine.endpoints[0].Encrypt || !b.engine.endpoints[1].Encrypt {
		t.Errorf("endpoints %+v, want one without and one with TLS", b.engine.endpoints)
	}
}

func TestSSLIsAnErrorForAnEngineWithoutSupport(t *testing.T) {
	b := newBench(t, func(b *bench, _ *string) {
		b.store = newStore(withSSL(`,"ssl":true`))
	})
	checkSecretError(t, b.ping(t.Context()), driver.ErrMalformedSecret, "")
	if n := len(b.engine.endpoints); n != 0 {
		t.Errorf("prepared %d times", n)
	}
}

// If the secret has a key under another name that people use, that is an error that says what to do. The
// default is not used silently.
func TestKeysByAnotherName(t *testing.T) {
	for _, c := range []struct{ dsn, secret, want string }{
		{"", `{"HOST":"h","username":"u","password":"p"}`, `key "host" is missing, and "HOST" is there: give "hostKey=HOST"`},
		{"", `{"hostname":"h","username":"u","password":"p"}`, `"hostKey=hostname"`},
		{"", `{"host":"h","user":"u","password":"p"}`, `key "username" is missing, and "user" is there: give "usernameKey=user"`},
		{"", `{"host":"h","userName":"u","password":"p"}`, `"usernameKey=userName"`},
		{"", `{"host":"h","username":"u","pwd":"p"}`, `"passwordKey=pwd"`},
		{"", `{"host":"h","username":"u","password":"p","database":"d"}`, `key "dbname" is missing, and "database" is there: give "dbnameKey=database"`},
		{"", `{"host":"h","username":"u","password":"p","dbName":"d"}`, `"dbnameKey=dbName"`},
		{"", `{"host":"h","username":"u","password":"p","db":"d"}`, `"dbnameKey=db"`},
		{"", `{"host":"h","username":"u","password":"p","PORT":1}`, `"portKey=PORT"`},
		{"", `{"config":{"host":"h"},"username":"u","password":"p"}`, `key "host" is missing, and there is one in a nested object`},
		{"?dbnameKey=name", `{"host":"h","username":"u","password":"p","dbname":"d"}`, `key "name" is missing, and "dbname" is there`},
		// A field that is in the data source name, or in the secret under its own name, is no error.
		{"?dbname=d", `{"host":"h","username":"u","password":"p","database":"x"}`, ""},
		{"?dbnameKey=database", `{"host":"h","username":"u","password":"p","database":"d"}`, ""},
		{"?host=h", `{"HOST":"x","username":"u","password":"p"}`, ""},
		{"", `{"host":"h","username":"u","password":"p","HOST":"x","db":null}`, ""},
		{"", `{"host":"h","username":"u","password":"p","dbClusterIdentifier":"x","dbInstanceIdentifier":"y"}`, ""},
	} {
		b := newBench(t, func(b *bench, dsn *string) {
			*dsn += c.dsn
			b.store = newStore(c.secret)
			b.db.set("u", "p")
		})
		err := b.ping(t.Context())
		if c.want == "" {
			if err != nil {
				t.Errorf("%s with %s: %v", c.dsn, c.secret, err)
			}
			continue
		}
		if checkSecretError(t, err, driver.ErrMalformedSecret, ""); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s with %s: %v, want %s", c.dsn, c.secret, err, c.want)
		}
	}
}

func TestASecretOfAnotherEngineNamesTheDriverForIt(t *testing.T) {
	for engine, want := range map[string]string{
		"postgres":                `the secret is for postgres, and the driver is for mysql: use the driver "secretsmanager-postgres"`,
		"Custom-SQLServer-CANARY": `"secretsmanager-sqlserver"`,
		"oracle-ee":               `"secretsmanager-oracle"`,
		"CANARY":                  `key "engine" is not a name that the driver for mysql knows`,
	} {
		b := newBench(t, func(b *bench, _ *string) {
			b.store = newStore(`{"engine":"` + engine + `","host":"h","username":"u","password":"p"}`)
		})
		err := b.ping(t.Context())
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "CANARY") || !strings.Contains(err.Error(), "engine=mysql") {
			t.Errorf("%s: %v, want %s", engine, err, want)
		}
	}
}
