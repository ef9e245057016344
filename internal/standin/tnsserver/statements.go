package tnsserver

import (
	"encoding/binary"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sqlsecrets/sqlsecrets/internal/standin/sqlmatch"
)

// A statement is one that the server knows. It is run with the server's lock held. It
// returns a result, which may be nil, or the number of Oracle's error.
type statement struct {
	pattern sqlmatch.Pattern
	run     func(s *session, args []sqlmatch.Token) (*result, int)
}

func known(pattern string, run func(s *session, args []sqlmatch.Token) (*result, int)) statement {
	return statement{sqlmatch.Compile(pattern), run}
}

var statements = []statement{
	known("SELECT <number> FROM DUAL", func(_ *session, a []sqlmatch.Token) (*result, int) { return one(a[0].Text, count(a[0])), 0 }),
	known("SELECT <number> AS <name> FROM DUAL", func(_ *session, a []sqlmatch.Token) (*result, int) { return one(name(a[1]), count(a[0])), 0 }),
	known("SELECT <number> + <number> FROM DUAL", func(_ *session, a []sqlmatch.Token) (*result, int) {
		return one(a[0].Text+"+"+a[1].Text, count(a[0])+count(a[1])), 0
	}),
	known("SELECT USER FROM DUAL", func(s *session, _ []sqlmatch.Token) (*result, int) { return one("USER", s.user), 0 }),
	known("SELECT DBTIMEZONE FROM DUAL", func(*session, []sqlmatch.Token) (*result, int) { return one("DBTIMEZONE", "+00:00"), 0 }),
	known("SELECT SYSTIMESTAMP FROM DUAL", func(*session, []sqlmatch.Token) (*result, int) { return one("SYSTIMESTAMP", time.Now()), 0 }),
	known("SELECT SYS_CONTEXT('USERENV', 'SESSIONID') FROM DUAL", func(s *session, _ []sqlmatch.Token) (*result, int) {
		return one("SYS_CONTEXT('USERENV','SESSIONID')", strconv.Itoa(s.id)), 0
	}),
	known("SELECT SYS_CONTEXT('USERENV', 'NETWORK_PROTOCOL') FROM DUAL", func(s *session, _ []sqlmatch.Token) (*result, int) {
		return one("SYS_CONTEXT('USERENV','NETWORK_PROTOCOL')", s.protocolName()), 0
	}),

	known("CREATE USER <name> IDENTIFIED BY <name>", createUser),
	known("CREATE USER <name> IDENTIFIED BY <name> ACCOUNT LOCK", createLocked),
	known("ALTER USER <name> IDENTIFIED BY <name>", setPassword),
	known("ALTER USER <name> IDENTIFIED BY <name> REPLACE <name>", setPassword),
	known("ALTER USER <name> IDENTIFIED BY <name> ACCOUNT UNLOCK", setPasswordAndUnlock),
	known("ALTER USER <name> ACCOUNT LOCK", lock),
	known("ALTER USER <name> DEFAULT ROLE ALL EXCEPT <rest>", defaultRoles),
	known("DROP USER <name> CASCADE", dropUser),
	known("GRANT <rest>", grant),

	known("SELECT ACCOUNT_STATUS FROM DBA_USERS WHERE USERNAME = <string>", dictionary(accountStatus)),
	known("SELECT GRANTED_ROLE, ADMIN_OPTION, DEFAULT_ROLE FROM DBA_ROLE_PRIVS WHERE GRANTEE = <string>", dictionary(rolesOf)),
	known("SELECT PRIVILEGE, ADMIN_OPTION FROM DBA_SYS_PRIVS WHERE GRANTEE = <string>", dictionary(privilegesOf)),
	known("SELECT PRIVILEGE, OWNER, TABLE_NAME, TYPE, GRANTABLE FROM DBA_TAB_PRIVS WHERE GRANTEE = <string>", dictionary(tablePrivilegesOf)),
	known("SELECT PRIVILEGE, OWNER, TABLE_NAME, COLUMN_NAME, GRANTABLE FROM DBA_COL_PRIVS WHERE GRANTEE = <string>", dictionary(columnPrivilegesOf)),
	known("SELECT AUDSID FROM V$SESSION WHERE USERNAME = <string> AND TYPE = 'USER' ORDER BY AUDSID", dictionary(sessionsOf)),
	known("SELECT SID, SERIAL# FROM V$SESSION WHERE USERNAME = <string> AND TYPE = 'USER'", dictionary(serialsOf)),
	known("SELECT DBUSERNAME, RETURN_CODE, COUNT(*) FROM UNIFIED_AUDIT_TRAIL WHERE ACTION_NAME = 'LOGON' GROUP BY DBUSERNAME, RETURN_CODE", auditedLogins),
	known("ALTER SYSTEM KILL SESSION <string> IMMEDIATE", kill),

	known("CREATE TABLE <name> (n INT)", createTable),
	known("INSERT INTO <name> VALUES (<number>)", insert),
	known("SELECT n FROM <name>", selectOwn),
	known("SELECT n FROM <name>.<name>", selectFrom),
	known("DROP TABLE <name>", dropTable),
}

