package rotation

import (
	"context"
	"crypto/tls"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"strings"

	"github.com/sijms/go-ora/v2/network"

	"github.com/sqlsecrets/sqlsecrets/integration/internal/vendordb"
)

var oracle = engine{
	port:          1521,
	needsDatabase: true,
	query:         "SELECT 1 FROM DUAL",
	alternate:     alternateOracle,
	connector: func(v *value, tlsConfig *tls.Config) (sqldriver.Connector, error) {
		return vendordb.Oracle(v.account(tlsConfig)), nil
	},
	setOwn: func(ctx context.Context, c *sql.Conn, user, password, old string) error {
		return execOracle(ctx, c, "ALTER USER %s IDENTIFIED BY %s REPLACE %s", vendordb.OracleName(user), password, old)
	},
	setOther: setOtherOracle,
	code: func(err error) string {
		var e *network.OracleError
		if !errors.As(err, &e) {
			return ""
		}
		return fmt.Sprintf("ORA-%05d", e.ErrCode)
	},
}

// alternateOracle alternates as AWS's functions do, with names in upper case: what is
// not in double quotes has no other case in Oracle. Names have 128 bytes since 12.2.
func alternateOracle(user string) (string, error) {
	name, err := withSuffix("_CLONE", 128)(vendordb.OracleName(user))
	if err == nil && strings.HasPrefix(user, `"`) {
		name = `"` + name + `"`
	}
	return name, err
}

// setOtherOracle: each statement is a transaction of its own. The lock is the mark of a
// user that does not have all that it is to have.
func setOtherOracle(ctx context.Context, c *sql.Conn, user, password, like string) error {
	user, like = vendordb.OracleName(user), vendordb.OracleName(like)
	status, err := texts(c.QueryContext(ctx, "SELECT ACCOUNT_STATUS FROM DBA_USERS WHERE USERNAME = "+vendordb.OracleString(user)))
	switch {
	case err != nil:
		return err
	case len(status) == 0:
		err = execOracle(ctx, c, "CREATE USER %s IDENTIFIED BY %s ACCOUNT LOCK", user, password)
	case !strings.HasSuffix(status[0][0].String, "LOCKED"): // LOCKED, EXPIRED & LOCKED; not LOCKED(TIMED)
		return execOracle(ctx, c, "ALTER USER %s IDENTIFIED BY %s", user, password)
	}
	if err == nil {
		err = copyOracle(ctx, c, like, user)
	}
	if err != nil {
		return err
	}
	return execOracle(ctx, c, "ALTER USER %s IDENTIFIED BY %s ACCOUNT UNLOCK", user, password)
}

// copyOracle gives a user the roles and privileges of another one.
func copyOracle(ctx context.Context, c *sql.Conn, from, to string) error {
	statements, err := grantsOracle(ctx, c, from, to)
	if err != nil {
		return err
	}
	for _, s := range statements {
		if _, err := c.ExecContext(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

func grantsOracle(ctx context.Context, c *sql.Conn, from, to string) (statements []string, err error) {
	quote := func(name string) string {
		quoted, quoteErr := vendordb.OracleQuote(name)
		err = errors.Join(err, quoteErr)
		return quoted
	}
	view := func(columns, name string) [][]sql.NullString {
		if err != nil {
			return nil
		}
		var rows [][]sql.NullString
		rows, err = texts(c.QueryContext(ctx, "SELECT "+columns+" FROM "+name+" WHERE GRANTEE = "+vendordb.OracleString(from)))
		return rows
	}
	grant := func(what, on, option, granted string) {
		s := "GRANT " + what + on + " TO " + quote(to)
		if granted == "YES" {
			s += " WITH " + option + " OPTION"
		}
		statements = append(statements, s)
	}

	var off []string // roles that are no default ones
	for _, r := range view("GRANTED_ROLE, ADMIN_OPTION, DEFAULT_ROLE", "DBA_ROLE_PRIVS") {
		role := quote(r[0].String)
		grant(role, "", "ADMIN", r[1].String)
		if r[2].String == "NO" {
			off = append(off, role)
		}
	}
	for _, r := range view("PRIVILEGE, ADMIN_OPTION", "DBA_SYS_PRIVS") {
		grant(r[0].String, "", "ADMIN", r[1].String)
	}
	for _, r := range view("PRIVILEGE, OWNER, TABLE_NAME, TYPE, GRANTABLE", "DBA_TAB_PRIVS") {
		on := " ON " + quote(r[1].String) + "." + quote(r[2].String)
		switch r[3].String {
		case "DIRECTORY", "USER":
			on = " ON " + r[3].String + " " + quote(r[2].String)
		case "TABLE", "VIEW", "MATERIALIZED VIEW", "SEQUENCE", "PROCEDURE", "FUNCTION", "PACKAGE", "TYPE":
		default:
			return nil, errGrant
		}
		grant(r[0].String, on, "GRANT", r[4].String)
	}
	for _, r := range view("PRIVILEGE, OWNER, TABLE_NAME, COLUMN_NAME, GRANTABLE", "DBA_COL_PRIVS") {
		grant(r[0].String+" ("+quote(r[3].String)+")", " ON "+quote(r[1].String)+"."+quote(r[2].String), "GRANT", r[4].String)
	}
	if len(off) > 0 {
		statements = append(statements, "ALTER USER "+quote(to)+" DEFAULT ROLE ALL EXCEPT "+strings.Join(off, ", "))
	}
	return statements, err
}

// execOracle runs a statement with names and passwords, quoted, for the %s.
func execOracle(ctx context.Context, c *sql.Conn, format string, args ...string) error {
	quoted := make([]any, len(args))
	for i, arg := range args {
		q, err := vendordb.OracleQuote(arg)
		if err != nil {
			return err
		}
		quoted[i] = q
	}
	_, err := c.ExecContext(ctx, fmt.Sprintf(format, quoted...))
	return err
}
