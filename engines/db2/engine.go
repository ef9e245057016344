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

// An Engine logs in to Db2 with a driver that the program has registered with database/sql. The
// zero Engine is ready to use, if the program imports go_ibm_db.
type Engine struct {
	// Driver is the name under which the Db2 driver is registered with database/sql. The driver
	// must accept a connection string of IBM's CLI. The first Connect call looks it up. If no
	// driver has that name, the call fails, and the error says what to import. Empty means
	// DefaultDriver.
	Driver string
}

var (
	_ driver.Engine        = Engine{}
	_ driver.AccountLocked = Engine{}
)

// Info returns what a Connector needs to know about Db2, such as the default port 50000.
func (e Engine) Info() driver.Info {
	return driver.Info{
		Name:             "db2",
		Schemes:          []string{"db2"},
		Accepts:          func(s string) bool { return strings.HasPrefix(s, "db2") },
		Port:             50000,
		DatabaseRequired: true,
		// There are no Files: the CLI driver reads the files for TLS itself, for each connection
		// as far as its documentation says.
		TurnsTLSOff: func(params map[string]string) bool { return params[security] == securityNone },
		MaxLogins:   3, // accounts belong to the operating system, which may lock them
	}
}

// Prepare looks the driver up and writes the connection string, without the credentials.
func (e Engine) Prepare(ep driver.Endpoint) (driver.Login, error) {
	if err := e.CheckParams(ep.Params); err != nil {
		return nil, err
	}
	if ep.TLS != nil {
		return nil, errors.New("a Db2 driver cannot take Options.TLS: give Security=SSL and SSLServerCertificate in the data source name")
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

// addParams adds the parameters, and the keywords that they imply.
func (s *connString) addParams(ep driver.Endpoint) {
	for _, name := range slices.Sorted(maps.Keys(ep.Params)) {
		if name != security || ep.Params[name] == securitySSL {
			s.add("parameter "+strconv.Quote(name), name, ep.Params[name])
		}
	}
	_, named := ep.Params[hostnameValidation]
	switch {
	case ep.Params[security] == securitySSL && !named:
		// Without it, the CLI driver accepts any certificate that the authority has signed.
		s.add("", hostnameValidation, "Basic")
	case ep.Params[security] == "" && ep.Encrypt:
		s.add("", security, securitySSL) // the CLI driver always verifies the authority
	}
}

// lookUp returns the driver that is registered under the Engine's name.
func (e Engine) lookUp(connString string) (sqldriver.Driver, error) {
	name := e.Driver
	if name == "" {
		name = DefaultDriver
	}
	if !slices.Contains(sql.Drivers(), name) {
		hint := "set db2.Engine.Driver to the name of a driver that the program registers"
		if e.Driver == "" {
			hint = `import _ "github.com/ibmdb/go_ibm_db" in the program (it needs cgo and IBM's CLI driver), or ` + hint
		}
		return nil, fmt.Errorf("no driver is registered as %q: %s", name, hint)
	}
	db, err := sql.Open(name, connString) // dials nothing, and the string has no credentials
	if err != nil {
		return nil, err
	}
	defer db.Close()
	return db.Driver(), nil
}

// A login connects by the driver.
type login struct {
	driver sqldriver.Driver
	s      connString // without credentials
	limit  bool       // the driver gets the deadline of the context as its ConnectTimeout
}

// Connect opens a connection with the driver. go_ibm_db does not know contexts: if ctx ends first,
// Connect returns, and a connection that the driver opens later is closed. The driver gets a
// ConnectTimeout, so that its attempt ends as well, unless the parameters have one.
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
			if err == nil { // with an error, conn may be a nil pointer in an interface
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
