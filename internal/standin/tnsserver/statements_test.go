package tnsserver_test

import (
	"crypto/tls"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	goora "github.com/sijms/go-ora/v2"
	"github.com/sijms/go-ora/v2/configurations"
	"github.com/sijms/go-ora/v2/network"

	"github.com/sqlsecrets/sqlsecrets/internal/standin/tnsserver"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/testca"
)

// as has a user log in whose password is the name.
func as(user string) func(*configurations.ConnectionConfig) {
	return func(c *configurations.ConnectionConfig) { c.UserID = user }
}

// say runs a statement and returns its rows, one a line with "|" between columns, or
// the number of the server's error.
func say(t *testing.T, c *goora.Connection, text string) string {
	t.Helper()
	if !strings.HasPrefix(text, "SELECT") {
		_, err := c.ExecContext(t.Context(), text, nil)
		return code(t, text, err)
	}
	rows, err := c.QueryContext(t.Context(), text, nil)
	if err != nil {
		return code(t, text, err)
	}
	defer rows.Close()
	var lines []string
	for {
		row := make([]driver.Value, len(rows.Columns()))
		if err := rows.Next(row); err == io.EOF {
			return strings.Join(lines, "\n")
		} else if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		var line []string
		for _, value := range row {
			line = append(line, fmt.Sprint(value))
		}
		lines = append(lines, strings.Join(line, "|"))
	}
}

func code(t *testing.T, text string, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	var oe *network.OracleError
	if !errors.As(err, &oe) {
		t.Fatalf("%s: %v", text, err)
	}
	return strconv.Itoa(oe.ErrCode)
}

