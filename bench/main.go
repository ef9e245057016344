// Command bench measures the library and its peers, and writes docs/benchmarks.md. It takes an
// hour. Run it on a machine that does nothing else:
//
//	go -C bench run .
//	go -C bench run .
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/bench/internal/report"
)

// A section measures one thing. run returns its part of the report. quick means one turn of each
// operation, to check that it works.
type section struct {
	name string
	run  func(ctx context.Context, quick bool) (*report.Section, error)
}

// sections are all sections, in the order of the report.
var sections = []section{
	{"cache-hit", cacheHit},
	{"cache-busy", cacheBusy},
	{"cache-size", cacheSize},
	{"cache-expiry", cacheExpiry},
	{"cache-slow", cacheSlow},
	{"cache-refresh", cacheRefresh},
	{"cache-memory", cacheMemory},
	{"connect-modelled", connectModelled},
	{"connect", connectReal},
	{"query", queries},
	{"recovery", recovery},
	{"storm", rotationStorm},
	{"start", programStart},
	{"size", programSizes},
	{"fleet", simulatedFleet},
}

// peers are the modules whose versions the report names, if the program links them.
var peers = []string{
	"github.com/aws/aws-sdk-go-v2",
	"github.com/aws/aws-secretsmanager-caching-go/v2",
	"github.com/maypok86/otter/v2",
	"github.com/hashicorp/golang-lru/v2",
	"github.com/jackc/pgx/v5",
	"github.com/go-sql-driver/mysql",
	"github.com/microsoft/go-mssqldb",
	"github.com/sijms/go-ora/v2",
	"github.com/davepgreene/go-db-credential-refresh",
	"github.com/XSAM/otelsql",
	"github.com/ngrok/sqlmw",
}

var (
	only    = flag.String("only", "", "names of sections to measure, separated by commas; empty: all. Without -results they are printed, and no page is written")
	out     = flag.String("out", "../docs", "directory of benchmarks.md")
	quick   = flag.Bool("quick", false, "one turn of each operation, to check that it works; nothing is written")
	results = flag.String("results", "", "file that keeps measured sections. A section in the file is not measured again, unless -only names it; empty: no file")
)

func main() {
	// It runs as a test, because the fleet needs testing/synctest, which works in tests only.
	testing.Main(func(string, string) (bool, error) { return true, nil }, []testing.InternalTest{{Name: "bench", F: func(t *testing.T) {
		if err := run(withTest(t)); err != nil {
			t.Fatal(err)
		}
	}}}, nil, nil)
}

func run(ctx context.Context) error {
	chosen, err := named(*only)
	if err != nil {
		return err
	}
	kept, err := loadKept(*results)
	if err != nil {
		return err
	}
	for n, s := range chosen {
		if *only == "" && kept.Sections[s.name] != nil {
			continue
		}
		fmt.Fprintf(os.Stderr, "== %s, %d of %d\n", s.name, n+1, len(chosen))
		began := time.Now()
		measured, err := s.run(ctx, *quick)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		for _, target := range measured.Targets {
			if !target.Met && !*quick {
				fmt.Fprintf(os.Stderr, "   missed: %s: %s, want %s: %s\n", target.What, target.Got, target.Want, target.Missed)
			}
		}
		fmt.Fprintf(os.Stderr, "   took %v\n", time.Since(began).Round(100*time.Millisecond))
		if *quick {
			continue
		}
		if err := kept.add(measured); err != nil {
			return err
		}
	}
	switch {
	case *quick:
		return nil
	case *only != "" && *results == "": // some sections are not the whole report
		report.Print(os.Stdout, kept.inOrder())
		return nil
	}
	return report.Write(*out, report.ThisMachine(peers), kept.inOrder())
}

// named returns the sections of these names.
func named(names string) ([]section, error) {
	if names == "" {
		return sections, nil
	}
	var chosen []section
	for name := range strings.SplitSeq(names, ",") {
		n := slices.IndexFunc(sections, func(s section) bool { return s.name == name })
		if n < 0 {
			return nil, fmt.Errorf("there is no section %q", name)
		}
		chosen = append(chosen, sections[n])
	}
	return chosen, nil
}
