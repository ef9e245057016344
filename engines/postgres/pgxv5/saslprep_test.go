package pgxv5_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/sqlsecrets/sqlsecrets/engines/postgres/pgxv5"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/pgserver"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/logintest"
)

// integration/postgres_test.go tries the same passwords with a real server.
func TestSASLprep(t *testing.T) {
	for raw, want := range map[string]string{
		"plain ASCII ~!":  "plain ASCII ~!",
		"a\x01b":          "a\x01b",
		"pässwörd":        "pässwörd",
		"密码":              "密码",
		"x²":              "x2",
		"½":               "1⁄2",
		"µ":               "μ",
		"ª":               "a",
		"a…b™":            "a...bTM",
		"oﬃce":            "office",
		"ＡＢＣ":             "ABC",
		"so\u00adft":      "soft",
		"a\u00a0b\u3000c": "a b c",
		"a\u200bb":        "a b", // as PostgreSQL does; by RFC 3454 it might also be nothing
		"e\u0301":         "é",
		"²😀":              "²😀",            // unassigned in Unicode 3.2
		"²\u0007":         "²\u0007",       // prohibited
		"²\ufffd":         "²\ufffd",       // prohibited
		"²\u0627\u0031":   "²\u0627\u0031", // from right to left, and ends with a digit
		"\u00ad":          "\u00ad",        // nothing is left
		"²ᴬ":              "²ᴬ",            // unassigned, and NFKC would make "A" of it
		"²\u0340":         "²\u0340",       // prohibited, and NFKC would make U+0300 of it
		"²\xff":           "²\xff",         // not UTF-8
		"\u0627ª\u0628":   "\u0627ª\u0628", // both directions
	} {
		if got := pgxv5.SASLprep(raw); got != want {
			t.Errorf("%+q is prepared as %+q, want %+q", raw, got, want)
		}
	}
}

func TestSplitMethods(t *testing.T) {
	for _, c := range []struct {
		requireAuth string
		scram       bool
		others      string
	}{
		{"", true, "!scram-sha-256"},
		{"scram-sha-256", true, ""},
		{"md5, scram-sha-256 ,none", true, "md5,none"},
		{"md5,password", false, "md5,password"},
		{"!md5", true, "!md5,!scram-sha-256"},
		{"!password, !scram-sha-256", false, "!password, !scram-sha-256"},
	} {
		if scram, others := pgxv5.SplitMethods(c.requireAuth); scram != c.scram || others != c.others {
			t.Errorf("splitMethods(%q) = %t, %q, want %t, %q", c.requireAuth, scram, others, c.scram, c.others)
		}
	}
}

// With md5 and plaintext methods the password is sent unprepared. Only a password that SASLprep
// changes takes a second connection.
func TestPasswordIsSentUnchangedWithoutSCRAM(t *testing.T) {
	for _, c := range []struct {
		password, requireAuth string
		connections, logins   int
	}{
		{"ASCII only", "", 1, 1},
		{"pässwörd", "", 1, 1},
		{"²😀", "", 1, 1},
		{"x²", "", 2, 1},
		{"x²", "md5,password", 1, 1},
		{"x²", "!md5,!scram-sha-256", 1, 1},
		{"x²", "scram-sha-256", 1, 0},
		{"x²", "!password,!md5", 2, 0},
	} {
		for _, method := range []pgserver.Method{pgserver.CleartextPassword, pgserver.MD5} {
			if method == pgserver.MD5 && strings.HasPrefix(c.requireAuth, "!md5,") {
				continue
			}
			t.Run(fmt.Sprintf("%s/%s/%d", c.password, c.requireAuth, method), func(t *testing.T) {
				s := (&pgserver.Server{Method: method, CheckPasswords: true}).Start(t)
				s.SetPassword(t, "app_user", c.password)
				e := pgxv5.Engine{Configure: func(config *pgx.ConnConfig) error { config.RequireAuth = c.requireAuth; return nil }}
				conn, err := logintest.Connect(t, e, endpoint(s, "sslmode", "disable"), "app_user", c.password)
				if err == nil {
					_ = conn.Close()
				}
				if (err == nil) != (c.logins == 1) {
					t.Errorf("Connect = %v", err)
				}
				s.WaitClosed(t)
				if len(s.Seen()) != c.logins || s.Dialled() != c.connections {
					t.Errorf("%d logins on %d connections, want %d on %d", len(s.Seen()), s.Dialled(), c.logins, c.connections)
				}
			})
		}
	}
}
