package sqlsecrets_test

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// text returns a file of the repository. A module in Go's cache does not have all of them.
func text(t *testing.T, name string) string {
	t.Helper()
	if _, err := os.Stat("integration/go.mod"); err != nil {
		t.Skip("this is not the whole repository")
	}
	b, err := os.ReadFile(filepath.FromSlash(name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Every claim of SECURITY.md names the tests that hold it, in the last cell of its row or in its
// sentence, and they exist.
func TestSecurityNamesTestsThatExist(t *testing.T) {
	doc := text(t, "SECURITY.md")
	link := regexp.MustCompile(`\[([^\]]*)\]\(([^)]*_test\.go)\)`)
	named := 0
	for line := range strings.Lines(doc) {
		test := ""
		for _, m := range link.FindAllStringSubmatch(line, -1) {
			if name, ok := strings.CutPrefix(m[1], "`"); ok {
				test = strings.TrimSuffix(name, "`") // else the link is to one of the same name
			}
			named++
			if !strings.Contains(text(t, m[2]), "\nfunc "+test+"(") {
				t.Errorf("%s has no %s", m[2], test)
			}
		}
		cells := strings.Split(strings.Trim(line, "| \n"), " | ")
		last := cells[len(cells)-1]
		header := last == "test" || strings.HasPrefix(last, "---")
		if strings.HasPrefix(line, "|") && !header && !link.MatchString(last) && !strings.HasPrefix(last, "not tested: ") {
			t.Errorf("no test is named for %q", cells[0])
		}
	}
	if unlinked := regexp.MustCompile("[^[]`Test").FindString(doc); unlinked != "" || named < 30 {
		t.Errorf("%d tests are named; without a link: %q", named, unlinked)
	}
}

// modules are the folders of the modules: "." and those below it.
func modules(t *testing.T) (dirs []string) {
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if d != nil && d.Name() == "go.mod" {
			dirs = append(dirs, path.Dir(filepath.ToSlash(name)))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return dirs
}

// A new module is updated by dependabot. .ci/modules finds it by itself, for the README's command, too.
func TestEveryModuleIsLookedAfter(t *testing.T) {
	dependabot := text(t, ".github/dependabot.yml")
	if !strings.Contains(text(t, "README.md"), "# test it\n.ci/modules | xargs -I{} go -C {} test ") {
		t.Error("the README's command does not test each module")
	}
	for _, dir := range modules(t) {
		if !strings.Contains(dependabot, "\n      - "+path.Join("/", dir)+"\n") {
			t.Errorf(".github/dependabot.yml does not have the module in %q", dir)
		}
	}
	for file, commands := range map[string][]string{
		".github/workflows/check.yml":    {".ci/run\n"},
		".github/workflows/nightly.yml":  {".ci/run full\n"},
		".github/workflows/security.yml": {".ci/govulncheck\n", "codeql-action/analyze@", "run: .ci/modules | xargs -I{} go -C {} build ./...\n"},
		".github/workflows/release.yml":  {".ci/release ", "workflows/nightly.yml\n"},
	} {
		for _, want := range commands {
			if !strings.Contains(text(t, file), want) {
				t.Errorf("%s does not have %q", file, want)
			}
		}
	}
}

// Actions are of one commit each, with the version beside it. Workflows have no permissions, and
// jobs those that they name; only a release may write.
func TestWorkflowsArePinned(t *testing.T) {
	pinned := regexp.MustCompile(`^(\S+@[0-9a-f]{40} # v\d+\.\d+\.\d+|\./\.github/workflows/\S+)$`)
	job := regexp.MustCompile(`(?m)^  ([a-z0-9-]+):$`)
	files, _ := filepath.Glob(".github/workflows/*")
	if len(files) < 4 {
		t.Fatalf("workflows: %v", files)
	}
	commits := map[string]string{}
	for _, file := range files {
		workflow := text(t, filepath.ToSlash(file))
		if !strings.Contains(workflow, "\npermissions: {}\n") || !strings.Contains(workflow, "\nconcurrency:\n") {
			t.Errorf("%s begins without \"permissions: {}\", or has no concurrency", file)
		}
		for _, m := range regexp.MustCompile(`uses: (.*)`).FindAllStringSubmatch(workflow, -1) {
			if !pinned.MatchString(m[1]) {
				t.Errorf("%s: %s is not pinned", file, m[1])
			}
			action, commit, _ := strings.Cut(m[1], "@")
			if commits[action] == "" {
				commits[action] = commit
			}
			if commits[action] != commit {
				t.Errorf("%s: %s is of two commits", file, action)
			}
		}
		_, jobs, _ := strings.Cut(workflow, "\njobs:\n")
		starts := job.FindAllStringSubmatchIndex(jobs, -1)
		for i, at := range starts {
			end := len(jobs)
			if i+1 < len(starts) {
				end = starts[i+1][0]
			}
			name, body := jobs[at[2]:at[3]], jobs[at[0]:end]
			called := strings.Contains(body, "    uses: ./")
			if !strings.Contains(body, "\n    permissions:\n") || !called && !strings.Contains(body, "\n    timeout-minutes: ") {
				t.Errorf("%s: the job %s has no permissions or no time-out", file, name)
			}
			if got := regexp.MustCompile(`\S+: write\b`).FindString(body); got != "" &&
				!slices.Contains([]string{"release contents: write", "codeql security-events: write"}, name+" "+got) {
				t.Errorf("%s: the job %s has %s", file, name, got)
			}
		}
	}
}

// CHANGELOG.md is as .ci/release and https://keepachangelog.com/en/1.1.0/ want it.
func TestChangelogIsKept(t *testing.T) {
	log := text(t, "CHANGELOG.md")
	version := regexp.MustCompile(`^## \[(Unreleased|\d+\.\d+\.\d+)\]( - (\d{4}-\d\d-\d\d|unreleased))?$`)
	var section string
	for line := range strings.Lines(log) {
		line = strings.TrimSpace(line)
		switch m := version.FindStringSubmatch(line); {
		case m != nil:
			section = m[1]
			if !strings.Contains(log, "\n["+section+"]: https://") {
				t.Errorf("%s has no link at the end", section)
			}
		case strings.HasPrefix(line, "## "):
			t.Errorf("%q is no version", line)
		case strings.HasPrefix(line, "### ") && !slices.Contains([]string{"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}, line[4:]):
			t.Errorf("%s: %q is no kind of change", section, line)
		}
	}
	if !strings.Contains(log, "\n## [Unreleased]\n") {
		t.Error("there is no section \"Unreleased\"")
	}
}

// The README shows the whole program of examples/production, which integration runs.
func TestReadmeShowsTheProductionProgram(t *testing.T) {
	_, program, _ := strings.Cut(text(t, "examples/production/main.go"), "\npackage main\n")
	if !strings.Contains(text(t, "README.md"), "```go\npackage main\n"+program+"```\n") {
		t.Error("README.md shows another program than examples/production/main.go")
	}
}
