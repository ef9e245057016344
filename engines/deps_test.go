//go:build sizes

package engines_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/sqlsecrets/sqlsecrets"

// vendors are the modules of the vendors' drivers.
var vendors = []string{
	"github.com/go-sql-driver/mysql", "github.com/ibmdb/go_ibm_db", "github.com/jackc/pgx/v5",
	"github.com/microsoft/go-mssqldb", "github.com/sijms/go-ora/v2",
}

// strangers are packages that no program needs to link: those of go-mssqldb for Azure, and those
// for tests.
var strangers = []string{
	"github.com/Azure/", module + "/internal/standin/tdsserver", module + "/internal/standin/tnsserver", module + "/internal/testkit/leak", module + "/secretcache/awssm/awssmtest",
}

// links says which vendors' drivers, and which packages of other engines, a program links if it
// imports one engine.
var links = []struct {
	engine string
	vendor []string
	uses   []string
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
}

// A program that imports one engine links the driver of that vendor and of no other, and needs no
// cgo.
func TestOneEngineLinksOneVendor(t *testing.T) {
	for _, c := range links {
		// With cgo, go list shows the files that need it. Without cgo, it shows the packages.
		if files := list(t, "1", "{{if not .Standard}}{{range .CgoFiles}}{{$.ImportPath}}/{{.}} {{end}}{{end}}", c.engine); len(files) > 0 {
			t.Errorf("%s needs cgo for %q", c.engine, files)
		}
		var linked, uses []string
		for _, path := range list(t, "0", "{{if not .Standard}}{{.ImportPath}}{{end}}", c.engine) {
			for _, stranger := range strangers {
				if strings.HasPrefix(path, stranger) {
					t.Errorf("%s links %s", c.engine, path)
				}
			}
			linked = addVendor(linked, path)
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

// If a module requires this one and imports one engine, its go.sum has no other vendor. go mod tidy
// also adds what the tests of all linked packages need.
func TestOneVendorInGoSum(t *testing.T) {
	checkout, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	sums, err := os.ReadFile("../go.sum") // of which tidy keeps what it needs: no sum is looked up
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range links {
		t.Run(c.engine, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for name, content := range map[string]string{
				"main.go": "package main\n\nimport _ \"" + module + "/engines/" + c.engine + "\"\n\nfunc main() {}\n",
				"go.mod":  "module example.com/program\n\ngo 1.25.0\n\nrequire " + module + " v0.0.0\n\nreplace " + module + " => " + checkout + "\n",
				"go.sum":  string(sums),
			} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.Command("go", "mod", "tidy")
			cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOWORK=off", "GOFLAGS=")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("go mod tidy: %v\n%s", err, out)
			}
			tidied, err := os.ReadFile(filepath.Join(dir, "go.sum"))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for line := range strings.Lines(string(tidied)) {
				path, _, _ := strings.Cut(line, " ")
				got = addVendor(got, path)
			}
			if slices.Sort(got); !slices.Equal(got, c.vendor) {
				t.Errorf("go.sum has the vendors %q, want %q", got, c.vendor)
			}
		})
	}
}

// addVendor adds the vendor of a package, if the package belongs to one.
func addVendor(list []string, path string) []string {
	for _, v := range vendors {
		if (path == v || strings.HasPrefix(path, v+"/")) && !slices.Contains(list, v) {
			list = append(list, v)
		}
	}
	return list
}

// list runs go list on an engine and its dependencies.
func list(t *testing.T, cgo, format, engine string) []string {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "-f", format, "./"+engine)
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=", "CGO_ENABLED="+cgo)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	return strings.Fields(string(out))
}
