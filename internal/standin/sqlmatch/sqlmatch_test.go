package sqlmatch_test

import (
	"slices"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/internal/standin/sqlmatch"
)

func TestSplit(t *testing.T) {
	word := func(s string) sqlmatch.Token { return sqlmatch.Token{Kind: sqlmatch.Word, Text: s} }
	name := func(s string) sqlmatch.Token { return sqlmatch.Token{Kind: sqlmatch.Name, Text: s} }
	str := func(s string) sqlmatch.Token { return sqlmatch.Token{Kind: sqlmatch.String, Text: s} }
	sign := func(s string) sqlmatch.Token { return sqlmatch.Token{Kind: sqlmatch.Sign, Text: s} }
	for _, c := range []struct {
		text string
		want []sqlmatch.Token
	}{
		{"", nil},
		{" \n\t", nil},
		{"select\n1", []sqlmatch.Token{word("select"), word("1")}},
		{"a.b=N'c';", []sqlmatch.Token{word("a"), sign("."), word("b"), sign("="), str("c"), sign(";")}},
		{"@@SPID v$session x#", []sqlmatch.Token{word("@@SPID"), word("v$session"), word("x#")}},
		{"'it''s; \\ [\"' ''", []sqlmatch.Token{str("it's; \\ [\""), str("")}},
		{"''''", []sqlmatch.Token{str("'")}},
		{"n'ä' N'N' name'x'", []sqlmatch.Token{str("ä"), str("N"), word("name"), str("x")}},
		{`"a ""b"""[a ]]b]`, []sqlmatch.Token{name(`a "b"`), name("a ]b")}},
	} {
		got, err := sqlmatch.Split(c.text)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("Split(%q) = %q, %v, want %q", c.text, got, err, c.want)
		}
	}
	// [' ends at the second bracket, and a quote begins.
	for _, text := range []string{`["'][']"]`, "'", "'a''", `"a`, "[a", "[a]]", "N'", "x 'y"} {
		if got, err := sqlmatch.Split(text); err == nil {
			t.Errorf("Split(%q) = %q, want an error", text, got)
		}
	}
}

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		want          []string // arguments; nil: no match
	}{
		{"SELECT 1", "select 1", []string{}},
		{"SELECT 1", "select 2", nil},
		{"SELECT 1", "select", nil},
		{"SELECT 1", "select 1 2", nil},
		{"SELECT 1", "[select] 1", nil},
		{"SELECT 1", "select '1'", nil},
		{"SELECT n FROM a.<name>", "select N from A.b", []string{"b"}},
		{"DROP <name>", `drop "x y"`, []string{"x y"}},
		{"DROP <name>", "drop [x]", []string{"x"}},
		{"DROP <name>", "drop 'x'", nil},
		{"DROP <name>", "drop 1x", nil},
		{"DROP <name>", "drop ;", nil},
		{"X = <string>", "x='it''s'", []string{"it's"}},
		{"X = <string>", "x=its", nil},
		{"TOP(<number>)", "top ( 12 )", []string{"12"}},
		{"TOP(<number>)", "top('12')", nil},
		{"TOP(<number>)", "top(1a)", nil},
		{"A|B|C X", "c x", []string{"c"}},
		{"A|B|C X", "d x", nil},
		{"GRANT|DENY <rest>", "deny a, 'b'", []string{"deny", "a", ",", "b"}},
		{"GRANT|DENY <rest>", "deny", nil},
		{"GRANT|DENY <rest>", "revoke a", nil},
		{"F('A', <string>)", "f('A', 'b')", []string{"b"}},
		{"F('A', <string>)", "f('a', 'b')", nil}, // a string has its case
		{"F('A', <string>)", "f(A, 'b')", nil},
	} {
		tokens, err := sqlmatch.Split(c.text)
		if err != nil {
			t.Fatal(err)
		}
		args, ok := sqlmatch.Compile(c.pattern).Match(tokens)
		got := []string{}
		for _, a := range args {
			got = append(got, a.Text)
		}
		if ok != (c.want != nil) || ok && !slices.Equal(got, c.want) {
			t.Errorf("%q.Match(%q) = %q, %t, want %q", c.pattern, c.text, got, ok, c.want)
		}
	}
}
