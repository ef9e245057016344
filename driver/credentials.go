package driver

import (
	"bytes"
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

// parseSecret reads a secret's JSON. What the DSN says goes before it, what
// neither says is the engine's default. Errors name keys and never values.
func parseSecret(s *secretcache.Secret, d *dataSource, info *Info) (*target, error) {
	m, err := decodeSecret(s)
	if err != nil {
		return nil, err
	}
	t := &target{secret: s, host: d.host, port: d.port, database: d.database}

	if d.engine == "" {
		engine, err := text(m, "engine")
		if err != nil {
			return nil, malformed(err)
		}
		if engine != "" && !info.Accepts(strings.ToLower(engine)) {
			return nil, mismatch(`key "engine" names another database than the driver for %s; "engine=%s" in the data source name overrides it`, info.Name, info.Name)
		}
	}
	if t.host == "" {
		host, err := text(m, d.fields.host)
		if err == nil && host == "" {
			err = fmt.Errorf(`key %q is missing; secrets that RDS or Redshift manages have none: give "host" in the data source name`, d.fields.host)
		}
		if err == nil {
			if t.host, err = checkHost(host); err != nil {
				err = fmt.Errorf("key %q: %w", d.fields.host, err)
			}
		}
		if err != nil {
			return nil, malformed(err)
		}
	}
	if t.port == 0 {
		var err error
		if t.port, err = port(m, d.fields.port); err != nil {
			return nil, malformed(err)
		}
		if t.port == 0 {
			t.port = info.Port
		}
	}
	if t.database == "" {
		var err error
		if t.database, err = text(m, d.fields.database); err != nil {
			return nil, malformed(err)
		}
		// As AWS's JDBC library does: what would be parameters in a URL is hardly a name.
		if strings.ContainsAny(t.database, "?#&;/") {
			return nil, malformed(fmt.Errorf(`key %q holds one of "?#&;/"; if it is the database's name, give it as "dbname" in the data source name`, d.fields.database))
		}
		if t.database == "" {
			t.database = info.Database
		}
		if t.database == "" && info.DatabaseRequired {
			return nil, malformed(fmt.Errorf(`key %q is missing; give it, or "dbname" in the data source name`, d.fields.database))
		}
	}
	if t.user, err = required(m, d.fields.username); err == nil {
		_, err = text(m, d.fields.username)
	}
	if err != nil {
		return nil, malformed(err)
	}
	password, err := required(m, d.fields.password)
	if err != nil {
		return nil, malformed(err)
	}
	t.password = NewPassword(password)
	t.address = net.JoinHostPort(t.host, strconv.Itoa(t.port))
	return t, nil
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
