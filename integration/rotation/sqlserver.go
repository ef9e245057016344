package rotation

import (
	"crypto/tls"
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
	alternate: withSuffix("_clone"),
	connector: func(v *value, tlsConfig *tls.Config) (sqldriver.Connector, error) {
		return vendordb.SQLServer(v.account(tlsConfig)), nil
	},
	code: func(err error) string {
		var e mssql.Error
		if !errors.As(err, &e) {
			return ""
		}
		return "error " + strconv.Itoa(int(e.Number))
	},
}
