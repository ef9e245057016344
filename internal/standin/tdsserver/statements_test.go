package tdsserver_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	mssql "github.com/microsoft/go-mssqldb"
	"github.com/microsoft/go-mssqldb/msdsn"

	"github.com/sqlsecrets/sqlsecrets/internal/standin/tdsserver"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/testca"
)

// The statements that integration/rotation sends, whose text has to be the same there.
const (
	findLogin     = "SELECT name FROM sys.server_principals WHERE name = @p1"
	mayOnServer   = "SELECT HAS_PERMS_BY_NAME(NULL, NULL, 'VIEW ANY DEFINITION')"
	findUser      = "SELECT name FROM sys.database_principals WHERE sid = SUSER_SID(@p1)"
	serverRoles   = "SELECT r.name FROM sys.server_role_members AS m JOIN sys.server_principals AS r ON r.principal_id = m.role_principal_id WHERE m.member_principal_id = SUSER_ID(@p1)"
	databaseRoles = "SELECT r.name FROM sys.database_role_members AS m JOIN sys.database_principals AS r ON r.principal_id = m.role_principal_id WHERE m.member_principal_id = DATABASE_PRINCIPAL_ID(@p1)"
	serverGrants  = "SELECT state_desc, permission_name, class_desc FROM sys.server_permissions WHERE grantee_principal_id = SUSER_ID(@p1)"
	grants        = "SELECT state_desc, permission_name, class_desc, OBJECT_SCHEMA_NAME(major_id), OBJECT_NAME(major_id), COL_NAME(major_id, minor_id), SCHEMA_NAME(major_id) FROM sys.database_permissions WHERE grantee_principal_id = DATABASE_PRINCIPAL_ID(@p1)"
)

