package sqlsecrets_test

import (
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
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

// Every relative link in a page of the repository leads to a file or a folder of it, and to a
// heading or a line that is there.
func TestLinksOfPages(t *testing.T) {
	text(t, "README.md")
	pages := map[string]string{}
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == ".git" || d.Name() == "node_modules"):
			return filepath.SkipDir
		case strings.HasSuffix(name, ".md"):
			pages[filepath.ToSlash(name)] = text(t, filepath.ToSlash(name))
		}
		return nil
	})
	if err != nil || len(pages) < 25 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	for name, page := range pages {
		for _, fault := range wrongLinks(os.DirFS("."), name, page) {
			t.Error(fault)
		}
	}
}

// Each kind of wrong link is found, with its line.
func TestLinksOfPagesThatAreWrong(t *testing.T) {
	page := "# A `head`, and more!\n\n## Twice\n## Twice\n```sh\n# no heading\n[no](link.md)\n```\n<a name=\"here\"></a>\n"
	for _, c := range []struct{ text, want string }{
		{"[x](README.md), [x](docs), `[x](nothing)` and [x](https://example.com/nothing)", ""},
		{"[x](#a-head-and-more) [x](#twice) [x](#twice-1) [x](#here) [x](go.mod#L1)", ""},
		{"[a\nb](README.md#engines \"title\") and ![x](LICENSE)\n\n[x]: docs/tls.md", ""},
		{"see [x](nothing.md)", "page.md:10: nothing.md"},
		{"two\n[x](docs/nothing)", "page.md:11: docs/nothing"},
		{"[a\nb](nothing.md)", "page.md:11: nothing.md"},
		{"[x](README.md#nothing)", "page.md:10: README.md#nothing"},
		{"[x](#no-heading)", "page.md:10: #no-heading"},
		{"[x](#twice-2)", "page.md:10: #twice-2"},
		{"[x](#Twice)", "page.md:10: #Twice"},
		{"[x](go.mod#L1000)", "page.md:10: go.mod#L1000"},
		{"[x](../elsewhere.md)", "page.md:10: ../elsewhere.md"},
		{"[x](/README.md)", "page.md:10: /README.md"},
		{"[x]: nothing.md", "page.md:10: nothing.md"},
		{"<a href=\"nothing.md\">", "page.md:10: nothing.md"},
	} {
		if got := strings.Join(wrongLinks(os.DirFS("."), "page.md", page+c.text), "; "); got != c.want && !strings.HasPrefix(got, c.want+": ") || (c.want == "") != (got == "") {
			t.Errorf("%q: %q, want %q", c.text, got, c.want)
		}
	}
}

var (
	inlineLink = regexp.MustCompile(`\]\(<?([^)\s>]*)>?(?:\s+"[^"]*")?\)|(?m:^ {0,3}\[[^\]]+\]:\s+(\S+))|<(?:a|img)\s[^>]*(?:href|src)="([^"]*)"`)
	codeSpan   = regexp.MustCompile("`+[^`\n]+`+")
	fence      = regexp.MustCompile("^ *(```+|~~~+)")
	heading    = regexp.MustCompile(`^ {0,3}#{1,6} +(.*?)(?: +#+)?\s*$`)
	linkText   = regexp.MustCompile(`!?\[([^\]]*)\]\([^)]*\)`)
	named      = regexp.MustCompile(`<a\s[^>]*(?:name|id)="([^"]*)"`)
	lineNumber = regexp.MustCompile(`^L(\d+)(?:-L\d+)?$`)
)

// wrongLinks returns the links of a page that lead nowhere, as "name:line: link: why".
func wrongLinks(root fs.FS, name, page string) (faults []string) {
	prose := proseOf(page)
	// A link in code is none, and code in a link's text is of no interest.
	prose = codeSpan.ReplaceAllStringFunc(prose, func(s string) string { return strings.Repeat("`", len(s)) })
	for _, m := range inlineLink.FindAllStringSubmatchIndex(prose, -1) {
		at := 2
		for m[at] < 0 {
			at += 2
		}
		link := prose[m[at]:m[at+1]]
		if why := wrongLink(root, name, page, link); why != "" {
			faults = append(faults, fmt.Sprintf("%s:%d: %s: %s", name, 1+strings.Count(prose[:m[at]], "\n"), link, why))
		}
	}
	return faults
}

// wrongLink returns why a link leads nowhere, or "".
func wrongLink(root fs.FS, name, page, link string) string {
	u, err := url.Parse(link)
	switch {
	case err != nil:
		return "it is no URL"
	case u.IsAbs() || u.Host != "":
		return ""
	case strings.HasPrefix(u.Path, "/"):
		return "it begins with a slash"
	}
	if u.Path != "" {
		target := path.Join(path.Dir(name), u.Path)
		if file, ok := strings.CutPrefix(u.Path, "../blob/main/"); ok && strings.HasPrefix(name, ".github/") {
			target = file // GitHub shows a template at /owner/repository/compare/branch
		}
		info, err := fs.Stat(root, target)
		if err != nil {
			return "there is no such file"
		}
		if u.Fragment == "" {
			return ""
		}
		if info.IsDir() {
			return "a folder has no headings"
		}
		data, err := fs.ReadFile(root, target)
		if err != nil {
			return err.Error()
		}
		name, page = target, string(data)
	}
	if m := lineNumber.FindStringSubmatch(u.Fragment); m != nil && path.Ext(name) != ".md" {
		if n, _ := strconv.Atoi(m[1]); n < 1 || n > strings.Count(page, "\n") {
			return "the file has no such line"
		}
		return ""
	}
	if path.Ext(name) != ".md" || !slices.Contains(anchors(page), u.Fragment) {
		return "the page has no such heading"
	}
	return ""
}

// proseOf returns a page without its fenced blocks, line for line.
func proseOf(page string) string {
	lines, open := strings.Split(page, "\n"), ""
	for i, line := range lines {
		mark := strings.TrimLeft(fence.FindString(line), " ")
		switch {
		case open == "" && mark != "":
			open, lines[i] = mark, ""
		case open != "":
			if strings.HasPrefix(mark, open) {
				open = ""
			}
			lines[i] = ""
		}
	}
	return strings.Join(lines, "\n")
}

// anchors returns the fragments that lead to a page's headings, as GitHub makes them: the text in
// lower case, a hyphen for a space, without punctuation, and with -1, -2 for the later ones of the
// same text.
func anchors(page string) (list []string) {
	prose := proseOf(page)
	for _, m := range named.FindAllStringSubmatch(prose, -1) {
		list = append(list, m[1])
	}
	seen := map[string]int{}
	for line := range strings.Lines(prose) {
		m := heading.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		anchor := strings.Map(func(r rune) rune {
			switch {
			case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
				return r
			case r == ' ':
				return '-'
			}
			return -1
		}, strings.ToLower(linkText.ReplaceAllString(m[1], "$1")))
		n := seen[anchor]
		seen[anchor]++
		if n > 0 {
			anchor += "-" + strconv.Itoa(n)
		}
		list = append(list, anchor)
	}
	return list
}
