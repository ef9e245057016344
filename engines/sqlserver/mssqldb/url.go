package mssqldb

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/internal/jdbcurl"
)

// ParseURL parses a URL as Microsoft's JDBC driver for SQL Server has it:
//
//	sqlserver://host\instance:port;databaseName=app;user=<secret id>;name=value
//
// All but the user may be missing. Nothing is percent-decoded; a value in braces may hold
// anything, with "}}" for "}". An IPv6 address is in brackets or the value of serverName.
// An instance without a port is looked up at SQL Server Browser; with one it is ignored.
//
// A property is one of the JDBC driver's, case ignored, and then translated, or
// go-mssqldb's parameter under its own name without spaces. One of the JDBC driver's
// without a counterpart is an error. Without encrypt the connection is encrypted and
// verified.
func (e Engine) ParseURL(raw string, own func(property string) bool) (u driver.URL, err error) {
	_, rest, _ := strings.Cut(raw, ":")
	rest, ok := strings.CutPrefix(rest, "//")
	if !ok {
		return u, errors.New("the URL is not of the form sqlserver://host:port;databaseName=name;user=id")
	}
	address, list, _ := strings.Cut(rest, ";")
	props, err := splitProperties(list)
	if err != nil {
		return u, err
	}
	// First of all, since other errors may quote what follows a ";" in a password.
	if err := jdbcurl.CheckCredentials(props); err != nil {
		return u, err
	}
	t := translation{jdbcurl.Params{Values: map[string]string{}}}
	if err := t.address(address); err != nil {
		return u, err
	}
	for _, p := range props {
		lower := strings.ToLower(p.Name)
		switch {
		case p.Name == "user":
			u.SecretID = p.Value
		case lower == "servername", lower == "server":
			err = t.serverName(p)
		case lower == "portnumber", lower == "port":
			err = t.Set(p.Name, "port number", p.Value)
		case lower == "instancename":
			err = t.Set(p.Name, "instance", p.Value)
		case lower == "databasename", lower == "database":
			err = t.Set(p.Name, "database", p.Value)
		case own(p.Name):
			err = t.Set(p.Name, p.Name, p.Value)
		default:
			err = t.property(p.Name, lower, p.Value)
		}
		if err != nil {
			return u, err
		}
	}
	if u.SecretID == "" {
		return u, errors.New(`the URL has no "user"; it is the id of the secret`)
	}
	if err := t.finish(&u); err != nil {
		return u, err
	}
	return u, nil
}

// splitProperties splits "name=value;name={value}". It refuses a name that is given
// twice, case ignored.
func splitProperties(list string) ([]jdbcurl.Property, error) {
	var ps []jdbcurl.Property
	seen := map[string]bool{}
	for list != "" {
		var name, value string
		end := strings.IndexAny(list, ";=")
		if end < 0 || list[end] == ';' {
			if end < 0 {
				end = len(list)
			}
			if strings.TrimSpace(list[:end]) != "" {
				// Not quoted: it may be what follows a ";" in a value.
				return nil, errors.New(`a property has no value; write {…} around a value that holds ";"`)
			}
			list = strings.TrimPrefix(list[end:], ";")
			continue
		}
		name = strings.TrimSpace(list[:end])
		if !jdbcurl.IsName(name) {
			return nil, errors.New(`a property has a name that none has; write {…} around a value that holds ";"`)
		}
		if lower := strings.ToLower(name); seen[lower] {
			return nil, fmt.Errorf("property %q is given twice", name)
		} else {
			seen[lower] = true
		}
		var err error
		if value, list, err = cutValue(list[end+1:]); err != nil {
			return nil, fmt.Errorf("property %q: %w", name, err)
		}
		if strings.IndexByte(value, 0) >= 0 {
			return nil, fmt.Errorf("property %q: a NUL character", name)
		}
		ps = append(ps, jdbcurl.Property{Name: name, Value: value})
	}
	return ps, nil
}

var errBraces = errors.New(`a value with "{" or ";" in it is in braces, with "}}" for "}"`)

