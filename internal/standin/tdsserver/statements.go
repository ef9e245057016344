package tdsserver

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sqlsecrets/sqlsecrets/internal/standin/sqlmatch"
)

// A table is a statement's result.
type table struct {
	columns []column
	rows    [][]any // values are of the columns' kinds, or nil
}

type column struct {
	name string
	kind any // an int, a string or a bool
}

// one is a result with one row and column.
func one(name string, value any) *table {
	return &table{[]column{{name, value}}, [][]any{{value}}}
}

// none is a result without rows, of one column.
func none(kind any) *table { return &table{columns: []column{{"", kind}}} }

// texts is a result of columns of text without names.
func texts(columns int, rows [][]any) *table {
	return &table{slices.Repeat([]column{{"", ""}}, columns), rows}
}

// A statement is one that the server knows. It is run with the server's lock held; its
// result may be nil.
type statement struct {
	pattern sqlmatch.Pattern
	run     func(c *conn, args []string) (*table, *sqlError)
}

func known(pattern string, run func(c *conn, args []string) (*table, *sqlError)) statement {
	return statement{sqlmatch.Compile(pattern), run}
}

// statements are all but those that have to do with the connection: see statement.
// They are Transact-SQL's, with the permissions and the errors that Microsoft's
// documents name.
var statements []statement

func init() { // for EXEC, which runs another
	statements = []statement{
		known("SELECT <number>", func(_ *conn, a []string) (*table, *sqlError) { return one("", number(a[0])), nil }),
		known("SELECT <number> AS <name>", func(_ *conn, a []string) (*table, *sqlError) { return one(a[1], number(a[0])), nil }),
		known("SELECT <number> + <number>", func(_ *conn, a []string) (*table, *sqlError) { return one("", number(a[0])+number(a[1])), nil }),
		known("SELECT @@VERSION", func(*conn, []string) (*table, *sqlError) { return one("", "Microsoft SQL Server (a stand-in)"), nil }),
		known("SELECT @@SPID", func(c *conn, _ []string) (*table, *sqlError) { return one("", c.session.ID), nil }),
		known("SELECT DB_NAME()", func(c *conn, _ []string) (*table, *sqlError) { return one("", c.session.Database), nil }),
		known("SELECT SUSER_SNAME()", login),
		known("SELECT ORIGINAL_LOGIN()", login),
		known("SELECT SYSTEM_USER", login),

		known("CREATE LOGIN <name> WITH PASSWORD = <string>", createLogin),
		known("CREATE LOGIN <name> WITH PASSWORD = <string>, CHECK_POLICY = OFF", createLogin),
		known("ALTER LOGIN <name> WITH PASSWORD = <string>", setPassword),
		known("ALTER LOGIN <name> WITH PASSWORD = <string> OLD_PASSWORD = <string>", setPassword),
		known("ALTER LOGIN <name> WITH CHECK_POLICY = OFF", alterLogin),
		known("ALTER LOGIN <name> DISABLE", disableLogin),
		known("DROP LOGIN <name>", dropLogin),
		known("CREATE USER <name> FOR LOGIN <name>", createUser),
		known("DROP USER IF EXISTS <name>", dropUser),
		known("ALTER ROLE <name> ADD|DROP MEMBER <name>", alterRole),
		known("ALTER SERVER ROLE <name> ADD MEMBER <name>", alterServerRole),
		known("GRANT|DENY <rest>", grantOrDeny),
		known("EXEC master.sys.sp_executesql <string>", inMaster),

		known("SELECT name FROM sys.server_principals WHERE name = <string>", serverPrincipal),
		known("SELECT HAS_PERMS_BY_NAME(NULL, NULL, <string>)", hasPermission),
		known("SELECT name FROM sys.database_principals WHERE sid = SUSER_SID(<string>)", databasePrincipal),
		known("SELECT r.name FROM sys.server_role_members AS m JOIN sys.server_principals AS r ON r.principal_id = m.role_principal_id"+
			" WHERE m.member_principal_id = SUSER_ID(<string>)", serverRolesOf),
		known("SELECT r.name FROM sys.database_role_members AS m JOIN sys.database_principals AS r ON r.principal_id = m.role_principal_id"+
			" WHERE m.member_principal_id = DATABASE_PRINCIPAL_ID(<string>)", databaseRolesOf),
		known("SELECT state_desc, permission_name, class_desc FROM sys.server_permissions WHERE grantee_principal_id = SUSER_ID(<string>)", serverGrants),
		known("SELECT state_desc, permission_name, class_desc, OBJECT_SCHEMA_NAME(major_id), OBJECT_NAME(major_id), COL_NAME(major_id, minor_id), SCHEMA_NAME(major_id)"+
			" FROM sys.database_permissions WHERE grantee_principal_id = DATABASE_PRINCIPAL_ID(<string>)", databaseGrants),

		known("SELECT session_id FROM sys.dm_exec_sessions WHERE login_name = <string> AND is_user_process = 1 ORDER BY session_id", sessionsOf),
		known("SELECT encrypt_option FROM sys.dm_exec_connections WHERE session_id = <number>", encryptOption),
		known("SELECT encrypt_option FROM sys.dm_exec_connections WHERE session_id = @@SPID", func(c *conn, _ []string) (*table, *sqlError) {
			return one("encrypt_option", map[bool]string{true: "TRUE", false: "FALSE"}[c.encrypted]), nil
		}),
		known("KILL <number>", kill),
		known("SELECT server_principal_name, SUM(CASE WHEN action_id = 'LGIS' THEN 1 ELSE 0 END),"+
			" SUM(CASE WHEN statement LIKE N'%Password did not match that for the login provided%'"+
			" OR statement LIKE N'%Could not find a login matching the name provided%' THEN 1 ELSE 0 END)"+
			" FROM sys.fn_get_audit_file(<string>, DEFAULT, DEFAULT)"+
			" WHERE action_id IN ('LGIS', 'LGIF') AND ISNULL(additional_information, N'') NOT LIKE N'%<pooled_connection>1</pooled_connection>%'"+
			" GROUP BY server_principal_name", auditedLogins),

		known("CREATE TABLE <name> (n int)", createTable),
		known("INSERT INTO <name> VALUES (<number>)", insert),
		known("SELECT n FROM <name>", selectFrom),
		known("DROP TABLE <name>", dropTable),
	}
}

