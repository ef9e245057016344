package mssqldb

import (
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/driver/vocabulary"
	"github.com/sqlsecrets/sqlsecrets/internal/jdbcurl"
)

// ParseURL parses a URL in the form of Microsoft's JDBC driver for SQL Server:
//
//	sqlserver://host\instance:port;databaseName=app;user=<secret id>;name=value
//
// Only the user is required. Nothing is percent-decoded. A value in braces may contain any
// character, with "}}" for "}". An IPv6 address is in brackets, or is the value of serverName. If
// an instance has no port, SQL Server Browser is asked for it; with a port, the instance is
// ignored.
//
// A property of the JDBC driver, in upper or lower case, is translated, or is an error if
// go-mssqldb has no counterpart. A parameter of go-mssqldb is taken under its own name without
// spaces. Without encrypt, the connection is encrypted and the server is verified.
func (e Engine) ParseURL(raw string, own func(property string) bool) (driver.URL, error) {
	_, rest, _ := strings.Cut(raw, ":")
	rest, ok := strings.CutPrefix(rest, "//")
	if !ok {
		return driver.URL{}, errors.New("the URL is not of the form sqlserver://host:port;databaseName=name;user=id")
	}
	address, list, _ := strings.Cut(rest, ";")
	pairs, err := splitProperties(list)
	if err != nil {
		return driver.URL{}, err
	}
	t := words.NewTranslation()
	if err := readAddress(t, address); err != nil {
		return driver.URL{}, err
	}
	// In this URL "port" is a property of the JDBC driver, and not the key of the Connector.
	return t.Translate(pairs, func(property string) bool {
		return properties[strings.ToLower(property)].Apply == nil && own(property)
	})
}

// splitProperties splits "name=value;name={value}". A name that is given twice, in upper or lower
// case, is an error.
func splitProperties(list string) ([]vocabulary.Pair, error) {
	var ps []vocabulary.Pair
	seen := map[string]bool{}
	for list != "" {
		var name, value string
		end := strings.IndexAny(list, ";=")
		if end < 0 || list[end] == ';' {
			if end < 0 {
				end = len(list)
			}
			if strings.TrimSpace(list[:end]) != "" {
				// The error does not quote it, because it may be the end of a value that has a ";".
				return nil, errors.New(`a property has no value: write {…} around a value that holds ";"`)
			}
			list = strings.TrimPrefix(list[end:], ";")
			continue
		}
		name = strings.TrimSpace(list[:end])
		if !jdbcurl.IsName(name) {
			return nil, errors.New(`a property has an impossible name: write {…} around a value that holds ";"`)
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
		ps = append(ps, vocabulary.Pair{Name: name, Value: value})
	}
	return ps, nil
}

var errBraces = errors.New(`the braces of the value are not in the right place: write {…} around a value that holds "{" or ";", and "}}" for "}" in it`)

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

// portNumber is the parameter in which a translation keeps the port, until finish takes it out of
// the parameters. finish also takes out "server", "database" and, if there is a port, "instance".
const portNumber = "port number"

// readAddress reads host\instance:port.
func readAddress(t *vocabulary.Translation, s string) error {
	if strings.IndexByte(s, ',') >= 0 {
		return errors.New("the URL has several hosts, and go-mssqldb connects to one: name the availability group's listener")
	}
	s, instance, hasInstance := strings.Cut(s, `\`)
	host, number, err := jdbcurl.SplitHostPort(s)
	if err != nil {
		return err
	}
	instance, port, hasPort := strings.Cut(instance, ":")
	if number != 0 {
		if hasInstance {
			return errors.New(`the URL has a port before the "\": write host\instance:port`)
		}
		port, hasPort = strconv.Itoa(number), true
	}
	if host != "" {
		err = t.Set("the URL's host", "server", host)
	}
	if hasInstance && err == nil {
		err = t.Set("the URL's instance", "instance", instance)
	}
	if hasPort && err == nil {
		err = t.Set("the URL's port", portNumber, port)
	}
	return err
}

// place returns the Apply func of a property that is one part of the address, or the database.
func place(param string) func(t *vocabulary.Translation, p vocabulary.Pair) error {
	return func(t *vocabulary.Translation, p vocabulary.Pair) error { return t.Set(p.Name, param, p.Value) }
}

// serverName reads a host, which may have an instance after it.
func serverName(t *vocabulary.Translation, p vocabulary.Pair) error {
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

// finish gives each parameter its own spelling, takes the address and the database out of the
// parameters, and settles what depends on several parameters.
func finish(t *vocabulary.Translation) error {
	for name, value := range maps.Clone(t.Params) {
		// In a URL the names of go-mssqldb are in any case and without spaces.
		if _, ok := params[plain(name)]; ok {
			delete(t.Params, name)
			t.Params[plain(name)] = value
		}
	}
	if err := takePlaces(t); err != nil {
		return err
	}
	// mssql-jdbc does not verify the server if only the login is encrypted.
	if !isSet(t.Params, "encrypt") {
		t.Params["encrypt"] = "true"
	} else if encryption(t.Params) == "false" && !isSet(t.Params, verifying...) && !isSet(t.Params, "trustservercertificate") {
		t.Params["trustservercertificate"] = "true"
	}
	return nil
}

var errInstance = errors.New("the name of the instance is not valid")

// takePlaces takes the address and the database out of the parameters.
func takePlaces(t *vocabulary.Translation) error {
	take := func(param string) (string, bool) {
		v, ok := t.Params[param]
		delete(t.Params, param)
		return v, ok
	}
	t.Host, _ = take("server")
	if port, ok := take(portNumber); ok {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return errors.New("the port is not a number from 1 to 65535")
		}
		t.Port = int(n)
	}
	var named bool
	if t.Database, named = take("database"); named && t.Database == "" {
		return errors.New("the name of the database is empty")
	}
	if instance, ok := t.Params["instance"]; ok && !jdbcurl.IsInstance(instance) {
		return errInstance
	}
	if t.Port != 0 {
		delete(t.Params, "instance")
	}
	return nil
}
