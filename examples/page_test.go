//go:build unix

package examples_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// A page is a Markdown file and its fenced blocks.
type page struct {
	name   string // as faults quote it
	lines  []string
	blocks []block
	faults []string
}

// A block is a fenced block.
type block struct {
	line     int    // of the opening fence; the first line is 1
	language string // the first word after the fence
	comment  string // the text of an HTML comment in the line before the fence
	lines    []string
}

func (b block) text() string { return strings.Join(b.lines, "\n") + "\n" }

// fault notes something wrong in a line.
func (p *page) fault(line int, format string, args ...any) {
	p.faults = append(p.faults, fmt.Sprintf("%s:%d: %s", p.name, line, fmt.Sprintf(format, args...)))
}

var (
	fenceLine   = regexp.MustCompile("^( *)(```+|~~~+) *([^` ]*)")
	commentLine = regexp.MustCompile(`^\s*<!-- (.*) -->\s*$`)
)

// readPage splits a text into its blocks. The fence of a block in a list is indented, and so are
// the block's lines.
func readPage(name, text string) *page {
	p := &page{name: name, lines: strings.Split(strings.TrimSuffix(text, "\n"), "\n")}
	var open *block
	var fence, indent string
	for i, line := range p.lines {
		m := fenceLine.FindStringSubmatch(line)
		switch {
		case open == nil && m != nil:
			open, fence, indent = &block{line: i + 1, language: m[3]}, m[2], m[1]
			if i > 0 {
				if c := commentLine.FindStringSubmatch(p.lines[i-1]); c != nil {
					open.comment = c[1]
				}
			}
		case open != nil && m != nil && strings.HasPrefix(m[2], fence) && m[3] == "":
			p.blocks = append(p.blocks, *open)
			open = nil
		case open != nil:
			open.lines = append(open.lines, strings.TrimPrefix(line, indent))
		}
	}
	if open != nil {
		p.fault(open.line, "the block does not end")
	}
	return p
}

// unchecked has the languages of blocks that TestGuides does not check.
var unchecked = []string{"text", "yaml", "ini", "properties", "sql", "dockerfile", "diff", "java"}

// check checks everything that needs no other program. root is the checkout.
func (p *page) check(root string) {
	for i, b := range p.blocks {
		if file, ok := strings.CutPrefix(b.comment, "from: "); ok {
			p.checkFrom(b, root, file)
		}
		if m := notHere.FindStringSubmatch(b.text()); m != nil && b.runs() {
			p.fault(b.find(m[1]), `a block that uses %s is not run: its first line must be "# needs " and what that is`, m[1])
		}
		switch {
		case b.language == "":
			p.fault(b.line, "the block does not name its language")
		case b.comment == "output":
			if b.language != "text" || i == 0 || !p.blocks[i-1].runs() {
				p.fault(b.line, "an output is a block of text after a block of sh that runs")
			}
		case b.language == "go":
			if b.packageName() == "" && !strings.HasPrefix(b.comment, "from: ") {
				p.fault(b.line, `Go without a package clause: the line before it must be "<!-- from: path/of/file.go -->"`)
			}
		case b.language == "json":
			p.checkJSON(b)
		case b.language != "sh" && !slices.Contains(unchecked, b.language):
			p.fault(b.line, "no block is of the language %q: use go, sh, json or one of %q", b.language, unchecked)
		}
	}
}

// elsewhere has the first lines of blocks that .ci/run runs, in the checkout.
var elsewhere = []string{"# run it", "# test it"}

// runs reports whether TestGuides runs a block.
func (b block) runs() bool {
	if b.language != "sh" || len(b.lines) == 0 {
		return false
	}
	return !strings.HasPrefix(b.lines[0], "# needs ") && !slices.Contains(elsewhere, b.lines[0])
}

// notHere finds commands that change the machine, or that some machines do not have.
var notHere = regexp.MustCompile(`(?m)(?:^|[|;&(]|\$\()\s*(sudo|docker|aws|kubectl|apt-get|psql|mysql)\s`)

var packageClause = regexp.MustCompile(`(?m)^package ([a-z0-9_]+)$`)

// packageName returns the name in the package clause of a block of Go, or "" if it has none.
func (b block) packageName() string {
	if m := packageClause.FindStringSubmatch(b.text()); m != nil {
		return m[1]
	}
	return ""
}

// checkFrom notes a fault if the file does not have the block's lines, one after the other. Indentation,
// empty lines and Go comments do not matter. A line "…" stands for any lines. If the block begins with
// imports, these may be anywhere in the file.
func (p *page) checkFrom(b block, root, file string) {
	data, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(file)))
	if err != nil {
		p.fault(b.line-1, "there is no file %s", file)
		return
	}
	want, have := significant(b.lines), significant(strings.Split(string(data), "\n"))
	imports := 0
	for imports < len(want) && strings.HasPrefix(want[imports], "import ") && slices.Contains(have, want[imports]) {
		imports++
	}
	want = want[imports:]
	best, found := 0, false
	for start := 0; start < len(have) && !found; start++ {
		n := matchLines(want, have[start:], func(w, h string) bool { return w == h }, false)
		best, found = max(best, n), n == len(want)
	}
	if len(want) == 0 || !found {
		line := b.line
		for i, seen := 0, 0; i < len(b.lines) && seen <= imports+best; i++ {
			if len(significant(b.lines[i:i+1])) > 0 {
				line, seen = b.line+1+i, seen+1
			}
		}
		p.fault(line, "%s does not have this line, after those before it", file)
	}
}

