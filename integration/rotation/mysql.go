package rotation

import (
	"context"
	"crypto/tls"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	gomysql "github.com/go-sql-driver/mysql"
)

var mysql = engine{
	port:      3306,
	query:     "SELECT 1",
	alternate: withSuffix("_clone"),
	connector: mysqlConnector,
	setOwn: func(ctx context.Context, c *sql.Conn, _, password string) error {
		return execMySQL(ctx, c, "ALTER USER CURRENT_USER() IDENTIFIED BY %s", password)
	},
	setOther: setOtherMySQL("SELECT account_locked = 'Y' FROM mysql.user WHERE User = ? AND Host = '%'"),
	code:     mysqlCode,
}

var mariadb = engine{
	port:      3306,
	query:     "SELECT 1",
	alternate: withSuffix("_clone"),
	connector: mysqlConnector,
	setOwn: func(ctx context.Context, c *sql.Conn, _, password string) error {
		// ALTER USER needs the privilege CREATE USER, even for the user's own password.
		return execMySQL(ctx, c, "SET PASSWORD = PASSWORD(%s)", password)
	},
	setOther: setOtherMySQL("SELECT COALESCE(JSON_VALUE(Priv, '$.account_locked') IN ('1', 'true'), FALSE) FROM mysql.global_priv WHERE User = ? AND Host = '%'"),
	code:     mysqlCode,
}

func mysqlCode(err error) string {
	var e *gomysql.MySQLError
	if !errors.As(err, &e) {
		return ""
	}
	return "error " + strconv.Itoa(int(e.Number))
}

func mysqlConnector(v *value, tlsConfig *tls.Config) (sqldriver.Connector, error) {
	cfg := gomysql.NewConfig()
	cfg.Net, cfg.Addr = "tcp", net.JoinHostPort(v.host, strconv.Itoa(v.port))
	cfg.DBName, cfg.User, cfg.Passwd = v.database, v.username, v.password()
	cfg.TLS = tlsConfig
	cfg.Logger = &gomysql.NopLogger{}
	// QUOTE and SHOW GRANTS depend on these settings, and the server's defaults may differ.
	cfg.Params = map[string]string{"sql_mode": "'TRADITIONAL'", "sql_quote_show_create": "1"}
	return gomysql.NewConnector(cfg)
}

// setOtherMySQL returns setOther for an engine. The query says whether a user is locked, and has no
// row if the user does not exist.
func setOtherMySQL(lockedQuery string) func(ctx context.Context, c *sql.Conn, user, password, like string) error {
	return func(ctx context.Context, c *sql.Conn, user, password, like string) error {
		var locked bool
		err := c.QueryRowContext(ctx, lockedQuery, user).Scan(&locked)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			// Grants have no transactions. A locked user is one that does not have all grants yet.
			if err := execMySQL(ctx, c, "CREATE USER %s@'%%' IDENTIFIED BY %s ACCOUNT LOCK", user, password); err != nil {
				return err
			}
		case err != nil:
			return err
		case !locked:
			return execMySQL(ctx, c, "ALTER USER %s@'%%' IDENTIFIED BY %s", user, password)
		}
		if err := copyGrants(ctx, c, like, user); err != nil {
			return err
		}
		return execMySQL(ctx, c, "ALTER USER %s@'%%' IDENTIFIED BY %s ACCOUNT UNLOCK", user, password)
	}
}

// copyGrants gives a user the grants of another one.
func copyGrants(ctx context.Context, c *sql.Conn, from, to string) error {
	grants, err := showGrants(ctx, c, from)
	if err != nil {
		return err
	}
	for _, grant := range grants {
		statement, ok := regrant(grant, from, to)
		if !ok {
			return errors.New("a grant is of a form that cannot be copied")
		}
		if _, err := c.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

func showGrants(ctx context.Context, c *sql.Conn, user string) ([]string, error) {
	quoted, err := quote(ctx, c, user)
	if err != nil {
		return nil, err
	}
	rows, err := c.QueryContext(ctx, "SHOW GRANTS FOR "+quoted+"@'%'")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var grants []string
	for rows.Next() {
		var grant string
		if err := rows.Scan(&grant); err != nil {
			return nil, err
		}
		grants = append(grants, grant)
	}
	return grants, rows.Err()
}

// regrant changes a row of SHOW GRANTS for one user to a statement for another user:
//
//	GRANT SELECT ON `app`.* TO `user`@`%` WITH GRANT OPTION
//	GRANT USAGE ON *.* TO `user`@`%` IDENTIFIED BY PASSWORD '*…' REQUIRE SSL WITH …
//	SET DEFAULT ROLE `role` FOR `user`@`%`
//
// The second form is MariaDB's. It gives the password to the other user as well, so that user has
// to be locked until it gets its own password.
//
//	GRANT SELECT ON `app`.* TO `user`@`%` WITH GRANT OPTION
//	GRANT USAGE ON *.* TO `user`@`%` IDENTIFIED BY PASSWORD '*…' REQUIRE SSL WITH …
//	SET DEFAULT ROLE `role` FOR `user`@`%`
//
// The second, which is MariaDB's, gives the other user the password as well. It is
// to be locked until it gets its own.
func regrant(grant, from, to string) (statement string, ok bool) {
	// Quotes in a name are doubled, so this text is not a part of a name.
	head, tail, ok := strings.Cut(grant, account(from))
	if !ok || !strings.HasSuffix(head, " TO ") && !strings.HasSuffix(head, " FROM ") && !strings.HasSuffix(head, " FOR ") {
		return "", false
	}
	return head + account(to) + tail, true
}

// account quotes a user's name as SHOW GRANTS does.
func account(user string) string {
	return "`" + strings.ReplaceAll(user, "`", "``") + "`@`%`"
}

// execMySQL runs a statement. The server quotes the strings for each %s.
func execMySQL(ctx context.Context, c *sql.Conn, format string, args ...string) error {
	quoted := make([]any, len(args))
	for i, arg := range args {
		q, err := quote(ctx, c, arg)
		if err != nil {
			return err
		}
		quoted[i] = q
	}
	_, err := c.ExecContext(ctx, fmt.Sprintf(format, quoted...))
	return err
}

// quote lets the server quote a string.
func quote(ctx context.Context, c *sql.Conn, s string) (quoted string, err error) {
	err = c.QueryRowContext(ctx, "SELECT QUOTE(?)", s).Scan(&quoted)
	return quoted, err
}