// cutValue returns the value that a list begins with, and what follows it.
func cutValue(list string) (value, rest string, err error) {
	end := strings.IndexAny(list, ";{")
	switch {
	case end < 0:
		return strings.TrimSpace(list), "", nil
	case list[end] == ';':
		return strings.TrimSpace(list[:end]), list[end+1:], nil
	case strings.TrimSpace(list[:end]) != "":
		return "", "", errBraces
	}
	var b strings.Builder
	for rest = list[end+1:]; ; {
		part, after, ok := strings.Cut(rest, "}")
		if !ok {
			return "", "", errBraces
		}
		b.WriteString(part)
		if rest, ok = strings.CutPrefix(after, "}"); !ok {
			break
		}
		b.WriteByte('}')
	}
	between, rest, _ := strings.Cut(rest, ";")
	if strings.Trim(between, " ") != "" {
		return "", "", errBraces
	}
	return b.String(), rest, nil
}

// A translation turns properties into parameters. Besides those, it has "server", "port
// number", "instance" and "database".
type translation struct{ jdbcurl.Params }

// address reads host\instance:port.
func (t *translation) address(s string) error {
	if s == "" {
		return nil
	}
	if strings.IndexByte(s, ',') >= 0 {
		return errors.New("the URL has several hosts, and go-mssqldb connects to one: name the availability group's listener")
	}
	host, instance, hasInstance := strings.Cut(s, `\`)
	port, hasPort := "", false
	if hasInstance {
		instance, port, hasPort = strings.Cut(instance, ":")
		s = host
	}
	host, number, err := jdbcurl.SplitHostPort(s)
	switch {
	case err != nil:
		return err
	case hasInstance && number != 0:
		return errors.New(`the URL has a port before the "\"; it is host\instance:port`)
	case number != 0:
		port, hasPort = strconv.Itoa(number), true
	}
	if host != "" {
		err = t.Set("the URL's host", "server", host)
	}
	if hasInstance && err == nil {
		err = t.Set("the URL's instance", "instance", instance)
	}
	if hasPort && err == nil {
		err = t.Set("the URL's port", "port number", port)
	}
	return err
}

// serverName reads a host that may have an instance after it.
func (t *translation) serverName(p jdbcurl.Property) error {
	host, instance, ok := strings.Cut(p.Value, `\`)
	if inner, ok := strings.CutPrefix(host, "["); ok {
		host = strings.TrimSuffix(inner, "]")
	}
	host, err := jdbcurl.ParseHost(host)
	if err != nil {
		return fmt.Errorf("property %q: %w", p.Name, err)
	}
	if err := t.Set(p.Name, "server", host); err != nil || !ok {
		return err
	}
	return t.Set(p.Name, "instance", instance)
}

func (t *translation) property(name, lower, value string) error {
	known, ok := properties[lower]
	if slices.Contains(withoutCounterpart, lower) {
		known, ok = property{translate: none("")}, true
	}
	if !ok {
		known.param = name // CheckParams knows it or not
		if r, ok := rules[lower]; ok {
			known.param = r.name
		}
	}
	return t.Translate(name, value, known.param, known.translate, checkValue)
}

// finish moves out of the parameters what has a place of its own, and settles what
// depends on several.
func (t *translation) finish(u *driver.URL) error {
	take := func(param string) (string, bool) {
		v, ok := t.Values[param]
		delete(t.Values, param)
		return v, ok
	}
	u.Host, _ = take("server")
	if port, ok := take("port number"); ok {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return errors.New("the port is not a number from 1 to 65535")
		}
		u.Port = int(n)
	}
	var named bool
	if u.Database, named = take("database"); named && u.Database == "" {
		return errors.New("the database's name is empty")
	}
	if instance, ok := t.Values["instance"]; ok {
		if !isInstance(instance) {
			return errors.New("the instance's name is none")
		}
		if u.Port != 0 {
			delete(t.Values, "instance")
		}
	}
	// mssql-jdbc does not verify what encrypts the login alone.
	encrypt, said := t.Values["encrypt"]
	if !said {
		t.Values["encrypt"] = "true"
	} else if encryption(map[string]string{"encrypt": encrypt}) == "false" {
		if _, ok := t.Values["trustservercertificate"]; !ok && t.Values["hostnameincertificate"] == "" && t.Values["servercertificate"] == "" && t.Values["certificate"] == "" {
			t.Values["trustservercertificate"] = "true"
		}
	}
	u.Params = t.Values
	return nil
}
