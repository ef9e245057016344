package driver

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sqlsecrets/sqlsecrets/internal/jdbcurl"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// A target is what one version of a secret says together with the DSN: where to
// connect and as whom.
type target struct {
	secret *secretcache.Secret
	place
	user     string
	password Password
	keys     map[string]Password // of Info.Keys
	address  string              // of the place, for the gate and for people
}

// A place is the part of an Endpoint that the secret or the DSN says.
type place struct {
	host     string
	port     int
	database string
	ssl      bool // the secret asks for TLS
}

// parseSecret reads a secret's JSON. What the DSN says takes precedence over it; what
// neither says is the engine's default. With token, a token takes the place of the password,
// which is not read.
func parseSecret(s *secretcache.Secret, d *dataSource, info *Info, token bool) (*target, error) {
	t, err := decodeSecret(s).target(s, d, info, token)
	if err != nil {
		return nil, err
	}
	return t, nil
}

// target is parseSecret. With an error it returns as much as the secret says.
func (j *secretJSON) target(s *secretcache.Secret, d *dataSource, info *Info, token bool) (*target, error) {
	t := &target{secret: s, place: d.place}
	if d.engine == "" {
		if engine := j.text("engine"); engine != "" && !info.Accepts(strings.ToLower(engine)) {
			return t, otherEngine(engine, info)
		}
	}
	if t.host == "" {
		t.host = j.host(d.fields.host, info)
	}
	if info.Instance != nil {
		t.host = jdbcurl.WithInstance(t.host, info.Instance(d.params))
	}
	if t.port == 0 {
		t.port = cmp.Or(j.port(d.fields.port), info.Port)
	}
	if t.database == "" {
		t.database = j.database(d.fields.database, info)
	}
	t.ssl = j.ssl(info)
	j.find(d.fields.username, "usernameKey", "username", "user", "dbuser", "dbusername")
	if !token || d.auth == authIAM { // else the token may bring a user
		j.required(d.fields.username)
	}
	t.user = j.text(d.fields.username) // it may hold no control character
	if !token {
		t.password = j.password(d.fields.password, info)
	}
	t.keys = j.keys(info.Keys)
	if j.err != nil {
		return t, malformed(j.err)
	}
	t.address = t.place.address()
	return t, nil
}

// otherEngine returns the error of a secret whose "engine" is not the driver's.
func otherEngine(engine string, info *Info) error {
	names := engineNamed(engine)
	if names == "" { // the value may be anything, and is not quoted
		return mismatch(`key "engine" is not a name that the driver for %s knows; "engine=%s" in the data source name takes precedence over it`, info.Name, info.Name)
	}
	return mismatch(`the secret is for %s, and the driver is for %s: use the driver "secretsmanager-%s", or give "engine=%s" in the data source name if key "engine" is wrong`,
		names, info.Name, names, info.Name)
}

// engineNamed returns the engine of this module that a secret's "engine" names, or "".
func engineNamed(engine string) string {
	engine = strings.TrimPrefix(strings.ToLower(engine), "custom-")
	switch engine {
	case "postgres", "postgresql", "aurora-postgresql":
		return "postgres"
	case "mysql", "aurora", "aurora-mysql":
		return "mysql"
	}
	for _, name := range []string{"mariadb", "redshift", "oracle", "sqlserver", "db2"} {
		if strings.HasPrefix(engine, name) { // RDS has oracle-ee, sqlserver-web and the like
			return name
		}
	}
	return ""
}

func malformed(err error) error {
	return &Error{Kind: ErrMalformedSecret, Err: err}
}

// A secretJSON reads the fields of a secret's JSON. What is wrong with it, or with the
// first field that is, ends in err, which names keys and never values.
type secretJSON struct {
	fields map[string]any
	err    error
}

func decodeSecret(s *secretcache.Secret) *secretJSON {
	var fields map[string]any
	value := s.Bytes()
	dec := json.NewDecoder(bytes.NewReader(value))
	dec.UseNumber()
	j := &secretJSON{}
	switch {
	case bytes.HasPrefix(value, []byte("\ufeff")):
		j.fail("it begins with a byte order mark; store it without one")
	case !utf8.Valid(value):
		// The decoder would replace what is invalid, also in the password.
		j.fail("it is not text in UTF-8")
	case dec.Decode(&fields) != nil || fields == nil: // the cause would quote the value
		j.fail("it is not a JSON object")
	default:
		if _, err := dec.Token(); !errors.Is(err, io.EOF) {
			j.fail("something follows the JSON object")
			break
		}
		j.fields = fields
	}
	return j
}

// fail notes an error unless there is one.
func (j *secretJSON) fail(format string, args ...any) {
	if j.err == nil {
		j.err = fmt.Errorf(format, args...)
	}
}

