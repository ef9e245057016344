package redshift

import (
	"context"
	sqldriver "database/sql/driver"
	"fmt"
	"maps"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/postgres/pgxv5"
)

// An Engine logs in to Amazon Redshift with pgx. The zero Engine is ready to use. Its fields are
// those of [pgxv5.Engine], the Engine of PostgreSQL.
//
// Redshift speaks the protocol of PostgreSQL 8.0, so this Engine differs from PostgreSQL's in more
// than error codes. Queries use pgx's mode "exec", unless the data source name or Configure sets
// another. This mode uses the extended protocol with unnamed statements, and sends values as text.
// pgx's own default mode asks for the binary form of types that Redshift's JDBC driver does not
// take in that form. The mode simple_protocol is an error in a data source name, because it needs a
// server that reports standard_conforming_strings, and Redshift does not.
//
// So arguments are sent as text, and no statement stays prepared on the server.
// [database/sql.DB.Prepare] still prepares a statement, in any mode.
type Engine struct {
	pgxv5.Engine
}

var _ driver.Engine = Engine{}

// Info returns what a Connector needs to know about Redshift, such as the default port 5439.
func (e Engine) Info() driver.Info {
	return driver.Info{
		Name:             "redshift",
		Schemes:          []string{"redshift"},
		Accepts:          func(s string) bool { return s == "redshift" },
		Port:             5439,
		DatabaseRequired: true, // unlike PostgreSQL, Redshift has no default database
		ClosesSuperseded: true,
		Files:            e.Engine.Info().Files,
		TurnsTLSOff:      e.Engine.Info().TurnsTLSOff,
	}
}

// Prepare does what PostgreSQL's does, with the query mode and the settings of Redshift.
func (e Engine) Prepare(ep driver.Endpoint) (driver.Login, error) {
	if err := e.CheckParams(ep.Params); err != nil {
		return nil, err
	}
	var settings map[string]string
	ep.Params, settings = split(ep.Params)
	pg := e.Engine
	pg.Configure = func(c *pgx.ConnConfig) error {
		maps.Copy(c.RuntimeParams, settings)
		if e.Configure != nil {
			return e.Configure(c)
		}
		return nil
	}
	lg, err := pg.Prepare(ep)
	if err != nil {
		return nil, err
	}
	return login{lg}, nil
}

// A login adds a remedy to an error of pgx that does not explain itself.
type login struct{ driver.Login }

// Unwrap returns the login of package pgxv5, which a pgxpool needs.
func (l login) Unwrap() driver.Login { return l.Login }

func (l login) Connect(ctx context.Context, c driver.Credentials) (sqldriver.Conn, error) {
	conn, err := l.Login.Connect(ctx, c)
	if err != nil && strings.Contains(err.Error(), "unknown authentication type: 13") {
		// pgx has no type for this error. Only the remedy depends on the text.
		err = fmt.Errorf("%w; Redshift keeps this user's password as a SHA-256 digest, and pgx cannot log in with that: "+
			"set the password as text or as an MD5 digest", err)
	}
	return conn, err
}

// Rejected reports whether the server rejected the credentials. Redshift says so as PostgreSQL
// does, or with 28000, which it sends for a wrong password and for an unknown user. The message
// distinguishes that from a 28000 about the host or the method.
func (e Engine) Rejected(err error) bool {
	return e.Engine.Rejected(err) || anyServerError(err, func(pg *pgconn.PgError) bool {
		return pg.Code == "28000" && wrongPassword.MatchString(pg.Message)
	})
}

// wrongPassword matches Redshift's message for a wrong password. The sources are
// https://github.com/aws/amazon-redshift-python-driver/issues/237 and
// https://github.com/aws/amazon-redshift-jdbc-driver/issues/21, where it comes from the routine
// auth_failed. Redshift does not localize its messages.
var wrongPassword = regexp.MustCompile(`^password authentication failed for user ".*"$`)

// anyServerError reports whether is returns true for any error of the server in err's tree.
func anyServerError(err error, is func(*pgconn.PgError) bool) bool {
	if pg, ok := err.(*pgconn.PgError); ok {
		return is(pg)
	}
	switch err := err.(type) {
	case interface{ Unwrap() error }:
		return anyServerError(err.Unwrap(), is)
	case interface{ Unwrap() []error }:
		for _, e := range err.Unwrap() {
			if anyServerError(e, is) {
				return true
			}
		}
	}
	return false
}
