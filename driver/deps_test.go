package driver_test

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// Who imports what is a promise: driver, secretcache and its source of files need the
// standard library only, and a vendor's engine links no AWS SDK.
func TestDependencies(t *testing.T) {
	const module = "github.com/sqlsecrets/sqlsecrets"
	for _, test := range []struct {
		dir     string
		allowed func(path string) bool
	}{
		{"driver", func(path string) bool { return false }},
		{"secretcache", func(path string) bool { return false }},
		{"secretcache/file", func(path string) bool { return false }},
		{"engines/postgres/pgxv5", notAWS},
		{"engines/mysql/gosqldriver", notAWS},
		{"engines/oracle/goora", notAWS},
		{"engines/sqlserver/mssqldb", notAWS},
	} {
		t.Run(test.dir, func(t *testing.T) {
			cmd := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", "./"+test.dir)
			cmd.Dir = ".."
			cmd.Env = append(os.Environ(), "GOWORK=off")
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("go list: %v", err)
			}
			paths := strings.Fields(string(out))
			if len(paths) == 0 {
				t.Fatal("no packages")
			}
			for _, path := range paths {
				if !strings.HasPrefix(path, module+"/") && !test.allowed(path) {
					t.Errorf("%s needs %s", test.dir, path)
				}
				if strings.HasPrefix(path, module+"/secretcache/") && path != module+"/"+test.dir {
					t.Errorf("%s needs %s, a source", test.dir, path)
				}
				if strings.HasPrefix(test.dir, "secretcache") && path == module+"/driver" {
					t.Errorf("%s needs %s", test.dir, path)
				}
			}
		})
	}
}

// The AWS SDK is imported by the source that calls it, by the server for its tests,
// and where the API of AWS's caching client has the SDK's types in it.
func TestWhoImportsTheSDK(t *testing.T) {
	cmd := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...")
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var got []string
	for line := range strings.Lines(string(out)) {
		if path, imports, _ := strings.Cut(line, " "); strings.Contains(imports, "github.com/aws/") {
			got = append(got, strings.TrimPrefix(path, "github.com/sqlsecrets/sqlsecrets/"))
		}
	}
	want := []string{"secretcache/awscaching", "secretcache/awssm", "secretcache/awssm/awssmtest"}
	if !slices.Equal(got, want) {
		t.Errorf("the AWS SDK is imported by %q, want %q", got, want)
	}
}

func notAWS(path string) bool {
	return !strings.Contains(path, "github.com/aws/")
}