// number is that of a token of digits.
func number(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}

func fault(number int32, class byte, format string, args ...any) *sqlError {
	return &sqlError{number, 1, class, fmt.Sprintf(format, args...)}
}

func login(c *conn, _ []string) (*table, *sqlError) { return one("", c.session.User), nil }

// me is the connection's login. One that was dropped may do nothing.
func (c *conn) me() *account {
	if a := c.s.account(c.session.User); a != nil {
		return a
	}
	return &account{name: c.session.User}
}

func (c *conn) db() *database { return c.s.database(c.session.Database) }

// did keeps how to take a change back, if there is a transaction.
func (c *conn) did(undo func()) {
	if c.transacting {
		c.undo = append(c.undo, undo)
	}
}

// end ends the transaction.
func (c *conn) end(commit bool) {
	for _, undo := range slices.Backward(c.undo) {
		if !commit {
			undo()
		}
	}
	c.transacting, c.undo = false, nil
}

func change[T any](c *conn, what *T, to T) {
	from := *what
	*what = to
	c.did(func() { *what = from })
}

// Errors that are one for what does not exist and what one may not touch.
func noPermission() *sqlError {
	return fault(15247, 16, "User does not have permission to perform this action.")
}

func cannot(format string, args ...any) *sqlError {
	return fault(15151, 16, format+", because it does not exist or you do not have permission.", args...)
}

