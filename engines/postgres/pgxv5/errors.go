package pgxv5

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// A connectError replaces a *pgconn.ConnectError, whose Config field has the password. It has the
// same text and the same causes.
type connectError struct {
	prefix string
	errs   []error // one for each address that was tried; at least one
}

// newConnectError returns an error that begins with reason, if reason is not empty.
func newConnectError(reason, user, database string, errs []error) *connectError {
	if reason != "" {
		reason += ": "
	}
	return &connectError{fmt.Sprintf("%sfailed to connect to `user=%s database=%s`:", reason, user, database), errs}
}

// Error returns the reason and then the text that pgx has for the same errors.
func (e *connectError) Error() string {
	details := errors.Join(e.errs...).Error()
	if strings.Contains(details, "\n") {
		return e.prefix + "\n\t" + strings.ReplaceAll(details, "\n", "\n\t")
	}
	return e.prefix + " " + details
}

func (e *connectError) Unwrap() []error { return e.errs }

// inner returns the causes of an error of pgx, without the configuration that pgx attaches.
func inner(err error) []error {
	errs := []error{err}
	if ce, ok := err.(*pgconn.ConnectError); ok {
		errs[0] = ce.Unwrap()
		if joined, ok := errs[0].(interface{ Unwrap() []error }); ok {
			errs = slices.Clone(joined.Unwrap())
		}
	}
	for i, err := range errs {
		errs[i] = clean(err)
	}
	return errs
}

// clean returns err, or an error with the same text if err's tree has a configuration or a
// connection string. An error of a hook of the caller may have one.
func clean(err error) error {
	var ce *pgconn.ConnectError
	var pe *pgconn.ParseConfigError
	if errors.As(err, &ce) || errors.As(err, &pe) {
		return errors.New(err.Error())
	}
	return err
}

// A configureError is an error of Engine.Configure.
type configureError struct{ err error }

func (e *configureError) Error() string { return "configure the connection: " + e.err.Error() }
func (e *configureError) Unwrap() error { return e.err }

// parseError returns an error to use instead of a *pgconn.ParseConfigError, which quotes the
// connection string. The string has no password here, but the error is clearer without it.
func parseError(err error) error {
	if pe, ok := err.(*pgconn.ParseConfigError); ok && pe.Unwrap() != nil {
		err = pe.Unwrap() // only reading a file can still fail
	} else if _, msg, ok := strings.Cut(err.Error(), "`: "); ok {
		err = errors.New(msg)
	}
	return fmt.Errorf("pgx does not accept the parameters: %w", err)
}

// serverErrors calls yield for each error of a server in err's tree, until yield returns false. It returns
// false if yield did, and true otherwise.
func serverErrors(err error, yield func(*pgconn.PgError) bool) bool {
	if pg, ok := err.(*pgconn.PgError); ok {
		return yield(pg)
	}
	switch err := err.(type) {
	case interface{ Unwrap() error }:
		if next := err.Unwrap(); next != nil {
			return serverErrors(next, yield)
		}
	case interface{ Unwrap() []error }:
		for _, next := range err.Unwrap() {
			if next != nil && !serverErrors(next, yield) {
				return false
			}
		}
	}
	return true
}

// SQLSTATEs of https://www.postgresql.org/docs/current/errcodes-appendix.html
const (
	protocolViolation    = "08P01"
	invalidAuthorization = "28000"
	invalidPassword      = "28P01"
	cannotConnectNow     = "57P03"
	invalidCatalogName   = "3D000"
)

// Rejected reports whether the server rejected the credentials. These errors say so:
//
//   - 28P01, whatever the text, because the server localizes the text.
//   - 28000 from the server's routine InitializeSessionUserId: the role does not exist or may not log
//     in. With alternating users this may be the user that does not exist yet, or no longer.
//   - 28000 from the server's routine auth_failed, if the method lets another server check the password:
//     see CheckedElsewhere. Every other 28000 is about the host or the method (pg_hba.conf), and
//     another password does not help.
//   - Errors of proxies, which name no routine, by their whole text: 28000 of RDS Proxy, 08P01 of
//     PgBouncer, and texts of PostgreSQL that PgBouncer passes on.
func (e Engine) Rejected(err error) bool {
	return err != nil && !serverErrors(err, func(pg *pgconn.PgError) bool { return !rejected(pg) })
}

