package tdsserver

import (
	"slices"
	"strings"
)

// An account is a login: a principal of the server.
type account struct {
	name, password string
	state          State
	roles          []string // of the server
	grants         []grant  // on the server
}

// A database has users, which belong to logins, and tables of one column.
type database struct {
	name   string
	users  []*dbUser
	tables []*relation
}

type dbUser struct {
	name, login string
	roles       []string
	grants      []grant
}

// A relation is a table of the schema dbo.
type relation struct {
	name string
	rows []int
}

// A grant is what one principal may do, or may not.
type grant struct {
	state      string // GRANT, GRANT_WITH_GRANT_OPTION or DENY
	permission string
	class      string // SERVER, DATABASE, SCHEMA or OBJECT_OR_COLUMN
	object     string // of a schema or a table
}

func newAccount(name, password string) *account {
	return &account{name: name, password: password, grants: []grant{{"GRANT", "CONNECT SQL", "SERVER", ""}}}
}

func newUser(name, login string) *dbUser {
	return &dbUser{name: name, login: login, grants: []grant{{"GRANT", "CONNECT", "DATABASE", ""}}}
}

// serverPermissions are those that the stand-in knows on the server.
var serverPermissions = []string{"ALTER ANY LOGIN", "CONNECT SQL", "VIEW ANY DEFINITION", "VIEW SERVER STATE"}

// roles are fixed: those of the server, and those of each database.
var (
	serverRoles   = []string{"sysadmin", "processadmin", "setupadmin"}
	databaseRoles = []string{"db_owner", "db_datareader", "db_datawriter"}
)

// has looks for a name in whichever case, as SQL Server's default collation has it.
func has(names []string, name string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, name) })
}

func without(names []string, name string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return strings.EqualFold(n, name) })
}

func (s *Server) account(name string) *account { return s.accounts[strings.ToLower(name)] }

func (s *Server) database(name string) *database {
	for _, d := range s.databases {
		if strings.EqualFold(d.name, name) {
			return d
		}
	}
	return nil
}

func (d *database) user(name string) *dbUser {
	for _, u := range d.users {
		if strings.EqualFold(u.name, name) {
			return u
		}
	}
	return nil
}

func (d *database) userOf(login string) *dbUser {
	for _, u := range d.users {
		if strings.EqualFold(u.login, login) {
			return u
		}
	}
	return nil
}

func (d *database) table(name string) *relation {
	for _, r := range d.tables {
		if strings.EqualFold(r.name, name) {
			return r
		}
	}
	return nil
}

// sysadmin reports whether a login may do everything.
func (a *account) sysadmin() bool { return has(a.roles, "sysadmin") }

// may reports whether a login has a permission on the server.
func (a *account) may(permission string) bool {
	return a.sysadmin() || holds(a.grants, permission, func(g grant) bool { return g.class == "SERVER" })
}

// enters reports whether a login may use a database.
func (a *account) enters(d *database) bool {
	return a.sysadmin() || d.isSystem() || d.userOf(a.name) != nil
}

// isSystem reports whether everybody is a guest in a database.
func (d *database) isSystem() bool { return d.name == "master" || d.name == "tempdb" }

// owns reports whether a login may do everything in a database.
func (a *account) owns(d *database) bool {
	u := d.userOf(a.name)
	return a.sysadmin() || u != nil && has(u.roles, "db_owner")
}

// may reports whether a user has a permission on a table.
func (u *dbUser) may(permission, table string) bool {
	return u != nil && holds(u.grants, permission, func(g grant) bool { return g.covers(table) })
}

// mayGrant reports whether a user may pass on a permission on a table.
func (u *dbUser) mayGrant(permission, table string) bool {
	return u.may(permission, table) && slices.ContainsFunc(u.grants, func(g grant) bool {
		return g.state == "GRANT_WITH_GRANT_OPTION" && g.permission == permission && g.covers(table)
	})
}

func (g grant) covers(table string) bool {
	switch g.class {
	case "OBJECT_OR_COLUMN":
		return strings.EqualFold(g.object, table)
	case "SCHEMA":
		return strings.EqualFold(g.object, "dbo")
	}
	return g.class == "DATABASE"
}

// holds reports whether one of the grants that count gives a permission, and none
// denies it.
func holds(grants []grant, permission string, counts func(grant) bool) bool {
	given := false
	for _, g := range grants {
		if g.permission == permission && counts(g) {
			if g.state == "DENY" {
				return false
			}
			given = true
		}
	}
	return given
}

// set adds a grant, or replaces one of the same permission on the same thing.
func set(grants []grant, g grant) []grant {
	same := func(other grant) bool {
		return other.permission == g.permission && other.class == g.class && strings.EqualFold(other.object, g.object)
	}
	return append(slices.DeleteFunc(slices.Clone(grants), same), g)
}
