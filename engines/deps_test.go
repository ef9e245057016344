package engines_test

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/sqlsecrets/sqlsecrets"

// vendors are the modules of the databases' drivers.
var vendors = []string{
	"github.com/go-sql-driver/mysql", "github.com/ibmdb/go_ibm_db", "github.com/jackc/pgx/v5",
	"github.com/microsoft/go-mssqldb", "github.com/sijms/go-ora/v2",
}

// A program that imports one engine links that vendor's driver and no other engine.
func TestOneEngineLinksOneVendor(t *testing.T) {
	for _, c := range []struct {
		engine string
		vendor []string
		uses   []string // other engines' packages
	}{
		{"postgres", []string{"github.com/jackc/pgx/v5"}, nil},
		{"redshift", []string{"github.com/jackc/pgx/v5"}, []string{"postgres/pgxv5"}},
		{"mysql", []string{"github.com/go-sql-driver/mysql"}, nil},
		{"mariadb", []string{"github.com/go-sql-driver/mysql"}, []string{"mysql/gosqldriver"}},
		{"sqlserver", []string{"github.com/microsoft/go-mssqldb"}, nil},
		{"oracle", []string{"github.com/sijms/go-ora/v2"}, nil},
		{"db2", nil, nil},
		{"all", []string{"github.com/go-sql-driver/mysql", "github.com/jackc/pgx/v5", "github.com/microsoft/go-mssqldb", "github.com/sijms/go-ora/v2"},
			[]string{"db2", "mariadb", "mysql", "mysql/gosqldriver", "oracle", "oracle/goora", "postgres", "postgres/pgxv5", "redshift", "sqlserver", "sqlserver/mssqldb"}},
	} {
		cmd := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", "./"+c.engine)
		cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=", "CGO_ENABLED=0")
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("go list: %v", err)
		}
		var linked, uses []string
		for _, path := range strings.Fields(string(out)) {
			for _, v := range vendors {
				if (path == v || strings.HasPrefix(path, v+"/")) && !slices.Contains(linked, v) {
					linked = append(linked, v)
				}
			}
			if e, ok := strings.CutPrefix(path, module+"/engines/"); ok && e != c.engine && !strings.HasPrefix(e, c.engine+"/") {
				uses = append(uses, e)
			}
		}
		slices.Sort(linked)
		slices.Sort(uses)
		if !slices.Equal(linked, c.vendor) {
			t.Errorf("%s links the vendors %q, want %q", c.engine, linked, c.vendor)
		}
		if !slices.Equal(uses, c.uses) {
			t.Errorf("%s links the engines %q, want %q", c.engine, uses, c.uses)
		}
	}
}