// CheckedElsewhere reports whether another server checked the password, by LDAP, PAM, RADIUS or BSD.
// PostgreSQL sends the same error if that server cannot be reached.
func (e Engine) CheckedElsewhere(err error) bool {
	return err != nil && !serverErrors(err, func(pg *pgconn.PgError) bool { return !checkedElsewhere(pg) })
}

// NoDatabase reports whether the server has no database of that name: 3D000, whatever the text, or 08P01
// of PgBouncer, by its whole text.
func (e Engine) NoDatabase(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (pg.Code == invalidCatalogName ||
		pg.Code == protocolViolation && pg.Routine == "" && pgBouncerNoDatabase.MatchString(pg.Message))
}

func rejected(pg *pgconn.PgError) bool {
	switch pg.Code {
	case invalidPassword:
		return true
	case invalidAuthorization:
		if pg.Routine == "InitializeSessionUserId" {
			return true
		}
		return checkedElsewhere(pg) || pg.Routine == "" && (rdsProxy.MatchString(pg.Message) || role.MatchString(pg.Message))
	case protocolViolation:
		return checkedElsewhere(pg) || pg.Routine == "" && (pgBouncer.MatchString(pg.Message) || role.MatchString(pg.Message))
	}
	return false
}

// checkedElsewhere is CheckedElsewhere for one error. The server localizes its text, but not the names of
// methods. The name of the user, which is quoted, may look like a method.
func checkedElsewhere(pg *pgconn.PgError) bool {
	switch {
	case pg.Code == invalidAuthorization && pg.Routine == "auth_failed":
		return elsewhere.MatchString(quoted.ReplaceAllString(pg.Message, " "))
	case pg.Code == invalidAuthorization || pg.Code == protocolViolation:
		return pg.Routine == "" && proxyElsewhere.MatchString(pg.Message)
	}
	return false
}

var (
	// quoted matches the text between the first and the last quotation mark of any language,
	// because the name in between may contain some. An apostrophe after a letter is no quotation
	// mark.
	quoted = regexp.MustCompile(`(?s)(["„“”«»‹›‘‚「『]|(^|[^\pL])').*["„“”«»‹›‘’」』']`)

	// elsewhere matches the methods of auth_failed (auth.c in PostgreSQL 9.6 to 18) that let another
	// server check the password, as whole words. Letters other than A to Z may be next to a word, as
	// in Japanese. The last two are RADIUS in the Swedish and Georgian texts of PostgreSQL 15.
	elsewhere = regexp.MustCompile(`(^|[^0-9A-Za-z_])(LDAP|PAM|RADIUS|BSD|RADOUS|რადიუსით)($|[^0-9A-Za-z_])`)

	// proxyElsewhere matches the same from PgBouncer: its own texts for auth_type pam and ldap, and
	// those of PostgreSQL.
	proxyElsewhere = regexp.MustCompile(`^(PAM|LDAP) authentication failed$|^(LDAP|PAM|RADIUS|BSD) authentication failed for user ".+"$`)

	// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/rds-proxy.troubleshooting.html
	// spells the name of RDS Proxy in two ways. The text about IAM is for a token that is wrong or has
	// expired.
	rdsProxy = regexp.MustCompile(`^This RDS [Pp]roxy has no credentials for the role .+?\. Check the credentials for this role and try again\.?$` +
		`|^The IAM authentication failed for the role .+?\. Check the IAM token for this role and try again\.?$` +
		`|^The password that was provided for the role .+ is wrong\.?$`)

	// pgBouncer matches texts of client.c in PgBouncer 1.12, 1.18 and 1.25, which has one code for all
	// of them. A wrong password gives one of the first two. A user that does not exist gives one of
	// them as well or, with auth_query, "no such user" (in 1.12 with the name) or, with auth_type
	// trust, the last. With auth_query, a database that PgBouncer does not know gives one of them
	// too, and nothing distinguishes that.
	pgBouncer = regexp.MustCompile(`^(password authentication failed|SASL authentication failed|` +
		`empty password returned by client|no such user(: .+)?|"trust" authentication failed)$`)

	pgBouncerNoDatabase = regexp.MustCompile(`^no such database: .+$`)

	// role matches what PostgreSQL answers to PgBouncer and PgBouncer passes on to the client: until
	// 1.19 with the code 08P01, later with the server's code, never with the server's routine. A client
	// gets it if the password in auth_file is no longer the server's and PgBouncer has no connection to
	// the server left. The client may have used that same password.
	role = regexp.MustCompile(`^password authentication failed for user ".+"$` +
		`|^role ".+" (does not exist|is not permitted to log in)$`)
)
