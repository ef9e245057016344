package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/internal/standin/mysqlserver"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/pgserver"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/tdsserver"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/tnsserver"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/testca"
)

// If the database opens, the first line says so, the exit code is 0, and no step has failed.
func TestConnected(t *testing.T) {
	ca := testca.New("127.0.0.1")
	for _, c := range []struct {
		name  string
		setUp func(w *world) (args []string)
		says  []string
	}{
		{"PostgreSQL with verified TLS", func(w *world) []string {
			w.postgres(&pgserver.Server{TLS: ca.Server}, nil)
			return dsn("prod/app?sslmode=verify-full&sslrootcert=" + ca.File(w.t))
		}, []string{"ok   TLS              TLS 1.3, authority and name verified; certificate", "by sslmode=verify-full, sslrootcert in the data source name"}},
		{"PostgreSQL with TLS because of the secret", func(w *world) []string {
			w.postgres(&pgserver.Server{TLS: ca.Server}, map[string]any{"ssl": true})
			return dsn("prod/app")
		}, []string{"TLS 1.3, NOT verified", `by the secret's "ssl"`}},
		{"PostgreSQL, only the authority verified", func(w *world) []string {
			w.postgres(&pgserver.Server{TLS: ca.Server}, nil)
			return dsn("secretsmanager-postgres prod/app?sslmode=verify-ca&sslrootcert=" + ca.File(w.t))
		}, []string{"authority verified, but not the name"}},
		{"PostgreSQL without TLS", func(w *world) []string {
			s := w.postgres(&pgserver.Server{}, map[string]any{"host": nil, "port": nil, "dbname": nil})
			return dsn("-driver", "postgres", fmt.Sprintf("prod/app?host=localhost&port=%d", s.Port))
		}, []string{"host localhost (data source name)", "dbname postgres (default)", "none: the connection is NOT encrypted", "resolution  localhost is"}},
		{"JDBC", func(w *world) []string {
			s := w.postgres(&pgserver.Server{}, nil)
			return dsn(fmt.Sprintf("jdbc-secretsmanager:postgresql://127.0.0.1:%d/app?user=prod/app&sslmode=disable", s.Port))
		}, []string{"off (by sslmode=disable"}},
		{"MySQL", func(w *world) []string {
			s := &mysqlserver.Server{TLS: ca.Server}
			s.SetPassword(w.t, user, password)
			s.Start(w.t)
			w.put("prod/app", "mysql", "127.0.0.1", s.Port, nil)
			return dsn("prod/app?ssl-ca=" + ca.File(w.t))
		}, []string{"authority and name verified", "by ssl-ca in the data source name"}},
		{"SQL Server", func(w *world) []string {
			w.sqlserver(tdsserver.Options{TLS: ca.Server})
			return dsn("prod/app")
		}, []string{"NOT verified", "AWSCURRENT version", "Microsoft SQL Server"}},
		{"Oracle", func(w *world) []string {
			s := tnsserver.New(w.t, nil)
			s.SetPassword(user, password)
			w.put("prod/app", "oracle", s.Host, s.Port, map[string]any{"dbname": "ORCL"})
			return dsn("prod/app")
		}, []string{"none: the connection is NOT encrypted", "Oracle Database"}},
		{"rotation under way", func(w *world) []string {
			s := w.postgres(&pgserver.Server{}, map[string]any{"password": password + "x"})
			w.aws.PutStage("prod/app", fmt.Sprintf(`{"host":"127.0.0.1","port":%d,"username":%q,"password":%q}`, s.Port, user, password), "AWSPENDING")
			return dsn("prod/app?engine=postgres")
		}, []string{"with AWSPENDING; the server rejected AWSCURRENT, so a rotation is under way", "rejected: ", "AWSPENDING version"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			args := append([]string{"check"}, c.setUp(w)...)
			text := w.run(args...)
			if text.code != exitOK || !strings.HasPrefix(text.first(), "ok   connected to ") || strings.Contains(text.stdout, "FAIL") {
				t.Errorf("code %d:\n%s%s", text.code, text.stdout, text.stderr)
			}
			for _, want := range c.says {
				if !strings.Contains(text.stdout, want) {
					t.Errorf("no %q in:\n%s", want, text.stdout)
				}
			}
			var r result
			out := w.run(append(args, "--json")...)
			if err := json.Unmarshal([]byte(out.stdout), &r); err != nil || !r.Connected || r.Cause != "" || out.code != exitOK {
				t.Errorf("%v: code %d: %s", err, out.code, out.stdout)
			}
			if all := text.stdout + text.stderr + out.stdout; strings.Contains(strings.ToUpper(all), "CANARY") {
				t.Errorf("the output shows a secret value:\n%s", all)
			}
		})
	}
}

// Check sends no version twice, even if the data source name has a rotationWindow.
func TestOneLoginForEachVersion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.postgres(&pgserver.Server{}, map[string]any{"password": password + "x"})
	w.aws.PutStage("prod/app", fmt.Sprintf(`{"host":"127.0.0.1","port":%d,"username":%q,"password":%q}`, s.Port, user, password+"y"), "AWSPENDING")
	w.run("check", "prod/app?engine=postgres&rotationWindow=30s")
	if n := len(s.Seen()); n != 2 {
		t.Errorf("%d logins, want 2", n)
	}
}

// An argument that does not parse is not shown, wherever it is on the command line.
func TestURLWithPasswordIsNotShown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, args := range [][]string{
		{"postgres://app:CANARY@host/db"},
		{"postgres://app:CANARY@host/db?sslmode=require", "-json"},
		{"-driver", "secretsmanager-postgres", "postgres://app:CANARY@host/db"},
		{"secretsmanager-postgres", "postgres://app:CANARY@host/db"},
		{"secretsmanager-postgres:postgres://app:CANARY@host/db"},
		{"app:CANARY@tcp(host:3306)/db"},
		{"app:CAN?CANARY@tcp(host:3306)/db"},
		{"app/CANARY@host:1521/db"},
		{"app/CANARY@//host:1521/db"},
		{"host=db user=app password=CANARY"},
		{"server=db;user id=app;pwd=CANARY"},
		{"jdbc:postgresql://host/db?user=app&password=CANARY"},
		{"oracle://app:CANARY@host/db"},
		{"CANARY@host/db", "x", "y"},
		{"-postgres://app:CANARY@host/db"},
		{"--timeout=CANARY", "prod/app"},
		{"-driver", "CANARY", "prod/app"},
		{"CANARY", "prod/app"},
		{"-CANARY"},
	} {
		r := w.run(append([]string{"check"}, args...)...)
		if all := r.stdout + r.stderr; r.code != exitUsage || strings.Contains(all, "CANARY") || strings.Contains(all, "app:") {
			t.Errorf("%q: code %d:\n%s", args, r.code, all)
		}
		if (strings.HasPrefix(args[0], "postgres") || strings.HasPrefix(args[0], "app")) && !strings.Contains(r.stdout, "a database's own URL") {
			t.Errorf("%q: the output does not say that this is a database's URL: %s", args, r.stdout)
		}
	}
	if r := w.run("postgres://app:CANARY@host/db"); strings.Contains(r.stdout+r.stderr, "CANARY") || r.code != exitUsage {
		t.Errorf("code %d:\n%s", r.code, r.stdout+r.stderr)
	}
}
