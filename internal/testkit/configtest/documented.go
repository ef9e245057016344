package configtest

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
)

// A Table is one of a guide's about parameters or properties: their names are code in
// the first column, or in the second of a row that begins with "refused".
type Table struct {
	File  string // the guide
	First string // the heading of its first column

	// Plain returns a name as the engine compares it. Nil: as it is.
	Plain func(name string) string
}

// Check reports what the table names without a case of it, and what a case takes without
// the table naming it. A name with a value, `ssl=true`, needs a case with that
// value; one with a "*" in the end stands for all that begin so; `user` is in every URL.
// known are the names that the engine has in its tables, where a "*" means the same: each
// needs a case, too.
func (tb Table) Check(cases []Case, known []string) error {
	spans, err := tb.spans()
	if err != nil {
		return err
	}
	var problems []error
	problem := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	plain := tb.Plain
	if plain == nil {
		plain = func(name string) string { return name }
	}
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
			problem("%s: no case of %s", tb.File, span)
		}
	}
	for name, spelt := range taken {
		found := documented[name]
		for other := range documented {
			prefix, isFamily := strings.CutSuffix(other, "*")
			found = found || isFamily && strings.HasPrefix(name, prefix)
		}
		if !found {
			problem("%s: no row for %s, which a case takes", tb.File, spelt)
		}
	}
	for _, name := range known {
		if !hasCase(plain(name)) {
			problem("no case of %s, which the engine has a rule for", name)
		}
	}
	return errors.Join(problems...)
}

var code = regexp.MustCompile("`([^`]+)`")

// spans returns what is code in the table where names are.
func (tb Table) spans() ([]string, error) {
	text, err := os.ReadFile(tb.File)
	if err != nil {
		return nil, err
	}
	_, rest, ok := strings.Cut(string(text), "\n| "+tb.First+" |")
	if !ok {
		return nil, fmt.Errorf("%s has no table whose first column is %q", tb.File, tb.First)
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
		return nil, fmt.Errorf("%s: the table of %q is empty", tb.File, tb.First)
	}
	return spans, nil
}
