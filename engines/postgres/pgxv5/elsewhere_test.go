package pgxv5_test

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sqlsecrets/sqlsecrets/engines/postgres/pgxv5"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/logintest"
)

// Texts of auth_failed in PostgreSQL 15's translations: for LDAP, or for another method if the
// language has a peculiarity, and for methods that check no password. %s is the user.
var (
	passwordTexts = []string{
		`LDAP authentication failed for user "%s"`, `PAM authentication failed for user "%s"`,
		`RADIUS authentication failed for user "%s"`, `BSD authentication failed for user "%s"`,
		`LDAP-Authentifizierung für Benutzer »%s« fehlgeschlagen`,
		`LDAP-Authentifizierung für Benutzer „%s“ fehlgeschlagen`,
		`la autentificación LDAP falló para el usuario «%s»`,
		`authentification LDAP échouée pour l'utilisateur « %s »`,
		`échec de l'authentification LDAP pour l'utilisateur « %s »`,
		`Autenticazione LDAP fallita per l'utente "%s"`,
		`ユーザー"%s"のLDAP認証に失敗しました`,
		`ユーザー"%s"の RADIUS 認証に失敗しました`,
		`LDAP ავთენტიფიკაცია მომხმარებლისთვის "%s" ვერ მოხერხდა`,
		`რადიუსით ავთენტიფიკაცია მომხმარებლისთვის "%s" ვერ მოხერხდა`,
		`"%s" 사용자의 LDAP 인증을 실패했습니다.`,
		`пользователь "%s" не прошёл проверку подлинности (LDAP)`,
		`LDAP-autentisering misslyckades för användare "%s"`,
		`RADOUS-autentisering misslyckades för användare "%s"`, // sic
		`Користувач "%s" не пройшов автентифікацію LDAP`,
		`对于用户 "%s"的LDAP认证失败`, `用户 "%s" 认证 PAM 失败`,
		`PAM authentication failed for user '%s'`,
		`PAM authentication failed for user 「%s」`,
	}
	otherTexts = []string{
		`GSSAPI authentication failed for user "%s"`, `SSPI authentication failed for user "%s"`,
		`Ident authentication failed for user "%s"`, `Peer authentication failed for user "%s"`,
		`certificate authentication failed for user "%s"`, `authentication failed for user "%s": host rejected`,
		`authentication failed for user "%s": invalid authentication method`, `OAuth bearer authentication failed for user "%s"`,
		`Zertifikatauthentifizierung für Benutzer »%s« fehlgeschlagen`,
		`Zertifikatauthentifizierung für Benutzer „%s“ fehlgeschlagen`,
		`la autentificación GSSAPI falló para el usuario «%s»`,
		`Échec de l'authentification Ident pour l'utilisateur « %s »`,
		`autenticazione con certificato fallita per l'utente "%s": il certificato del client non contiene alcun nome utente`,
		`ユーザー"%s"の認証に失敗しました: ホストを拒絶しました`,
		`пользователь "%s" не прошёл проверку подлинности (GSSAPI)`,
		`помилка автентифікації сертифікату для користувача "%s": не вдалося отримати DN суб'єкта`,
		`对于用户\"%s\"的GSSAPI 认证失败`,
		`peer authentication failed for user '%s'`, `peer authentication failed for user 「%s」`,
		`OPENLDAP authentication failed for user "%s"`, `LDAP2 authentication failed for user "%s"`, `pam authentication failed for user "%s"`,
		"",
	}
)

// If another server checks the password, PostgreSQL rejects it in auth_failed, in every language.
// The name of the user does not matter.
func TestRejectedWhereThePasswordIsCheckedElsewhere(t *testing.T) {
	users := []string{"app", "LDAP", "RADIUS user", `a" PAM "b`, "a' LDAP 'b", "»BSD«", "« PAM", "O'LDAP"}
	check := func(code, routine, text string, want bool) {
		t.Helper()
		pg := &pgconn.PgError{Code: code, Routine: routine, Message: text}
		logintest.Verdict(t, pgxv5.Engine{}, pg, want, false)
		if got := (pgxv5.Engine{}).CheckedElsewhere(pg); got != want {
			t.Errorf("CheckedElsewhere(%s from %q: %s) = %t, want %t", code, routine, text, got, want)
		}
	}
	for _, user := range users {
		for _, text := range passwordTexts {
			check("28000", "auth_failed", strings.Replace(text, "%s", user, 1), true)
		}
		for _, text := range otherTexts {
			check("28000", "auth_failed", strings.Replace(text, "%s", user, 1), false)
		}
	}
	// From PgBouncer come PostgreSQL's answer without its routine, and PgBouncer's own answer.
	for _, code := range []string{"28000", "08P01"} {
		check(code, "", `LDAP authentication failed for user "app"`, true)
		check(code, "", "PAM authentication failed", true)
		check(code, "", "LDAP authentication failed", true)
		check(code, "", `GSSAPI authentication failed for user "LDAP"`, false)
		check(code, "", "PAM authentication failed: no", false)
	}
	check("28000", "ClientAuthentication", `no pg_hba.conf entry for host "10.0.0.1", user "LDAP", database "app", no encryption`, false)
	check("28000", "ClientAuthentication", `LDAP authentication failed for user "app"`, false)
	check("42704", "auth_failed", `LDAP authentication failed for user "app"`, false)
	for _, err := range []error{nil, &pgconn.PgError{Code: "28P01", Routine: "auth_failed", Message: `password authentication failed for user "LDAP"`}} {
		if (pgxv5.Engine{}).CheckedElsewhere(err) {
			t.Errorf("CheckedElsewhere(%v)", err)
		}
	}
}
