package driver_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"slices"
	"strconv"
	"testing"
)

// Alerts rely on the messages, so docs/observability.md lists each of them, and no others.
func TestMessagesAreDocumented(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "messages.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var messages []string
	ast.Inspect(file, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok {
			text, err := strconv.Unquote(lit.Value)
			if err != nil {
				t.Fatal(err)
			}
			messages = append(messages, text)
		}
		return true
	})
	page, err := os.ReadFile("../docs/observability.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| (?:INFO|WARN|ERROR) \\|").FindAllSubmatch(page, -1) {
		documented = append(documented, string(row[1]))
	}
	slices.Sort(messages)
	slices.Sort(documented)
	if !slices.Equal(messages, documented) {
		t.Errorf("messages\n%q\ndocumented\n%q", messages, documented)
	}
}