func createLogin(c *conn, a []string) (*table, *sqlError) {
	switch name := a[0]; {
	case !c.me().may("ALTER ANY LOGIN"):
		return nil, noPermission()
	case strings.Contains(name, `\`):
		return nil, fault(15006, 16, "'%s' is not a valid name because it contains invalid characters.", name)
	case c.s.account(name) != nil || has(serverRoles, name):
		return nil, fault(15025, 16, "The server principal '%s' already exists.", name)
	}
	key := strings.ToLower(a[0])
	c.s.accounts[key] = newAccount(a[0], a[1])
	c.did(func() { delete(c.s.accounts, key) })
	return nil, nil
}

// setPassword has the old password as its third argument, or not. Who may not alter any
// login may alter its own, and has to tell the old password.
func setPassword(c *conn, a []string) (*table, *sqlError) {
	target, me := c.s.account(a[0]), c.me()
	right := target != nil && len(a) == 3 && a[2] == target.password
	switch {
	case target == nil,
		len(a) == 3 && !right,
		target != me && !me.may("ALTER ANY LOGIN"),
		!right && !me.may("ALTER ANY LOGIN"),
		!right && target.sysadmin() && !me.sysadmin():
		return nil, cannot("Cannot alter the login '%s'", a[0])
	}
	change(c, &target.password, a[1])
	return nil, nil
}

// alterLogin has nothing to do, for there is no policy.
func alterLogin(c *conn, a []string) (*table, *sqlError) {
	if c.s.account(a[0]) == nil || !c.me().may("ALTER ANY LOGIN") {
		return nil, cannot("Cannot alter the login '%s'", a[0])
	}
	return nil, nil
}

func disableLogin(c *conn, a []string) (*table, *sqlError) {
	target := c.s.account(a[0])
	if target == nil || !c.me().may("ALTER ANY LOGIN") || target.sysadmin() && !c.me().sysadmin() {
		return nil, cannot("Cannot alter the login '%s'", a[0])
	}
	change(c, &target.state, Disabled)
	return nil, nil
}

func dropLogin(c *conn, a []string) (*table, *sqlError) {
	target, me := c.s.account(a[0]), c.me()
	if target == nil || !me.may("ALTER ANY LOGIN") || target.sysadmin() && !me.sysadmin() {
		return nil, cannot("Cannot drop the login '%s'", a[0])
	}
	for other := range c.s.conns {
		if strings.EqualFold(other.session.User, a[0]) {
			return nil, fault(15434, 16, "Could not drop login '%s' as the user is currently logged in.", a[0])
		}
	}
	key := strings.ToLower(a[0])
	delete(c.s.accounts, key)
	c.did(func() { c.s.accounts[key] = target })
	return nil, nil
}

func createUser(c *conn, a []string) (*table, *sqlError) {
	db := c.db()
	switch {
	case !c.me().owns(db):
		return nil, noPermission()
	case c.s.account(a[1]) == nil:
		return nil, fault(15007, 16, "'%s' is not a valid login or you do not have permission.", a[1])
	case db.user(a[0]) != nil || has(databaseRoles, a[0]):
		return nil, fault(15023, 16, "User, group, or role '%s' already exists in the current database.", a[0])
	case db.userOf(a[1]) != nil:
		return nil, fault(15063, 16, "The login already has an account under a different user name.")
	}
	change(c, &db.users, append(slices.Clone(db.users), newUser(a[0], a[1])))
	return nil, nil
}

func dropUser(c *conn, a []string) (*table, *sqlError) {
	db := c.db()
	switch u := db.user(a[0]); {
	case u == nil:
	case !c.me().owns(db):
		return nil, cannot("Cannot drop the user '%s'", a[0])
	default:
		change(c, &db.users, slices.DeleteFunc(slices.Clone(db.users), func(other *dbUser) bool { return other == u }))
	}
	return nil, nil
}

func alterRole(c *conn, a []string) (*table, *sqlError) {
	db := c.db()
	u := db.user(a[2])
	switch {
	case !has(databaseRoles, a[0]) || !c.me().owns(db):
		return nil, cannot("Cannot alter the role '%s'", a[0])
	case u == nil:
		return nil, cannot("Cannot add or drop the principal '%s'", a[2])
	}
	roles := without(u.roles, a[0])
	if strings.EqualFold(a[1], "ADD") {
		roles = append(roles, a[0])
	}
	change(c, &u.roles, roles)
	return nil, nil
}

func alterServerRole(c *conn, a []string) (*table, *sqlError) {
	target := c.s.account(a[1])
	switch {
	case !has(serverRoles, a[0]) || !c.me().sysadmin():
		return nil, cannot("Cannot alter the server role '%s'", a[0])
	case target == nil:
		return nil, cannot("Cannot add the principal '%s'", a[1])
	}
	change(c, &target.roles, append(without(target.roles, a[0]), a[0]))
	return nil, nil
}

var (
	onServerOrDatabase = sqlmatch.Compile("TO <name>")
	onSchema           = sqlmatch.Compile("ON SCHEMA::<name> TO <name>")
	onTable            = sqlmatch.Compile("ON OBJECT::<name>.<name> TO <name>")
	passedOn           = sqlmatch.Compile("WITH GRANT OPTION")
)

// grantOrDeny reads "permission [ON what] TO whom [WITH GRANT OPTION]".
func grantOrDeny(c *conn, a []string) (*table, *sqlError) {
	tokens := c.tokens[1:]
	g := grant{state: strings.ToUpper(a[0])}
	if n := len(tokens) - 3; n > 0 && g.state == "GRANT" {
		if _, ok := passedOn.Match(tokens[n:]); ok {
			g.state, tokens = "GRANT_WITH_GRANT_OPTION", tokens[:n]
		}
	}
	for len(tokens) > 0 && tokens[0].Kind == sqlmatch.Word && !slices.Contains([]string{"ON", "TO"}, strings.ToUpper(tokens[0].Text)) {
		g.permission = strings.TrimSpace(g.permission + " " + strings.ToUpper(tokens[0].Text))
		tokens = tokens[1:]
	}
	to := ""
	if args, ok := onServerOrDatabase.Match(tokens); ok {
		g.class, to = "DATABASE", args[0].Text
		if slices.Contains(serverPermissions, g.permission) {
			g.class = "SERVER"
		}
	} else if args, ok := onSchema.Match(tokens); ok {
		g.class, g.object, to = "SCHEMA", args[0].Text, args[1].Text
	} else if args, ok := onTable.Match(tokens); ok && strings.EqualFold(args[0].Text, "dbo") {
		g.class, g.object, to = "OBJECT_OR_COLUMN", args[1].Text, args[2].Text
	} else {
		return nil, c.incorrect()
	}
	if g.class == "SERVER" {
		return nil, c.grantOnServer(g, to)
	}
	return nil, c.grantInDatabase(g, to)
}

func (c *conn) grantOnServer(g grant, to string) *sqlError {
	target := c.s.account(to)
	switch {
	case !strings.EqualFold(c.session.Database, "master"):
		return fault(4621, 16, "Permissions at the server scope can only be granted when the current database is master")
	case target == nil:
		return cannot("Cannot find the login '%s'", to)
	case !c.me().sysadmin():
		return fault(4613, 16, "Grantor does not have GRANT permission.")
	}
	change(c, &target.grants, set(target.grants, g))
	return nil
}

func (c *conn) grantInDatabase(g grant, to string) *sqlError {
	db, me := c.db(), c.me()
	target := db.user(to)
	switch {
	case g.class == "SCHEMA" && !strings.EqualFold(g.object, "dbo"):
		return cannot("Cannot find the schema '%s'", g.object)
	case g.class == "OBJECT_OR_COLUMN" && (db.table(g.object) == nil || !me.owns(db) && !db.userOf(me.name).mayGrant(g.permission, g.object)):
		return cannot("Cannot find the object '%s'", g.object)
	case target == nil:
		return cannot("Cannot find the user '%s'", to)
	case g.class != "OBJECT_OR_COLUMN" && !me.owns(db):
		return fault(4613, 16, "Grantor does not have GRANT permission.")
	}
	change(c, &target.grants, set(target.grants, g))
	return nil
}

// inMaster runs a statement in the database master.
func inMaster(c *conn, a []string) (*table, *sqlError) {
	tokens, err := sqlmatch.Split(a[0])
	if err != nil {
		return nil, c.incorrect()
	}
	from, outer := c.session.Database, c.tokens
	c.session.Database, c.tokens = "master", tokens
	defer func() { c.session.Database, c.tokens = from, outer }()
	return c.run()
}

// What a login sees of the catalog: itself, or everything with VIEW ANY DEFINITION or
// ALTER ANY LOGIN.
func (c *conn) sees(login string) bool {
	me := c.me()
	return strings.EqualFold(me.name, login) || me.may("VIEW ANY DEFINITION") || me.may("ALTER ANY LOGIN")
}

func serverPrincipal(c *conn, a []string) (*table, *sqlError) {
	if target := c.s.account(a[0]); target != nil && c.sees(a[0]) {
		return one("name", target.name), nil
	}
	return none(""), nil
}

func hasPermission(c *conn, a []string) (*table, *sqlError) {
	if !slices.Contains(serverPermissions, a[0]) {
		return &table{[]column{{"", 0}}, [][]any{{nil}}}, nil
	}
	if c.me().may(a[0]) {
		return one("", 1), nil
	}
	return one("", 0), nil
}

func databasePrincipal(c *conn, a []string) (*table, *sqlError) {
	if u := c.db().userOf(a[0]); u != nil && c.sees(a[0]) {
		return one("name", u.name), nil
	}
	return none(""), nil
}

func rowsOf(names []string) [][]any {
	var rows [][]any
	for _, n := range names {
		rows = append(rows, []any{n})
	}
	return rows
}

func serverRolesOf(c *conn, a []string) (*table, *sqlError) {
	if target := c.s.account(a[0]); target != nil && c.sees(a[0]) {
		return texts(1, rowsOf(target.roles)), nil
	}
	return texts(1, nil), nil
}

// seesUser is sees for a user of the database.
func (c *conn) seesUser(name string) *dbUser {
	if u := c.db().user(name); u != nil && (c.sees(u.login) || c.me().owns(c.db())) {
		return u
	}
	return nil
}

func databaseRolesOf(c *conn, a []string) (*table, *sqlError) {
	if u := c.seesUser(a[0]); u != nil {
		return texts(1, rowsOf(u.roles)), nil
	}
	return texts(1, nil), nil
}

func serverGrants(c *conn, a []string) (*table, *sqlError) {
	var rows [][]any
	if target := c.s.account(a[0]); target != nil && c.sees(a[0]) {
		for _, g := range target.grants {
			rows = append(rows, []any{g.state, g.permission, g.class})
		}
	}
	return texts(3, rows), nil
}

func databaseGrants(c *conn, a []string) (*table, *sqlError) {
	var rows [][]any
	if u := c.seesUser(a[0]); u != nil {
		for _, g := range u.grants {
			row := []any{g.state, g.permission, g.class, nil, nil, nil, nil}
			switch g.class {
			case "OBJECT_OR_COLUMN":
				row[3], row[4] = "dbo", g.object
			case "SCHEMA":
				row[6] = g.object
			}
			rows = append(rows, row)
		}
	}
	return texts(7, rows), nil
}

func sessionsOf(c *conn, a []string) (*table, *sqlError) {
	t := &table{columns: []column{{"session_id", 0}}}
	for other := range c.s.conns {
		if other.session.ID != 0 && strings.EqualFold(other.session.User, a[0]) && (other == c || c.me().may("VIEW SERVER STATE")) {
			t.rows = append(t.rows, []any{other.session.ID})
		}
	}
	slices.SortFunc(t.rows, func(a, b []any) int { return a[0].(int) - b[0].(int) })
	return t, nil
}

func (s *Server) conn(id int) *conn {
	for c := range s.conns {
		if c.session.ID == id {
			return c
		}
	}
	return nil
}

func encryptOption(c *conn, a []string) (*table, *sqlError) {
	if !c.me().may("VIEW SERVER STATE") {
		return nil, fault(300, 14, "VIEW SERVER STATE permission was denied on object 'server', database 'master'.")
	}
	other := c.s.conn(number(a[0]))
	switch {
	case other == nil:
		return none(""), nil
	case other.encrypted:
		return one("encrypt_option", "TRUE"), nil
	}
	return one("encrypt_option", "FALSE"), nil
}

func kill(c *conn, a []string) (*table, *sqlError) {
	other := c.s.conn(number(a[0]))
	switch {
	case !c.me().sysadmin():
		return nil, fault(6102, 14, "User does not have permission to use the KILL statement.")
	case other == nil:
		return nil, fault(6106, 16, "Process ID %s is not an active process ID.", a[0])
	case other == c:
		return nil, fault(6104, 16, "Cannot use KILL to kill your own process.")
	}
	_ = other.raw.Close()
	return nil, nil
}

// auditedLogins has the logins of all that have tried: who, how many were accepted, and
// how many rejected for the name or the password.
func auditedLogins(c *conn, _ []string) (*table, *sqlError) {
	if !c.me().sysadmin() {
		return nil, fault(300, 14, "CONTROL SERVER permission was denied on object 'server', database 'master'.")
	}
	t := &table{columns: []column{{"server_principal_name", ""}, {"", 0}, {"", 0}}}
	for _, o := range c.s.outcomes {
		t.rows = append(t.rows, []any{o.user, o.tally.Accepted, o.tally.Rejected})
	}
	return t, nil
}

func invalidObject(name string) *sqlError { return fault(208, 16, "Invalid object name '%s'.", name) }

func createTable(c *conn, a []string) (*table, *sqlError) {
	db := c.db()
	switch {
	case !c.me().owns(db):
		return nil, fault(262, 14, "CREATE TABLE permission denied in database '%s'.", db.name)
	case db.table(a[0]) != nil:
		return nil, fault(2714, 16, "There is already an object named '%s' in the database.", a[0])
	}
	change(c, &db.tables, append(slices.Clone(db.tables), &relation{name: a[0]}))
	return nil, nil
}

func insert(c *conn, a []string) (*table, *sqlError) {
	db := c.db()
	r := db.table(a[0])
	switch {
	case r == nil:
		return nil, invalidObject(a[0])
	case !c.me().owns(db) && !db.userOf(c.me().name).may("INSERT", a[0]):
		return nil, fault(229, 14, "The INSERT permission was denied on the object '%s', database '%s', schema 'dbo'.", r.name, db.name)
	}
	change(c, &r.rows, append(slices.Clone(r.rows), number(a[1])))
	return nil, nil
}

func selectFrom(c *conn, a []string) (*table, *sqlError) {
	db := c.db()
	r, u := db.table(a[0]), db.userOf(c.me().name)
	switch {
	case r == nil:
		return nil, invalidObject(a[0])
	case !c.me().owns(db) && !u.may("SELECT", a[0]) && (u == nil || !has(u.roles, "db_datareader")):
		return nil, fault(229, 14, "The SELECT permission was denied on the object '%s', database '%s', schema 'dbo'.", r.name, db.name)
	}
	t := &table{columns: []column{{"n", 0}}}
	for _, n := range r.rows {
		t.rows = append(t.rows, []any{n})
	}
	return t, nil
}

func dropTable(c *conn, a []string) (*table, *sqlError) {
	db := c.db()
	r := db.table(a[0])
	if r == nil || !c.me().owns(db) {
		return nil, fault(3701, 11, "Cannot drop the table '%s', because it does not exist or you do not have permission.", a[0])
	}
	change(c, &db.tables, slices.DeleteFunc(slices.Clone(db.tables), func(other *relation) bool { return other == r }))
	return nil, nil
}
