package driver_test

import (
	"context"
	sqldriver "database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// testdata/secrets.json has secrets as AWS documents them, as AWS's consoles and rotation functions write
// them, and with the mistakes that people make.
func TestSecrets(t *testing.T) {
	data, err := os.ReadFile("testdata/secrets.json")
	if err != nil {
		t.Fatal(err)
	}
	var rows []struct {
		Name, Engine, Params, Secret, Error string
		Names                               []string
		Want                                *struct {
			Host             string
			Port             int
			DBName, Username string
		}
	}
	if err := json.Unmarshal(data, &rows); err != nil {
		t.Fatal(err)
	}
	if len(rows) < 30 {
		t.Fatalf("only %d rows", len(rows))
	}
	sentinels := map[string]error{"malformed": driver.ErrMalformedSecret, "engine mismatch": driver.ErrEngineMismatch}
	for _, row := range rows {
		t.Run(row.Name, func(t *testing.T) {
			dsn := "prod/app"
			if row.Params != "" {
				dsn += "?" + row.Params
			}
			r, err := open(newEngine(row.Engine, nil), dsn, row.Secret)
			if row.Error != "" {
				checkSecretError(t, err, sentinels[row.Error], row.Secret)
				for _, name := range row.Names {
					if err != nil && !strings.Contains(err.Error(), fmt.Sprintf("%q", name)) {
						t.Errorf("error %q does not name %q", err, name)
					}
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			w := row.Want
			if r.endpoint.Host != w.Host || r.endpoint.Port != w.Port || r.endpoint.Database != w.DBName || r.user != w.Username {
				t.Errorf("got %s:%d/%s as %s, want %+v", r.endpoint.Host, r.endpoint.Port, r.endpoint.Database, r.user, *w)
			}
			var m map[string]any
			if err := json.Unmarshal([]byte(row.Secret), &m); err != nil || r.password != m["password"] {
				t.Errorf("got password %q, want %q", r.password, m["password"])
			}
		})
	}
}

// checkSecretError checks the type of the error for a secret that cannot be used, and that the error holds
// no value of the secret.
func checkSecretError(t *testing.T, err, want error, secret string) {
	t.Helper()
	var e *driver.Error
	if !errors.Is(err, want) || !errors.As(err, &e) {
		t.Fatalf("got %v, want %v", err, want)
	}
	if e.SecretID != "prod/app" || e.Version != "v1" {
		t.Errorf("error is for secret %q version %q", e.SecretID, e.Version)
	}
	for _, v := range valuesOf(secret) {
		if strings.Contains(err.Error(), v) {
			t.Errorf("error %q quotes %q", err, v)
		}
	}
}

// valuesOf returns the values of a secret that are strings of 6 and more bytes. If the secret is not JSON,
// it returns the secret.
func valuesOf(secret string) []string {
	var v any
	if json.Unmarshal([]byte(secret), &v) != nil {
		if len(secret) < 6 {
			return nil
		}
		return []string{secret}
	}
	var found []string
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case string:
			if len(v) >= 6 {
				found = append(found, v)
			}
		case []any:
			for _, e := range v {
				walk(e)
			}
		case map[string]any:
			for _, e := range v {
				walk(e)
			}
		}
	}
	walk(v)
	return found
}

func TestPrecedence(t *testing.T) {
	secret := func(fields string) string { return `{"username":"u","password":"p"` + fields + `}` }
	for _, test := range []struct {
		name, engine, params, secret, want string
	}{
		{"host: DSN", "mysql", "host=dsn", secret(`,"host":"secret"`), "dsn:3306/ u"},
		{"host: secret", "mysql", "", secret(`,"host":"secret"`), "secret:3306/ u"},
		{"port: DSN", "mysql", "port=1", secret(`,"host":"h","port":2`), "h:1/ u"},
		{"port: DSN, secret's malformed", "mysql", "port=1", secret(`,"host":"h","port":"x"`), "h:1/ u"},
		{"port: secret", "mysql", "", secret(`,"host":"h","port":2`), "h:2/ u"},
		{"port: secret, host: DSN", "mysql", "host=h", secret(`,"host":"x","port":2`), "h:2/ u"},
		{"port: default", "mysql", "", secret(`,"host":"h"`), "h:3306/ u"},
		{"port: null", "mysql", "", secret(`,"host":"h","port":null`), "h:3306/ u"},
		{"port: empty", "mysql", "", secret(`,"host":"h","port":""`), "h:3306/ u"},
		{"port: string", "mysql", "", secret(`,"host":"h","port":"65535"`), "h:65535/ u"},
		{"dbname: DSN", "postgres", "dbname=dsn", secret(`,"host":"h","dbname":"secret"`), "h:5432/dsn u"},
		{"dbname: secret", "postgres", "", secret(`,"host":"h","dbname":"secret"`), "h:5432/secret u"},
		{"dbname: default", "postgres", "", secret(`,"host":"h"`), "h:5432/postgres u"},
		{"dbname: empty", "postgres", "", secret(`,"host":"h","dbname":""`), "h:5432/postgres u"},
		{"dbname: null", "sqlserver", "", secret(`,"host":"h","dbname":null`), "h:1433/master u"},
		{"dbname: required, DSN", "oracle", "dbname=ORCL", secret(`,"host":"h"`), "h:1521/ORCL u"},
		{"dbname: odd, DSN", "mysql", "dbname=db%23fragment", secret(`,"host":"h"`), "h:3306/db#fragment u"},
		{"engine: DSN", "postgres", "engine=postgresql", secret(`,"host":"h","engine":"mysql"`), "h:5432/postgres u"},
		{"engine: secret, upper case", "postgres", "", secret(`,"host":"h","engine":"POSTGRES"`), "h:5432/postgres u"},
		{"engine: none", "postgres", "", secret(`,"host":"h"`), "h:5432/postgres u"},
		{"engine: prefix", "oracle", "dbname=d", secret(`,"host":"h","engine":"oracle-se2-cdb"`), "h:1521/d u"},
		{"keys", "mysql", "hostKey=readerHost&portKey=p2&dbnameKey=d2&usernameKey=u2", secret(`,"host":"h","readerHost":"r","port":1,"p2":2,"dbname":"x","d2":"y","u2":"v"`), "r:2/y v"},
		{"keys with odd characters", "mysql", "hostKey=host_us-west-2%20%22%3D", secret(`,"host_us-west-2 \"=":"h"`), "h:3306/ u"},
		{"unknown keys are ignored", "mysql", "", secret(`,"host":"h","masterarn":"arn:aws:x","x":{"y":[1]}`), "h:3306/ u"},
		{"last of duplicate keys", "mysql", "", secret(`,"host":"one","host":"two"`), "two:3306/ u"},
		{"space around", "mysql", "", "\n " + secret(`,"host":"h"`) + " \r\n\t", "h:3306/ u"},
		{"escapes", "mysql", "", secret(`,"h\u006fst":"\u0068"`), "h:3306/ u"},
		{"nested deep", "mysql", "", secret(`,"host":"h","x":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000)), "h:3306/ u"},
		{"IPv4 host", "mysql", "", secret(`,"host":"192.0.2.1"`), "192.0.2.1:3306/ u"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, err := open(newEngine(test.engine, nil), "prod/app?"+test.params, test.secret)
			if err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprintf("%s:%d/%s %s", r.endpoint.Host, r.endpoint.Port, r.endpoint.Database, r.user); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

// badSecrets are secrets that cannot be used, with texts that the error must contain.
var badSecrets = []struct {
	name, secret string
	want         error
	names        string
}{
	{"host with parameters", `{"host":"evil.com:3306/x?allowLoadLocalInfile=true#","username":"u","password":"p"}`, driver.ErrMalformedSecret, `"host"`},
	{"host with ?", `{"host":"evil.com?canary","username":"u","password":"p"}`, driver.ErrMalformedSecret, `"host"`},
	{"host with /", `{"host":"evil.com/canary","username":"u","password":"p"}`, driver.ErrMalformedSecret, `"host"`},
	{"host with @", `{"host":"canary@evil.com","username":"u","password":"p"}`, driver.ErrMalformedSecret, `"host"`},
	{"host of two", `{"host":"canary,evil.com","username":"u","password":"p"}`, driver.ErrMalformedSecret, `"host"`},
	{"host with a zone of more", `{"host":"fe80::1%x?canary","username":"u","password":"p"}`, driver.ErrMalformedSecret, `"host"`},
	{"host empty", `{"host":"","username":"u","password":"p"}`, driver.ErrMalformedSecret, `"host"`},
	{"host too long", `{"host":"` + strings.Repeat("h", 256) + `","username":"u","password":"p"}`, driver.ErrMalformedSecret, `"host"`},
	{"host a number", `{"host":1234567,"username":"u","password":"p"}`, driver.ErrMalformedSecret, `"host" is not a string`},
	{"host an object", `{"host":{"canary":"canary"},"username":"u","password":"p"}`, driver.ErrMalformedSecret, `"host" is not a string`},
	{"host with a line feed", `{"host":"h\ncanary","username":"u","password":"p"}`, driver.ErrMalformedSecret, `"host"`},
	{"port with more", `{"host":"h","port":"3306;inject","username":"u","password":"p"}`, driver.ErrMalformedSecret, `"port"`},
	{"port zero", `{"host":"h","port":0,"username":"u","password":"p"}`, driver.ErrMalformedSecret, `"port"`},
	{"port negative", `{"host":"h","port":-5432,"username":"u","password":"p"}`, driver.ErrMalformedSecret, `"port"`},
	{"port a fraction", `{"host":"h","port":5432.5,"username":"u","password":"p"}`, driver.ErrMalformedSecret, `"port"`},
	{"port a float", `{"host":"h","port":5.432e3,"username":"u","password":"p"}`, driver.ErrMalformedSecret, `"port"`},
	{"port huge", `{"host":"h","port":1e400,"username":"u","password":"p"}`, driver.ErrMalformedSecret, `"port"`},
	{"port of many digits", `{"host":"h","port":99999999999999999999999999,"username":"u","password":"p"}`, driver.ErrMalformedSecret, `"port"`},
	{"port with a sign", `{"host":"h","port":"+5432","username":"u","password":"p"}`, driver.ErrMalformedSecret, `"port"`},
	{"port with a space", `{"host":"h","port":" 5432","username":"u","password":"p"}`, driver.ErrMalformedSecret, `"port"`},
	{"port true", `{"host":"h","port":true,"username":"u","password":"p"}`, driver.ErrMalformedSecret, `"port" is neither`},
	{"dbname with #", `{"host":"h","dbname":"db#fragment","username":"u","password":"p"}`, driver.ErrMalformedSecret, `"dbname"`},
	{"dbname with ;", `{"host":"h","dbname":"db;canary","username":"u","password":"p"}`, driver.ErrMalformedSecret, `"dbname"`},
	{"dbname with ?", `{"host":"h","dbname":"db?canary","username":"u","password":"p"}`, driver.ErrMalformedSecret, `"dbname"`},
	{"dbname a number", `{"host":"h","dbname":1234567,"username":"u","password":"p"}`, driver.ErrMalformedSecret, `"dbname" is not a string`},
	{"dbname with NUL", `{"host":"h","dbname":"db\u0000canary","username":"u","password":"p"}`, driver.ErrMalformedSecret, `"dbname"`},
	{"no username", `{"host":"h","password":"canary"}`, driver.ErrMalformedSecret, `"username" is missing`},
	{"username null", `{"host":"h","username":null,"password":"canary"}`, driver.ErrMalformedSecret, `"username" is missing`},
	{"username empty", `{"host":"h","username":"","password":"canary"}`, driver.ErrMalformedSecret, `"username" is empty`},
	{"username with a line feed", `{"host":"h","username":"u\ncanary","password":"canary"}`, driver.ErrMalformedSecret, `"username"`},
	{"no password", `{"host":"h","username":"canary"}`, driver.ErrMalformedSecret, `"password" is missing`},
	{"password empty", `{"host":"h","username":"canary","password":""}`, driver.ErrMalformedSecret, `"password" is empty`},
	{"password a number", `{"host":"h","username":"u","password":1234567}`, driver.ErrMalformedSecret, `"password" is not a string`},
	{"password an array", `{"host":"h","username":"u","password":["canary"]}`, driver.ErrMalformedSecret, `"password" is not a string`},
	{"password with NUL", `{"host":"h","username":"u","password":"canary\u0000x"}`, driver.ErrMalformedSecret, `"password"`},
	{"password not UTF-8", "{\"host\":\"h\",\"username\":\"u\",\"password\":\"canary\xff\"}", driver.ErrMalformedSecret, "UTF-8"},
	{"engine a number", `{"host":"h","engine":1234567,"username":"u","password":"p"}`, driver.ErrMalformedSecret, `"engine" is not a string`},
	{"engine another", `{"host":"h","engine":"canary-engine","username":"u","password":"p"}`, driver.ErrEngineMismatch, `engine=mysql`},

	{"empty", ``, driver.ErrMalformedSecret, "JSON object"},
	{"null", `null`, driver.ErrMalformedSecret, "JSON object"},
	{"number", `1234567`, driver.ErrMalformedSecret, "JSON object"},
	{"string", `"canary"`, driver.ErrMalformedSecret, "JSON object"},
	{"array", `["canary"]`, driver.ErrMalformedSecret, "JSON object"},
	{"cut short", `{"host":"h","username":"u","password":"canary`, driver.ErrMalformedSecret, "JSON object"},
	{"trailing garbage", `{"host":"h","username":"u","password":"p"} canary`, driver.ErrMalformedSecret, "follows"},
	{"two objects", `{"host":"h","username":"u","password":"p"}{"password":"canary"}`, driver.ErrMalformedSecret, "follows"},
	{"byte order mark", "\ufeff" + `{"host":"h","username":"u","password":"canary"}`, driver.ErrMalformedSecret, "byte order mark"},
	{"UTF-16", "\xff\xfe{\x00}\x00", driver.ErrMalformedSecret, "UTF-8"},
	{"nested too deep", `{"x":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}`, driver.ErrMalformedSecret, "JSON object"},
	{"single quotes", `{'host':'canary'}`, driver.ErrMalformedSecret, "JSON object"},
}

func TestBadSecrets(t *testing.T) {
	for _, test := range badSecrets {
		t.Run(test.name, func(t *testing.T) {
			e := newEngine("mysql", nil)
			_, err := open(e, "prod/app", test.secret)
			checkSecretError(t, err, test.want, test.secret)
			if !strings.Contains(err.Error(), test.names) {
				t.Errorf("error %q does not contain %s", err, test.names)
			}
			if strings.Contains(err.Error(), "canary") {
				t.Errorf("error %q quotes a value", err)
			}
			if len(e.endpoints) != 0 || len(e.db.log()) != 0 {
				t.Error("the engine was asked to connect")
			}
		})
	}
}

// Every character of a password reaches the engine unchanged.
func TestPasswordsAreUntouched(t *testing.T) {
	for _, want := range []string{
		"a b:?#%&;='\"\\/@+{}[]é€😀 sslmode=disable", "\t\n\r\x01\x7f", " ", "%41", "${x}", strings.Repeat("x", 60000), "\u2028\ufffd",
	} {
		j, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		r, err := open(newEngine("mysql", nil), "s", `{"host":"h","username":"u","password":`+string(j)+`}`)
		if err != nil || r.password != want {
			t.Errorf("got %q, %v, want %q", r.password, err, want)
		}
	}
}

// A keyEngine logs in with a private key.
type keyEngine struct {
	*engine
	got *driver.Credentials
}

func (e keyEngine) Prepare(driver.Endpoint) (driver.Login, error) { return e, nil }

func (e keyEngine) Connect(_ context.Context, c driver.Credentials) (sqldriver.Conn, error) {
	*e.got = c
	return nil, errors.New("not dialled")
}

func TestAnEngineTakesOtherKeysOfTheSecret(t *testing.T) {
	for _, c := range []struct{ secret, want string }{
		{`{"host":"h","username":"u","privateKey":"KEY\n","account":"a","other":"x"}`, `"KEY\n" "a" ""`},
		{`{"host":"h","username":"u","password":"p","account":"a"}`, `"" "a" "p"`},
		{`{"host":"h","username":"u","privateKey":7}`, `key "privateKey" is not a string`},
		{`{"host":"h","username":"u","privateKey":""}`, `key "privateKey" is empty`},
		{`{"host":"h","username":"u","password":""}`, `key "password" is empty`},
	} {
		e := keyEngine{newEngine("mysql", nil), &driver.Credentials{}}
		e.info.Keys, e.info.NoPassword = []string{"privateKey", "account"}, true
		conn := must(driver.NewConnector(e, "app", &driver.Options{Secrets: &recheckable{old: version("v1", c.secret), newer: version("v1", c.secret)}, FallbackStages: []string{}}))
		_, err := conn.Connect(t.Context())
		got := fmt.Sprintf("%q %q %q", e.got.Keys["privateKey"].Reveal(), e.got.Keys["account"].Reveal(), e.got.Password.Reveal())
		if err != nil && strings.Contains(err.Error(), "key ") {
			got = err.Error()
		}
		if !strings.Contains(got, c.want) || len(e.got.Keys) > 2 {
			t.Errorf("%s: got %s, want %s", c.secret, got, c.want)
		}
	}
}

func TestSecretsThatReturnNothingAreAnError(t *testing.T) {
	none := secretsFunc(func(string, string) (*secretcache.Secret, error) { return nil, nil })
	conn := must(driver.NewConnector(newEngine("mysql", newDatabase("app", "pw1")), "app", &driver.Options{Secrets: none}))
	if _, err := conn.Connect(t.Context()); err == nil || !strings.Contains(err.Error(), "neither a secret nor an error") {
		t.Errorf("Connect = %v", err)
	}
}
