package sqlserver_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// A program that imports this engine links this vendor's driver alone, and not what
// go-mssqldb has for Azure.
func TestDependencies(t *testing.T) {
	cmd := exec.Command("go", "list", "-deps", ".")
	cmd.Env = append(os.Environ(), "GOWORK=off")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	vendor := false
	for path := range strings.FieldsSeq(string(out)) {
		vendor = vendor || path == "github.com/microsoft/go-mssqldb"
		for _, other := range []string{"github.com/jackc/", "github.com/go-sql-driver/", "github.com/sijms/", "github.com/Azure/", "/internal/tdsserver", "/engines/mysql", "/engines/postgres", "/engines/oracle"} {
			if strings.Contains(path, other) {
				t.Errorf("engines/sqlserver links %s", path)
			}
		}
	}
	if !vendor {
		t.Error("engines/sqlserver does not link go-mssqldb")
	}
}