// run runs a statement, if it is one that the server knows.
func (s *session) run(text string) (*result, int) {
	tokens, err := sqlmatch.Split(text)
	if err != nil {
		return nil, 1756
	}
	for _, st := range statements {
		if args, ok := st.pattern.Match(tokens); ok {
			s.server.mu.Lock()
			defer s.server.mu.Unlock()
			return st.run(s, args)
		}
	}
	return nil, 900
}

// name is an identifier as Oracle has it.
func name(t sqlmatch.Token) string {
	if t.Kind == sqlmatch.Name {
		return t.Text
	}
	return strings.ToUpper(t.Text)
}

// count is the number of a token of digits.
func count(t sqlmatch.Token) int {
	n, _ := strconv.Atoi(t.Text)
	return n
}

// me is the session's user. One that was dropped may do nothing.
func (s *session) me() *account { return s.server.accounts[s.user] }

// other returns a user, or nil.
func (s *session) other(name string) *account {
	if a := s.server.accounts[name]; a != nil && !a.none {
		return a
	}
	return nil
}

func createUser(s *session, a []sqlmatch.Token) (*result, int) {
	switch {
	case !s.me().may("CREATE USER"):
		return nil, 1031
	case s.other(name(a[0])) != nil || roles[name(a[0])] != nil:
		return nil, 1920
	}
	s.server.create(name(a[0]), a[1].Text)
	return nil, 0
}

func createLocked(s *session, a []sqlmatch.Token) (*result, int) {
	r, code := createUser(s, a)
	if code == 0 {
		s.other(name(a[0])).locked = true
	}
	return r, code
}

// setPassword has the old password as its third argument, or not. There is a function
// that verifies passwords: who may not alter any user has to tell its own.
func setPassword(s *session, a []sqlmatch.Token) (*result, int) {
	target, every := s.other(name(a[0])), s.me().may("ALTER USER")
	switch {
	case target == nil && every:
		return nil, 1918
	case target == nil || target != s.me() && !every:
		return nil, 1031
	case !every && len(a) < 3:
		return nil, 28221
	case !every && !target.verifier.is(a[2].Text):
		return nil, 28008
	}
	target.verifier, target.expired, target.failures = newVerifier(a[1].Text), false, 0
	return nil, 0
}

func setPasswordAndUnlock(s *session, a []sqlmatch.Token) (*result, int) {
	if !s.me().may("ALTER USER") {
		return nil, 1031
	}
	r, code := setPassword(s, a)
	if code == 0 {
		s.other(name(a[0])).locked = false
	}
	return r, code
}

// target returns the user that a privilege is to be used on, or the number of the error.
func (s *session) target(user sqlmatch.Token, privilege string) (*account, int) {
	target := s.other(name(user))
	switch {
	case !s.me().may(privilege):
		return nil, 1031
	case target == nil:
		return nil, 1918
	}
	return target, 0
}

func lock(s *session, a []sqlmatch.Token) (*result, int) {
	target, code := s.target(a[0], "ALTER USER")
	if code == 0 {
		target.locked = true
	}
	return nil, code
}

