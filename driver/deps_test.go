package driver_test

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// The imports are a promise: driver, secretcache and its sources for files and the agent need the standard
// library only, and a vendor's engine does not need the AWS SDK.
func TestDependencies(t *testing.T) {
	const module = "github.com/sqlsecrets/sqlsecrets/"
	vendor := map[string]bool{ // whether the package needs a vendor's modules
		"driver": false, "secretcache": false, "secretcache/file": false, "secretcache/agent": false,
		"engines/postgres/pgxv5": true, "engines/mysql/gosqldriver": true, "engines/oracle/goora": true, "engines/sqlserver/mssqldb": true,
	}
	args := []string{"list", "-f", `{{.ImportPath}}{{range .Deps}} {{.}}{{end}}`}
	for dir := range vendor {
		args = append(args, "./"+dir)
	}
	standard := strings.Fields(run(t, "list", "std"))
	lists := strings.Split(strings.TrimSpace(run(t, args...)), "\n")
	if len(lists) != len(vendor) {
		t.Fatalf("%d packages, want %d", len(lists), len(vendor))
	}
	for _, list := range lists {
		paths := strings.Fields(list)
		dir := strings.TrimPrefix(paths[0], module)
		for _, path := range paths[1:] {
			own, isOwn := strings.CutPrefix(path, module)
			source, isSource := strings.CutPrefix(own, "secretcache/")
			switch {
			case !isOwn && slices.Contains(standard, path):
			case !isOwn && (!vendor[dir] || strings.HasPrefix(path, "github.com/aws/")):
				t.Errorf("%s needs %s", dir, path)
			case isOwn && isSource && !strings.HasPrefix(source, "internal/"):
				t.Errorf("%s needs %s, a source", dir, path)
			case isOwn && strings.HasPrefix(dir, "secretcache") && (own == "driver" || strings.HasPrefix(own, "engines")):
				t.Errorf("%s needs %s", dir, path)
			}
		}
	}
}

// Three parts of the module import the AWS SDK: the source that calls it, the server for its tests, and the
// package with the API of AWS's caching client, which has types of the SDK.
func TestOnlyTheseDirectoriesImportTheSDK(t *testing.T) {
	out := run(t, "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...")
	var got []string
	for line := range strings.Lines(out) {
		if path, imports, _ := strings.Cut(line, " "); strings.Contains(imports, "github.com/aws/") {
			got = append(got, strings.TrimPrefix(path, "github.com/sqlsecrets/sqlsecrets/"))
		}
	}
	want := []string{"secretcache/awscaching", "secretcache/awssm", "secretcache/awssm/awssmtest"}
	if !slices.Equal(got, want) {
		t.Errorf("the AWS SDK is imported by %q, want %q", got, want)
	}
}

// run runs the go command in the module's root directory.
func run(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command("go", args...)
	cmd.Dir, cmd.Env = "..", append(os.Environ(), "GOWORK=off", "GOFLAGS=")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s: %v", args[0], err)
	}
	return string(out)
}
