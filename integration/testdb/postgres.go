package testdb

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"database/sql"
	"encoding/csv"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

type postgres struct{}

var _ engine = postgres{}

func (postgres) admin() string { return "postgres" }

func (postgres) database() string { return "app" }

func (postgres) canonical(user string) string { return user }

// postgresLog is the server's log in its data directory. A csvlog is complete and unambiguous for
// any names and texts, and the administrator can read it by SQL.
const postgresLog = "log/server.csv"

func postgresRequest(o Options) request {
	p := postgres{}
	r := request{
		port: "5432/tcp",
		env: map[string]string{
			"POSTGRES_USER":        p.admin(),
			"POSTGRES_PASSWORD":    adminPassword,
			"POSTGRES_DB":          p.database(),
			"POSTGRES_INITDB_ARGS": "--auth=scram-sha-256 --no-sync",
		},
		cmd: []string{"postgres"},
	}
	set := func(settings ...string) {
		for _, s := range settings {
			r.cmd = append(r.cmd, "-c", s)
		}
	}
	set("log_connections=on",
		"logging_collector=on", "log_destination=csvlog",
		"log_directory=log", "log_filename=server.log", // .csv replaces .log
		"log_rotation_age=0", "log_rotation_size=0",
		"lc_messages=C",
		"max_connections=300",
		"fsync=off")
	if o.TLS {
		// PostgreSQL accepts no key that others may read.
		const key = keyFile + ".postgres"
		r.entrypoint = []string{"sh", "-c", "install -o postgres -m 600 " + keyFile + " " + key + ` && exec docker-entrypoint.sh "$@"`, "sh"}
		set("ssl=on", "ssl_cert_file="+certFile, "ssl_key_file="+key)
	}
	if o.SocketDir != "" {
		set("unix_socket_directories=/var/run/postgresql," + socketDir)
	}
	r.cmd = append(r.cmd, o.Args...)
	return r
}

func (postgres) open(port int, user, database string, tlsConfig *tls.Config) (*sql.DB, error) {
	// Every value is given, so that no PG* variable of the developer applies.
	cfg, err := pgx.ParseConfig(fmt.Sprintf("host=%s port=%d user=%s password=%s dbname=%s sslmode=disable connect_timeout=5",
		loopback, port, user, adminPassword, database))
	if err != nil {
		return nil, err
	}
	cfg.TLSConfig = tlsConfig
	return stdlib.OpenDB(*cfg), nil
}

// execf runs statements whose names (%I) and strings (%L) the server quotes.
func (postgres) execf(ctx context.Context, db *sql.DB, format string, args ...any) error {
	query := "SELECT format($1"
	for i := range args {
		query += fmt.Sprintf(", $%d::text", i+2)
	}
	var statements string
	if err := db.QueryRowContext(ctx, query+")", append([]any{format}, args...)...).Scan(&statements); err != nil {
		return err
	}
	_, err := db.ExecContext(ctx, statements)
	return err
}

func (p postgres) createUser(ctx context.Context, db *sql.DB, name, password string) error {
	return p.execf(ctx, db, "CREATE ROLE %1$I LOGIN PASSWORD %2$L; GRANT ALL ON SCHEMA public TO %1$I", name, password)
}

func (p postgres) setPassword(ctx context.Context, db *sql.DB, name, password string) error {
	return p.execf(ctx, db, "ALTER ROLE %I PASSWORD %L", name, password)
}

func (p postgres) lock(ctx context.Context, db *sql.DB, name string) error {
	return p.execf(ctx, db, "ALTER ROLE %I CONNECTION LIMIT 0", name)
}

func (p postgres) dropUser(ctx context.Context, db *sql.DB, name string) error {
	var one int
	err := db.QueryRowContext(ctx, "SELECT 1 FROM pg_roles WHERE rolname = $1", name).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	return p.execf(ctx, db, "DROP OWNED BY %1$I; DROP ROLE %1$I", name)
}

func (postgres) sessions(ctx context.Context, db *sql.DB, user string) ([]int64, error) {
	return ids(db.QueryContext(ctx, "SELECT pid FROM pg_stat_activity WHERE usename = $1 AND backend_type = 'client backend' ORDER BY 1", user))
}

// logins waits for the logins of all users. A server process writes to the log before it answers
// its client, and the log keeps the order of writing. So logins writes a mark, and a login that is
// not in the log before the mark had not ended.
func (postgres) logins(ctx context.Context, db *sql.DB, _ string) (map[string]tally, error) {
	mark := "testdb mark " + rand.Text()
	if _, err := db.ExecContext(ctx, "DO $$ BEGIN RAISE LOG '"+mark+"'; END $$"); err != nil {
		return nil, err
	}
	var tallies map[string]tally
	err := poll(ctx, 5*time.Millisecond, func() (found bool, err error) {
		var log []byte // not a string, because names in it may have any encoding
		if err := db.QueryRowContext(ctx, "SELECT pg_read_binary_file($1)", postgresLog).Scan(&log); err != nil {
			return false, err
		}
		tallies, found = readPostgresLog(log, mark)
		return found, nil
	})
	return tallies, err
}

// readPostgresLog counts the logins in a csvlog up to a mark, and reports
// whether it found the mark.
func readPostgresLog(log []byte, mark string) (map[string]tally, bool) {
	// Columns of csvlog, the same in all versions.
	const user, session, severity, state, message, columns = 1, 5, 11, 12, 13, 23

	tallies := make(map[string]tally)
	authorized := make(map[string]bool) // by session
	r := csv.NewReader(bytes.NewReader(log))
	r.FieldsPerRecord = -1
	r.ReuseRecord = true
	for {
		rec, err := r.Read()
		if err != nil || len(rec) < columns {
			return nil, false // the end of the log, or a record that is being written
		}
		t := tallies[rec[user]]
		switch {
		case rec[message] == mark:
			return tallies, true
		case strings.HasPrefix(rec[message], "connection authorized: "):
			t.accepted++
			authorized[rec[session]] = true
		case rec[severity] != "FATAL":
			continue
		case rec[state] == "28P01":
			t.rejected++
		case !authorized[rec[session]]:
			continue // for example 28000 because of pg_hba.conf
		case rec[state] == "28000": // the role does not exist or may not log in
			t.accepted--
			t.rejected++
		case rec[state] == "3D000", rec[state] == "42501", rec[state] == "53300", rec[state] == "55000":
			t.accepted-- // no session, because the database, a privilege or a slot is missing
		}
		tallies[rec[user]] = t
	}
}

// ids reads a column of sessions' ids.
func ids(rows *sql.Rows, err error) ([]int64, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var ids []int64
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}
