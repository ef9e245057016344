package drivertest

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
)

// A page is one of the tables in a guide.
type page struct {
	file, heading string
	fold          func(name string) string // returns the form in which names are compared
}

// check returns an error for each name in the table without a case, and for each name that a case
// accepts and the table does not have. A name with a value, `ssl=true`, needs a case with that value. A
// name with a "*" at the end stands for all names with that beginning. `user` needs no case, because it
// is in every URL. known are the names in the engine's own tables, where a "*" means the same. Each of
// them needs a case too.
func (p page) check(cases []Case, known []string) error {
	spans, err := p.spans()
	if err != nil {
		return err
	}
	var problems []error
	problem := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	plain := p.fold
	tested, taken := map[string]bool{}, map[string]string{}
	for _, c := range cases {
		for _, pair := range pairs(c.Set) {
			name, value, _ := strings.Cut(pair, "=")
			tested[plain(name)], tested[plain(name)+"="+value] = true, true
			if c.Err == "" {
				taken[plain(name)] = name
			}
		}
	}
	hasCase := func(name string) bool {
		prefix, isFamily := strings.CutSuffix(name, "*")
		for other := range tested {
			if other == name || isFamily && strings.HasPrefix(other, prefix) {
				return true
			}
		}
		return false
	}
	documented := map[string]bool{}
	for _, span := range spans {
		name, value, hasValue := strings.Cut(span, "=")
		name = plain(name)
		documented[name] = true
		if hasValue {
			name += "=" + value
		}
		if span != "user" && !hasCase(name) {
			problem("%s: no case of %s", p.file, span)
		}
	}
	for name, spelt := range taken {
		found := documented[name]
		for other := range documented {
			prefix, isFamily := strings.CutSuffix(other, "*")
			found = found || isFamily && strings.HasPrefix(name, prefix)
		}
		if !found {
			problem("%s: no row for %s, which a case takes", p.file, spelt)
		}
	}
	for _, name := range known {
		if !hasCase(plain(name)) {
			problem("no case of %s, for which the engine has a rule", name)
		}
	}
	return errors.Join(problems...)
}

var code = regexp.MustCompile("`([^`]+)`")

// spans returns the text in backticks in those cells of the table that have names.
func (p page) spans() ([]string, error) {
	text, err := os.ReadFile(p.file)
	if err != nil {
		return nil, err
	}
	_, rest, ok := strings.Cut(string(text), "\n| "+p.heading+" |")
	if !ok {
		return nil, fmt.Errorf("%s has no table whose first column is %q", p.file, p.heading)
	}
	var spans []string
	for i, line := range strings.Split(rest, "\n")[1:] {
		cells := strings.Split(line, "|")
		if len(cells) < 3 {
			break // the table's end
		}
		if i == 0 {
			continue // the rule below the heading
		}
		cell := cells[1]
		if strings.TrimSpace(cell) == "refused" {
			cell = cells[2]
		}
		for _, m := range code.FindAllStringSubmatch(cell, -1) {
			spans = append(spans, m[1])
		}
	}
	if len(spans) == 0 {
		return nil, fmt.Errorf("%s: the table of %q is empty", p.file, p.heading)
	}
	return spans, nil
}