// session is a connection of its own to the database app.
func session(t *testing.T, s *tdsserver.Server, user, password string) *sql.Conn {
	t.Helper()
	c, err := open(t, s, user, password, func(c *msdsn.Config) { c.Database = "app" }).Conn(t.Context())
	if err != nil {
		t.Fatalf("log in as %q: %v", user, err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// say runs a statement and returns its rows, one a line with "|" between columns, and
// "NULL", or the number of the server's error.
func say(t *testing.T, c *sql.Conn, query string, args ...any) string {
	t.Helper()
	rows, err := c.QueryContext(t.Context(), query, args...)
	if err != nil {
		var e mssql.Error
		if !errors.As(err, &e) {
			t.Fatalf("%s: %v", query, err)
		}
		return fmt.Sprint(e.Number)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for rows.Next() {
		cells, targets := make([]sql.NullString, len(columns)), make([]any, len(columns))
		for i := range cells {
			targets[i] = &cells[i]
		}
		if err := rows.Scan(targets...); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		var line []string
		for _, cell := range cells {
			if !cell.Valid {
				cell.String = "NULL"
			}
			line = append(line, cell.String)
		}
		lines = append(lines, strings.Join(line, "|"))
	}
	if err := rows.Err(); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return strings.Join(lines, "\n")
}

// A line is what somebody says to the server, and what it has to answer.
type line struct {
	who   string
	query string
	want  string
	args  []any
}

func TestStatements(t *testing.T) {
	for _, test := range []struct {
		name  string
		lines []line
	}{
		{"questions", []line{
			{"app", "SELECT 40 + 2", "42", nil},
			{"app", "SELECT @p1", "7", []any{7}},
			{"app", "SELECT 42 AS answer", "42", nil},
			{"app", `SELECT 42 AS "answer"`, "42", nil},
			{"app", "SELECT SUSER_SNAME(); SELECT DB_NAME()", "app", nil},
			{"app", "SELECT ORIGINAL_LOGIN()", "app", nil},
			{"app", "SELECT SYSTEM_USER", "app", nil},
			{"app", "SELECT @@VERSION", "Microsoft SQL Server (a stand-in)", nil},
			{"app", "SET NOCOUNT ON; SELECT 'x'", "102", nil},
			{"app", "SELECT 'x", "105", nil},
			{"app", "SELECT 1 FROM sys.databases", "102", nil},
			{"app", "", "", nil},
			{"app", "SELECT @p1", "102", []any{"x"}},
			{"app", "SELECT @p1", "8009", []any{1.5}},
			{"app", "USE nowhere", "911", nil},
			{"app", "WAITFOR DELAY 'x'", "148", nil},
		}},
		{"one's own password", []line{
			{"app", "ALTER LOGIN [app] WITH PASSWORD = N'new'", "15151", nil},
			{"app", "ALTER LOGIN [app] WITH PASSWORD = N'new' OLD_PASSWORD = N'wrong'", "15151", nil},
			{"app", "ALTER LOGIN [app] WITH PASSWORD = N'new' OLD_PASSWORD = N'App'", "15151", nil},
			{"app", "ALTER LOGIN [other] WITH PASSWORD = N'new' OLD_PASSWORD = N'other'", "15151", nil},
			{"app", "ALTER LOGIN [sa] WITH PASSWORD = N'new' OLD_PASSWORD = N'sa'", "15151", nil},
			{"app", "ALTER LOGIN [nobody] WITH PASSWORD = N'new' OLD_PASSWORD = N''", "15151", nil},
			{"sa", "ALTER LOGIN [app] WITH PASSWORD = N'new' OLD_PASSWORD = N'wrong'", "15151", nil},
			{"app", "ALTER LOGIN [app] WITH PASSWORD = N'n''e;w]\\' OLD_PASSWORD = N'app'", "", nil},
			{"app", "ALTER LOGIN [APP] WITH PASSWORD = N'app' OLD_PASSWORD = N'n''e;w]\\'", "", nil},
		}},
		{"logins", []line{
			{"app", "CREATE LOGIN [x] WITH PASSWORD = N'x'", "15247", nil},
			{"sa", "CREATE LOGIN [a\\b] WITH PASSWORD = N'x'", "15006", nil},
			{"sa", "CREATE LOGIN [App] WITH PASSWORD = N'x'", "15025", nil},
			{"sa", "CREATE LOGIN [a]]b 'x'] WITH PASSWORD = N'x', CHECK_POLICY = OFF", "", nil},
			{"sa", findLogin, "a]b 'x'", []any{"A]b 'X'"}},
			{"sa", findLogin, "", []any{"nobody"}},
			{"app", findLogin, "", []any{"a]b 'x'"}},
			{"app", findLogin, "app", []any{"app"}},
			{"sa", "ALTER LOGIN [nobody] WITH CHECK_POLICY = OFF", "15151", nil},
			{"app", "ALTER LOGIN [app] WITH CHECK_POLICY = OFF", "15151", nil},
			{"sa", "ALTER LOGIN [app] WITH CHECK_POLICY = OFF; ALTER LOGIN [app] WITH PASSWORD = N'app'", "", nil},
			{"app", "DROP LOGIN [a]]b 'x']", "15151", nil},
			{"sa", "DROP LOGIN [nobody]", "15151", nil},
			{"sa", "DROP LOGIN [other]", "15434", nil}, // it is logged in
			{"sa", "DROP LOGIN [a]]b 'x']", "", nil},
			{"sa", findLogin, "", []any{"a]b 'x'"}},
		}},
		{"users and roles", []line{
			{"sa", "CREATE LOGIN [x] WITH PASSWORD = N'x'", "", nil},
			{"other", "CREATE USER [x] FOR LOGIN [x]", "15247", nil},
			{"sa", "CREATE USER [x] FOR LOGIN [nobody]", "15007", nil},
			{"sa", "CREATE USER [app] FOR LOGIN [x]", "15023", nil},
			{"sa", "CREATE USER [y] FOR LOGIN [app]", "15063", nil},
			{"sa", findUser, "", []any{"x"}},
			{"app", "CREATE USER [y] FOR LOGIN [x]", "", nil}, // app is db_owner
			{"sa", findUser, "y", []any{"X"}},
			{"other", findUser, "", []any{"x"}},
			{"sa", databaseRoles, "", []any{"y"}},
			{"other", "ALTER ROLE [db_owner] ADD MEMBER [other]", "15151", nil},
			{"sa", "ALTER ROLE [none] ADD MEMBER [y]", "15151", nil},
			{"sa", "ALTER ROLE [db_owner] ADD MEMBER [nobody]", "15151", nil},
			{"sa", "ALTER ROLE [db_owner] ADD MEMBER [y]; ALTER ROLE db_datareader ADD MEMBER y", "", nil},
			{"sa", databaseRoles, "db_owner\ndb_datareader", []any{"y"}},
			{"other", databaseRoles, "", []any{"y"}},
			{"sa", "ALTER ROLE [db_owner] DROP MEMBER [y]", "", nil},
			{"sa", databaseRoles, "db_datareader", []any{"y"}},
			{"other", "DROP USER IF EXISTS [y]", "15151", nil},
			{"other", "DROP USER IF EXISTS [nobody]", "", nil},
			{"sa", "DROP USER IF EXISTS [y]", "", nil},
			{"sa", findUser, "", []any{"x"}},
		}},
		{"permissions on the server", []line{
			{"sa", serverGrants, "GRANT|CONNECT SQL|SERVER", []any{"other"}},
			{"sa", "GRANT ALTER ANY LOGIN TO [other]", "4621", nil},
			{"app", "EXEC master.sys.sp_executesql N'GRANT ALTER ANY LOGIN TO [app]'", "4613", nil},
			{"sa", "EXEC master.sys.sp_executesql N'GRANT ALTER ANY LOGIN TO [nobody]'", "15151", nil},
			{"sa", "EXEC master.sys.sp_executesql N'GRANT ''x'", "102", nil},
			{"sa", "EXEC master.sys.sp_executesql N'GRANT ALTER ANY LOGIN TO [other]'", "", nil},
			{"sa", "SELECT DB_NAME()", "app", nil},
			{"sa", "USE master; GRANT VIEW SERVER STATE TO [other] WITH GRANT OPTION; USE app", "", nil},
			{"sa", serverGrants, "GRANT|CONNECT SQL|SERVER\nGRANT|ALTER ANY LOGIN|SERVER\nGRANT_WITH_GRANT_OPTION|VIEW SERVER STATE|SERVER", []any{"other"}},
			{"app", serverGrants, "", []any{"other"}},
			{"other", "CREATE LOGIN [x] WITH PASSWORD = N'x'", "", nil},
			{"other", "ALTER LOGIN [app] WITH PASSWORD = N'app'", "", nil},
			{"other", "ALTER LOGIN [sa] WITH PASSWORD = N'x'", "15151", nil},
			{"other", mayOnServer, "0", nil},
			{"sa", mayOnServer, "1", nil},
			{"sa", "SELECT HAS_PERMS_BY_NAME(NULL, NULL, 'NO SUCH')", "NULL", nil},
			{"sa", "EXEC master.sys.sp_executesql N'DENY ALTER ANY LOGIN TO [other]'", "", nil},
			{"other", "DROP LOGIN [x]", "15151", nil},
			{"app", "ALTER SERVER ROLE [setupadmin] ADD MEMBER [app]", "15151", nil},
			{"sa", "ALTER SERVER ROLE [setupadmin] ADD MEMBER [nobody]", "15151", nil},
			{"sa", "ALTER SERVER ROLE [setupadmin] ADD MEMBER [other]", "", nil},
			{"sa", serverRoles, "setupadmin", []any{"other"}},
			{"app", serverRoles, "", []any{"other"}},
			{"sa", serverRoles, "sysadmin", []any{"sa"}},
		}},
		{"tables and permissions on them", []line{
			{"other", "CREATE TABLE [t] (n int)", "262", nil},
			{"app", "CREATE TABLE [t]]T] (n int)", "", nil},
			{"sa", "CREATE TABLE [t]]t] (n int)", "2714", nil},
			{"other", "INSERT INTO [t]]T] VALUES (1)", "229", nil},
			{"sa", "INSERT INTO [t]]T] VALUES (1); INSERT INTO [t]]T] VALUES (42)", "", nil},
			{"sa", "INSERT INTO [t2] VALUES (1)", "208", nil},
			{"sa", "SELECT n FROM [t]]T]", "1\n42", nil},
			{"sa", "SELECT n FROM t2", "208", nil},
			{"other", "SELECT n FROM [t]]T]", "229", nil},
			{"other", "GRANT SELECT ON OBJECT::[dbo].[t]]T] TO [other]", "15151", nil},
			{"sa", "GRANT SELECT ON OBJECT::[dbo].[t2] TO [other]", "15151", nil},
			{"sa", "GRANT SELECT ON OBJECT::[sales].[t]]T] TO [other]", "102", nil},
			{"sa", "GRANT SELECT ON OBJECT::[dbo].[t]]T] TO [nobody]", "15151", nil},
			{"sa", "GRANT SELECT ON OBJECT::[dbo].[t]]T] TO [other]", "", nil},
			{"sa", grants, "GRANT|CONNECT|DATABASE|NULL|NULL|NULL|NULL\nGRANT|SELECT|OBJECT_OR_COLUMN|dbo|t]T|NULL|NULL", []any{"other"}},
			{"other", grants, "GRANT|CONNECT|DATABASE|NULL|NULL|NULL|NULL\nGRANT|SELECT|OBJECT_OR_COLUMN|dbo|t]T|NULL|NULL", []any{"other"}},
			{"other", grants, "", []any{"app"}},
			{"other", "SELECT n FROM [t]]T]", "1\n42", nil},
			{"other", "GRANT SELECT ON OBJECT::[dbo].[t]]T] TO [third]", "15151", nil},
			{"sa", "GRANT SELECT ON OBJECT::[dbo].[t]]T] TO [other] WITH GRANT OPTION", "", nil},
			{"other", "GRANT SELECT ON OBJECT::[dbo].[t]]T] TO [third]", "", nil},
			{"third", "SELECT n FROM [t]]T]", "1\n42", nil},
			{"third", "INSERT INTO [t]]T] VALUES (1)", "229", nil},
			{"sa", "DENY SELECT ON SCHEMA::[dbo] TO [third]", "", nil},
			{"third", "SELECT n FROM [t]]T]", "229", nil},
			{"sa", "GRANT INSERT ON SCHEMA::[none] TO [third]", "15151", nil},
			{"third", "GRANT INSERT ON SCHEMA::[dbo] TO [third]", "4613", nil},
			{"sa", "GRANT INSERT ON SCHEMA::[dbo] TO [third]", "", nil},
			{"sa", grants, "GRANT|CONNECT|DATABASE|NULL|NULL|NULL|NULL\nGRANT|SELECT|OBJECT_OR_COLUMN|dbo|t]T|NULL|NULL\nDENY|SELECT|SCHEMA|NULL|NULL|NULL|dbo\nGRANT|INSERT|SCHEMA|NULL|NULL|NULL|dbo", []any{"third"}},
			{"third", "INSERT INTO [t]]T] VALUES (3)", "", nil},
			{"sa", "GRANT SELECT TO [nobody]", "15151", nil},
			{"sa", "GRANT SELECT", "102", nil},
			{"third", "DROP TABLE [t]]T]", "3701", nil},
			{"app", "DROP TABLE [t]]T]", "", nil},
			{"app", "DROP TABLE [t]]T]", "3701", nil},
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := start(t, tdsserver.Options{Databases: []string{"app"}})
			sessions := map[string]*sql.Conn{}
			for _, name := range []string{"sa", "app", "other", "third"} {
				s.SetPassword(name, name)
				if name == "sa" {
					s.Promote(name)
				}
				sessions[name] = session(t, s, name, name)
			}
			for _, name := range []string{"other", "third"} {
				if got := say(t, sessions["sa"], "ALTER ROLE [db_owner] DROP MEMBER ["+name+"]"); got != "" {
					t.Fatal(got)
				}
			}
			for _, l := range test.lines {
				if got := say(t, sessions[l.who], l.query, l.args...); got != l.want {
					t.Errorf("%s: %s %q\n got %q\nwant %q", l.who, l.query, l.args, got, l.want)
				}
			}
		})
	}
}

// What is changed is what decides about logins.
func TestLoginsOfStatements(t *testing.T) {
	s := start(t, tdsserver.Options{Databases: []string{"app"}})
	s.SetPassword("sa", "sa")
	s.Promote("sa")
	sa := session(t, s, "sa", "sa")
	login := func(user, password, database string, want ...int32) {
		t.Helper()
		err := open(t, s, user, password, func(c *msdsn.Config) { c.Database = database }).PingContext(t.Context())
		if got := numbers(err); !slices.Equal(got, want) {
			t.Errorf("login as %q with %q to %q: %v, want %d", user, password, database, err, want)
		}
	}
	do := func(query string) {
		t.Helper()
		if got := say(t, sa, query); got != "" {
			t.Fatalf("%s: %s", query, got)
		}
	}
	login("x", "1", "app", 18456)
	do("CREATE LOGIN [x] WITH PASSWORD = N'1'")
	login("x", "1", "master")
	login("x", "1", "app", 4060, 18456) // it has no user there
	do("CREATE USER [x] FOR LOGIN [x]")
	login("x", "1", "app")
	do("ALTER LOGIN [x] WITH PASSWORD = N'2'")
	login("x", "1", "app", 18456)
	x := session(t, s, "x", "2")
	if got := say(t, x, "ALTER LOGIN [x] WITH PASSWORD = N'3' OLD_PASSWORD = N'2'"); got != "" {
		t.Error(got)
	}
	login("x", "2", "app", 18456)
	login("x", "3", "app")
	do("DROP USER IF EXISTS [x]")
	login("x", "3", "app", 4060, 18456)
	if got := say(t, x, "USE master; USE app"); got != "916" {
		t.Errorf("USE of a database where there is no user: %s", got)
	}
	do("ALTER LOGIN [x] DISABLE")
	login("x", "3", "master", 18470)
	for _, query := range []string{"ALTER LOGIN [x] DISABLE", "ALTER LOGIN [nobody] DISABLE"} {
		if got := say(t, x, query); got != "15151" {
			t.Errorf("%s by anybody: %s", query, got)
		}
	}
	_ = x.Close()
	if n := s.WaitOpen(1, 5*time.Second); n != 1 {
		t.Fatalf("%d connections are open", n)
	}
	do("DROP LOGIN [x]")
	login("x", "3", "master", 18456)

	audit := "SELECT server_principal_name, SUM(CASE WHEN action_id = 'LGIS' THEN 1 ELSE 0 END)," +
		" SUM(CASE WHEN statement LIKE N'%Password did not match that for the login provided%'" +
		" OR statement LIKE N'%Could not find a login matching the name provided%' THEN 1 ELSE 0 END)" +
		" FROM sys.fn_get_audit_file(N'/x/*.sqlaudit', DEFAULT, DEFAULT)" +
		" WHERE action_id IN ('LGIS', 'LGIF') AND ISNULL(additional_information, N'') NOT LIKE N'%<pooled_connection>1</pooled_connection>%'" +
		" GROUP BY server_principal_name"
	got := strings.Split(say(t, sa, audit), "\n")
	slices.Sort(got)
	if want := []string{"sa|1|0", "x|4|4"}; !slices.Equal(got, want) {
		t.Errorf("audit: %q, want %q", got, want)
	}
	s.SetPassword("y", "y")
	if got := say(t, session(t, s, "y", "y"), audit); got != "300" {
		t.Errorf("audit by anybody: %s, want 300", got)
	}
}

func TestSessionsOfStatements(t *testing.T) {
	server := testca.New("localhost").Server
	s := start(t, tdsserver.Options{Databases: []string{"app"}, TLS: server})
	for _, name := range []string{"sa", "app", "other"} {
		s.SetPassword(name, name)
	}
	s.Promote("sa")
	sa, app, other := session(t, s, "sa", "sa"), session(t, s, "app", "app"), session(t, s, "other", "other")
	secure, err := open(t, s, "app", "app", func(c *msdsn.Config) {
		c.Database, c.Encryption = "app", msdsn.EncryptionRequired
		c.TLSConfig = server.Clone()
		c.TLSConfig.InsecureSkipVerify = true
	}).Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer secure.Close()
	ids := []string{say(t, app, "SELECT @@SPID"), say(t, secure, "SELECT @@SPID")}
	const sessions = "SELECT session_id FROM sys.dm_exec_sessions WHERE login_name = @p1 AND is_user_process = 1 ORDER BY session_id"
	const encryption = "SELECT encrypt_option FROM sys.dm_exec_connections WHERE session_id = "
	for _, l := range []struct {
		who         *sql.Conn
		query, want string
		args        []any
	}{
		{sa, sessions, strings.Join(ids, "\n"), []any{"app"}},
		{sa, sessions, "", []any{"nobody"}},
		{app, sessions, ids[0], []any{"app"}}, // its own
		{app, sessions, "", []any{"sa"}},
		{sa, encryption + ids[0], "FALSE", nil},
		{sa, encryption + ids[1], "TRUE", nil},
		{sa, encryption + "9", "", nil},
		{app, encryption + ids[0], "300", nil},
		{app, "KILL " + ids[1], "6102", nil},
		{sa, "KILL 9", "6106", nil},
		{sa, "KILL " + say(t, sa, "SELECT @@SPID"), "6104", nil},
		{sa, "KILL " + ids[1], "", nil},
	} {
		if got := say(t, l.who, l.query, l.args...); got != l.want {
			t.Errorf("%s %q: %q, want %q", l.query, l.args, got, l.want)
		}
	}
	if err := secure.PingContext(t.Context()); err == nil {
		t.Error("a session that was killed lives on")
	}
	if err := app.PingContext(t.Context()); err != nil {
		t.Errorf("another session: %v", err)
	}
	_ = other.Close()
}

func TestTransactions(t *testing.T) {
	s := start(t, tdsserver.Options{Databases: []string{"app"}})
	s.SetPassword("sa", "sa")
	s.Promote("sa")
	sa := session(t, s, "sa", "sa")
	state := func() string {
		var all []string
		for _, q := range []struct{ query, arg string }{
			{findLogin, "x"}, {serverRoles, "x"}, {serverGrants, "x"}, {findUser, "x"}, {databaseRoles, "x"}, {grants, "x"},
			{findLogin, "old"}, {findUser, "old"},
		} {
			all = append(all, say(t, sa, q.query, q.arg))
		}
		return strings.Join(append(all, say(t, sa, "SELECT n FROM t"), say(t, sa, "SELECT n FROM old")), "\n")
	}
	for _, q := range []string{"CREATE LOGIN old WITH PASSWORD = N'1'", "CREATE USER old FOR LOGIN old", "CREATE TABLE old (n int)", "INSERT INTO old VALUES (1)"} {
		if got := say(t, sa, q); got != "" {
			t.Fatalf("%s: %s", q, got)
		}
	}
	before := state()
	change := func() *sql.Tx {
		t.Helper()
		tx, err := sa.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range []string{
			"CREATE LOGIN [x] WITH PASSWORD = N'1'", "ALTER LOGIN [x] WITH PASSWORD = N'2'", "ALTER SERVER ROLE setupadmin ADD MEMBER x",
			"EXEC master.sys.sp_executesql N'GRANT VIEW SERVER STATE TO x'", "CREATE USER [x] FOR LOGIN [x]", "ALTER ROLE db_owner ADD MEMBER x",
			"CREATE TABLE t (n int)", "INSERT INTO t VALUES (1)", "GRANT SELECT ON OBJECT::dbo.t TO x", "GRANT INSERT TO x",
			"INSERT INTO old VALUES (2)", "DROP TABLE old", "DROP USER IF EXISTS old", "DROP LOGIN old",
		} {
			if _, err := tx.ExecContext(t.Context(), q); err != nil {
				t.Fatalf("%s: %v", q, err)
			}
		}
		return tx
	}
	if err := change().Rollback(); err != nil {
		t.Fatal(err)
	}
	if after := state(); after != before {
		t.Errorf("after a rollback:\n%s\nwant\n%s", after, before)
	}
	// A connection that ends takes back what it did.
	tx := change()
	id := say(t, sa, "SELECT @@SPID")
	other := session(t, s, "sa", "sa")
	if got := say(t, other, "KILL "+id); got != "" {
		t.Fatal(got)
	}
	_ = tx.Rollback()
	_ = sa.Close()
	if n := s.WaitOpen(1, 5*time.Second); n != 1 {
		t.Fatalf("%d connections are open", n)
	}
	sa = other
	if after := state(); after != before {
		t.Errorf("after the end of the connection:\n%s\nwant\n%s", after, before)
	}
	if err := change().Commit(); err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{"x", "setupadmin", "GRANT|CONNECT SQL|SERVER\nGRANT|VIEW SERVER STATE|SERVER", "x", "db_owner",
		"GRANT|CONNECT|DATABASE|NULL|NULL|NULL|NULL\nGRANT|SELECT|OBJECT_OR_COLUMN|dbo|t|NULL|NULL\nGRANT|INSERT|DATABASE|NULL|NULL|NULL|NULL",
		"", "", "1", "208"}, "\n")
	if after := state(); after != want {
		t.Errorf("after a commit:\n%s\nwant\n%s", after, want)
	}
	if err := open(t, s, "x", "2", nil).PingContext(t.Context()); err != nil {
		t.Errorf("the password that was changed in the transaction: %v", err)
	}
}

// A restart ends all connections, and keeps everything else.
func TestRestart(t *testing.T) {
	s := start(t, tdsserver.Options{Databases: []string{"app"}})
	s.SetPassword("sa", "sa")
	s.Promote("sa")
	sa := session(t, s, "sa", "sa")
	if got := say(t, sa, "CREATE TABLE t (n int); INSERT INTO t VALUES (42); CREATE LOGIN x WITH PASSWORD = N'x'"); got != "" {
		t.Fatal(got)
	}
	port := s.Port
	for range 2 {
		if err := s.Restart(); err != nil {
			t.Fatal(err)
		}
		if s.Port != port {
			t.Errorf("the port is %d, was %d", s.Port, port)
		}
		if n := s.WaitOpen(0, time.Second); n != 0 {
			t.Errorf("%d connections are open", n)
		}
		if got := say(t, session(t, s, "sa", "sa"), "SELECT n FROM t"); got != "42" {
			t.Errorf("SELECT n FROM t: %s", got)
		}
	}
	if err := sa.PingContext(context.Background()); err == nil {
		t.Error("a connection lives on")
	}
	if err := open(t, s, "x", "x", nil).PingContext(t.Context()); err != nil {
		t.Error(err)
	}
}