// find notes an error if a key is missing and one that people write in its place is there:
// in another case, one of names as jdbcurl.Plain has them, or in a nested object. param is
// the parameter that says the key's name.
func (j *secretJSON) find(key, param string, names ...string) {
	if j.fields[key] != nil {
		return
	}
	nested := ""
	for _, k := range slices.Sorted(maps.Keys(j.fields)) {
		switch v := j.fields[k].(type) {
		case nil:
		case map[string]any:
			if v[key] != nil {
				nested = key
			}
		default:
			if k != key && slices.Contains(names, jdbcurl.Plain(k)) {
				j.fail(`key %q is missing, and %q is there: give "%s=%s" in the data source name`, key, k, param, k)
				return
			}
		}
	}
	if nested != "" {
		j.fail("key %q is missing; there is one in a nested object, but only keys of the outermost object are read", key)
	}
}

// ssl reports whether the secret asks for TLS, as AWS's rotation functions read it:
// https://github.com/aws-samples/aws-secrets-manager-rotation-lambdas, get_ssl_config.
func (j *secretJSON) ssl(info *Info) bool {
	text, _ := j.fields["ssl"].(string)
	if j.fields["ssl"] != true && !strings.EqualFold(text, "true") {
		return false
	}
	if info.TurnsTLSOff == nil {
		j.fail(`key "ssl" asks for TLS, but the engine %s cannot guarantee it; remove the key, and ask for TLS with the engine's own parameters`, info.Name)
	}
	return true
}

// text returns a string that may be absent, null or empty. A control character
// in it would end the text in some protocol, and begin another.
func (j *secretJSON) text(key string) string {
	v, ok := j.fields[key].(string)
	switch {
	case j.fields[key] != nil && !ok:
		j.fail("key %q is not a string", key)
	case strings.IndexFunc(v, unicode.IsControl) >= 0:
		j.fail("key %q holds a control character", key)
		return ""
	}
	return v
}

// required returns a string that has to be there. It may hold control characters
// other than NUL, as a password does.
func (j *secretJSON) required(key string) string {
	v, ok := j.fields[key].(string)
	switch {
	case j.fields[key] == nil:
		j.fail("key %q is missing", key)
	case !ok:
		j.fail("key %q is not a string", key)
	case v == "":
		j.fail("key %q is empty", key)
	case strings.ContainsRune(v, 0):
		j.fail("key %q holds a NUL character", key)
	}
	return v
}

// password returns the password, which some engines can do without.
func (j *secretJSON) password(key string, info *Info) Password {
	j.find(key, "passwordKey", "password", "pass", "passwd", "pwd", "dbpassword")
	if j.fields[key] == nil && info.NoPassword {
		return Password{}
	}
	return NewPassword(j.required(key))
}

// keys returns those keys that are there.
func (j *secretJSON) keys(names []string) map[string]Password {
	keys := map[string]Password{}
	for _, name := range names {
		if j.fields[name] != nil {
			keys[name] = NewPassword(j.required(name))
		}
	}
	return keys
}

func (j *secretJSON) host(key string, info *Info) string {
	j.find(key, "hostKey", "host", "hostname", "dbhost")
	v := j.text(key)
	if v == "" {
		j.fail(`key %q is missing; secrets that RDS or Redshift manages have none: give "host" in the data source name`, key)
	}
	host, err := parseHost(v)
	if err == nil {
		err = info.takesHost(host)
	}
	if err != nil {
		j.fail("key %q: %w", key, err)
		return ""
	}
	return host
}

// port returns a port given as a number or a string, 0 if there is none.
func (j *secretJSON) port(key string) int {
	j.find(key, "portKey", "port", "dbport")
	var s string
	switch v := j.fields[key].(type) {
	case nil:
	case string:
		s = v
	case json.Number:
		s = v.String()
	default:
		j.fail("key %q is neither a number nor a string", key)
	}
	if s == "" {
		return 0
	}
	n, err := parsePort(s)
	if err != nil {
		j.fail("key %q: %w", key, err)
	}
	return n
}

func (j *secretJSON) database(key string, info *Info) string {
	j.find(key, "dbnameKey", "dbname", "database", "databasename", "db")
	v := j.text(key)
	if strings.ContainsAny(v, "?#&;/") {
		// As AWS's JDBC library does: what would be parameters in a URL is hardly a name.
		j.fail(`key %q holds one of "?#&;/"; if it is the database's name, give it as "dbname" in the data source name`, key)
		return ""
	}
	if v = cmp.Or(v, info.Database); v == "" && info.DatabaseRequired {
		j.fail(`key %q is missing: add it, or give "dbname" in the data source name`, key)
	}
	return v
}
