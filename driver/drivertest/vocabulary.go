package drivertest

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/driver/vocabulary"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// A Vocabulary is an engine's vocabulary, the page that describes it, and cases of what the
// vendor's driver makes of it.
type Vocabulary struct {
	Words *vocabulary.Vocabulary

	// Page is the path of a page in Markdown with a table for the parameters and one for the
	// properties. Names are code in the first column, or in the second one of a row that
	// begins with "refused".
	Page               string
	Params, Properties Table

	// Open opens a data source name with the secret "prod/app", or any other, and returns
	// the configuration with which the vendor's driver would connect. It need not connect.
	Open func(t *testing.T, dsn string) (Fields, error)
}

// A Table is one of the page's, with its cases.
type Table struct {
	Heading string // of its first column

	// Cases are by the beginning of the data source name: "prod/app?".
	Cases map[string][]Case
}

// RunVocabulary checks that each case does what it says; that each name on the page and each
// of the vocabulary has a case, and each name that is taken stands on the page; that no
// property without a counterpart is taken; and that no misspelt parameter goes to the server,
// where a typo could turn TLS off.
func RunVocabulary(t *testing.T, v Vocabulary) {
	params, properties := v.Words.Names()
	fold := strings.ToLower
	if v.Words.Fold != nil {
		fold = v.Words.Fold
	}
	for _, c := range []struct {
		table Table
		known []string
	}{{v.Params, params}, {v.Properties, properties}} {
		if c.table.Heading == "" {
			continue
		}
		p := page{file: v.Page, heading: c.table.Heading, fold: fold}
		var all []Case
		for _, cases := range c.table.Cases {
			all = append(all, cases...)
		}
		if err := p.check(all, c.known); err != nil {
			t.Error(err)
		}
	}
	for i, table := range []Table{v.Params, v.Properties} {
		for dsn, cases := range table.Cases {
			if i == 1 {
				cases = slices.Concat(cases, absent(v.Words))
			}
			t.Run(dsn, func(t *testing.T) {
				runCases(t, cases, func(t *testing.T, set string) (Fields, error) { return v.Open(t, dsn+set) })
			})
		}
	}
	t.Run("misspelt", func(t *testing.T) { misspelt(t, v.Words) })
}

// absent are the cases of properties without a counterpart.
func absent(words *vocabulary.Vocabulary) (cases []Case) {
	for name := range strings.FieldsSeq(words.Absent) {
		if !strings.HasSuffix(name, "*") {
			cases = append(cases, Case{Set: name + "=" + Canary, Err: "no counterpart in " + words.Vendor})
		}
	}
	return cases
}

// misspelt checks that no parameter goes to the server when it is misspelt.
func misspelt(t *testing.T, words *vocabulary.Vocabulary) {
	for name := range words.Params {
		if len(name) < 5 {
			continue // one letter away from too much
		}
		middle := len(name) / 2
		for _, other := range []string{
			strings.ToUpper(name), strings.ToUpper(name[:1]) + name[1:], name[:middle] + "_" + name[middle:], name[:middle] + "-" + name[middle:],
			name[:len(name)-1], name + "s", name[:middle] + name[middle+1:], name[:middle-1] + name[middle:middle+1] + name[middle-1:middle] + name[middle+1:],
		} {
			key := other
			if words.Fold != nil {
				key = words.Fold(other)
			}
			if _, ok := words.Params[key]; ok {
				continue // to the vendor it is the same, or another one
			}
			if err := words.Check(map[string]string{other: "x"}); err == nil {
				t.Errorf("%q goes to the server, and looks like %q", other, name)
			}
		}
	}
}

// Connect opens a data source name with a secret of that value, and connects once, until ctx
// ends. It is for [Vocabulary] Open: the engine is one that keeps the configuration and fails
// before it dials.
func Connect(ctx context.Context, engine driver.Engine, dsn, secret string) error {
	cache := secretcache.New(secretcache.SourceFunc(func(_ context.Context, id, _ string) (*secretcache.Secret, error) {
		return secretcache.NewSecret(secretcache.Value{ID: id, Name: id, VersionID: "v1", String: secret}), nil
	}), nil)
	defer cache.Close()
	c, err := driver.NewConnector(engine, dsn, &driver.Options{Secrets: cache, FallbackStages: []string{}, ConnectTimeout: -1})
	if err != nil {
		return err
	}
	conn, err := c.Connect(ctx)
	if err == nil {
		_ = conn.Close()
	}
	return err
}

// A Case is parameters or properties, and what becomes of them.
type Case struct {
	Set  string // as they stand in a data source name: "name=value&name=value"
	Want string // what changes in the vendor's configuration, as Fields.Since says it; empty: nothing
	Err  string // or else the error, which names the first of Set, has this in it
}

// Cases reads cases from lines of these forms; empty ones are skipped.
//
//	name=value =>
//	name=value => Field=value, Field=value
//	name=value&name=value => error: text
func Cases(lines string) []Case {
	var cases []Case
	for line := range strings.SplitSeq(lines, "\n") {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		set, want, ok := strings.Cut(line+" ", " => ")
		if !ok {
			panic("a case without =>: " + line)
		}
		want = strings.TrimSpace(want)
		if err, ok := strings.CutPrefix(want, "error: "); ok {
			cases = append(cases, Case{Set: set, Err: err})
		} else {
			cases = append(cases, Case{Set: set, Want: want})
		}
	}
	return cases
}

// Canary is for values of a Case that no error may quote.
const Canary = "CANARY"

// runCases checks cases. open opens a data source name with what a Case sets.
func runCases(t *testing.T, cases []Case, open func(t *testing.T, set string) (Fields, error)) {
	t.Helper()
	without, err := open(t, "")
	if err != nil {
		t.Fatalf("without any: %v", err)
	}
	for _, c := range cases {
		config, err := open(t, c.Set)
		if c.Err != "" {
			name := strconv.Quote(names(c.Set)[0])
			switch {
			case err == nil:
				t.Errorf("%s is accepted, want an error with %q", c.Set, c.Err)
			case !errors.Is(err, driver.ErrBadDSN):
				t.Errorf("%s: %v, want ErrBadDSN", c.Set, err)
			case !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), c.Err):
				t.Errorf("%s: %v, want an error with %s and %q", c.Set, err, name, c.Err)
			case strings.Contains(err.Error(), Canary):
				t.Errorf("%s: the error quotes a value: %v", c.Set, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.Set, err)
			continue
		}
		if got := config.Since(without); got != c.Want {
			t.Errorf("%s\nsets %s\nwant %s", c.Set, got, c.Want)
		}
	}
}

// names returns the names in a Case's Set, which has "&" or ";" between.
func names(set string) []string {
	var list []string
	for _, pair := range pairs(set) {
		name, _, _ := strings.Cut(pair, "=")
		list = append(list, name)
	}
	return list
}

func pairs(set string) []string {
	return strings.FieldsFunc(set, func(r rune) bool { return r == '&' || r == ';' })
}
