package db2

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
)

// DefaultDriver is the name that go_ibm_db registers with database/sql.
const DefaultDriver = "go_ibm_db"

// An Engine connects to Db2 with a driver that the program has registered with
// database/sql. The zero Engine is ready.
type Engine struct {
	// Driver is the name of that driver, which takes a connection string of IBM's CLI
	// and is looked up at the first connect. Empty means DefaultDriver.
	Driver string
}

var (
	_ driver.Engine        = Engine{}
	_ driver.AccountLocked = Engine{}
)

// Info describes Db2.
func (e Engine) Info() driver.Info {
	return driver.Info{
		Name:             "db2",
		Schemes:          []string{"db2"},
		Accepts:          func(s string) bool { return strings.HasPrefix(s, "db2") },
		Port:             50000,
		DatabaseRequired: true,
		// TLS's files are read by the CLI driver, at each connect as far as its documentation
		// goes, and not here: there are no Files.
		TurnsTLSOff: func(params map[string]string) bool { return params[security] == securityNone },
		MaxLogins:   3, // accounts are the operating system's, which may lock them
	}
}

// Prepare looks the driver up and writes the connection string but for the credentials.
func (e Engine) Prepare(ep driver.Endpoint) (driver.Login, error) {
	if err := e.CheckParams(ep.Params); err != nil {
		return nil, err
	}
	if ep.TLS != nil {
		return nil, errors.New("Options.TLS cannot be handed to a Db2 driver: use Security=SSL and SSLServerCertificate in the data source name")
	}
	var s connString
	s.add("host", "HOSTNAME", ep.Host)
	s.add("port", "PORT", strconv.Itoa(ep.Port))
	s.add("", "PROTOCOL", "TCPIP")
	s.add("database's name", "DATABASE", ep.Database)
	s.addParams(ep)
	if s.err != nil {
		return nil, s.err
	}
	_, hasTimeout := ep.Params["ConnectTimeout"]
	d, err := e.lookUp(s.String())
	if err != nil {
		return nil, err
	}
	return &login{d, s, !hasTimeout}, nil
}

// addParams adds the parameters, and what they imply.
func (s *connString) addParams(ep driver.Endpoint) {
	for _, name := range slices.Sorted(maps.Keys(ep.Params)) {
		if name != security || ep.Params[name] == securitySSL {
			s.add("parameter "+strconv.Quote(name), name, ep.Params[name])
		}
	}
	_, named := ep.Params[hostnameValidation]
	switch {
	case ep.Params[security] == securitySSL && !named:
		// Without it the CLI driver takes any certificate that its authority has signed.
		s.add("", hostnameValidation, "Basic")
	case ep.Params[security] == "" && ep.Encrypt:
		s.add("", security, securitySSL) // the CLI driver verifies the authority always
	}
}

// lookUp returns the driver that is registered under the Engine's name.
func (e Engine) lookUp(connString string) (sqldriver.Driver, error) {
	name := e.Driver
	if name == "" {
		name = DefaultDriver
	}
	if !slices.Contains(sql.Drivers(), name) {
		hint := "or set db2.Engine.Driver to the name of another"
		if e.Driver == "" {
			hint = `the program has to import _ "github.com/ibmdb/go_ibm_db" (cgo, IBM's CLI driver), ` + hint
		}
		return nil, fmt.Errorf("no driver is registered as %q: %s", name, hint)
	}
	db, err := sql.Open(name, connString) // dials nothing; there are no credentials in it
	if err != nil {
		return nil, err
	}
	defer db.Close()
	return db.Driver(), nil
}

// A login connects with the driver.
type login struct {
	driver sqldriver.Driver
	s      connString // without credentials
	limit  bool       // give the driver the context's deadline
}

// Connect has the driver connect. go_ibm_db knows no context: when ctx ends first,
// Connect returns, and what the driver still opens is closed. The driver gets a
// ConnectTimeout for that, unless the parameters have one.
func (l *login) Connect(ctx context.Context, c driver.Credentials) (sqldriver.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s := l.s
	if deadline, ok := ctx.Deadline(); ok && l.limit {
		s.add("", "ConnectTimeout", strconv.Itoa(1+int(time.Until(deadline)/time.Second)))
	}
	s.add("user", "UID", c.User)
	s.addPassword(c.Password)
	if s.err != nil {
		return nil, &driver.Error{Kind: driver.ErrMalformedSecret, Err: s.err}
	}
	conn, err := open(ctx, l.driver, s.String())
	if err != nil {
		return nil, hide(err, c.Password)
	}
	return conn, nil
}

func open(ctx context.Context, d sqldriver.Driver, connString string) (sqldriver.Conn, error) {
	if d, ok := d.(sqldriver.DriverContext); ok {
		c, err := d.OpenConnector(connString)
		if err != nil {
			return nil, err
		}
		return c.Connect(ctx)
	}
	type result struct {
		conn sqldriver.Conn
		err  error
	}
	results := make(chan result)
	go func() { // ends when the driver returns
		conn, err := d.Open(connString)
		select {
		case results <- result{conn, err}:
		case <-ctx.Done():
			if err == nil { // else it may be a nil pointer
				_ = conn.Close()
			}
		}
	}()
	select {
	case r := <-results:
		return r.conn, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
