package main

import (
	sqldriver "database/sql/driver"
	"errors"
	"regexp"
	"slices"
	"strings"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// anyDriver is the name of the driver that takes the engine from the data source name or the secret.
const anyDriver = "secretsmanager"

// A connector is a *driver.Connector or a *driver.AnyConnector.
type connector interface {
	sqldriver.Connector
	Explain(s *secretcache.Secret) (driver.Explanation, error)
}

// A target is the pair that a program gives to sql.Open.
type target struct {
	driver string // "secretsmanager", "secretsmanager-postgres" or "postgres"; "" means "secretsmanager"
	dsn    string
}

var errArguments = errors.New("give one data source name, in quotation marks, with or without the driver's name before it")

// parseTarget reads the arguments of check: a data source name, with or without the driver's name
// before it. The two may be one argument, such as "secretsmanager-postgres prod/app" from a log.
func parseTarget(driverFlag string, args []string) (target, error) {
	t := target{driver: driverFlag}
	switch {
	case len(args) == 2 && t.driver == "":
		t.driver, t.dsn = args[0], args[1]
	case len(args) == 1:
		t.dsn = args[0]
	default:
		return t, errArguments
	}
	if name, rest, ok := cutDriver(t.dsn); ok && (t.driver == "" || t.driver == name) {
		t.driver, t.dsn = name, rest
	}
	return t, nil
}

var driverPrefix = regexp.MustCompile(`^(secretsmanager(?:-[a-z0-9]+)?)(?:://|:| +)`)

// cutDriver splits a driver's name from the data source name after it. ok is false if there is none.
func cutDriver(dsn string) (name, rest string, ok bool) {
	m := driverPrefix.FindStringSubmatch(dsn)
	if m == nil {
		return "", dsn, false
	}
	return m[1], strings.TrimPrefix(dsn, m[0]), true
}

// engine returns the engine of the target's driver. all is true if that is the driver for all
// engines.
func (t target) engine(known []driver.Engine) (e driver.Engine, all bool, err error) {
	name := strings.TrimPrefix(t.driver, anyDriver+"-")
	if name == "" || name == anyDriver {
		return nil, true, nil
	}
	i := slices.IndexFunc(known, func(e driver.Engine) bool { return e.Info().Name == name })
	if i < 0 {
		var names []string
		for _, e := range known {
			names = append(names, anyDriver+"-"+e.Info().Name)
		}
		return nil, false, errors.New("the driver is not one of " + anyDriver + ", " + strings.Join(names, ", ") +
			"; if the program registers a driver by another name, give the one of these for the same engine")
	}
	return known[i], false, nil
}

// connector returns the connector that sql.Open would make from the target.
func (t target) connector(known []driver.Engine, opts *driver.Options) (connector, error) {
	e, all, err := t.engine(known)
	if err != nil {
		return nil, err
	}
	if all {
		c, err := driver.NewAnyDriver(anyDriver, known, engines.Options(opts)).NewConnector(t.dsn)
		if err != nil {
			return nil, err
		}
		return c, nil
	}
	c, err := driver.NewConnector(e, t.dsn, engines.Options(opts))
	if err != nil {
		return nil, err
	}
	return c, nil
}

// databaseURL matches a database's own URL or connection string: a URL, user:password@host, MySQL's
// form, Oracle's user/password@host:port, or a list of key=value. No id of a secret looks like that.
var databaseURL = regexp.MustCompile(`(?i)^[^?]*://|^[^?/]*:[^?]*@|@(tcp|unix)\(|^[^?:/]+/[^?]*@(//|[^?]*:)|^[^?]*(password|passwd|pwd) *=`)

// isDatabaseURL reports whether a data source name that does not parse may be a database's own URL or
// connection string. Those may hold a password.
func isDatabaseURL(dsn string) bool {
	return !strings.HasPrefix(dsn, "jdbc-secretsmanager:") && databaseURL.MatchString(dsn)
}
