package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// docs/pgxpool.md shows code of this program only. The integration tests run the program.
func TestTheGuideShowsThisProgram(t *testing.T) {
	guide, err := os.ReadFile("../../docs/pgxpool.md")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(guide), -1)
	if len(blocks) == 0 {
		t.Fatal("the guide shows no code")
	}
	for _, b := range blocks {
		if !strings.Contains(flat(string(program)), flat(b[1])) {
			t.Errorf("the guide shows code that is not in the program:\n%s", b[1])
		}
	}
}

// flat returns text without indentation.
func flat(text string) string { return regexp.MustCompile(`(?m)^[ \t]+`).ReplaceAllString(text, "") }
