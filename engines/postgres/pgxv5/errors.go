package pgxv5

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// A connectError stands for a *pgconn.ConnectError, whose Config field has the
// password. It has its text and what is inside it.
type connectError struct {
	prefix string
	errs   []error // one for each address that was tried; none is empty of causes
}

// newConnectError returns an error. A reason is what it says first.
func newConnectError(reason, user, database string, errs []error) *connectError {
	if reason != "" {
		reason += ": "
	}
	return &connectError{fmt.Sprintf("%sfailed to connect to `user=%s database=%s`:", reason, user, database), errs}
}

// Error returns what pgx would have for the same errors, behind the reason.
func (e *connectError) Error() string {
	details := errors.Join(e.errs...).Error()
	if strings.Contains(details, "\n") {
		return e.prefix + "\n\t" + strings.ReplaceAll(details, "\n", "\n\t")
	}
	return e.prefix + " " + details
}

func (e *connectError) Unwrap() []error { return e.errs }

// inner returns the errors in one of pgx's without the configuration around them.
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

// clean drops, for its text, an error that has a connection's configuration or
// string in its tree, as one of the caller's hooks may.
func clean(err error) error {
	var ce *pgconn.ConnectError
	var pe *pgconn.ParseConfigError
	if errors.As(err, &ce) || errors.As(err, &pe) {
		return errors.New(err.Error())
	}
	return err
}

// A configureError is one of Engine.Configure.
type configureError struct{ err error }

func (e *configureError) Error() string { return "configure the connection: " + e.err.Error() }
func (e *configureError) Unwrap() error { return e.err }

// parseError stands for a *pgconn.ParseConfigError, which quotes the connection
// string. That has no password here, but what is wrong is said better without it.
func parseError(err error) error {
	if pe, ok := err.(*pgconn.ParseConfigError); ok && pe.Unwrap() != nil {
		err = pe.Unwrap() // what is left to fail is reading files
	} else if _, msg, ok := strings.Cut(err.Error(), "`: "); ok {
		err = errors.New(msg)
	}
	return fmt.Errorf("parameters that pgx does not take: %w", err)
}

// serverErrors calls yield for each error of a server in a tree until it returns
// false, which serverErrors then does too.
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

// Rejected reports whether the server refused the credentials:
//
//   - 28P01, whatever the text, which the server localises;
//   - 28000 from the server's routine InitializeSessionUserId, which has found no
//     such role or one that may not log in: of two alternating users this may be
//     the one that is not there yet, or no more;
//   - 28000 from the server's routine auth_failed, if the method is one that has
//     another server check the password: see CheckedElsewhere. Other 28000 are about
//     the host or the method (pg_hba.conf), which no other password cures;
//   - from proxies, which name no routine, by their whole text: RDS Proxy's 28000 and
//     PgBouncer's 08P01, and PostgreSQL's texts that PgBouncer hands on.
func (e Engine) Rejected(err error) bool {
	return err != nil && !serverErrors(err, func(pg *pgconn.PgError) bool { return !rejected(pg) })
}

// CheckedElsewhere reports whether the server had another one check the password, by LDAP,
// PAM, RADIUS or BSD, which says no also if it cannot be reached.
func (e Engine) CheckedElsewhere(err error) bool {
	return err != nil && !serverErrors(err, func(pg *pgconn.PgError) bool { return !checkedElsewhere(pg) })
}

// NoDatabase reports whether the server has no database of the name: 3D000, whatever
// the text, or PgBouncer's 08P01 by its whole text.
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

// checkedElsewhere is for one error. The server localises its text, but not the names of
// methods, of which the user's name may be one.
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
	// What is in quotation marks of any language, from the first to the last: the name in
	// them may hold some. An apostrophe behind a letter is none.
	quoted = regexp.MustCompile(`(?s)(["„“”«»‹›‘‚「『]|(^|[^\pL])').*["„“”«»‹›‘’」』']`)

	// The methods of auth_failed, of auth.c in PostgreSQL 9.6 to 18, that check a password
	// elsewhere, as words: letters other than A to Z may be next to one, as in Japanese.
	// The last two are RADIUS in the Swedish and Georgian texts of PostgreSQL 15.
	elsewhere = regexp.MustCompile(`(^|[^0-9A-Za-z_])(LDAP|PAM|RADIUS|BSD|RADOUS|რადიუსით)($|[^0-9A-Za-z_])`)

	// The same from PgBouncer: its own for auth_type pam and ldap, and PostgreSQL's.
	proxyElsewhere = regexp.MustCompile(`^(PAM|LDAP) authentication failed$|^(LDAP|PAM|RADIUS|BSD) authentication failed for user ".+"$`)

	// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/rds-proxy.troubleshooting.html
	// spells its own name in two ways. Its text about IAM is of a token that is wrong or has expired.
	rdsProxy = regexp.MustCompile(`^This RDS [Pp]roxy has no credentials for the role .+?\. Check the credentials for this role and try again\.?$` +
		`|^The IAM authentication failed for the role .+?\. Check the IAM token for this role and try again\.?$` +
		`|^The password that was provided for the role .+ is wrong\.?$`)

	// client.c of PgBouncer 1.12, 1.18 and 1.25, which have no other code for them. A
	// rotated password becomes one of the first two. A user that is gone becomes one of
	// them too or, with auth_query, "no such user" (in 1.12 with the name) or, with
	// auth_type trust, the last. A database that PgBouncer does not know is among
	// them where auth_query is on, and cannot be told from the others.
	pgBouncer = regexp.MustCompile(`^(password authentication failed|SASL authentication failed|` +
		`empty password returned by client|no such user(: .+)?|"trust" authentication failed)$`)

	pgBouncerNoDatabase = regexp.MustCompile(`^no such database: .+$`)

	// What PostgreSQL says to PgBouncer, which hands it to the client: until 1.19 as
	// 08P01, then with the server's code. Never with its routine. Of a user whose
	// password in auth_file is not the server's any more, a client hears this when no
	// connection to the server is left. The client may have that same password.
	role = regexp.MustCompile(`^password authentication failed for user ".+"$` +
		`|^role ".+" (does not exist|is not permitted to log in)$`)
)
