package main

import (
	"encoding/json"
	"flag"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/internal/standin/pgserver"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/testca"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm/awssmtest"
)

var update = flag.Bool("update", false, "write the examples of docs/command.md instead of comparing them")

const page = "../../docs/command.md"

// examples has the examples of the page by name. setUp prepares each and returns the real arguments.
var examples = map[string]struct {
	shown string // the arguments as the page shows them
	setUp func(w *world) (args []string)
}{
	"connected": {`"prod/app?sslmode=verify-full&sslrootcert=/etc/ca.pem"`, func(w *world) []string {
		ca := testca.New("localhost")
		w.postgres(&pgserver.Server{TLS: ca.Server}, map[string]any{"host": "localhost"})
		return dsn("prod/app?sslmode=verify-full&sslrootcert=" + ca.File(w.t))
	}},
	"wrong password": {`secretsmanager-postgres "prod/app?sslmode=disable"`, func(w *world) []string {
		w.postgres(&pgserver.Server{}, map[string]any{"host": "localhost", "password": password + "x"})
		return dsn("secretsmanager-postgres", "prod/app?sslmode=disable")
	}},
	"access denied": {`prod/app`, func(w *world) []string {
		w.aws.Fail(awssmtest.Denied)
		return dsn("prod/app")
	}},
	"database's URL": {`"postgres://app:…@db.example.com/app"`, func(*world) []string {
		return dsn("postgres://app:CANARY@db.example.com/app")
	}},
}

// varying matches what differs between runs, and has the text that the page shows instead.
var varying = []struct {
	text *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`), "9f1c2a70-4c1b-4a53-8d3e-5b0a6a1d2e3f"},
	{regexp.MustCompile(`(localhost:|127\.0\.0\.1:|\[::1\]:|port )[0-9]+`), "${1}5432"},
	{regexp.MustCompile(`\), \S+ old`), "), 3 days old"},
	{regexp.MustCompile(`in [0-9.]+(µs|ms|s)\b`), "in 2.1ms"},
	{regexp.MustCompile(`valid until [0-9-]+, in 0 days`), "valid until 2027-06-30"},
	{regexp.MustCompile(`localhost is [0-9a-f:., ]+`), "localhost is 127.0.0.1"},
	{regexp.MustCompile(`server( +)1\b`), "server${1}PostgreSQL 17.2"},
}

var block = regexp.MustCompile("(?s)<!-- doc_test.go: ([a-z' A-Z]+) -->\n```text\n(.*?)```\n")

// The examples in docs/command.md are what the command prints on a terminal. With -update, the test
// writes them.
func TestPageShowsWhatIsPrinted(t *testing.T) {
	file, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	shown := 0
	text := block.ReplaceAllStringFunc(string(file), func(b string) string {
		name := block.FindStringSubmatch(b)[1]
		e, ok := examples[name]
		if !ok {
			t.Errorf("this test has no example for the page's block %q", name)
			return b
		}
		shown++
		w := newWorld(t)
		var r result
		out := w.run(append([]string{"check", "-json"}, e.setUp(w)...)...)
		if err := json.Unmarshal([]byte(out.stdout), &r); err != nil {
			t.Fatalf("%v: %s%s", err, out.stdout, out.stderr)
		}
		var printed strings.Builder
		r.writeText(&printed, symbols)
		lines := printed.String()
		for _, v := range varying {
			lines = v.text.ReplaceAllString(lines, v.with)
		}
		return "<!-- doc_test.go: " + name + " -->\n```text\n$ sqlsecrets check " + e.shown + "\n" + lines + "```\n"
	})
	switch {
	case shown != len(examples):
		t.Errorf("the page shows %d of %d examples", shown, len(examples))
	case *update:
		if err := os.WriteFile(page, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	case text != string(file):
		t.Errorf("the page differs; write it with go test -run TestPage ./cmd/sqlsecrets -update. It should be\n%s", text)
	}
}

// The page lists all causes with their exit codes.
func TestPageHasAllCauses(t *testing.T) {
	file, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var got, want []string
	for _, row := range regexp.MustCompile(`(?m)^\| ([0-9]+) \|[^|]*\|(.*)\|$`).FindAllStringSubmatch(string(file), -1) {
		for _, code := range regexp.MustCompile("`([a-z-]+)`").FindAllStringSubmatch(row[2], -1) {
			got = append(got, row[1]+" "+code[1])
		}
	}
	want = append(want, "1 other", "1 "+interrupted.code)
	for _, list := range [][]cause{dsnCauses, sourceCauses, identityCauses, secretCauses, fieldCauses, tlsCauses, loginCauses, networkCauses} {
		for _, c := range list {
			want = append(want, strconv.Itoa(c.exit)+" "+c.code)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	want = slices.Compact(want) // some belong to two steps
	if !slices.Equal(got, want) {
		t.Errorf("the page has\n%q, want\n%q", got, want)
	}
}
