// Package configtest has what the tests of all engines do with the parameters of data
// source names and the properties of JDBC URLs: each is given in a data source name, and
// what the vendor's configuration is then is compared with what it is without.
package configtest

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

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

// Run checks cases. open makes a data source name with what a Case sets, opens it, and
// returns the configuration with which the vendor's driver would connect.
func Run(t *testing.T, cases []Case, open func(t *testing.T, set string) (Fields, error)) {
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

// Connect opens a data source name with a secret of that value, and connects once. The
// engine's Configure, or what it has of the kind, sees the configuration; the connect
// has no time of its own to end.
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
