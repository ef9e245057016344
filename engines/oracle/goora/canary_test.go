package goora_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/oracle/goora"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/tnsserver"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/leak"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// A marked password goes through all that can happen to a login, and shows up in no
// error, log record or printed form; nor is it in what is kept between connects.
func TestCanary(t *testing.T) {
	s := tnsserver.New(t, nil)
	for _, c := range []struct {
		name   string
		change func()
		params string
	}{
		{"accepted", func() { s.SetPassword("app_user", canary) }, ""},
		{"rejected", func() { s.SetPassword("app_user", "another") }, ""},
		{"locked", func() { s.Lock("app_user", true) }, ""},
		{"expired", func() { s.Lock("app_user", false); s.SetPassword("app_user", canary); s.Expire("app_user") }, ""},
		{"unknown service", func() { s.SetPassword("app_user", canary) }, "dbname=OTHER"},
		{"unknown SID", func() {}, "dbname=:OTHER"},
		{"TLS", func() {}, "SSL=true"},
		{"nobody listens", func() {}, "port=1"},
		{"hangs up", func() { s.HangUp(tnsserver.AtLogin) }, ""},
		{"silent", func() { s.Hang(tnsserver.AtLogin) }, "connect_timeout=100ms"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.change()
			var logged bytes.Buffer
			cache := secretcache.New(secretcache.SourceFunc(func(_ context.Context, id, stage string) (*secretcache.Secret, error) {
				b, err := json.Marshal(map[string]any{"host": s.Host, "port": s.Port, "dbname": "ORCL", "username": "app_user", "password": canary})
				return secretcache.NewSecret(secretcache.Value{ID: id, VersionID: "v1", Stages: []string{stage}, String: string(b)}), err
			}), nil)
			defer cache.Close()
			connector, err := driver.NewConnector(goora.Engine{}, "prod/app?"+c.params, &driver.Options{
				Secrets: cache, FallbackStages: []string{}, Logger: slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug - 8}))})
			if err != nil {
				t.Fatal(err)
			}
			db := sql.OpenDB(connector)
			defer db.Close()
			var user string
			err = db.QueryRowContext(t.Context(), "SELECT USER FROM DUAL").Scan(&user)
			if (err == nil) != (c.name == "accepted") {
				t.Errorf("query = %v", err)
			}
			if err != nil {
				noPassword(t, err, canary)
			}
			_, err = db.ExecContext(t.Context(), "NO SUCH STATEMENT")
			if err == nil {
				t.Error("a statement that there is not succeeded")
			}
			noPassword(t, err, canary)
			for _, v := range []any{connector, db.Driver()} {
				for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
					if strings.Contains(fmt.Sprintf(verb, v), canary) {
						t.Errorf("%s of a %T shows the password", verb, v)
					}
				}
			}
			if strings.Contains(logged.String(), canary) {
				t.Error("the log shows the password")
			}
		})
	}
	l, err := goora.Engine{}.Prepare(endpoint(s))
	if err != nil {
		t.Fatal(err)
	}
	s.Hang(tnsserver.Never)
	s.SetPassword("app_user", canary)
	conn, err := l.Connect(t.Context(), driver.Credentials{User: "app_user", Password: driver.NewPassword(canary)})
	if err = errors.Join(err, conn.Close()); err != nil {
		t.Fatal(err)
	}
	if where := leak.Find(l, canary); where != "" {
		t.Errorf("the password is still in the login: %s", where)
	}
}
