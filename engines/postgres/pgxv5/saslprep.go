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

// saslprep returns a password as PostgreSQL and libpq prepare it for SCRAM, by SASLprep
// (RFC 4013). ok is false if that is the password as it is: also, like there, if SASLprep
// refuses it. pgx prepares passwords by PRECIS (RFC 8265), which differs on characters such
// as "²", "½" and "ª", on ligatures and on full-width letters, and leaves a prepared
// password as it is. It changes few of those that SASLprep refuses, such as one with U+0340,
// which then cannot log in.
func saslprep(password driver.Password) (prepared driver.Password, ok bool) {
	raw := password.Reveal()
	if strings.IndexFunc(raw, func(r rune) bool { return r >= 0x80 }) < 0 {
		return password, false
	}
	// It is in two of SASLprep's tables. PostgreSQL looks first at the one for spaces.
	text, err := saslprepProfile.Prepare(strings.ReplaceAll(raw, "\u200b", " "))
	if text = norm.NFKC.String(text); err != nil || text == "" || text == raw {
		return password, false
	}
	return driver.NewPassword(text), true
}

// saslprepProfile is SASLprep without normalisation, which comes last: PostgreSQL (saslprep.c)
// looks for what is prohibited or unassigned before it, unlike RFC 3454.
var saslprepProfile = func() stringprep.Profile {
	p := stringprep.SASLprep
	p.Normalize = false
	return p
}()

const scramOnly = "scram-sha-256"

// splitMethods returns whether a value of require_auth allows SCRAM, and the value that
// allows everything else that it does; "" if that is nothing.
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

// refusedMethod reports whether pgx gave up since the server has named a method that
// require_auth does not allow. It has sent no password then. pgx has no type for it.
func refusedMethod(err error) bool {
	var pg *pgconn.PgError
	return err != nil && !errors.As(err, &pg) && strings.Contains(err.Error(), "require_auth check failed")
}