// defaultRoles reads names with commas between them.
func defaultRoles(s *session, a []sqlmatch.Token) (*result, int) {
	target, code := s.target(a[0], "ALTER USER")
	if code != 0 {
		return nil, code
	}
	names, ok := list(a[1:])
	if !ok {
		return nil, 900
	}
	for _, n := range names {
		if !slices.ContainsFunc(target.roles, func(r role) bool { return r.name == n }) {
			return nil, 1955
		}
	}
	for i, r := range target.roles {
		target.roles[i].off = slices.Contains(names, r.name)
	}
	return nil, 0
}

// list reads names with commas between them.
func list(tokens []sqlmatch.Token) (names []string, ok bool) {
	for i, t := range tokens {
		if comma := t == (sqlmatch.Token{Kind: sqlmatch.Sign, Text: ","}); comma != (i%2 == 1) {
			return nil, false
		} else if !comma {
			names = append(names, name(t))
		}
	}
	return names, len(tokens)%2 == 1
}

func dropUser(s *session, a []sqlmatch.Token) (*result, int) {
	if _, code := s.target(a[0], "DROP USER"); code != 0 {
		return nil, code
	}
	for other := range s.server.sessions {
		if other.user == name(a[0]) {
			return nil, 1940
		}
	}
	s.server.drop(name(a[0]))
	return nil, 0
}

var (
	systemGrant = sqlmatch.Compile("TO <name>")
	objectGrant = sqlmatch.Compile("ON <name>.<name> TO <name>")
	adminOption = sqlmatch.Compile("WITH ADMIN OPTION")
	grantOption = sqlmatch.Compile("WITH GRANT OPTION")
)

// grant reads "privilege [ON owner.table] TO user [WITH … OPTION]". In place of a
// privilege of the system there may be a role.
func grant(s *session, tokens []sqlmatch.Token) (*result, int) {
	var admin, passOn bool
	if n := len(tokens) - 3; n > 0 {
		_, admin = adminOption.Match(tokens[n:])
		_, passOn = grantOption.Match(tokens[n:])
		if admin || passOn {
			tokens = tokens[:n]
		}
	}
	var words []string
	for len(tokens) > 0 && tokens[0].Kind != sqlmatch.Sign && !slices.Contains([]string{"ON", "TO"}, name(tokens[0])) {
		words = append(words, name(tokens[0]))
		tokens = tokens[1:]
	}
	what := strings.Join(words, " ")
	if args, ok := systemGrant.Match(tokens); ok && !passOn {
		return nil, s.grantOfSystem(what, name(args[0]), admin)
	}
	if args, ok := objectGrant.Match(tokens); ok && !admin {
		return nil, s.grantOnObject(privilege{what, name(args[0]), name(args[1]), passOn}, name(args[2]))
	}
	return nil, 900
}

func (s *session) grantOfSystem(what, to string, admin bool) int {
	me, target := s.me(), s.other(to)
	if roles[what] != nil {
		mine := slices.ContainsFunc(me.roles, func(r role) bool { return r.name == what && r.admin })
		switch {
		case !mine && !me.may("GRANT ANY ROLE"):
			return 1932
		case target == nil:
			return 1917
		}
		target.grantRole(role{name: what, admin: admin})
		return 0
	}
	mine := me.on(what, "", "")
	switch {
	case !slices.Contains(systemPrivileges, what):
		return 990
	case (mine == nil || !mine.grantable) && !me.may("GRANT ANY PRIVILEGE"):
		return 1031
	case target == nil:
		return 1917
	}
	target.grant(privilege{name: what, grantable: admin})
	return 0
}

func (s *session) grantOnObject(p privilege, to string) int {
	me, owner, target := s.me(), s.other(p.owner), s.other(to)
	mine := me.on(p.name, p.owner, p.table)
	all := me == owner || me.may("GRANT ANY OBJECT PRIVILEGE")
	switch {
	case !slices.Contains([]string{"SELECT", "INSERT", "UPDATE", "DELETE"}, p.name):
		return 990
	case owner == nil || owner.table(p.table) == nil || !all && mine == nil:
		return 942
	case !all && !mine.grantable:
		return 1031
	case target == nil:
		return 1917
	}
	target.grant(p)
	return 0
}

