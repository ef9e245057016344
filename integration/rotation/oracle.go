package rotation

import (
	"crypto/tls"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"strings"

	"github.com/sijms/go-ora/v2/network"

	"github.com/sqlsecrets/sqlsecrets/integration/internal/vendordb"
)

var oracle = engine{
	port:          1521,
	needsDatabase: true,
	query:         "SELECT 1 FROM DUAL",
	alternate:     alternateOracle,
	connector: func(v *value, tlsConfig *tls.Config) (sqldriver.Connector, error) {
		return vendordb.Oracle(v.account(tlsConfig)), nil
	},
	code: func(err error) string {
		var e *network.OracleError
		if !errors.As(err, &e) {
			return ""
		}
		return fmt.Sprintf("ORA-%05d", e.ErrCode)
	},
}

// alternateOracle alternates as AWS's functions do, with names in upper case, because Oracle stores
// names without double quotes in upper case.
func alternateOracle(user string) string {
	name := withSuffix("_CLONE")(vendordb.OracleName(user))
	if strings.HasPrefix(user, `"`) {
		name = `"` + name + `"`
	}
	return name
}
