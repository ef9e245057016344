// Package program builds programs that use the library, for tests of what they are
// like: how large, and what they link.
package program

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Build returns the path of a program, as one builds it for production.
func Build(tb testing.TB, source string) (path string) {
	tb.Helper()
	path = filepath.Join(tb.TempDir(), "program")
	run(tb, source, "build", "-trimpath", "-ldflags=-s -w", "-o", path)
	return path
}

// Packages returns the import paths of what a program links, without the standard library.
func Packages(tb testing.TB, source string) []string {
	tb.Helper()
	return strings.Fields(run(tb, source, "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}"))
}

// run runs the go command on a program. It has to be in the module: it is there for the
// command only.
func run(tb testing.TB, source string, args ...string) string {
	tb.Helper()
	dir := tb.TempDir()
	main, overlay := filepath.Join(dir, "main.go"), filepath.Join(dir, "overlay.json")
	here, err := os.Getwd()
	if err != nil {
		tb.Fatal(err)
	}
	replace, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(here, "testprogram", "main.go"): main}})
	if err != nil {
		tb.Fatal(err)
	}
	for name, content := range map[string]string{main: source, overlay: string(replace)} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	cmd := exec.Command("go", append(args, "-overlay", overlay, "./testprogram")...)
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		tb.Fatalf("go %s: %v\n%s", args[0], err, stderr.String())
	}
	return string(out)
}