// dictionary is for views of the dictionary, which not everybody may read.
func dictionary(run func(s *session, user string) *result) func(s *session, a []sqlmatch.Token) (*result, int) {
	return func(s *session, a []sqlmatch.Token) (*result, int) {
		if !s.me().may("SELECT ANY DICTIONARY") {
			return nil, 942
		}
		return run(s, a[0].Text), 0
	}
}

func accountStatus(s *session, user string) *result {
	r := &result{columns: []column{{"ACCOUNT_STATUS", typeVarchar}}}
	if a := s.other(user); a != nil {
		status := "OPEN"
		switch {
		case a.expired && a.locked:
			status = "EXPIRED & LOCKED"
		case a.expired:
			status = "EXPIRED"
		case a.locked:
			status = "LOCKED"
		}
		r.add(status)
	}
	return r
}

func yesNo(yes bool) string {
	if yes {
		return "YES"
	}
	return "NO"
}

func rolesOf(s *session, user string) *result {
	r := &result{columns: texts("GRANTED_ROLE", "ADMIN_OPTION", "DEFAULT_ROLE")}
	if a := s.other(user); a != nil {
		for _, role := range a.roles {
			r.add(role.name, yesNo(role.admin), yesNo(!role.off))
		}
	}
	return r
}

func privilegesOf(s *session, user string) *result {
	r := &result{columns: texts("PRIVILEGE", "ADMIN_OPTION")}
	if a := s.other(user); a != nil {
		for _, p := range a.privileges {
			if p.table == "" {
				r.add(p.name, yesNo(p.grantable))
			}
		}
	}
	return r
}

func tablePrivilegesOf(s *session, user string) *result {
	r := &result{columns: texts("PRIVILEGE", "OWNER", "TABLE_NAME", "TYPE", "GRANTABLE")}
	if a := s.other(user); a != nil {
		for _, p := range a.privileges {
			if p.table != "" {
				r.add(p.name, p.owner, p.table, "TABLE", yesNo(p.grantable))
			}
		}
	}
	return r
}

// columnPrivilegesOf has none: the stand-in has no privileges on columns.
func columnPrivilegesOf(*session, string) *result {
	return &result{columns: texts("PRIVILEGE", "OWNER", "TABLE_NAME", "COLUMN_NAME", "GRANTABLE")}
}

// ids are those of a user's sessions, in order.
func (s *Server) ids(user string) []int {
	var ids []int
	for other := range s.sessions {
		if other.user == user {
			ids = append(ids, other.id)
		}
	}
	slices.Sort(ids)
	return ids
}

func sessionsOf(s *session, user string) *result {
	r := &result{columns: []column{{"AUDSID", typeNumber}}}
	for _, id := range s.server.ids(user) {
		r.add(id)
	}
	return r
}

// serialsOf has the same number for a session as sessionsOf, and always one serial number.
func serialsOf(s *session, user string) *result {
	r := &result{columns: []column{{"SID", typeNumber}, {"SERIAL#", typeNumber}}}
	for _, id := range s.server.ids(user) {
		r.add(id, 1)
	}
	return r
}

func auditedLogins(s *session, _ []sqlmatch.Token) (*result, int) {
	if !s.me().isDBA() {
		return nil, 942
	}
	r := &result{columns: []column{{"DBUSERNAME", typeVarchar}, {"RETURN_CODE", typeNumber}, {"COUNT(*)", typeNumber}}}
	for _, user := range slices.Sorted(maps.Keys(s.server.accounts)) {
		outcomes := s.server.accounts[user].outcomes
		for _, code := range slices.Sorted(maps.Keys(outcomes)) {
			r.add(user, code, outcomes[code])
		}
	}
	return r, 0
}

