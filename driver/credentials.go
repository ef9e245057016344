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

// A target is what a login needs to know from one version of a secret and the data source name: the
// server, the database, and the credentials.
type target struct {
	secret *secretcache.Secret
	place
	user     string
	password Password
	keys     map[string]Password // values of Info.Keys
	address  string              // name of the place, for the gate and for people
}

// A place is the part of an Endpoint that comes from the secret or the data source name.
type place struct {
	host     string
	port     int
	database string
	ssl      bool // the secret asks for TLS
}

// parseSecret parses a secret's JSON. The data source name takes precedence over it. Fields that
// neither has get the engine's default. If token is true, the password is not read, because a token
// takes its place.
func parseSecret(s *secretcache.Secret, d *dataSource, info *Info, token bool) (*target, error) {
	t, err := decodeSecret(s).target(s, d, info, token)
	if err != nil {
		return nil, err
	}
	return t, nil
}

// target does the work of parseSecret. With an error it returns the fields that it could read.
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
	if !token || d.auth == authIAM { // otherwise the token may bring a user
		j.required(d.fields.username)
	}
	t.user = j.text(d.fields.username) // an error if it holds a control character
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

// otherEngine returns the error for a secret whose "engine" is not the driver's.
func otherEngine(engine string, info *Info) error {
	names := engineNamed(engine)
	if names == "" { // the error does not quote the value, which may be anything
		return mismatch(`key "engine" is not a name that the driver for %s knows; "engine=%s" in the data source name takes precedence over it`, info.Name, info.Name)
	}
	return mismatch(`the secret is for %s, and the driver is for %s: use the driver "secretsmanager-%s", or give "engine=%s" in the data source name if key "engine" is wrong`,
		names, info.Name, names, info.Name)
}

// engineNamed returns the engine of this module that a secret's "engine" means, or "".
func engineNamed(engine string) string {
	engine = strings.TrimPrefix(strings.ToLower(engine), "custom-")
	switch engine {
	case "postgres", "postgresql", "aurora-postgresql":
		return "postgres"
	case "mysql", "aurora", "aurora-mysql":
		return "mysql"
	}
	for _, name := range []string{"mariadb", "redshift", "oracle", "sqlserver", "db2"} {
		if strings.HasPrefix(engine, name) { // RDS writes names such as oracle-ee and sqlserver-web
			return name
		}
	}
	return ""
}

func malformed(err error) error {
	return &Error{Kind: ErrMalformedSecret, Err: err}
}

// A secretJSON reads the fields of a secret's JSON. err is the first error. It names keys and never
// values.
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
		// The decoder would replace invalid bytes, even in the password.
		j.fail("it is not text in UTF-8")
	case dec.Decode(&fields) != nil || fields == nil: // the decoder's error would quote the value
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

// fail sets err unless it is set.
func (j *secretJSON) fail(format string, args ...any) {
	if j.err == nil {
		j.err = fmt.Errorf(format, args...)
	}
}

// find sets err if a key is missing and there is one that people write by mistake: the key in another
// case, one of names (in the form of jdbcurl.Plain), or the key in a nested object. param is the
// parameter of the data source name that sets the key's name.
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
		j.fail("key %q is missing, and there is one in a nested object: only keys of the outermost object are read", key)
	}
}

// ssl reports whether the secret asks for TLS. It reads the key "ssl" as AWS's rotation functions do:
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

// text returns a string, or "" if it is absent, null or empty. A control character in it is an error,
// because some protocols would end the text there.
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

// required returns a string that must be there. Like a password, it may hold control characters other
// than NUL.
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

// password returns the password. It is optional if Info.NoPassword is true.
func (j *secretJSON) password(key string, info *Info) Password {
	j.find(key, "passwordKey", "password", "pass", "passwd", "pwd", "dbpassword")
	if j.fields[key] == nil && info.NoPassword {
		return Password{}
	}
	return NewPassword(j.required(key))
}

// keys returns the values of those names that the secret has.
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

// port returns a port, given as a number or a string. It is 0 if there is none.
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
		// AWS's JDBC library has the same rule: these characters would begin parameters in a URL.
		j.fail(`key %q holds one of "?#&;/"; if it is the database's name, give it as "dbname" in the data source name`, key)
		return ""
	}
	if v = cmp.Or(v, info.Database); v == "" && info.DatabaseRequired {
		j.fail(`key %q is missing: add it, or give "dbname" in the data source name`, key)
	}
	return v
}
