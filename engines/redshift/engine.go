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

// An Engine connects to Amazon Redshift with pgx. The zero Engine is ready.
//
// Redshift speaks PostgreSQL's protocol as of 8.0, so it differs from the Engine of
// PostgreSQL in more than its codes: queries go in pgx's mode "exec" unless the
// data source name or Configure says otherwise. It uses the extended protocol with
// unnamed statements and values as text. pgx's own default asks for the binary form
// of types that Redshift's JDBC driver does not take in that form, and
// simple_protocol needs a report of standard_conforming_strings, which Redshift
// does not give.
type Engine struct {
	pgxv5.Engine
}

var _ driver.Engine = Engine{}

// Info describes Redshift.
func (e Engine) Info() driver.Info {
	return driver.Info{
		Name:             "redshift",
		Schemes:          []string{"redshift"},
		Accepts:          func(s string) bool { return s == "redshift" },
		Port:             5439,
		DatabaseRequired: true, // a user's name is none there, as it is in PostgreSQL
		ClosesSuperseded: true,
		Files:            e.Engine.Info().Files,
		TurnsTLSOff:      e.Engine.Info().TurnsTLSOff,
	}
}

// Prepare is PostgreSQL's, with the query mode and the settings of Redshift.
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

// A login adds a hint to an error that says nothing to who reads it.
type login struct{ driver.Login }

// Unwrap returns PostgreSQL's, for a pgxpool.
func (l login) Unwrap() driver.Login { return l.Login }

func (l login) Connect(ctx context.Context, c driver.Credentials) (sqldriver.Conn, error) {
	conn, err := l.Login.Connect(ctx, c)
	if err != nil && strings.Contains(err.Error(), "unknown authentication type: 13") {
		// pgx has no type for it. Nothing hangs on the text but the hint.
		err = fmt.Errorf("%w; Redshift keeps this user's password as a SHA-256 digest, which pgx cannot log in with: "+
			"set it as text or as an MD5 digest", err)
	}
	return conn, err
}

// Rejected reports whether the server refused the credentials: as PostgreSQL does,
// or with Redshift's 28000 for a wrong password and an unknown user alike, which the
// message tells from 28000 for the host or the method.
func (e Engine) Rejected(err error) bool {
	return e.Engine.Rejected(err) || anyServerError(err, func(pg *pgconn.PgError) bool {
		return pg.Code == "28000" && wrongPassword.MatchString(pg.Message)
	})
}

// https://github.com/aws/amazon-redshift-python-driver/issues/237 and
// https://github.com/aws/amazon-redshift-jdbc-driver/issues/21 show it, from the
// routine auth_failed. Redshift does not localise its messages.
var wrongPassword = regexp.MustCompile(`^password authentication failed for user ".*"$`)

// anyServerError reports whether is says so of an error of the server in a tree.
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
