package rotation

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"

	"github.com/sqlsecrets/sqlsecrets/integration/internal/vendordb"
)

// A value is the value of a version of a secret.
type value struct {
	engine    *engine
	host      string
	port      int
	database  string
	username  string
	password  func() string // a func, so that nothing prints it
	superuser string        // the superuser's secret, or empty

	// with returns the same JSON with other credentials.
	with func(username, password string) (string, error)
}

// parse reads the JSON of a secret. with keeps the keys that parse does not know. The errors quote
// nothing, and do not wrap those of encoding/json.
func parse(text string) (*value, error) {
	var fields map[string]json.RawMessage
	if json.Unmarshal([]byte(text), &fields) != nil || fields == nil {
		return nil, errors.New("it is not a JSON object")
	}
	v := &value{}
	var name, password string
	for _, k := range []struct {
		key      string
		to       *string
		required bool
	}{
		{"engine", &name, true},
		{"host", &v.host, true},
		{"username", &v.username, true},
		{"password", &password, true},
		{"dbname", &v.database, false},
		{"masterarn", &v.superuser, false},
	} {
		raw, ok := fields[k.key]
		if ok && json.Unmarshal(raw, k.to) != nil {
			return nil, fmt.Errorf("%q is not a string", k.key)
		}
		if k.required && *k.to == "" {
			return nil, fmt.Errorf("%q is missing or empty", k.key)
		}
	}
	v.password = func() string { return password }
	if v.engine = engines[name]; v.engine == nil {
		return nil, errors.New(`"engine" is none that can be rotated`)
	}
	if v.database == "" {
		v.database = v.engine.database
	}
	if v.database == "" && v.engine.needsDatabase {
		return nil, errors.New(`"dbname" is missing or empty`)
	}
	v.port = v.engine.port
	if raw, ok := fields["port"]; ok {
		var number json.Number // a string is accepted, too
		port, err := 0, json.Unmarshal(raw, &number)
		if err == nil {
			port, err = strconv.Atoi(number.String())
		}
		if err != nil || port < 1 || port > 65535 {
			return nil, errors.New(`"port" is not a port`)
		}
		v.port = port
	}
	v.with = func(username, password string) (string, error) {
		fields := maps.Clone(fields)
		for key, s := range map[string]string{"username": username, "password": password} {
			raw, err := json.Marshal(s)
			if err != nil {
				return "", err
			}
			fields[key] = raw
		}
		b, err := json.Marshal(fields)
		return string(b), err
	}
	return v, nil
}

// account returns the address, user and password of a value.
func (v *value) account(tlsConfig *tls.Config) vendordb.Account {
	return vendordb.Account{Host: v.host, Port: v.port, Database: v.database, User: v.username, Password: v.password(), TLS: tlsConfig}
}
