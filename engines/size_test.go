//go:build sizes

package engines_test

import (
	"os"
	"strings"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/internal/testkit/program"
)

// mostGrowth is how much larger a program may be, in percent, than the same one on the
// vendor's driver and the AWS SDK. docs/design.md has the numbers.
const mostGrowth = 13

// TestBinarySize builds a program that opens a database by the name of a secret, with
// the library and without. It takes two links for each engine.
func TestBinarySize(t *testing.T) {
	for _, c := range []struct{ engine, vendor, open string }{
		{"postgres", `_ "github.com/jackc/pgx/v5/stdlib"`,
			`sql.Open("pgx", "host="+s.Host+" user="+s.Username+" password="+s.Password+" dbname="+s.Dbname)`},
		{"mysql", `_ "github.com/go-sql-driver/mysql"`,
			`sql.Open("mysql", s.Username+":"+s.Password+"@tcp("+s.Host+")/"+s.Dbname)`},
		{"sqlserver", `_ "github.com/microsoft/go-mssqldb"`,
			`sql.Open("sqlserver", "server="+s.Host+";user id="+s.Username+";password="+s.Password+";database="+s.Dbname)`},
		{"redshift", `_ "github.com/jackc/pgx/v5/stdlib"`,
			`sql.Open("pgx", "host="+s.Host+" user="+s.Username+" password="+s.Password+" dbname="+s.Dbname)`},
		{"mariadb", `_ "github.com/go-sql-driver/mysql"`,
			`sql.Open("mysql", s.Username+":"+s.Password+"@tcp("+s.Host+")/"+s.Dbname)`},
		{"db2", "", // the vendor's driver needs cgo: it is in neither
			`sql.Open("go_ibm_db", "HOSTNAME="+s.Host+";UID="+s.Username+";PWD="+s.Password+";DATABASE="+s.Dbname)`},
		{"oracle", `_ "github.com/sijms/go-ora/v2"`,
			`sql.Open("oracle", "oracle://"+s.Username+":"+s.Password+"@"+s.Host+"/"+s.Dbname)`},
	} {
		t.Run(c.engine, func(t *testing.T) {
			ours := size(t, strings.NewReplacer("ENGINE", c.engine).Replace(ourProgram))
			theirs := size(t, strings.NewReplacer("VENDOR", c.vendor, "OPEN", c.open).Replace(theirProgram))
			growth := 100 * float64(ours-theirs) / float64(theirs)
			t.Logf("%s: %.1f MB, %.1f MB without the library: %+.1f %%", c.engine, float64(ours)/1e6, float64(theirs)/1e6, growth)
			if growth > mostGrowth {
				t.Errorf("the program grows by %.1f %%, more than %d %%", growth, mostGrowth)
			}
		})
	}
}

// size returns the size of a program in bytes.
func size(t *testing.T, source string) int64 {
	t.Helper()
	info, err := os.Stat(program.Build(t, source))
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

const ourProgram = `package main

import (
	"database/sql"
	"fmt"
	"log"
	"os"

	"github.com/sqlsecrets/sqlsecrets/engines/ENGINE"
)

func main() {
	db, err := sql.Open(ENGINE.DriverName, os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	var n int
	fmt.Println(db.QueryRow("SELECT 1").Scan(&n), n)
}
`

const theirProgram = `package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"log"
	"os"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	VENDOR
)

func main() {
	ctx := context.Background()
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		log.Fatal(err)
	}
	out, err := secretsmanager.NewFromConfig(cfg).GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &os.Args[1]})
	if err != nil {
		log.Fatal(err)
	}
	var s struct{ Host, Dbname, Username, Password string }
	if err := json.Unmarshal([]byte(*out.SecretString), &s); err != nil {
		log.Fatal(err)
	}
	db, err := OPEN
	if err != nil {
		log.Fatal(err)
	}
	var n int
	fmt.Println(db.QueryRow("SELECT 1").Scan(&n), n)
}
`
