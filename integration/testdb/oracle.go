package testdb

import (
	"context"
	"crypto/tls"
	"database/sql"
	"errors"
	"time"

	"github.com/sijms/go-ora/v2/network"

	"github.com/sqlsecrets/sqlsecrets/integration/internal/vendordb"
)

type oracle struct{}

var _ engine = oracle{}

func (oracle) admin() string { return "SYSTEM" }

// database is the pluggable database that gvenzl's images create.
func (oracle) database() string { return "FREEPDB1" }

func (oracle) canonical(user string) string { return vendordb.OracleName(user) }

// oracleRequest takes the environment variables that
// https://github.com/gvenzl/oci-oracle-free describes.
func oracleRequest(Options) request {
	return request{port: "1521/tcp", env: map[string]string{"ORACLE_PASSWORD": adminPassword}}
}

// oracleSetup makes the server write logins to the unified audit trail, which happens at once since
// 12.2, and lets SYSTEM read it. It also turns off the locking of accounts after wrong passwords,
// because tests of a rotation send many.
var oracleSetup = setup{user: "SYS", database: oracle{}.database(), statements: []string{
	"CREATE AUDIT POLICY testdb_logins ACTIONS LOGON",
	"AUDIT POLICY testdb_logins",
	"GRANT AUDIT_VIEWER TO SYSTEM",
	"ALTER PROFILE DEFAULT LIMIT FAILED_LOGIN_ATTEMPTS UNLIMITED",
}}

// admin is the account of an administrator.
func admin(port int, user, database string, tlsConfig *tls.Config) vendordb.Account {
	return vendordb.Account{Host: loopback, Port: port, Database: database, User: user, Password: adminPassword, TLS: tlsConfig}
}

func (oracle) open(port int, user, database string, tlsConfig *tls.Config) (*sql.DB, error) {
	return sql.OpenDB(vendordb.Oracle(admin(port, user, database, tlsConfig))), nil
}

// quotedForOracle returns a user's name and a password, quoted for a statement.
func quotedForOracle(user, password string) (name, quoted string, err error) {
	if name, err = vendordb.OracleQuote(vendordb.OracleName(user)); err != nil {
		return "", "", err
	}
	quoted, err = vendordb.OracleQuote(password)
	return name, quoted, err
}

func (oracle) createUser(ctx context.Context, db *sql.DB, user, password string) error {
	name, quoted, err := quotedForOracle(user, password)
	if err != nil {
		return err
	}
	return exec(ctx, db,
		"CREATE USER "+name+" IDENTIFIED BY "+quoted,
		"GRANT CREATE SESSION TO "+name,
		"GRANT RESOURCE TO "+name,
		"GRANT UNLIMITED TABLESPACE TO "+name)
}

func (oracle) setPassword(ctx context.Context, db *sql.DB, user, password string) error {
	name, quoted, err := quotedForOracle(user, password)
	if err != nil {
		return err
	}
	return exec(ctx, db, "ALTER USER "+name+" IDENTIFIED BY "+quoted)
}

func (oracle) lock(ctx context.Context, db *sql.DB, user string) error {
	name, _, err := quotedForOracle(user, "")
	if err != nil {
		return err
	}
	return exec(ctx, db, "ALTER USER "+name+" ACCOUNT LOCK")
}

func (o oracle) dropUser(ctx context.Context, db *sql.DB, user string) error {
	name, _, err := quotedForOracle(user, "")
	if err != nil {
		return err
	}
	const noUser, loggedIn = 1918, 1940
	return poll(ctx, 10*time.Millisecond, func() (bool, error) {
		switch err := exec(ctx, db, "DROP USER "+name+" CASCADE"); oracleError(err) {
		case noUser:
			return true, nil
		case loggedIn:
			return false, o.endSessions(ctx, db, user)
		default:
			return true, err
		}
	})
}

// endSessions ends a user's sessions. Some may be ending already.
func (o oracle) endSessions(ctx context.Context, db *sql.DB, user string) error {
	rows, err := db.QueryContext(ctx, "SELECT SID, SERIAL# FROM V$SESSION WHERE USERNAME = "+
		vendordb.OracleString(o.canonical(user))+" AND TYPE = 'USER'")
	if err != nil {
		return err
	}
	defer rows.Close()
	var sessions []string
	for rows.Next() {
		var sid, serial int64
		if err := rows.Scan(&sid, &serial); err != nil {
			return err
		}
		sessions = append(sessions, decimal(sid)+","+decimal(serial))
	}
	if err := rows.Err(); err != nil {
		return err
	}
	const noSession, marked = 30, 31
	for _, s := range sessions {
		err := exec(ctx, db, "ALTER SYSTEM KILL SESSION '"+s+"' IMMEDIATE")
		if code := oracleError(err); err != nil && code != noSession && code != marked {
			return err
		}
	}
	return nil
}

func oracleError(err error) int {
	var e *network.OracleError
	if !errors.As(err, &e) {
		return 0
	}
	return e.ErrCode
}

// sessions returns AUDSIDs, which are not used again. SIDs are.
func (o oracle) sessions(ctx context.Context, db *sql.DB, user string) ([]int64, error) {
	return ids(db.QueryContext(ctx, "SELECT AUDSID FROM V$SESSION WHERE USERNAME = "+
		vendordb.OracleString(o.canonical(user))+" AND TYPE = 'USER' ORDER BY AUDSID"))
}

// logins does not wait; see oracleSetup.
func (oracle) logins(ctx context.Context, db *sql.DB, _ string) (map[string]tally, error) {
	rows, err := db.QueryContext(ctx, "SELECT DBUSERNAME, RETURN_CODE, COUNT(*) FROM UNIFIED_AUDIT_TRAIL"+
		" WHERE ACTION_NAME = 'LOGON' GROUP BY DBUSERNAME, RETURN_CODE")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	tallies := map[string]tally{}
	for rows.Next() {
		var user string
		var code, count int
		if err := rows.Scan(&user, &code, &count); err != nil {
			return nil, err
		}
		t := tallies[user]
		switch code {
		case 0:
			t.accepted += count
		case 1005, 1017:
			t.rejected += count
		}
		tallies[user] = t
	}
	return tallies, rows.Err()
}
