// Package awscaching_test compares package awscaching with AWS's own caching client for Go: its
// tests, which are read from its module, and its exported API.
package awscaching_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	_ "github.com/aws/aws-secretsmanager-caching-go/v2/secretcache" // go list finds its source, which is compared
)

const (
	upstream = "github.com/aws/aws-secretsmanager-caching-go/v2/secretcache"
	ours     = "github.com/sqlsecrets/sqlsecrets/secretcache/awscaching"
)

// An outcome is the result of one of AWS's tests. It passes, or fails for a reason.
type outcome struct {
	why  string // why it fails by design; empty: it passes
	says string // part of its output then, so that it fails for no other reason
}

const (
	noDescribe = "it counts calls of DescribeSecret: GetSecretValue is the only call"
	oneValue   = "it counts two calls of the hook for one secret, one of them for the output of DescribeSecret"
	asked      = "its client answers GetSecretValue for AWSCURRENT with a version that is not current by DescribeSecret: " +
		"the service's own answer for the stage counts"
)

// outcomes has the outcome of each test of AWS's package secretcache_test.
var outcomes = map[string]outcome{
	"TestCacheHookBinary":                 {oneValue, "get method to be called twice"},
	"TestCacheHookString":                 {oneValue, "get method to be called twice"},
	"TestGetSecretBinary":                 {},
	"TestGetSecretBinaryMultipleNotFound": {noDescribe, "DescribeSecret API, got 0"},
	"TestGetSecretBinaryMultipleTimes":    {noDescribe, `called - "0" times`},
	"TestGetSecretBinaryRefresh":          {},
	"TestGetSecretBinaryWithStage":        {},
	"TestGetSecretMissing":                {},
	"TestGetSecretNoCurrent":              {asked, "Expected to not find secret version"},
	"TestGetSecretNoVersions":             {},
	"TestGetSecretString":                 {},
	"TestGetSecretStringMultipleNotFound": {noDescribe, "DescribeSecret API, got 0"},
	"TestGetSecretStringMultipleTimes":    {noDescribe, `called - "0" times`},
	"TestGetSecretStringRefresh":          {},
	"TestGetSecretStringWithStage":        {},
	"TestGetSecretVersionNotFound":        {},
	"TestGetSecretVersionStageEmpty":      {},
	"TestInstantiatesClient":              {},
	"TestRefreshNow":                      {noDescribe, "DescribeSecret API, got 0"},
}

// amendments change what AWS's tests count: calls of the service, and calls of the hook for a
// value.
var amendments = []string{
	"mockClient.DescribeSecretCallCount", "mockClient.GetSecretValueCallCount",
	"hook.getCount != 2", "hook.getCount != 1",
	"hook.putCount != 2", "hook.putCount != 1",
}

func TestAWSTestsPassOrFailByDesign(t *testing.T) {
	results := runUpstream(t, nil)
	passed, failed := 0, 0
	for _, name := range slices.Sorted(maps.Keys(outcomes)) {
		want := outcomes[name]
		got, ok := results[name]
		switch {
		case !ok:
			t.Errorf("AWS has no test %s (any more)", name)
		case want.why == "" && got.action == "pass":
			passed++
		case want.why == "":
			t.Errorf("%s: %s, want pass:\n%s", name, got.action, got.output)
		case got.action == "fail" && strings.Contains(got.output, want.says):
			failed++
			t.Logf("%s fails by design: %s", name, want.why)
		default:
			t.Errorf("%s: %s, want it to fail with %q, because %s:\n%s", name, got.action, want.says, want.why, got.output)
		}
	}
	for name, got := range results {
		if _, ok := outcomes[name]; !ok {
			t.Errorf("%s of AWS: %s, but the list does not have it", name, got.action)
		}
	}
	t.Logf("AWS's tests of its caching client on ours: %d of %d pass, %d fail by design", passed, len(results), failed)
}

// The tests that fail because they count DescribeSecret check other things, too.
func TestAWSTestsPassWithOtherCounts(t *testing.T) {
	passed := 0
	results := runUpstream(t, amendments)
	for name, got := range results {
		want := "pass"
		if outcomes[name].why == asked {
			want = "fail"
		}
		if got.action != want {
			t.Errorf("%s: %s, want %s:\n%s", name, got.action, want, got.output)
		}
		if got.action == "pass" {
			passed++
		}
	}
	t.Logf("the same with GetSecretValue counted for DescribeSecret: %d of %d pass", passed, len(results))
}

// A result is the result of a test, as go test -json reports it.
type result struct{ action, output string }

// runUpstream runs AWS's tests on our package and returns their results by name. It makes
// replacements (old, new) in their text. The tests are built in a module of their own in a
// temporary directory, with the requirements of this module.
func runUpstream(t *testing.T, replacements []string) map[string]result {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(filepath.Join("..", name))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name), string(text))
	}
	goTool(t, dir, "mod", "edit", "-replace=github.com/sqlsecrets/sqlsecrets="+root)

	used := make([]bool, len(replacements))
	from := strings.TrimSpace(string(goTool(t, ".", "list", "-f", "{{.Dir}}", upstream)))
	for _, name := range strings.Fields(string(goTool(t, ".", "list", "-f", `{{join .XTestGoFiles " "}}`, upstream))) {
		b, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(string(b), `"`+upstream+`"`, `secretcache "`+ours+`"`)
		for i := 0; i < len(replacements); i += 2 {
			used[i] = used[i] || strings.Contains(text, replacements[i])
			text = strings.ReplaceAll(text, replacements[i], replacements[i+1])
		}
		write(t, filepath.Join(dir, name), text)
	}
	for i := 0; i < len(replacements); i += 2 {
		if !used[i] {
			t.Errorf("AWS's tests have no %q (any more)", replacements[i])
		}
	}

	cmd := command(dir, "test", "-json", "-count=1", ".")
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	results := map[string]result{}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var e struct{ Action, Test, Output string }
		if err := d.Decode(&e); err == io.EOF {
			break
		} else if err != nil {
			t.Fatalf("go test -json: %v:\n%s", err, out)
		}
		if e.Test == "" {
			continue
		}
		r := results[e.Test]
		r.output += e.Output
		switch e.Action {
		case "pass", "fail", "skip":
			r.action = e.Action
		}
		results[e.Test] = r
	}
	if len(results) == 0 {
		t.Fatalf("AWS's tests did not run:\n%s", out)
	}
	return results
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// command returns a command that runs go in a directory, without the AWS configuration of this
// machine.
func command(dir string, args ...string) *exec.Cmd {
	cmd := exec.Command("go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off",
		"AWS_PROFILE=", "AWS_CONFIG_FILE="+os.DevNull, "AWS_SHARED_CREDENTIALS_FILE="+os.DevNull)
	return cmd
}

// goTool runs go and returns what it prints.
func goTool(t *testing.T, dir string, args ...string) []byte {
	t.Helper()
	cmd := command(dir, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, stderr.Bytes())
	}
	return out
}
