package all

import (
	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/db2"
	_ "github.com/sqlsecrets/sqlsecrets/engines/mariadb"
	_ "github.com/sqlsecrets/sqlsecrets/engines/mysql"
	"github.com/sqlsecrets/sqlsecrets/engines/mysql/gosqldriver"
	_ "github.com/sqlsecrets/sqlsecrets/engines/oracle"
	"github.com/sqlsecrets/sqlsecrets/engines/oracle/goora"
	_ "github.com/sqlsecrets/sqlsecrets/engines/postgres"
	"github.com/sqlsecrets/sqlsecrets/engines/postgres/pgxv5"
	"github.com/sqlsecrets/sqlsecrets/engines/redshift"
	_ "github.com/sqlsecrets/sqlsecrets/engines/sqlserver"
	"github.com/sqlsecrets/sqlsecrets/engines/sqlserver/mssqldb"
)

// known are the engines that the driver chooses from.
var known = []driver.Engine{
	pgxv5.Engine{},
	redshift.Engine{},
	gosqldriver.Engine{},
	gosqldriver.Engine{MariaDB: true},
	mssqldb.Engine{},
	goora.Engine{},
	db2.Engine{},
}