// goComment finds a comment at the end of a line. It also finds " // " in a string.
var goComment = regexp.MustCompile(`(^|\s)//\s.*$`)

// significant returns the lines without Go comments and without spaces at both ends. It leaves out lines
// that are then empty.
func significant(lines []string) (s []string) {
	for _, line := range lines {
		if line = strings.TrimSpace(goComment.ReplaceAllString(line, "")); line != "" {
			s = append(s, line)
		}
	}
	return s
}

// matchLines returns how many lines of want match the beginning of have: len(want) if all match. A line
// "…" matches any number of lines. If whole is set, have must not have more lines.
func matchLines(want, have []string, same func(want, have string) bool, whole bool) int {
	for i, w := range want {
		if w == "…" {
			best := i
			for skip := 0; skip <= len(have); skip++ {
				n := matchLines(want[i+1:], have[skip:], same, whole)
				if n == len(want)-i-1 {
					return len(want)
				}
				best = max(best, i+1+n)
			}
			return min(best, len(want)-1)
		}
		if len(have) == 0 || !same(w, have[0]) {
			return i
		}
		have = have[1:]
	}
	if whole && len(have) > 0 {
		return len(want) - 1
	}
	return len(want)
}

// sameOutput compares a line of a page with a printed line. "…" matches anything.
func sameOutput(want, have string) bool {
	parts := strings.Split(want, "…")
	for i, part := range parts {
		parts[i] = regexp.QuoteMeta(part)
	}
	return regexp.MustCompile("^" + strings.Join(parts, ".*") + "$").MatchString(have)
}

// checkOutput compares the output of a block with b, the block of text after it.
func (p *page) checkOutput(b block, printed string) {
	trim := func(lines []string) (out []string) {
		for _, line := range lines {
			out = append(out, strings.TrimRight(line, " \t\r"))
		}
		return out
	}
	want := trim(b.lines)
	have := trim(strings.Split(strings.TrimRight(printed, "\n"), "\n"))
	if n := matchLines(want, have, sameOutput, true); n < len(want) {
		p.fault(b.line+1+n, "this was not printed; what was:\n%s", printed)
	}
}

// actions has the actions that policies in the pages may allow. Think before you add one.
var actions = []string{
	"kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey",
	"rds-db:connect",
	"secretsmanager:BatchGetSecretValue", "secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue",
	"sts:AssumeRole", "sts:TagSession",
}

// checkJSON notes a fault if a block is not JSON, or if it is a policy of AWS IAM that is wrong or allows
// too much.
func (p *page) checkJSON(b block) {
	var value any
	if err := json.Unmarshal([]byte(b.text()), &value); err != nil {
		line := b.line
		if e, ok := err.(*json.SyntaxError); ok {
			line += 1 + strings.Count(b.text()[:max(0, min(int(e.Offset)-1, len(b.text())))], "\n")
		}
		p.fault(line, "this is not JSON: %v", err)
		return
	}
	policy, ok := value.(map[string]any)
	if !ok || policy["Statement"] == nil {
		return
	}
	if policy["Version"] != "2012-10-17" {
		p.fault(b.line, `the policy does not have "Version": "2012-10-17"`)
	}
	statements, ok := policy["Statement"].([]any)
	if !ok {
		statements = []any{policy["Statement"]}
	}
	for _, s := range statements {
		statement, _ := s.(map[string]any)
		wide := false
		for _, a := range list(statement["Action"]) {
			if !slices.Contains(actions, a) {
				p.fault(b.find(a), "%q is not one of the actions that policies here allow: %q", a, actions)
			}
			wide = wide || strings.HasPrefix(a, "secretsmanager:") || strings.HasPrefix(a, "kms:")
		}
		if statement["Effect"] != "Allow" && statement["Effect"] != "Deny" || len(list(statement["Action"])) == 0 {
			p.fault(b.line, `a statement has no "Effect" or no "Action"`)
		}
		// A policy with a principal belongs to a secret or a key. There "*" means that secret or key.
		if _, ofResource := statement["Principal"]; ofResource {
			continue
		}
		if statement["Effect"] == "Allow" && wide && slices.Contains(list(statement["Resource"]), "*") {
			p.fault(b.find(`"*"`), "the policy allows it for every secret and key: name them")
		}
	}
}

// find returns the number of the first line of the block that contains the text, or of its fence.
func (b block) find(text string) int {
	for i, line := range b.lines {
		if strings.Contains(line, text) {
			return b.line + 1 + i
		}
	}
	return b.line
}

// list returns v if it is a string, or its strings if it is a list.
func list(v any) (s []string) {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		for _, one := range v {
			s = append(s, list(one)...)
		}
	}
	return s
}
