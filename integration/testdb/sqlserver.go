package testdb

import (
	"context"
	"crypto/tls"
	"database/sql"
	"errors"
	"strconv"
	"time"

	mssql "github.com/microsoft/go-mssqldb"

	"github.com/sqlsecrets/sqlsecrets/integration/internal/vendordb"
)

type sqlserver struct{}

var _ engine = sqlserver{}

func (sqlserver) admin() string { return "sa" }

func (sqlserver) database() string { return "app" }

func (sqlserver) canonical(user string) string { return user }

// sqlserverLog is the directory in the container in which SQL Server writes its log.
const sqlserverLog = "/var/opt/mssql/log"

// sqlserverRequest uses the environment variables and the configuration file that
// https://learn.microsoft.com/sql/linux/sql-server-linux-configure-environment-variables and
// …/sql-server-linux-encrypted-connections describe.
func sqlserverRequest(o Options) request {
	r := request{
		port: "1433/tcp",
		env: map[string]string{
			"ACCEPT_EULA":       "Y",
			"MSSQL_PID":         "Developer",
			"MSSQL_SA_PASSWORD": adminPassword,
		},
	}
	if o.TLS {
		r.files = map[string][]byte{"/var/opt/mssql/mssql.conf": []byte("[network]\n" +
			"tlscert = " + certFile + "\ntlskey = " + keyFile + "\ntlsprotocols = 1.2\nforceencryption = 0\n")}
	}
	return r
}

// sqlserverSetup makes the database. It also makes the server write logins to a file before the
// client gets the outcome, by a queue delay of 0.
var sqlserverSetup = setup{user: "sa", database: "master", statements: []string{
	"CREATE DATABASE app",
	"CREATE SERVER AUDIT testdb TO FILE (FILEPATH = N'" + sqlserverLog + "') WITH (QUEUE_DELAY = 0, ON_FAILURE = CONTINUE)",
	"CREATE SERVER AUDIT SPECIFICATION testdb FOR SERVER AUDIT testdb" +
		" ADD (SUCCESSFUL_LOGIN_GROUP), ADD (FAILED_LOGIN_GROUP) WITH (STATE = ON)",
	"ALTER SERVER AUDIT testdb WITH (STATE = ON)",
}}

func (sqlserver) open(port int, user, database string, tlsConfig *tls.Config) (*sql.DB, error) {
	return sql.OpenDB(vendordb.SQLServer(admin(port, user, database, tlsConfig))), nil
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }

// exec runs statements one by one.
func exec(ctx context.Context, db *sql.DB, statements ...string) error {
	for _, s := range statements {
		if _, err := db.ExecContext(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// createUser makes a login without a password policy.
func (sqlserver) createUser(ctx context.Context, db *sql.DB, name, password string) error {
	quoted := vendordb.SQLServerName(name)
	return exec(ctx, db,
		"CREATE LOGIN "+quoted+" WITH PASSWORD = "+vendordb.SQLServerString(password)+", CHECK_POLICY = OFF",
		"CREATE USER "+quoted+" FOR LOGIN "+quoted,
		"ALTER ROLE [db_owner] ADD MEMBER "+quoted)
}

func (sqlserver) setPassword(ctx context.Context, db *sql.DB, name, password string) error {
	return exec(ctx, db, "ALTER LOGIN "+vendordb.SQLServerName(name)+" WITH PASSWORD = "+vendordb.SQLServerString(password))
}

func (sqlserver) lock(ctx context.Context, db *sql.DB, name string) error {
	return exec(ctx, db, "ALTER LOGIN "+vendordb.SQLServerName(name)+" DISABLE")
}

func (s sqlserver) dropUser(ctx context.Context, db *sql.DB, name string) error {
	err := db.QueryRowContext(ctx, "SELECT name FROM sys.server_principals WHERE name = @p1", name).Scan(new(string))
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	quoted := vendordb.SQLServerName(name)
	if err := exec(ctx, db, "DROP USER IF EXISTS "+quoted); err != nil {
		return err
	}
	const loggedIn, noSession = 15434, 6106
	return poll(ctx, 10*time.Millisecond, func() (bool, error) {
		if err := exec(ctx, db, "DROP LOGIN "+quoted); sqlserverError(err) != loggedIn {
			return true, err
		}
		sessions, err := s.sessions(ctx, db, name)
		for _, id := range sessions {
			if err == nil {
				_, err = db.ExecContext(ctx, "KILL "+decimal(id))
			}
			if sqlserverError(err) == noSession {
				err = nil
			}
		}
		return false, err
	})
}

func sqlserverError(err error) int32 {
	var e mssql.Error
	if !errors.As(err, &e) {
		return 0
	}
	return e.Number
}

func (sqlserver) sessions(ctx context.Context, db *sql.DB, user string) ([]int64, error) {
	return ids(db.QueryContext(ctx, "SELECT session_id FROM sys.dm_exec_sessions WHERE login_name = @p1 AND is_user_process = 1 ORDER BY session_id", user))
}

// logins does not wait; see sqlserverSetup. The statement of a failed login is the text of the
// server's log, with a reason. A pooled connection that is used again is not a login.
func (sqlserver) logins(ctx context.Context, db *sql.DB, _ string) (map[string]tally, error) {
	rows, err := db.QueryContext(ctx, "SELECT server_principal_name, SUM(CASE WHEN action_id = 'LGIS' THEN 1 ELSE 0 END),"+
		" SUM(CASE WHEN statement LIKE N'%Password did not match that for the login provided%'"+
		" OR statement LIKE N'%Could not find a login matching the name provided%' THEN 1 ELSE 0 END)"+
		" FROM sys.fn_get_audit_file(N'"+sqlserverLog+"/*.sqlaudit', DEFAULT, DEFAULT)"+
		" WHERE action_id IN ('LGIS', 'LGIF') AND ISNULL(additional_information, N'') NOT LIKE N'%<pooled_connection>1</pooled_connection>%'"+
		" GROUP BY server_principal_name")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	tallies := map[string]tally{}
	for rows.Next() {
		var user string
		var t tally
		if err := rows.Scan(&user, &t.accepted, &t.rejected); err != nil {
			return nil, err
		}
		tallies[user] = t
	}
	return tallies, rows.Err()
}