func TestStatements(t *testing.T) {
	const privileges = "SELECT PRIVILEGE, ADMIN_OPTION FROM DBA_SYS_PRIVS WHERE GRANTEE = 'X'"
	const roles = "SELECT GRANTED_ROLE, ADMIN_OPTION, DEFAULT_ROLE FROM DBA_ROLE_PRIVS WHERE GRANTEE = 'X'"
	const tables = "SELECT PRIVILEGE, OWNER, TABLE_NAME, TYPE, GRANTABLE FROM DBA_TAB_PRIVS WHERE GRANTEE = 'APP'"
	const status = "SELECT ACCOUNT_STATUS FROM DBA_USERS WHERE USERNAME = 'X'"
	for _, test := range []struct {
		name  string
		lines [][3]string // who, what, and the answer
	}{
		{"questions", [][3]string{
			{"app", "SELECT 40 + 2 FROM DUAL", "42"},
			{"app", "SELECT 0 FROM DUAL", "0"},
			{"app", "SELECT 10000 FROM DUAL", "10000"},
			{"app", "SELECT 1234567 FROM DUAL", "1234567"},
			{"app", `SELECT 42 AS "answer" FROM DUAL`, "42"},
			{"app", "SELECT USER FROM DUAL", "APP"},
			{"app", "SELECT SYS_CONTEXT('USERENV', 'NETWORK_PROTOCOL') FROM DUAL", "tcp"},
			{"app", "SELECT SYS_CONTEXT('USERENV', 'network_protocol') FROM DUAL", "900"},
			{"app", "SELECT 1", "900"},
			{"app", "SELECT 'x FROM DUAL", "1756"},
			{"app", "SELECT n FROM nowhere", "942"},
		}},
		{"one's own password", [][3]string{
			{"app", `ALTER USER "APP" IDENTIFIED BY "new"`, "28221"},
			{"app", `ALTER USER "APP" IDENTIFIED BY "new" REPLACE "wrong"`, "28008"},
			{"app", `ALTER USER "APP" IDENTIFIED BY "new" REPLACE "APP"`, "28008"},
			{"app", `ALTER USER "OTHER" IDENTIFIED BY "new" REPLACE "other"`, "1031"},
			{"app", `ALTER USER "NOBODY" IDENTIFIED BY "new" REPLACE "x"`, "1031"},
			{"app", `ALTER USER "APP" IDENTIFIED BY "new" ACCOUNT UNLOCK`, "1031"},
			{"app", `ALTER USER app IDENTIFIED BY "n;e'w" REPLACE "app"`, ""},
			{"app", `ALTER USER "APP" IDENTIFIED BY "app" REPLACE "n;e'w"`, ""},
		}},
		{"users", [][3]string{
			{"app", `CREATE USER "X" IDENTIFIED BY "x"`, "1031"},
			{"system", `CREATE USER "APP" IDENTIFIED BY "x"`, "1920"},
			{"system", `CREATE USER dba IDENTIFIED BY "x"`, "1920"},
			{"system", status, ""},
			{"app", status, "942"},
			{"system", `CREATE USER "X" IDENTIFIED BY "x" ACCOUNT LOCK`, ""},
			{"system", status, "LOCKED"},
			{"system", `ALTER USER "X" IDENTIFIED BY "y" ACCOUNT UNLOCK`, ""},
			{"system", status, "OPEN"},
			{"system", `ALTER USER "NOBODY" IDENTIFIED BY "y"`, "1918"},
			{"system", `ALTER USER "X" IDENTIFIED BY "z"`, ""},
			{"app", "ALTER USER X ACCOUNT LOCK", "1031"},
			{"system", "ALTER USER NOBODY ACCOUNT LOCK", "1918"},
			{"system", "ALTER USER X ACCOUNT LOCK", ""},
			{"system", status, "LOCKED"},
			{"app", `DROP USER "X" CASCADE`, "1031"},
			{"system", `DROP USER "NOBODY" CASCADE`, "1918"},
			{"system", `DROP USER "OTHER" CASCADE`, "1940"},
			{"system", `DROP USER x CASCADE`, ""},
			{"system", status, ""},
			{"system", `CREATE USER "lower case" IDENTIFIED BY "x"`, ""},
			{"system", `SELECT ACCOUNT_STATUS FROM DBA_USERS WHERE USERNAME = 'lower case'`, "OPEN"},
			{"system", `SELECT ACCOUNT_STATUS FROM DBA_USERS WHERE USERNAME = 'LOWER CASE'`, ""},
			{"system", `DROP USER "lower case" CASCADE`, ""},
		}},
		{"roles and privileges of the system", [][3]string{
			{"system", `CREATE USER "X" IDENTIFIED BY "x"`, ""},
			{"system", privileges, ""},
			{"app", "GRANT CREATE SESSION TO X", "1031"},
			{"app", "GRANT RESOURCE TO X", "1932"},
			{"system", "GRANT NO SUCH THING TO X", "990"},
			{"system", "GRANT CREATE SESSION TO NOBODY", "1917"},
			{"system", "GRANT CONNECT TO NOBODY", "1917"},
			{"system", "GRANT CREATE SESSION", "900"},
			{"system", "GRANT CREATE SESSION TO X WITH GRANT OPTION", "900"},
			{"system", `GRANT CREATE SESSION TO "X"`, ""},
			{"system", `GRANT CREATE TABLE TO "X" WITH ADMIN OPTION`, ""},
			{"system", privileges, "CREATE SESSION|NO\nCREATE TABLE|YES"},
			{"app", privileges, "942"},
			{"system", `GRANT RESOURCE TO X`, ""},
			{"system", `GRANT "CONNECT" TO "X" WITH ADMIN OPTION`, ""},
			{"system", roles, "RESOURCE|NO|YES\nCONNECT|YES|YES"},
			{"system", `ALTER USER X DEFAULT ROLE ALL EXCEPT "RESOURCE"`, ""},
			{"system", roles, "RESOURCE|NO|NO\nCONNECT|YES|YES"},
			{"system", `ALTER USER X DEFAULT ROLE ALL EXCEPT "DBA", "RESOURCE"`, "1955"},
			{"system", `ALTER USER X DEFAULT ROLE ALL EXCEPT "CONNECT", RESOURCE`, ""},
			{"system", roles, "RESOURCE|NO|NO\nCONNECT|YES|NO"},
			{"system", `ALTER USER X DEFAULT ROLE ALL EXCEPT "CONNECT" RESOURCE`, "900"},
			{"system", `ALTER USER NOBODY DEFAULT ROLE ALL EXCEPT "CONNECT"`, "1918"},
			{"app", `ALTER USER APP DEFAULT ROLE ALL EXCEPT "CONNECT"`, "1031"},
			{"app", roles, "942"},
		}},
		{"tables and privileges on them", [][3]string{
			{"app", `CREATE TABLE "t" (n INT)`, "1031"},
			{"system", "GRANT UNLIMITED TABLESPACE TO OTHER", ""},
			{"system", "GRANT RESOURCE TO OTHER", ""},
			{"other", `CREATE TABLE "a TO b" (n INT)`, ""},
			{"other", `CREATE TABLE "a TO b" (n int)`, "955"},
			{"other", `INSERT INTO "a TO b" VALUES (42)`, ""},
			{"other", `INSERT INTO "a TO b" VALUES (0)`, ""},
			{"other", `INSERT INTO "A TO B" VALUES (1)`, "942"},
			{"other", `SELECT n FROM "a TO b"`, "42\n0"},
			{"system", `SELECT n FROM other."a TO b"`, "42\n0"},
			{"app", `SELECT n FROM OTHER."a TO b"`, "942"},
			{"app", `GRANT SELECT ON OTHER."a TO b" TO APP`, "942"},
			{"other", `GRANT SELECT ON OTHER."a TO b" TO NOBODY`, "1917"},
			{"other", `GRANT EXECUTE ON OTHER."a TO b" TO APP`, "990"},
			{"other", `GRANT SELECT ON OTHER."a TO b" TO APP WITH ADMIN OPTION`, "900"},
			{"other", `GRANT SELECT ON "OTHER"."a TO b" TO "APP"`, ""},
			{"app", `SELECT n FROM OTHER."a TO b"`, "42\n0"},
			{"app", `GRANT SELECT ON OTHER."a TO b" TO APP`, "1031"},
			{"system", tables, "SELECT|OTHER|a TO b|TABLE|NO"},
			{"system", `GRANT SELECT ON OTHER."a TO b" TO APP WITH GRANT OPTION`, ""},
			{"system", tables, "SELECT|OTHER|a TO b|TABLE|YES"},
			{"app", tables, "942"},
			{"app", `GRANT SELECT ON OTHER."a TO b" TO SYSTEM`, ""},
			{"system", "SELECT PRIVILEGE, OWNER, TABLE_NAME, COLUMN_NAME, GRANTABLE FROM DBA_COL_PRIVS WHERE GRANTEE = 'APP'", ""},
			{"app", `DROP TABLE "a TO b"`, "942"},
			{"other", `DROP TABLE "a TO b"`, ""},
			{"other", `SELECT n FROM "a TO b"`, "942"},
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := tnsserver.New(t, nil)
			sessions := map[string]*goora.Connection{}
			for _, user := range []string{"system", "app", "other"} {
				s.SetPassword(user, user)
				if user == "system" {
					s.Promote(user)
				}
				c, err := open(t, s, user, as(user))
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				sessions[user] = c
			}
			for _, l := range test.lines {
				if got := say(t, sessions[l[0]], l[1]); got != l[2] {
					t.Errorf("%s: %s\n got %q\nwant %q", l[0], l[1], got, l[2])
				}
			}
		})
	}
}

