package pgxv5

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/internal/jdbcurl"
)

// ParseURL parses a URL as PostgreSQL's JDBC driver, pgjdbc, has it:
//
//	postgresql://host:port/database?user=<secret id>&name=value
//	postgresql://host:port,[::1]:port/database?…
//	postgresql:database?…
//
// All but the user may be missing, the "/" too, which pgjdbc insists on. Values
// and the database are percent-decoded; "+" is itself, unlike in pgjdbc. Several
// hosts come back in URL.Host as the URL has them, which is a form that Prepare
// takes.
//
// A property is pgjdbc's, and then translated, or pgx's parameter or a setting of
// the server under its own name. One of pgjdbc's without a counterpart is an error.
func (e Engine) ParseURL(url string, own func(property string) bool) (u driver.URL, err error) {
	parts := jdbcurl.Split(url)
	props, err := jdbcurl.Properties(parts.Query)
	if err != nil {
		return u, err
	}
	// First of all, since other errors may quote what follows a "&" in a password.
	if err := jdbcurl.CheckCredentials(props); err != nil {
		return u, err
	}
	if u.Host, u.Port, err = parseAuthority(parts.Authority); err != nil {
		return u, err
	}
	if strings.IndexByte(parts.Path, '/') >= 0 {
		return u, errors.New(`the URL has a "/" too many; write "%2F" for one in the database's name`)
	}
	if u.Database, err = jdbcurl.Unescape(parts.Path); err != nil {
		return u, fmt.Errorf("the database's name: %w", err)
	}
	t := translation{Params: jdbcurl.Params{Values: map[string]string{}}}
	for _, p := range props {
		switch {
		case p.Name == "user":
			u.SecretID = p.Value
		case own(p.Name):
			err = t.Set(p.Name, p.Name, p.Value)
		case p.Name == "databaseName": // of pgjdbc's data sources
			if u.Database != "" {
				return u, errors.New(`property "databaseName": the URL has a database already`)
			}
			u.Database = p.Value
		default:
			err = t.property(p)
		}
		if err != nil {
			return u, err
		}
	}
	if u.SecretID == "" {
		return u, errors.New(`the URL has no "user"; it is the id of the secret`)
	}
	u.Params = t.finish()
	return u, nil
}

// parseAuthority parses one host with or without a port, or a list, which it
// returns as it is.
func parseAuthority(s string) (host string, port int, err error) {
	if strings.IndexByte(s, ',') < 0 {
		return jdbcurl.SplitHostPort(s)
	}
	if _, err := parseHosts(s, 1); err != nil {
		return "", 0, err
	}
	return s, 0, nil
}

// An address is a host to connect to: a name, or an IP address without brackets.
type address struct {
	host string
	port uint16
}

// parseHosts splits what ParseURL has put into URL.Host, or a single host.
func parseHosts(s string, defaultPort int) ([]address, error) {
	if defaultPort < 1 || defaultPort > 65535 {
		return nil, errors.New("the port is not a number from 1 to 65535")
	}
	if strings.IndexByte(s, ',') < 0 {
		if _, err := jdbcurl.ParseHost(s); err != nil {
			return nil, err
		}
		return []address{{s, uint16(defaultPort)}}, nil
	}
	var hosts []address
	for one := range strings.SplitSeq(s, ",") {
		host, port, err := jdbcurl.SplitHostPort(one)
		if err == nil && host == "" {
			err = errors.New("a host is empty")
		}
		if err != nil {
			return nil, fmt.Errorf("the list of hosts: %w", err)
		}
		if port == 0 {
			port = defaultPort
		}
		hosts = append(hosts, address{host, uint16(port)})
	}
	return hosts, nil
}

// A translation turns properties into parameters.
type translation struct {
	jdbcurl.Params
	ssl   string // "verify-full" if ssl=true
	login string // loginTimeout
}

func (t *translation) property(p jdbcurl.Property) error {
	if p.Bare && p.Name != "ssl" {
		// Not quoted: it may be what follows a "&" in a value.
		return errors.New("a property has no value")
	}
	switch p.Name {
	case "ssl":
		// pgjdbc: "any non-null value causes SSL to be required", in fact true or
		// empty means verify-full where there is no sslmode, and all else prefer.
		switch strings.ToLower(p.Value) {
		case "", "true":
			t.ssl = "verify-full"
		case "false":
		default:
			return errors.New(`property "ssl": it has to be true or false`)
		}
		return nil
	case "loginTimeout":
		if err := checkValue("connect_timeout", p.Value); err != nil {
			return fmt.Errorf("property %q: %w", p.Name, err)
		}
		t.login = p.Value
		return nil
	}
	known, ok := properties[p.Name]
	if slices.Contains(withoutCounterpart, p.Name) {
		known, ok = property{translate: none("")}, true
	}
	if !ok {
		return t.Set(p.Name, p.Name, p.Value) // CheckParams knows it or not
	}
	return t.Translate(p.Name, p.Value, known.param, known.translate, checkValue)
}

// finish settles what depends on two properties.
func (t *translation) finish() map[string]string {
	if _, ok := t.Values["sslmode"]; !ok && t.ssl != "" {
		t.Values["sslmode"] = t.ssl
	}
	// pgx's connect_timeout is for the whole login, as pgjdbc's loginTimeout is;
	// its connectTimeout is for the dial alone. 0 is none.
	if t.login != "" && !isZero(t.login) {
		t.Values["connect_timeout"] = t.login
	}
	return t.Values
}