func kill(s *session, a []sqlmatch.Token) (*result, int) {
	if !s.me().may("ALTER SYSTEM") {
		return nil, 1031
	}
	for other := range s.server.sessions {
		if a[0].Text == strconv.Itoa(other.id)+",1" {
			if other == s {
				return nil, 27
			}
			_ = other.Conn.Close()
			return nil, 0
		}
	}
	return nil, 30
}

func createTable(s *session, a []sqlmatch.Token) (*result, int) {
	me := s.me()
	switch {
	case !me.may("CREATE TABLE"):
		return nil, 1031
	case me.table(name(a[0])) != nil:
		return nil, 955
	}
	me.tables = append(me.tables, &relation{name: name(a[0])})
	return nil, 0
}

// insert takes effect at once, as it does when the driver commits by itself.
func insert(s *session, a []sqlmatch.Token) (*result, int) {
	r := s.me().table(name(a[0]))
	if r == nil {
		return nil, 942
	}
	r.rows = append(r.rows, count(a[1]))
	return nil, 0
}

func selectOwn(s *session, a []sqlmatch.Token) (*result, int) {
	return s.selectFrom(s.user, name(a[0]))
}

func selectFrom(s *session, a []sqlmatch.Token) (*result, int) {
	return s.selectFrom(name(a[0]), name(a[1]))
}

func (s *session) selectFrom(owner, table string) (*result, int) {
	me, a := s.me(), s.other(owner)
	if a == nil || a.table(table) == nil || a != me && !me.isDBA() && me.on("SELECT", owner, table) == nil {
		return nil, 942
	}
	r := &result{columns: []column{{"N", typeNumber}}}
	for _, n := range a.table(table).rows {
		r.add(n)
	}
	return r, 0
}

func dropTable(s *session, a []sqlmatch.Token) (*result, int) {
	me := s.me()
	r := me.table(name(a[0]))
	if r == nil {
		return nil, 942
	}
	me.tables = slices.DeleteFunc(me.tables, func(other *relation) bool { return other == r })
	return nil, 0
}

// Types of columns.
const (
	typeVarchar     = 1
	typeNumber      = 2
	typeTimestampTZ = 181
)

// A result has rows, of which some have been sent.
type result struct {
	columns []column
	rows    [][]string // as they are sent
	sent    int
}

type column struct {
	name string
	kind byte
}

func texts(names ...string) []column {
	var columns []column
	for _, n := range names {
		columns = append(columns, column{n, typeVarchar})
	}
	return columns
}

// one is a result with one row and column.
func one(name string, value any) *result {
	r := &result{columns: []column{{name, typeVarchar}}}
	switch value.(type) {
	case int:
		r.columns[0].kind = typeNumber
	case time.Time:
		r.columns[0].kind = typeTimestampTZ
	}
	r.add(value)
	return r
}

// add adds a row of texts, numbers or times.
func (r *result) add(values ...any) {
	var row []string
	for _, value := range values {
		switch v := value.(type) {
		case string:
			row = append(row, v)
		case int:
			row = append(row, encodeNumber(v))
		case time.Time:
			row = append(row, encodeTime(v.UTC()))
		}
	}
	r.rows = append(r.rows, row)
}

// encodeNumber encodes a number that is not negative: an exponent, and digits of base
// 100, each one more than it is, without zeros at the end.
func encodeNumber(n int) string {
	if n == 0 {
		return "\x80"
	}
	var digits []byte
	for ; n > 0; n /= 100 {
		digits = append(digits, byte(n%100)+1)
	}
	exponent := byte(0xc0 + len(digits))
	slices.Reverse(digits)
	return string([]byte{exponent}) + strings.TrimRight(string(digits), "\x01")
}

// encodeTime encodes a time of UTC, as a TIMESTAMP WITH TIME ZONE.
func encodeTime(t time.Time) string {
	b := []byte{byte(100 + t.Year()/100), byte(100 + t.Year()%100), byte(t.Month()), byte(t.Day()),
		byte(t.Hour() + 1), byte(t.Minute() + 1), byte(t.Second() + 1)}
	b = binary.BigEndian.AppendUint32(b, uint32(t.Nanosecond()))
	return string(append(b, 20, 60))
}