// What is changed is what decides about logins.
func TestLoginsOfStatements(t *testing.T) {
	s := tnsserver.New(t, nil)
	s.SetPassword("system", "system")
	s.Promote("system")
	system, err := open(t, s, "system", as("system"))
	if err != nil {
		t.Fatal(err)
	}
	defer system.Close()
	login := func(user, password, want string) {
		t.Helper()
		c, err := open(t, s, password, as(user))
		if err == nil {
			_ = c.Close()
		}
		if got := code(t, "login", err); got != want {
			t.Errorf("login as %s with %q: %q, want %q", user, password, got, want)
		}
	}
	do := func(text string) {
		t.Helper()
		if got := say(t, system, text); got != "" {
			t.Fatalf("%s: %s", text, got)
		}
	}
	login("x", "1", "1017")
	do(`CREATE USER "X" IDENTIFIED BY "1" ACCOUNT LOCK`)
	login("x", "1", "28000")
	do(`ALTER USER "X" IDENTIFIED BY "2" ACCOUNT UNLOCK`)
	login("x", "1", "1017")
	login("x", "2", "1045")
	do(`GRANT CONNECT TO "X"`)
	do(`ALTER USER "X" DEFAULT ROLE ALL EXCEPT "CONNECT"`) // a session begins without that
	login("x", "2", "1045")
	do(`GRANT CREATE SESSION TO "X"`)
	login("x", "2", "")
	login(`"X"`, "2", "")
	login(`"x"`, "2", "1017")
	x, err := open(t, s, "2", as("x"))
	if err != nil {
		t.Fatal(err)
	}
	if got := say(t, x, `ALTER USER "X" IDENTIFIED BY "3" REPLACE "2"`); got != "" {
		t.Error(got)
	}
	_ = x.Close()
	login("x", "2", "1017")
	login("x", "3", "")
	// The session ends a moment after its client has gone.
	for late := time.Now().Add(5 * time.Second); say(t, system, `DROP USER "X" CASCADE`) == "1940"; {
		if time.Now().After(late) {
			t.Fatal("the session lives on")
		}
	}
	login("x", "3", "1017")

	const audit = "SELECT DBUSERNAME, RETURN_CODE, COUNT(*) FROM UNIFIED_AUDIT_TRAIL WHERE ACTION_NAME = 'LOGON' GROUP BY DBUSERNAME, RETURN_CODE"
	want := "SYSTEM|0|1\nX|0|4\nX|1017|4\nX|1045|2\nX|28000|1\nx|1017|1"
	if got := say(t, system, audit); got != want {
		t.Errorf("audit:\n%s\nwant\n%s", got, want)
	}
	s.SetPassword("y", "y")
	y, err := open(t, s, "y", as("y"))
	if err != nil {
		t.Fatal(err)
	}
	defer y.Close()
	if got := say(t, y, audit); got != "942" {
		t.Errorf("audit by anybody: %s, want 942", got)
	}
}

