package rotation

import (
	"context"
	"crypto/tls"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"strconv"

	mssql "github.com/microsoft/go-mssqldb"

	"github.com/sqlsecrets/sqlsecrets/integration/internal/vendordb"
)

var sqlserver = engine{
	port:      1433,
	database:  "master",
	query:     "SELECT 1",
	alternate: withSuffix("_clone", 128),
	connector: func(v *value, tlsConfig *tls.Config) (sqldriver.Connector, error) {
		return vendordb.SQLServer(v.account(tlsConfig)), nil
	},
	setOwn: func(ctx context.Context, c *sql.Conn, user, password, old string) error {
		_, err := c.ExecContext(ctx, alterLogin(user, password)+" OLD_PASSWORD = "+vendordb.SQLServerString(old))
		return err
	},
	setOther: setOtherSQLServer,
	code: func(err error) string {
		var e mssql.Error
		if !errors.As(err, &e) {
			return ""
		}
		return "error " + strconv.Itoa(int(e.Number))
	},
}

func alterLogin(user, password string) string {
	return "ALTER LOGIN " + vendordb.SQLServerName(user) + " WITH PASSWORD = " + vendordb.SQLServerString(password)
}

func setOtherSQLServer(ctx context.Context, c *sql.Conn, user, password, like string) error {
	tx, err := c.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after Commit it does nothing
	exists, err := texts(tx.QueryContext(ctx, "SELECT name FROM sys.server_principals WHERE name = @p1", user))
	if err != nil {
		return err
	}
	var statements []string
	if len(exists) > 0 {
		statements = []string{alterLogin(user, password)}
	} else if statements, err = cloneSQLServer(ctx, tx, user, password, like); err != nil {
		return err
	}
	for _, s := range statements {
		if _, err := tx.ExecContext(ctx, s); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// cloneSQLServer returns the statements that make a login with what another one has: on
// the server, and by its user in the database of the connection.
func cloneSQLServer(ctx context.Context, tx *sql.Tx, login, password, like string) ([]string, error) {
	// Who may not see all would copy what it sees.
	var sees sql.NullInt64
	err := tx.QueryRowContext(ctx, "SELECT HAS_PERMS_BY_NAME(NULL, NULL, 'VIEW ANY DEFINITION')").Scan(&sees)
	if err != nil {
		return nil, err
	}
	if sees.Int64 != 1 {
		return nil, errHidden
	}
	quoted := vendordb.SQLServerName(login)
	statements := []string{"CREATE LOGIN " + quoted + " WITH PASSWORD = " + vendordb.SQLServerString(password)}

	roles, err := texts(tx.QueryContext(ctx, "SELECT r.name FROM sys.server_role_members AS m"+
		" JOIN sys.server_principals AS r ON r.principal_id = m.role_principal_id WHERE m.member_principal_id = SUSER_ID(@p1)", like))
	if err != nil {
		return nil, err
	}
	for _, r := range roles {
		statements = append(statements, "ALTER SERVER ROLE "+vendordb.SQLServerName(r[0].String)+" ADD MEMBER "+quoted)
	}
	granted, err := texts(tx.QueryContext(ctx, "SELECT state_desc, permission_name, class_desc"+
		" FROM sys.server_permissions WHERE grantee_principal_id = SUSER_ID(@p1)", like))
	if err != nil {
		return nil, err
	}
	for _, g := range granted {
		state, permission, class := g[0].String, g[1].String, g[2].String
		switch {
		case state == "GRANT" && permission == "CONNECT SQL": // every login has it
		case class != "SERVER":
			return nil, errGrant
		default:
			statements = append(statements, "EXEC master.sys.sp_executesql "+vendordb.SQLServerString(grantSQLServer(state, permission, "", quoted)))
		}
	}

	user, err := texts(tx.QueryContext(ctx, "SELECT name FROM sys.database_principals WHERE sid = SUSER_SID(@p1)", like))
	if err != nil {
		return nil, err
	}
	if len(user) == 0 {
		return statements, nil // it is in this database by what it has on the server, or as everybody
	}
	statements = append(statements, "CREATE USER "+quoted+" FOR LOGIN "+quoted)
	roles, err = texts(tx.QueryContext(ctx, "SELECT r.name FROM sys.database_role_members AS m"+
		" JOIN sys.database_principals AS r ON r.principal_id = m.role_principal_id WHERE m.member_principal_id = DATABASE_PRINCIPAL_ID(@p1)", user[0][0].String))
	if err != nil {
		return nil, err
	}
	for _, r := range roles {
		statements = append(statements, "ALTER ROLE "+vendordb.SQLServerName(r[0].String)+" ADD MEMBER "+quoted)
	}
	granted, err = texts(tx.QueryContext(ctx, "SELECT state_desc, permission_name, class_desc,"+
		" OBJECT_SCHEMA_NAME(major_id), OBJECT_NAME(major_id), COL_NAME(major_id, minor_id), SCHEMA_NAME(major_id)"+
		" FROM sys.database_permissions WHERE grantee_principal_id = DATABASE_PRINCIPAL_ID(@p1)", user[0][0].String))
	if err != nil {
		return nil, err
	}
	for _, g := range granted {
		on, ok := securable(g[2].String, g[3], g[4], g[5], g[6])
		if !ok {
			return nil, errGrant
		}
		statements = append(statements, grantSQLServer(g[0].String, g[1].String, on, quoted))
	}
	return statements, nil
}

// securable returns what a permission of a class is on: for an object its schema, its
// name and perhaps a column, for a schema that.
func securable(class string, objectSchema, object, column, schema sql.NullString) (on string, ok bool) {
	switch {
	case class == "DATABASE":
		return "", true
	case class == "SCHEMA" && schema.Valid:
		return " ON SCHEMA::" + vendordb.SQLServerName(schema.String), true
	case class == "OBJECT_OR_COLUMN" && objectSchema.Valid && object.Valid:
		on = " ON OBJECT::" + vendordb.SQLServerName(objectSchema.String) + "." + vendordb.SQLServerName(object.String)
		if column.Valid {
			on += " (" + vendordb.SQLServerName(column.String) + ")"
		}
		return on, true
	}
	return "", false
}

// grantSQLServer returns the statement for a state, which is GRANT, DENY or
// GRANT_WITH_GRANT_OPTION.
func grantSQLServer(state, permission, on, to string) string {
	end := ""
	if state == "GRANT_WITH_GRANT_OPTION" {
		state, end = "GRANT", " WITH GRANT OPTION"
	}
	return state + " " + permission + on + " TO " + to + end
}

// texts reads all rows of a query.
func texts(rows *sql.Rows, err error) ([][]sql.NullString, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	var all [][]sql.NullString
	for rows.Next() {
		row := make([]sql.NullString, len(columns))
		targets := make([]any, len(columns))
		for i := range row {
			targets[i] = &row[i]
		}
		if err := rows.Scan(targets...); err != nil {
			return nil, err
		}
		all = append(all, row)
	}
	return all, rows.Err()
}
