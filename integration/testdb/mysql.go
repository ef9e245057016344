package testdb

import (
	"context"
	"crypto/tls"
	"database/sql"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"regexp"
	"slices"
	"strings"
	"time"

	gomysql "github.com/go-sql-driver/mysql"
)

// mysql is also for MariaDB.
type mysql struct{}

var _ engine = mysql{}

func (mysql) admin() string { return "root" }

func (mysql) database() string { return "app" }

func (mysql) canonical(user string) string { return user }

// loginMark is the statement that the server runs when a new session begins. The general log has a
// login before its outcome, and some outcomes not at all. This line shows that the session exists.
const loginMark = "DO 'testdb login'"

// loginMarkTimeout is the longest time from a login to the beginning of its session.
const loginMarkTimeout = 10 * time.Second

func mysqlRequest(o Options) request {
	r := request{
		port: "3306/tcp",
		env: map[string]string{
			"MYSQL_ROOT_PASSWORD": adminPassword,
			"MYSQL_DATABASE":      mysql{}.database(),
		},
		cmd: append([]string{"mysqld", "--loose-mysqlx=OFF"}, mysqlArgs(o)...),
	}
	if !o.TLS {
		// How to turn TLS off: the first until 8.0, the second since then.
		r.cmd = append(r.cmd, "--loose-skip-ssl", "--loose-tls-version=")
	}
	r.cmd = append(r.cmd, o.Args...)
	return r
}

func mariadbRequest(o Options) request {
	r := request{
		port: "3306/tcp",
		env: map[string]string{
			"MARIADB_ROOT_PASSWORD": adminPassword,
			"MARIADB_DATABASE":      mysql{}.database(),
		},
		cmd: append([]string{"mariadbd"}, mysqlArgs(o)...),
	}
	if !o.TLS {
		r.cmd = append(r.cmd, "--skip-ssl")
	}
	r.cmd = append(r.cmd, o.Args...)
	return r
}

func mysqlArgs(o Options) []string {
	args := []string{
		// A table can be read by SQL, and a row is in it before the client gets the outcome.
		"--general-log=1", "--log-output=TABLE",
		"--init-connect=" + loginMark,
		"--skip-name-resolve",
		"--max-connections=500",
		"--max-connect-errors=1000000", // the tests make many rejected logins
		"--skip-log-bin",
		"--innodb-flush-log-at-trx-commit=0",
	}
	if o.SocketDir != "" {
		args = append(args, "--socket="+socketDir+"/mysqld.sock")
	}
	if o.TLS {
		args = append(args, "--ssl-cert="+certFile, "--ssl-key="+keyFile, "--ssl-ca="+caFile)
	}
	return args
}

func (mysql) open(port int, user, database string, tlsConfig *tls.Config) (*sql.DB, error) {
	cfg := gomysql.NewConfig()
	cfg.Net, cfg.Addr = "tcp", joinHostPort(port)
	cfg.User, cfg.Passwd, cfg.DBName = user, adminPassword, database
	cfg.TLS = tlsConfig
	cfg.Logger = stdlog.New(io.Discard, "", 0) // it would print each attempt while the server starts
	c, err := gomysql.NewConnector(cfg)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(c), nil
}

// execf runs a statement. The server quotes the strings for each %s.
func (mysql) execf(ctx context.Context, db *sql.DB, format string, args ...string) error {
	quoted := make([]any, len(args))
	for i, arg := range args {
		var q string
		if err := db.QueryRowContext(ctx, "SELECT QUOTE(?)", arg).Scan(&q); err != nil {
			return err
		}
		quoted[i] = q
	}
	_, err := db.ExecContext(ctx, fmt.Sprintf(format, quoted...))
	return err
}

func (m mysql) createUser(ctx context.Context, db *sql.DB, name, password string) error {
	if err := m.execf(ctx, db, "CREATE USER %s@'%%' IDENTIFIED BY %s", name, password); err != nil {
		return err
	}
	return m.execf(ctx, db, "GRANT ALL ON `"+m.database()+"`.* TO %s@'%%'", name)
}

func (m mysql) setPassword(ctx context.Context, db *sql.DB, name, password string) error {
	return m.execf(ctx, db, "ALTER USER %s@'%%' IDENTIFIED BY %s", name, password)
}

func (m mysql) lock(ctx context.Context, db *sql.DB, name string) error {
	return m.execf(ctx, db, "ALTER USER %s@'%%' ACCOUNT LOCK", name)
}

func (m mysql) dropUser(ctx context.Context, db *sql.DB, name string) error {
	return m.execf(ctx, db, "DROP USER IF EXISTS %s@'%%'", name)
}

func (mysql) sessions(ctx context.Context, db *sql.DB, user string) ([]int64, error) {
	return ids(db.QueryContext(ctx, "SELECT ID FROM information_schema.PROCESSLIST WHERE USER = ? ORDER BY 1", user))
}

// logins waits for logins of user that have a session but no outcome in the log yet: the server
// answers the client before it begins the session.
func (m mysql) logins(ctx context.Context, db *sql.DB, user string) (map[string]tally, error) {
	var tallies map[string]tally
	ctx, cancel := context.WithTimeout(ctx, loginMarkTimeout)
	defer cancel()
	err := poll(ctx, 5*time.Millisecond, func() (bool, error) {
		// The order matters: the outcome of a session that has left the list is in the log, or will
		// never be.
		sessions, err := m.sessions(ctx, db, user)
		if err != nil {
			return false, err
		}
		var open map[int64]string
		if tallies, open, err = readGeneralLog(ctx, db); err != nil || user == m.admin() {
			return true, err
		}
		return !slices.ContainsFunc(sessions, func(id int64) bool { return open[id] == user }), nil
	})
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("a session of user %q began without %q, as a superuser's does: %w", user, loginMark, err)
	}
	return tallies, err
}

var (
	loginBegun    = regexp.MustCompile(`^(.*)@(?:[0-9A-Fa-f.:]+|localhost) (?:as|on) `)
	loginRejected = regexp.MustCompile(`^Access denied for user '(.*)'@'[^']*'(?: \(using password: (?:YES|NO)\))?$`)
)

// readGeneralLog counts the logins in the general log. It also returns the users of logins without
// an outcome, by session.
func readGeneralLog(ctx context.Context, db *sql.DB) (map[string]tally, map[int64]string, error) {
	// The table has no key. It is read in the order in which it was written.
	rows, err := db.QueryContext(ctx, "SELECT thread_id, CONVERT(argument USING utf8mb4) FROM mysql.general_log"+
		" WHERE command_type = 'Connect' OR command_type = 'Query' AND argument = ?", loginMark)
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	tallies := make(map[string]tally)
	open := make(map[int64]string)
	for rows.Next() {
		var id int64
		var argument string
		if err := rows.Scan(&id, &argument); err != nil {
			return nil, nil, err
		}
		if argument == loginMark {
			if user, ok := open[id]; ok {
				delete(open, id)
				t := tallies[user]
				t.accepted++
				tallies[user] = t
			}
		} else if m := loginRejected.FindStringSubmatch(argument); m != nil {
			delete(open, id)
			t := tallies[m[1]]
			t.rejected++
			tallies[m[1]] = t
		} else if m := loginBegun.FindStringSubmatch(argument); m != nil {
			open[id] = m[1]
		} else if !strings.HasPrefix(argument, "Access denied") {
			return nil, nil, fmt.Errorf("general log: unexpected %q", argument)
		} else {
			delete(open, id) // not for the password: a locked account
		}
	}
	return tallies, open, rows.Err()
}