// A result may have more rows than a client fetches at once.
func TestManyRows(t *testing.T) {
	s := tnsserver.New(t, nil)
	s.SetPassword("system", "system")
	s.Promote("system")
	c, err := open(t, s, "system", as("system"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := say(t, c, "CREATE TABLE t (n INT)"); got != "" {
		t.Fatal(got)
	}
	var want []string
	for n := range 61 {
		if got := say(t, c, fmt.Sprintf("INSERT INTO t VALUES (%d)", n*99)); got != "" {
			t.Fatal(got)
		}
		want = append(want, strconv.Itoa(n*99))
		if n == 24 || n == 25 || n == 49 || n == 50 || n == 60 { // 25 is what open has go-ora fetch
			if got := strings.Split(say(t, c, "SELECT n FROM t"), "\n"); !slices.Equal(got, want) {
				t.Errorf("%d rows: %q, want %q", n+1, got, want)
			}
		}
	}
}

func TestSessions(t *testing.T) {
	s := tnsserver.New(t, nil)
	s.SetPassword("system", "system")
	s.Promote("system")
	s.SetPassword("app", "app")
	var all []*goora.Connection
	for _, user := range []string{"system", "app", "app"} {
		c, err := open(t, s, user, as(user))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	system, app := all[0], all[1]
	const sessions = "SELECT AUDSID FROM V$SESSION WHERE USERNAME = 'APP' AND TYPE = 'USER' ORDER BY AUDSID"
	const id = "SELECT SYS_CONTEXT('USERENV', 'SESSIONID') FROM DUAL"
	if got, want := say(t, system, sessions), say(t, all[1], id)+"\n"+say(t, all[2], id); got != want {
		t.Errorf("sessions %q, want %q", got, want)
	}
	serials := strings.Split(say(t, system, "SELECT SID, SERIAL# FROM V$SESSION WHERE USERNAME = 'APP' AND TYPE = 'USER'"), "\n")
	if len(serials) != 2 {
		t.Fatalf("serials %q, want two", serials)
	}
	victim := strings.ReplaceAll(serials[1], "|", ",")
	own := strings.ReplaceAll(say(t, system, "SELECT SID, SERIAL# FROM V$SESSION WHERE USERNAME = 'SYSTEM' AND TYPE = 'USER'"), "|", ",")
	for _, l := range []struct {
		who        *goora.Connection
		text, want string
	}{
		{app, sessions, "942"},
		{app, "ALTER SYSTEM KILL SESSION '" + victim + "' IMMEDIATE", "1031"},
		{system, "ALTER SYSTEM KILL SESSION '1,2,3' IMMEDIATE", "30"},
		{system, "ALTER SYSTEM KILL SESSION '" + own + "' IMMEDIATE", "27"},
		{system, "ALTER SYSTEM KILL SESSION '" + victim + "' IMMEDIATE", ""},
	} {
		if got := say(t, l.who, l.text); got != l.want {
			t.Errorf("%s: %q, want %q", l.text, got, l.want)
		}
	}
	if err := all[2].Ping(t.Context()); err == nil {
		t.Error("a session that was killed lives on")
	}
	if got := say(t, app, "SELECT USER FROM DUAL"); got != "APP" {
		t.Errorf("another session: %s", got)
	}
}

// One server may have TCP and TCPS, at two ports, and keeps both when it restarts.
func TestBothProtocolsAndRestart(t *testing.T) {
	certs := testca.New("127.0.0.1")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	secure := l.Addr().(*net.TCPAddr).Port
	_ = l.Close()
	s := tnsserver.New(t, &tnsserver.Options{TLS: certs.Server, TCPSPort: secure})
	s.SetPassword("app", "app")
	port := s.Port
	overTLS := func(c *configurations.ConnectionConfig) {
		c.Protocol, c.TLSConfig, c.Servers[0].Port = "tcps", &tls.Config{RootCAs: certs.Pool, MinVersion: tls.VersionTLS12}, secure
	}
	var old *goora.Connection
	for i := range 2 {
		for protocol, change := range map[string]func(*configurations.ConnectionConfig){"tcp": as("app"), "tcps": overTLS} {
			c, err := open(t, s, "app", change)
			if err != nil {
				t.Fatalf("%s: %v", protocol, err)
			}
			if got := say(t, c, "SELECT SYS_CONTEXT('USERENV', 'NETWORK_PROTOCOL') FROM DUAL"); got != protocol {
				t.Errorf("the protocol is %s, want %s", got, protocol)
			}
			old = c
		}
		if i == 0 {
			if err := s.Restart(); err != nil {
				t.Fatal(err)
			}
			if s.Port != port {
				t.Errorf("the port is %d, was %d", s.Port, port)
			}
			if err := old.Ping(t.Context()); err == nil {
				t.Error("a connection lives on")
			}
		}
	}
}
