package pgxv5_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/postgres/pgxv5"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/pgserver"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/leak"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/logintest"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/testca"
)

func TestWhichErrorsAreRejections(t *testing.T) {
	const (
		rejected = iota
		noDatabase
		other
	)
	const (
		noRole      = `role "app" does not exist`
		rdsNoSecret = "This RDS proxy has no credentials for the role app. Check the credentials for this role and try again."
	)
	for _, c := range []struct {
		code, routine, message string
		want                   int
	}{
		{"28P01", "auth_failed", `password authentication failed for user "app"`, rejected},
		{"28P01", "auth_failed", `Passwort-Authentifizierung für Benutzer »app« fehlgeschlagen`, rejected},
		{"28P01", "", "", rejected},
		{"28P02", "auth_failed", `password authentication failed for user "app"`, other},
		{"28000", "InitializeSessionUserId", noRole, rejected},
		{"28000", "InitializeSessionUserId", `Rolle »app« existiert nicht`, rejected},
		{"28000", "InitializeSessionUserId", `role "app" is not permitted to log in`, rejected},
		{"28000", "ClientAuthentication", `no pg_hba.conf entry for host "10.0.0.1", user "app", database "app", no encryption`, other},
		{"28000", "ClientAuthentication", noRole, other},
		{"28000", "initializesessionuserid", noRole, other},
		{"42704", "InitializeSessionUserId", noRole, other},

		{"28000", "", rdsNoSecret, rejected},
		{"28000", "", strings.Replace(rdsNoSecret, "proxy", "Proxy", 1), rejected},
		{"28000", "", strings.TrimSuffix(rdsNoSecret, "."), rejected},
		{"28000", "", strings.Replace(rdsNoSecret, "role app", `role a.b "c"`, 1), rejected},
		{"28000", "", "The password that was provided for the role app is wrong.", rejected},
		{"28000", "", "ERROR: " + rdsNoSecret, other},
		{"28000", "", rdsNoSecret + " And more", other},
		{"28000", "ClientAuthentication", rdsNoSecret, other},
		{"08P01", "", rdsNoSecret, other},
		{"28000", "", "This RDS Proxy requires TLS connections.", other},
		{"28000", "", "The IAM authentication failed for the role app. Check the IAM token for this role and try again.", rejected},
		{"28000", "", "The IAM authentication failed for the role app.", other},
		{"28000", "", "", other},

		{"08P01", "", "password authentication failed", rejected},
		{"08P01", "", "SASL authentication failed", rejected},
		{"08P01", "", "empty password returned by client", rejected},
		{"08P01", "", "no such user", rejected},
		{"08P01", "", "no such user: app", rejected},
		{"08P01", "", `"trust" authentication failed`, rejected},
		{"08P01", "", `password authentication failed for user "app"`, rejected},
		{"08P01", "", noRole, rejected},
		{"28000", "", noRole, rejected},
		{"08P01", "", "no such database: app", noDatabase},
		{"08P01", "", "no such users", other},
		{"08P01", "", "login rejected", other},
		{"08P01", "", "certificate authentication failed", other},
		{"08P01", "", "password authentication failed: no", other},
		{"08P01", "", "SSL required", other},
		{"08P01", "", "no more connections allowed (max_client_conn)", other},
		{"08P01", "", "client connections exceeded (max_user_client_connections)", other},
		{"08P01", "", `database "app" is disabled`, other},
		{"08P01", "", `authentication database "app" is disabled`, other},
		{"08P01", "", "unsupported startup parameter: search_path", other},
		{"08P01", "", "unsupported startup parameter: role", other},
		{"08P01", "", "query_wait_timeout", other},
		{"08P01", "", "client_login_timeout (server down)", other},
		{"08P01", "", "bouncer config error", other},
		{"08P01", "", "username too long", other},
		{"08P01", "", "server login failed: wrong password type", other},
		{"08P01", "", "server login failed: invalid server signature", other},
		{"08P01", "", "server login has been failing, try again later (server_login_retry)", other},
		{"08P01", "", `server login has been failing, cached error: password authentication failed for user "app" (server_login_retry)`, other},
		{"08P01", "", `authentication failed`, other},
		{"28000", "", `"trust" authentication failed`, other},
		{"08P01", "ProcessStartupPacket", "password authentication failed", other},
		{"28000", "", "password authentication failed", other},

		{"3D000", "InitPostgres", `database "app" does not exist`, noDatabase},
		{"53300", "ProcessStartupPacket", "sorry, too many clients already", other},
		{"57P03", "ProcessStartupPacket", "the database system is starting up", other},
		{"42501", "InitPostgres", `permission denied for database "app"`, other},
		{"3D000", "InitPostgres", `Datenbank »app« existiert nicht`, noDatabase},
		{"3D000", "", `database "app" does not exist`, noDatabase}, // through PgBouncer since 1.19
		{"08P01", "", "there is no such database: app", other},
		{"08P01", "ProcessStartupPacket", "no such database: app", other},
		{"28P01", "auth_failed", "no such database: app", rejected},
	} {
		pg := &pgconn.PgError{Code: c.code, Routine: c.routine, Message: c.message}
		logintest.Verdict(t, pgxv5.Engine{}, pg, c.want == rejected, c.want == noDatabase)
		if several := errors.Join(&pgconn.PgError{Code: "57P03"}, fmt.Errorf("then: %w", pg)); (pgxv5.Engine{}).Rejected(several) != (c.want == rejected) {
			t.Errorf("Rejected(%v) = %t", several, c.want != rejected)
		}
	}
	for _, err := range []error{
		nil, context.DeadlineExceeded, errors.New(`FATAL: password authentication failed for user "app" (SQLSTATE 28P01)`),
		&net.OpError{Op: "dial", Err: errors.New("connect: connection refused: 127.0.0.1:28000")}, context.Canceled,
	} {
		logintest.Verdict(t, pgxv5.Engine{}, err, false, false)
	}
}

