package gosqldriver

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/internal/jdbcurl"
)

// ParseURL parses a URL as MySQL's JDBC driver, Connector/J, or MariaDB's has it:
//
//	mysql://host:port/database?user=<secret id>&name=value
//
// All but the user may be missing. Values and the database are percent-decoded; "+"
// is itself, unlike in Connector/J. Lists of hosts are refused, as are the forms
// mysql:loadbalance:, mysql:replication: and the like: go-sql-driver/mysql connects
// to one host.
//
// A property is one of the JDBC driver's, and then translated, or go-sql-driver's
// parameter or a variable of the session under its own name. One of the JDBC
// driver's without a counterpart is an error.
func (e Engine) ParseURL(raw string, own func(property string) bool) (u driver.URL, err error) {
	parts := jdbcurl.Split(raw)
	if !parts.HasAuthority {
		return u, fmt.Errorf("the URL is not of the form %s://host:port/database", e.Info().Name)
	}
	props, err := jdbcurl.Properties(parts.Query)
	if err != nil {
		return u, err
	}
	// First of all, since other errors may quote what follows a "&" in a password.
	if err := jdbcurl.CheckCredentials(props); err != nil {
		return u, err
	}
	if strings.ContainsAny(parts.Authority, ",(") {
		return u, errors.New("the URL has more than one host or a list of properties for one; go-sql-driver/mysql takes host:port")
	}
	if strings.ContainsRune(raw, '#') {
		return u, errors.New(`the URL has a "#"; write "%23" for it`) // Connector/J drops what follows
	}
	if u.Host, u.Port, err = jdbcurl.SplitHostPort(parts.Authority); err != nil {
		return u, err
	}
	if strings.IndexByte(parts.Path, '/') >= 0 {
		return u, errors.New(`the URL has a "/" too many; write "%2F" for one in the database's name`)
	}
	if u.Database, err = jdbcurl.Unescape(parts.Path); err != nil {
		return u, fmt.Errorf("the database's name: %w", err)
	}
	t := translation{mariaDB: e.MariaDB, Params: jdbcurl.Params{Values: map[string]string{}}, legacy: map[string]bool{}}
	for _, p := range props {
		switch {
		case p.Name == "user":
			u.SecretID = p.Value
		case own(p.Name):
			err = t.Set(p.Name, p.Name, p.Value)
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
	if u.Params, err = t.finish(); err != nil {
		return u, err
	}
	return u, nil
}

// A translation turns properties into parameters.
type translation struct {
	mariaDB bool
	jdbcurl.Params
	legacy map[string]bool // the properties about TLS that sslMode has replaced
}

func (t *translation) property(p jdbcurl.Property) error {
	if p.Bare && p.Name != "permitMysqlScheme" { // which is hardly ever given one
		// Not quoted: it may be what follows a "&" in a value.
		return errors.New("a property has no value")
	}
	switch p.Name {
	case "useSSL", "useSsl", "requireSSL", "verifyServerCertificate", "trustServerCertificate", "disableSslHostnameVerification":
		on, err := boolOf(p.Value)
		if err != nil {
			return fmt.Errorf("property %q: %w", p.Name, err)
		}
		t.legacy[strings.Replace(p.Name, "Ssl", "SSL", 1)] = on
		return nil
	case "sessionVariables":
		return t.sessionVariables(p.Value)
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

// finish settles what depends on several properties. sslMode wins over the older
// ones, which DefaultPropertySet.java of Connector/J and Configuration.java of
// MariaDB's driver translate to it. We differ once: with useSSL=true alone
// Connector/J goes on without TLS if the server has none.
func (t *translation) finish() (map[string]string, error) {
	if _, ok := t.Values["tls"]; ok || len(t.legacy) == 0 {
		return t.Values, nil
	}
	use, said := t.legacy["useSSL"]
	switch {
	case said && !use && (t.legacy["requireSSL"] || t.legacy["verifyServerCertificate"]):
		return nil, errors.New(`property "useSSL" is false, and another asks for TLS`)
	case said && !use:
		t.Values["tls"] = "false"
	case t.legacy["verifyServerCertificate"]:
		t.Values["tls"] = "true"
	case use && t.mariaDB && !t.legacy["trustServerCertificate"]:
		t.Values["tls"] = "true"
	case use || t.legacy["requireSSL"]:
		t.Values["tls"] = "skip-verify"
	}
	return t.Values, nil
}

// sessionVariables splits "a=1,b='x,y';c=2", as Connector/J does.
func (t *translation) sessionVariables(list string) error {
	for _, pair := range splitList(list) {
		name, value, ok := strings.Cut(pair, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if !ok || !isVariable(name) {
			return errors.New(`property "sessionVariables": it is not a list of name=value of known variables`)
		}
		if err := t.Set("sessionVariables", name, value); err != nil {
			return err
		}
	}
	return nil
}

// splitList splits at "," and ";" outside quotes and parentheses.
func splitList(list string) []string {
	var parts []string
	var quote byte
	start, depth := 0, 0
	for i := range len(list) {
		switch c := list[i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '\'' || c == '"' || c == '`':
			quote = c
		case c == '(':
			depth++
		case c == ')':
			depth--
		case depth == 0 && (c == ',' || c == ';'):
			parts = append(parts, list[start:i])
			start = i + 1
		}
	}
	return append(parts, list[start:])
}
