package pgxv5

import (
	"errors"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/xdg-go/stringprep"
	"golang.org/x/text/unicode/norm"

	"github.com/sqlsecrets/sqlsecrets/driver"
)

// saslprep returns a password as PostgreSQL and libpq prepare it for SCRAM, by SASLprep (RFC 4013).
// ok is false if that does not change the password. It is also false if SASLprep prohibits the
// password, which PostgreSQL and libpq then use unchanged, too.
//
// pgx prepares passwords by PRECIS (RFC 8265). PRECIS differs from SASLprep for characters such as
// "²", "½" and "ª", for ligatures and for full-width letters. It does not change a password that
// SASLprep has prepared. It does change a few of the passwords that SASLprep prohibits, such as one
// with U+0340, so these cannot log in.
func saslprep(password driver.Password) (prepared driver.Password, ok bool) {
	raw := password.Reveal()
	if strings.IndexFunc(raw, func(r rune) bool { return r >= 0x80 }) < 0 {
		return password, false
	}
	// U+200B is in two of SASLprep's tables. PostgreSQL uses the table for spaces first.
	text, err := saslprepProfile.Prepare(strings.ReplaceAll(raw, "\u200b", " "))
	if text = norm.NFKC.String(text); err != nil || text == "" || text == raw {
		return password, false
	}
	return driver.NewPassword(text), true
}

// saslprepProfile is SASLprep without normalization. PostgreSQL (saslprep.c) normalizes last:
// unlike RFC 3454, it checks for prohibited and unassigned characters before that.
var saslprepProfile = func() stringprep.Profile {
	p := stringprep.SASLprep
	p.Normalize = false
	return p
}()

const scramOnly = "scram-sha-256"

// splitMethods returns whether a value of require_auth allows SCRAM, and a value that allows the
// same methods without SCRAM. others is "" if there are none.
func splitMethods(requireAuth string) (scram bool, others string) {
	if requireAuth == "" {
		return true, "!" + scramOnly
	}
	methods := strings.Split(requireAuth, ",")
	for i := range methods {
		methods[i] = strings.TrimSpace(methods[i])
	}
	if strings.HasPrefix(methods[0], "!") {
		if slices.Contains(methods, "!"+scramOnly) {
			return false, requireAuth
		}
		return true, strings.Join(append(methods, "!"+scramOnly), ",")
	}
	all := len(methods)
	methods = slices.DeleteFunc(methods, func(m string) bool { return m == scramOnly })
	return len(methods) < all, strings.Join(methods, ",")
}

// refusedMethod reports whether pgx gave up because the server named a method that require_auth
// does not allow. pgx has sent no password then. It has no type for this error.
func refusedMethod(err error) bool {
	var pg *pgconn.PgError
	return err != nil && !errors.As(err, &pg) && strings.Contains(err.Error(), "require_auth check failed")
}
