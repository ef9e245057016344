package goora_test

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/engines/oracle"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/tnsserver"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/opentest"
)

// Every form of a data source name opens.
func TestOpen(t *testing.T) {
	s := start(t, &tnsserver.Options{Services: []string{"ORCL", "REPORTS"}, SIDs: []string{"ORCLSID"}})
	opentest.Put(t, fmt.Sprintf(`{"engine":"oracle-se2","host":%q,"port":%d,"dbname":"ORCL","username":"app_user","password":%q}`, s.Host, s.Port, goodPassword))
	for _, c := range []struct{ dsn, sent string }{ // what the listener got
		{"prod/app/db", "(SERVICE_NAME=ORCL)"},
		{opentest.ARN + "?dbname=REPORTS", "(SERVICE_NAME=REPORTS)"},
		{opentest.ARN + "?dbname=:ORCLSID", "(SID=ORCLSID)"},
		{"jdbc-secretsmanager:oracle:thin:@example.com:1521/ORCL?user=prod/app/db", "(SERVICE_NAME=ORCL)"},
		{"jdbc-secretsmanager:oracle:thin:@//example.com:1521/REPORTS?user=prod/app/db", "(SERVICE_NAME=REPORTS)"},
		{"jdbc-secretsmanager:oracle:thin:@example.com:1521:ORCLSID?user=prod/app/db", "(SID=ORCLSID)"},
		{"jdbc-secretsmanager:oracle:thin:@tcp://example.com:1521/ORCL:dedicated/inst1?user=prod/app/db", "(SERVICE_NAME=ORCL)(SERVER=dedicated)(INSTANCE_NAME=inst1)"},
		{"jdbc-secretsmanager:oracle:thin:@(DESCRIPTION=(ADDRESS=(PROTOCOL=tcp)(HOST=EXAMPLE)(PORT=1521))(CONNECT_DATA=(SERVICE_NAME=REPORTS)))?user=prod/app/db", "(SERVICE_NAME=REPORTS)"},
		{"jdbc-secretsmanager:oracle:thin:@(description=(address_list=(address=(protocol=tcp)(host=EXAMPLE)(port=1521)))(connect_data=(sid=ORCLSID)))?user=prod/app/db", "(SID=ORCLSID)"},
		{"jdbc-secretsmanager:oracle:thin:@//127.0.0.1:1,example.com:1521/REPORTS?user=prod/app/db&load_balance=off", "(SERVICE_NAME=REPORTS)"}, // the first is down
		{"jdbc-secretsmanager:oracle:thin:@?user=" + opentest.ARN, "(SERVICE_NAME=ORCL)"},
	} {
		port := strconv.Itoa(s.Port)
		dsn := strings.NewReplacer("example.com:1521", net.JoinHostPort(s.Host, port), "EXAMPLE", s.Host, "PORT=1521", "PORT="+port, "port=1521", "port="+port).Replace(c.dsn)
		before := len(s.Connects())
		var n int
		if err := opentest.Open(t, oracle.DriverName, dsn).QueryRowContext(t.Context(), "SELECT 1 FROM DUAL").Scan(&n); err != nil || n != 1 {
			t.Errorf("%s: query = %d, %v", c.dsn, n, err)
			continue
		}
		if got := s.Connects()[before:]; len(got) != 1 || !strings.Contains(got[0], "(CONNECT_DATA="+c.sent+"(CID=") {
			t.Errorf("%s: the listener got %q, want one with %s", c.dsn, got, c.sent)
		}
	}
}
