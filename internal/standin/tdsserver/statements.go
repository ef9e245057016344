package tdsserver

// A statement is a statement that the server knows. Its answer is one value in a column, a whole
// number or a text, or no value.
type statement struct {
	column string
	answer func(*conn) any
}

// statements are the only statements that the server knows, by their exact text without the space
// around it. The tests send them, and go-mssqldb sends one as a ping.
var statements = map[string]statement{
	"select 1;":             fixed("", 1),
	"SELECT 1":              fixed("", 1),
	"SELECT 40 + 2":         fixed("", 42),
	`SELECT 42 AS "answer"`: fixed("answer", 42),
	"SELECT @@SPID":         {"", func(c *conn) any { return int(c.spid) }},
	"SELECT @@VERSION":      fixed("", "Microsoft SQL Server, a stand-in"),
	"SELECT SUSER_SNAME()":  {"", func(c *conn) any { return c.user }},
	"SELECT DB_NAME()":      {"", func(c *conn) any { return c.current }},
	"SET NOCOUNT ON":        {},
	"USE tempdb":            {"", func(c *conn) any { c.current = "tempdb"; return nil }},
	"SELECT encrypt_option FROM sys.dm_exec_connections WHERE session_id = @@SPID": {"encrypt_option", func(c *conn) any {
		if c.encrypted {
			return "TRUE"
		}
		return "FALSE"
	}},
}

func fixed(column string, value any) statement {
	return statement{column, func(*conn) any { return value }}
}