// Whatever makes a login fail, the error has pgx's text and causes, and nowhere the password or a
// configuration.
func TestErrorsHoldNoPassword(t *testing.T) {
	certs := testca.New("localhost")
	reject := func(pgserver.Login) *pgserver.Error { return pgserver.NewError("28P01", "auth_failed", "no") }
	noDial := pgxv5.Engine{Configure: func(c *pgx.ConnConfig) error {
		c.DialFunc = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no route") }
		return nil
	}}
	for _, c := range []struct {
		name   string
		engine pgxv5.Engine
		server *pgserver.Server
		change func(*driver.Endpoint)
		want   string
		as     any
	}{
		{"rejected", pgxv5.Engine{}, &pgserver.Server{Check: reject}, nil, "server error: FATAL: no (SQLSTATE 28P01)", new(*pgconn.PgError)},
		{"rejected over TLS", pgxv5.Engine{}, &pgserver.Server{Check: reject, TLS: certs.Server}, nil, "SQLSTATE 28P01", new(*pgconn.PgError)},
		{"hangs up", pgxv5.Engine{}, &pgserver.Server{HangUp: pgserver.AtPassword}, nil, "failed to receive message", nil},
		{"wrong certificate", pgxv5.Engine{}, &pgserver.Server{TLS: certs.Server}, func(ep *driver.Endpoint) { ep.TLS = &tls.Config{RootCAs: certs.Pool} }, "certificate", new(*tls.CertificateVerificationError)},
		{"no TLS", pgxv5.Engine{}, &pgserver.Server{}, func(ep *driver.Endpoint) { ep.Params = pairs("sslmode", "require") }, "tls error: server refused TLS connection", nil},
		{"an error for an answer", pgxv5.Engine{}, &pgserver.Server{Answer: 'E'}, nil, "refused TLS", nil},
		{"dial", pgxv5.Engine{}, nil, func(ep *driver.Endpoint) { ep.Host = down(t) + "," + down(t) }, "connection refused", new(*net.OpError)},
		{"dialer", noDial, &pgserver.Server{}, nil, "no route", nil},
		{"look-up", pgxv5.Engine{}, nil, func(ep *driver.Endpoint) { ep.Host = "no-such-host.invalid" }, "hostname resolving error", new(*net.DNSError)},
		{"standby", pgxv5.Engine{}, &pgserver.Server{Standby: true}, func(ep *driver.Endpoint) { ep.Params = pairs("target_session_attrs", "primary") }, "ValidateConnect failed: server is in standby mode", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			ep := driver.Endpoint{Port: 1}
			if c.server != nil {
				ep = endpoint(c.server.Start(t))
			}
			if c.change != nil {
				c.change(&ep)
			}
			err := logintest.Fails(t, c.engine, ep, canary, c.want, c.as)
			reason, _, ok := strings.Cut(err.Error(), "failed to connect to `user=app_user database=")
			if !ok || reason != "" && !strings.HasPrefix(reason, "TLS with ") {
				t.Errorf("Connect = %v, want pgx's text", err)
			}
			noPassword(t, err, canary)
			if c.server != nil {
				c.server.WaitClosed(t)
			}
		})
	}
}

func TestTextOfSeveralHosts(t *testing.T) {
	ep := driver.Endpoint{Host: down(t) + "," + down(t), Port: 1, Database: "app"}
	_, err := connect(t, pgxv5.Engine{}, ep, canary)
	lines := strings.Split(err.Error(), "\n\t")
	if len(lines) != 3 || lines[0] != "failed to connect to `user=app_user database=app`:" || !strings.Contains(lines[2], "dial error") {
		t.Errorf("text of two failures: %q", lines)
	}
}

func noPassword(t *testing.T, err error, password string) {
	t.Helper()
	logintest.NoPassword(t, err, password, reflect.TypeFor[pgconn.Config](), reflect.TypeFor[pgx.ConnConfig](),
		reflect.TypeFor[pgconn.ConnectError](), reflect.TypeFor[pgconn.ParseConfigError]())
}

// leak.Walk finds the password in an error of pgx, so the other tests would notice one.
func TestLeakIsFoundInAnErrorOfPgx(t *testing.T) {
	config, err := pgx.ParseConfig("host=127.0.0.1 port=1 user=u sslmode=disable password=" + canary)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err = pgx.ConnectConfig(ctx, config)
	found := false
	leak.Walk(fmt.Errorf("hidden: %w", err), func(_ string, v reflect.Value) {
		found = found || v.Kind() == reflect.String && strings.Contains(v.String(), canary)
	})
	if !found {
		t.Error("the walk does not find the password in pgx's own error")
	}
}
