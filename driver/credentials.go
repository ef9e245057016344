package driver

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// A target is what one version of a secret says together with the DSN: where to
// connect and as whom.
type target struct {
	secret   *secretcache.Secret
	host     string
	port     int
	database string
	user     string
	password Password
	address  string // host and port, for the guard and for people
}

// parseSecret reads a secret's JSON. What the DSN says takes precedence over it; what
// neither says is the engine's default. Errors name keys and never values.
func parseSecret(s *secretcache.Secret, d *dataSource, info *Info) (*target, error) {
	m, err := decodeSecret(s)
	if err != nil {
		return nil, err
	}
	if err := d.checkEngine(m, info); err != nil {
		return nil, err
	}
	t := &target{secret: s, host: d.host, port: d.port, database: d.database}
	if t.host == "" {
		t.host, err = hostOf(m, d.fields.host)
	}
	if err == nil && t.port == 0 {
		t.port, err = port(m, d.fields.port)
		t.port = cmp.Or(t.port, info.Port)
	}
	if err == nil && t.database == "" {
		t.database, err = databaseOf(m, d.fields.database, info)
	}
	if err == nil {
		t.user, err = required(m, d.fields.username)
	}
	if err == nil {
		_, err = text(m, d.fields.username)
	}
	if err == nil {
		var password string
		password, err = required(m, d.fields.password)
		t.password = NewPassword(password)
	}
	if err != nil {
		return nil, malformed(err)
	}
	t.address = net.JoinHostPort(t.host, strconv.Itoa(t.port))
	return t, nil
}

// checkEngine returns an error if the secret is another engine's, unless the DSN says
// which one it is.
func (d *dataSource) checkEngine(m map[string]any, info *Info) error {
	if d.engine != "" {
		return nil
	}
	engine, err := text(m, "engine")
	if err != nil {
		return malformed(err)
	}
	if engine != "" && !info.Accepts(strings.ToLower(engine)) {
		return mismatch(`key "engine" names another database than the driver for %s; "engine=%s" in the data source name overrides it`, info.Name, info.Name)
	}
	return nil
}

func hostOf(m map[string]any, key string) (string, error) {
	host, err := text(m, key)
	if err == nil && host == "" {
		err = fmt.Errorf(`key %q is missing; secrets that RDS or Redshift manages have none: give "host" in the data source name`, key)
	}
	if err != nil {
		return "", err
	}
	if host, err = checkHost(host); err != nil {
		err = fmt.Errorf("key %q: %w", key, err)
	}
	return host, err
}

func databaseOf(m map[string]any, key string, info *Info) (string, error) {
	database, err := text(m, key)
	switch {
	case err != nil:
		return "", err
	case strings.ContainsAny(database, "?#&;/"):
		// As AWS's JDBC library does: what would be parameters in a URL is hardly a name.
		return "", fmt.Errorf(`key %q holds one of "?#&;/"; if it is the database's name, give it as "dbname" in the data source name`, key)
	}
	if database = cmp.Or(database, info.Database); database == "" && info.DatabaseRequired {
		return "", fmt.Errorf(`key %q is missing; give it, or "dbname" in the data source name`, key)
	}
	return database, nil
}

func malformed(err error) error {
	return &Error{Kind: ErrMalformedSecret, Err: err}
}

// decodeSecret returns the fields of a secret's JSON.
func decodeSecret(s *secretcache.Secret) (map[string]any, error) {
	var m map[string]any
	value := s.Bytes()
	switch {
	case bytes.HasPrefix(value, []byte("\ufeff")):
		return nil, malformed(errors.New("it begins with a byte order mark; store it without"))
	case !utf8.Valid(value):
		// The decoder would replace what is invalid, also in the password.
		return nil, malformed(errors.New("it is not text in UTF-8"))
	}
	dec := json.NewDecoder(bytes.NewReader(value))
	dec.UseNumber()
	// The causes are dropped: they quote the value.
	if dec.Decode(&m) != nil || m == nil {
		return nil, malformed(errors.New("it is not a JSON object"))
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, malformed(errors.New("something follows the JSON object"))
	}
	return m, nil
}

// text returns a string that may be absent, null or empty. A control character
// in it would end the text in some protocol, and begin another.
func text(m map[string]any, key string) (string, error) {
	switch v := m[key].(type) {
	case nil:
		return "", nil
	case string:
		if strings.IndexFunc(v, unicode.IsControl) >= 0 {
			return "", fmt.Errorf("key %q holds a control character", key)
		}
		return v, nil
	default:
		return "", fmt.Errorf("key %q is not a string", key)
	}
}

// required returns a string that has to be there. It may hold control characters
// other than NUL, as a password does.
func required(m map[string]any, key string) (string, error) {
	v, ok := m[key].(string)
	switch {
	case m[key] == nil:
		return "", fmt.Errorf("key %q is missing", key)
	case !ok:
		return "", fmt.Errorf("key %q is not a string", key)
	case v == "":
		return "", fmt.Errorf("key %q is empty", key)
	case strings.ContainsRune(v, 0):
		return "", fmt.Errorf("key %q holds a NUL character", key)
	}
	return v, nil
}

// port returns a port given as a number or a string, 0 if there is none.
func port(m map[string]any, key string) (int, error) {
	var s string
	switch v := m[key].(type) {
	case nil:
		return 0, nil
	case string:
		s = v
	case json.Number:
		s = v.String()
	default:
		return 0, fmt.Errorf("key %q is neither a number nor a string", key)
	}
	if s == "" {
		return 0, nil
	}
	n, err := parsePort(s)
	if err != nil {
		return 0, fmt.Errorf("key %q: %w", key, err)
	}
	return n, nil
}
