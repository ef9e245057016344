package main

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/postgres"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/pgserver"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// envOpen makes the test's program open a database, as a user's program does.
const envOpen = "SQLSECRETS_TEST_OPEN"

// openDatabase opens the database of a data source name, and prints the error. The arguments are a driver's
// name, which may be left out, and the data source name.
func openDatabase() {
	args := os.Args[1:]
	name, dsn := "secretsmanager", args[len(args)-1]
	if len(args) > 1 {
		name = args[0]
	}
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Second)
	defer cancel()
	db, err := sql.Open(name, dsn)
	if err == nil {
		err = db.PingContext(ctx)
		_ = db.Close()
	}
	if err != nil {
		fmt.Print(err)
	}
}

// The library writes each text in a column "error text" of the pages in docs. The text is in the error of
// a fault, or in an error of docs/rotation.md, which driver/doc_test.go writes, or in a log message of
// docs/observability.md, which TestMessagesAreDocumented of package driver compares.
func TestPagesQuoteErrors(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	written := errorTexts(t)
	quoted := 0
	for _, name := range pages {
		page, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		inTable := false
		for i, line := range strings.Split(string(page), "\n") {
			inTable = strings.HasPrefix(line, "| error text |") || inTable && strings.HasPrefix(line, "|")
			cell, ok := strings.CutPrefix(line, "| `")
			if !inTable || !ok {
				continue
			}
			text, _, _ := strings.Cut(cell, "` |")
			quoted++
			if !contains(written, text) {
				t.Errorf("%s:%d: nothing writes %q", filepath.ToSlash(name), i+1, text)
			}
		}
	}
	if quoted < 50 {
		t.Errorf("the pages quote %d texts", quoted)
	}
	if contains(written, "a text that nothing writes") || contains(written, "credentials rejected: … no such host") {
		t.Error("the test finds what nothing writes")
	}
}

// contains reports whether one of the texts has the quoted text in one line. "…" stands for anything.
func contains(texts []string, quoted string) bool {
	parts := strings.Split(quoted, "…")
	for i, part := range parts {
		parts[i] = regexp.QuoteMeta(strings.TrimSpace(part))
	}
	pattern := regexp.MustCompile(strings.Join(parts, ".*"))
	return slices.ContainsFunc(texts, pattern.MatchString)
}

// errorTexts returns the errors that a program gets from all faults and from wrong data source names, the
// errors in docs/rotation.md, and the log messages in docs/observability.md.
func errorTexts(t *testing.T) (texts []string) {
	t.Helper()
	opened := slices.Clone(faults)
	for _, args := range [][]string{
		{"postgres://app:CANARY@db.example.com/app"}, {"secretsmanager-postgres", "prod/app?sslmod=verify-full"},
		{"secretsmanager-postgres", "prod/app?sslmode=verify-ful"},
		{"prod/app?maxOpenConns=3"}, {"prod/app?engine=postgres&pool_max_conns=3"}, {"prod/app?engine=sqlserver&closeSuperseded=true"}, {"jdbc:postgresql://db.example.com/app?user=prod/app"},
	} {
		opened = append(opened, fault{name: strings.Join(args, " "), setUp: func(*world) []string { return args }})
	}
	// The programs mostly wait, so more of them run at once than the machine has cores.
	texts = make([]string, len(opened))
	var running sync.WaitGroup
	slots := make(chan struct{}, 12)
	for i, f := range opened {
		w := newWorld(t)
		args := f.setUp(w)
		w.set(envCommand, "")
		w.set(envOpen, "1")
		running.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			r := w.run(args...)
			if r.stdout == "" || r.stderr != "" || strings.Contains(r.stdout, "CANARY") {
				t.Errorf("%s: the error is %q%s", f.name, r.stdout, r.stderr)
			}
			texts[i] = r.stdout
		})
	}
	running.Wait()
	texts = append(append(texts, connectTimeout(t)), tested(t)...)
	for file, line := range map[string]*regexp.Regexp{
		"../../docs/rotation.md":      regexp.MustCompile(`(?m)^(?:error| {4}) ?((?:connect with|get) secret "prod/app".*(?:\n {8}.*)*)$`),
		"../../docs/observability.md": regexp.MustCompile("(?m)^\\| `(.*?)` \\| (?:INFO|WARN|ERROR) \\|"),
	} {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		found := line.FindAllStringSubmatch(string(data), -1)
		if len(found) < 5 {
			t.Errorf("%s has %d texts", file, len(found))
		}
		for _, m := range found {
			texts = append(texts, strings.ReplaceAll(m[1], "\n        ", " "))
		}
	}
	return texts
}

// tested returns texts that other tests expect.
func tested(t *testing.T) (texts []string) {
	t.Helper()
	for file, text := range map[string]string{
		"../../driver/lockout_test.go": "wait for 3 other logins with the same version: context deadline exceeded",
	} {
		data, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(data), text) {
			t.Errorf("%s does not expect %q: %v", file, text, err)
		}
		texts = append(texts, text)
	}
	return texts
}

// connectTimeout returns the error of a Connect call that takes too long.
func connectTimeout(t *testing.T) string {
	t.Helper()
	w := newWorld(t)
	w.postgres(&pgserver.Server{Hang: pgserver.AtStartup}, nil)
	cache := secretcache.New(w.aws.Source(), nil)
	defer cache.Close()
	c, err := postgres.NewConnector("prod/app", &driver.Options{Secrets: cache, ConnectTimeout: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = c.Connect(t.Context()); err == nil {
		t.Fatal("a server that does not answer: no error")
	}
	return err.Error()
}
