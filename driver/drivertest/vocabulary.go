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

// A Vocabulary is an engine's [vocabulary.Vocabulary], the page that describes it to users, and cases
// that say how each parameter and property changes the vendor's configuration.
type Vocabulary struct {
	Words *vocabulary.Vocabulary // the engine's

	// Page is the path of a Markdown page with a table of parameters and a table of properties.
	// The names are in backticks in the first column. In a row whose first cell is "refused",
	// they are in the second column.
	Page string
	// Params and Properties are these tables. A Table without a Heading is skipped.
	Params, Properties Table

	// Open opens a data source name whose secret is "prod/app", with any value, and returns the
	// configuration with which the vendor's driver would connect. It need not connect. [Connect]
	// helps to write it.
	Open func(t *testing.T, dsn string) (Fields, error)
}

// A Table is a table of the page, with its cases.
type Table struct {
	Heading string // the heading of the first column

	// Cases are the cases by the beginning of their data source name: "prod/app?".
	Cases map[string][]Case
}

// RunVocabulary checks:
//
//   - Each case has the result that it says.
//   - Each name on the page and each name in the vocabulary has a case. Each name that a case accepts is
//     on the page.
//   - Properties without a counterpart are errors.
//   - A misspelt parameter does not go to the server, where a typo could turn TLS off.
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

// absent returns the cases of properties without a counterpart.
func absent(words *vocabulary.Vocabulary) (cases []Case) {
	for name := range strings.FieldsSeq(words.Absent) {
		if !strings.HasSuffix(name, "*") {
			cases = append(cases, Case{Set: name + "=" + Canary, Err: "no counterpart in " + words.Vendor})
		}
	}
	return cases
}

// misspelt checks that a misspelt parameter does not go to the server.
func misspelt(t *testing.T, words *vocabulary.Vocabulary) {
	for name := range words.Params {
		if len(name) < 5 {
			continue // too many real names differ by one letter
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
				continue // the vendor's driver has this name
			}
			if err := words.Check(map[string]string{other: "x"}); err == nil {
				t.Errorf("%q goes to the server, and looks like %q", other, name)
			}
		}
	}
}

// Connect opens a data source name and connects once, until ctx ends. secret is the value of the secret.
// It is for Open of a [Vocabulary]. There, engine should wrap the engine to test: its Prepare keeps the
// configuration for Open and returns an error, so that nothing is dialled. The example of RunVocabulary
// shows it.
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

// A Case says what parameters or properties do.
type Case struct {
	Set  string // the parameters, as in a data source name: "name=value&name=value"
	Want string // how the vendor's configuration changes, in the form of Fields.Since; empty means not at all
	// Err is a part of the text of the error. The error must also be ErrBadDSN and contain the
	// first name of Set. Empty means that there is no error.
	Err string
}

// Cases reads cases from lines of these forms. Empty lines are skipped.
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

// Canary is a value for a Case. The test fails if an error quotes it.
const Canary = "CANARY"

// runCases checks cases. open opens a data source name with the parameters of a Case.
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

// names returns the names in Case.Set, which are separated by "&" or ";".
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
