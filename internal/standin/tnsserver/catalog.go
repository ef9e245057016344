package tnsserver

import (
	"slices"
	"strings"
)

// An account is a user. There is one, too, for a name that only logins know.
type account struct {
	verifier        verifier
	none            bool // there is no such user
	locked, expired bool
	failures        int         // in a row
	outcomes        map[int]int // logins by Oracle's number: 0 for the accepted ones

	privileges []privilege // of the system, and on objects
	roles      []role
	tables     []*relation
}

// A privilege is one of the system, or on a table.
type privilege struct {
	name         string
	owner, table string // empty: of the system
	grantable    bool   // ADMIN OPTION or GRANT OPTION
}

type role struct {
	name  string
	admin bool // ADMIN OPTION
	off   bool // not a default one
}

// A relation is a table of one column.
type relation struct {
	name string
	rows []int
}

// systemPrivileges are those that the stand-in knows.
var systemPrivileges = []string{"ALTER SYSTEM", "ALTER USER", "CREATE SESSION", "CREATE TABLE", "CREATE USER", "DROP USER",
	"GRANT ANY OBJECT PRIVILEGE", "GRANT ANY PRIVILEGE", "GRANT ANY ROLE", "SELECT ANY DICTIONARY", "UNLIMITED TABLESPACE"}

// roles are those that there are, with their privileges. DBA has all.
var roles = map[string][]string{
	"CONNECT":  {"CREATE SESSION"},
	"RESOURCE": {"CREATE TABLE"},
	"DBA":      systemPrivileges,
}

// may reports whether a user has a privilege of the system.
func (a *account) may(name string) bool {
	for _, r := range a.roles {
		if !r.off && slices.Contains(roles[r.name], name) {
			return true
		}
	}
	return slices.ContainsFunc(a.privileges, func(p privilege) bool { return p.name == name && p.table == "" })
}

// isDBA reports whether a user may do what the stand-in has no finer privilege for.
func (a *account) isDBA() bool {
	return slices.ContainsFunc(a.roles, func(r role) bool { return r.name == "DBA" })
}

// on returns a user's privilege on a table, or nil.
func (a *account) on(name, owner, table string) *privilege {
	for i, p := range a.privileges {
		if p.name == name && p.owner == owner && p.table == table {
			return &a.privileges[i]
		}
	}
	return nil
}

// grant gives a privilege, or adds to it that it may be passed on.
func (a *account) grant(p privilege) {
	if has := a.on(p.name, p.owner, p.table); has != nil {
		has.grantable = has.grantable || p.grantable
		return
	}
	a.privileges = append(a.privileges, p)
}

func (a *account) grantRole(r role) {
	for i, has := range a.roles {
		if has.name == r.name {
			a.roles[i].admin = has.admin || r.admin
			return
		}
	}
	a.roles = append(a.roles, r)
}

func (a *account) table(name string) *relation {
	for _, r := range a.tables {
		if r.name == name {
			return r
		}
	}
	return nil
}

// userName is a name as Oracle has it: in upper case unless it is quoted.
func userName(name string) string {
	if len(name) >= 2 && name[0] == '"' && name[len(name)-1] == '"' {
		return name[1 : len(name)-1]
	}
	return strings.ToUpper(name)
}
