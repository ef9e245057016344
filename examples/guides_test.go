//go:build unix

// Package examples_test runs what the pages in docs and the README show.
package examples_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestGuides does what the README and the pages in docs tell their reader to do. The rules for blocks:
//
//   - ```sh: bash -eu runs the blocks of a page in order, in one shell. The shell begins in an empty
//     directory. sqlsecrets is on its PATH, $REPO is the checkout, and no variable of AWS is set. If the
//     first line of a block is "# needs " and what it needs, such as "# needs Docker", bash only parses
//     the block. The same goes for the README's two commands, which .ci/run runs. A page must end the
//     processes that it starts.
//   - ```text after the line <!-- output -->: the block before it prints this. In a line, "…" stands for
//     anything. A line "…" stands for any lines.
//   - ```go with a package clause: it is compiled, with the requirements of the examples' module.
//   - Other ```go: the line <!-- from: path/of/file.go --> before it names a file that has the same
//     lines. Comments may differ. A line "…" stands for any lines of that file.
//   - ```json: it is JSON. If it is a policy of AWS IAM, it does not allow too much.
//   - Other blocks must name their language.
func TestGuides(t *testing.T) {
	neverCached(t)
	root, names := pages(t)
	shell := newShell(t)
	var read []*page
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
		if err != nil {
			t.Fatal(err)
		}
		read = append(read, readPage(name, string(data)))
	}
	t.Run("go", func(t *testing.T) { compile(t, root, read) })
	for _, p := range read {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			p.check(root)
			shell.run(t, p)
			for _, f := range p.faults {
				t.Error(f)
			}
		})
	}
}

// thisFile is written when the tests end, see neverCached.
const thisFile = "guides_test.go"

func TestMain(m *testing.M) {
	code := m.Run()
	_ = os.Chtimes(thisFile, time.Time{}, time.Now())
	os.Exit(code)
}

// neverCached keeps the go command from reusing the result of an earlier run. The go command does not
// see that a page or the code of sqlsecrets has changed. But it does not cache the result of tests that
// read a file which was written less than two seconds before they end.
func neverCached(t *testing.T) {
	if _, err := os.ReadFile(thisFile); err != nil {
		t.Fatal(err)
	}
}

// pages returns the checkout and the names of the pages in it.
func pages(t *testing.T) (root string, names []string) {
	t.Helper()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil || len(files) < 20 {
		t.Fatalf("pages: %q, %v", files, err)
	}
	names = []string{"README.md"}
	for _, file := range files {
		names = append(names, "docs/"+filepath.Base(file))
	}
	run, err := os.ReadFile(filepath.Join(root, ".ci", "run"))
	for _, first := range elsewhere {
		if !strings.Contains(string(run), "/^"+first+"$/") {
			t.Errorf(".ci/run does not run the block %q: %v", first, err)
		}
	}
	return root, names
}

// compile compiles the Go programs of all pages at once. Each error of the compiler is a fault of a page.
func compile(t *testing.T, root string, pages []*page) {
	t.Helper()
	dir := t.TempDir()
	copyFile := func(name string, change func(string) string) {
		data, err := os.ReadFile(name)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), []byte(change(string(data))), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	copyFile("go.mod", func(s string) string {
		s = strings.Replace(s, "module github.com/sqlsecrets/sqlsecrets/examples\n", "module guides\n", 1)
		return strings.Replace(s, "=> ../\n", "=> "+root+"\n", 1)
	})
	copyFile("go.sum", func(s string) string { return s })
	in := map[string]func(line int) (*page, int){} // by folder: the page, and the line in it
	mains := false
	for i, p := range pages {
		for j, b := range p.blocks {
			name := b.packageName()
			if b.language != "go" || name == "" {
				continue
			}
			folder, file := fmt.Sprintf("page%dblock%d", i, j), "main.go"
			if strings.Contains(b.text(), "\n\t\"testing\"\n") {
				file = "main_test.go"
			}
			mains = mains || name == "main"
			in[folder] = func(line int) (*page, int) { return p, b.line + line }
			if err := os.Mkdir(filepath.Join(dir, folder), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, folder, file), []byte(b.text()), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(in) == 0 {
		return
	}
	commands := [][]string{{"vet", "./..."}}
	if mains {
		commands = append(commands, []string{"build", "-o", "bin" + string(filepath.Separator), "./..."})
	}
	position := regexp.MustCompile(`(page\d+block\d+)/\w+\.go:(\d+)[:\d]*: (.*)`)
	for _, args := range commands {
		cmd := exec.Command("go", args...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOWORK=off", "GOFLAGS=")
		out, err := cmd.CombinedOutput()
		if err == nil {
			continue
		}
		found := position.FindAllStringSubmatch(string(out), -1)
		for _, m := range found {
			n, _ := strconv.Atoi(m[2])
			p, line := in[m[1]](n)
			p.fault(line, "%s", m[3])
		}
		if len(found) == 0 {
			t.Errorf("go %s: %v\n%s", args[0], err, out)
		}
		return
	}
}

// TestGuides would find each of these faults, with its line.
func TestGuidesFaults(t *testing.T) {
	root, _ := pages(t)
	shell := newShell(t)
	shell.limit = 5 * time.Second
	for _, c := range []struct{ name, text, want string }{
		{"nothing wrong", "```sh\necho a b 17\n```\n<!-- output -->\n```text\na … 17\n```\n```json\n{}\n```\n", ""},
		{"one shell for all blocks", "```sh\nx=1; touch y\n```\ntext\n```sh\nls; echo $x\n```\n<!-- output -->\n```text\ny\n1\n```\n", ""},
		{"the variables", "```sh\ntest -f \"$REPO/go.mod\"\nif env | grep ^AWS_; then false; fi\nsqlsecrets help | grep -q usage\n```\n", ""},
		{"what is needed is not there", "```sh\n# needs a cat\ncat_of_nobody --feed\n```\n", ""},
		{"what .ci/run runs", "```sh\n# run it\nfalse\n```\n", ""},
		{"a process that is ended", "```sh\nsleep 60 &\nkill $!\nwait $! || true\n```\n", ""},
		{"any lines", "```sh\nseq 9\n```\n<!-- output -->\n```text\n1\n…\n8\n9\n```\n", ""},
		{"from a file", "<!-- from: examples/repository/repository.go -->\n```go\ndb := sql.OpenDB(connector) // a pool\n\n// more\n…\nreturn &Orders{db}, nil\n```\n", ""},

		{"from a file, with an import", "<!-- from: examples/snippets/snippets_test.go -->\n```go\nimport _ \"github.com/sqlsecrets/sqlsecrets/engines/postgres\"\n\nrows, err := db.Query(\"SELECT name FROM items\")\n```\n", ""},

		{"a command fails", "\n```sh\ntrue\nfalse\ntrue\n```\n", "page.md:4: exit status 1"},
		{"a command of a later block fails", "```sh\ntrue\n```\n\n```sh\nls nothing.here\n```\n", "page.md:6: exit status 2"},
		{"a command that changes the machine", "```sh\ntrue | sudo tee x\n```\n", "page.md:2: a block that uses sudo is not run"},
		{"a variable is not set", "```sh\necho $nothing\n```\n", "page.md:1: exit status "},
		{"no syntax of the shell", "```sh\n# needs nothing\nif true\n```\n", "page.md:1: the shell does not understand"},
		{"a block that ends in the next", "```sh\nif true; then\n```\n```sh\ntrue; fi\n```\n", "page.md:1: the shell does not understand"},
		{"too long", "```sh\nsleep 20\n```\n", "page.md:1: the page takes longer than 5s"},
		{"a process that runs on", "```sh\nsleep 60 &\n```\n", "page.md:1: a process that the page started still runs"},
		{"another output", "```sh\nseq 3\n```\n<!-- output -->\n```text\n1\n3\n```\n", "page.md:7: this was not printed; what was:\n1\n2\n3\n"},
		{"more output", "```sh\nseq 3\n```\n<!-- output -->\n```text\n1\n2\n```\n", "page.md:7: this was not printed"},
		{"less output", "```sh\nseq 1\n```\n<!-- output -->\n```text\n1\n2\n```\n", "page.md:7: this was not printed"},
		{"an output of nothing", "<!-- output -->\n```text\n1\n```\n", "page.md:2: an output is a block of text after a block of sh that runs"},
		{"an output of what is not run", "```sh\n# needs x\ntrue\n```\n<!-- output -->\n```text\n1\n```\n", "page.md:6: an output is a block"},
		{"Go that is of nowhere", "```go\ndb.Ping()\n```\n", "page.md:1: Go without a package clause"},
		{"Go of another file", "<!-- from: examples/repository/repository.go -->\n```go\ndb := sql.OpenDB(connector)\nreturn nothing\n```\n", "page.md:4: examples/repository/repository.go does not have this line"},
		{"Go with a gap", "<!-- from: examples/repository/repository.go -->\n```go\ndb := sql.OpenDB(connector)\nreturn &Orders{db}, nil\n```\n", "page.md:4: "},
		{"no such file", "<!-- from: examples/nothing.go -->\n```go\ndb.Ping()\n```\n", "page.md:1: there is no file examples/nothing.go"},
		{"no JSON", "```json\n{\n\"a\": 1,\n}\n```\n", "page.md:4: this is not JSON"},
		{"an old policy", "```json\n{\"Statement\": []}\n```\n", "page.md:1: the policy does not have \"Version\""},
		{"a policy that writes", policy(`"secretsmanager:PutSecretValue"`, "arn:aws:x"), `page.md:2: "secretsmanager:PutSecretValue" is not one of the actions`},
		{"a policy for all secrets", policy(`["secretsmanager:GetSecretValue"]`, "*"), "page.md:2: the policy allows it for every secret"},
		{"no language", "```\na\n```\n", "page.md:1: the block does not name its language"},
		{"an unknown language", "```console\na\n```\n", `page.md:1: no block is of the language "console"`},
		{"no end", "```sh\ntrue\n", "page.md:1: the block does not end"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := readPage("page.md", c.text)
			p.check(root)
			shell.run(t, p)
			if c.want == "" && len(p.faults) > 0 || c.want != "" && !(len(p.faults) == 1 && strings.HasPrefix(p.faults[0], c.want)) {
				t.Errorf("faults: %q, want one that begins with %q", p.faults, c.want)
			}
		})
	}
}

func policy(action, resource string) string {
	return "```json\n" + fmt.Sprintf(`{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": %s, "Resource": %q}}`, action, resource) + "\n```\n"
}

// A program in a page that does not compile is found, with its line.
func TestGuidesFaultsOfGo(t *testing.T) {
	root, _ := pages(t)
	p := readPage("page.md", "text\n```go\npackage main\n\nfunc main() { x := 1 }\n```\n```go\npackage main\n\nfunc main() {}\n```\n")
	compile(t, root, []*page{p})
	if len(p.faults) != 1 || !strings.HasPrefix(p.faults[0], "page.md:5: ") || !strings.Contains(p.faults[0], "declared and not used") {
		t.Errorf("faults: %q", p.faults)
	}
}
