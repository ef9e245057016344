// Command cmd runs the scenarios of package fleet and writes docs/benchmarks/fleet.md.
package main

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/bench/fleet"
	"github.com/sqlsecrets/sqlsecrets/internal/chance"
)

var (
	sizes = flag.String("n", "1,100,1000,10000", "numbers of instances, separated by commas, ascending")
	only  = flag.String("scenarios", "", "names of scenarios, separated by commas; empty: all")
	out   = flag.String("out", "../docs/benchmarks", "directory of the report; empty: none is written")
	keep  = flag.String("results", "", "file that keeps the results: those that it has are not made again; empty: none")
	write = flag.Bool("report", false, "make no runs: write the report of -results")
	seed  = flag.Uint64("seed", 1, "of random choices; equal seeds give similar runs, because scheduling takes no seed")
)

func main() {
	// As a test, because testing/synctest has bubbles for tests only.
	testing.Main(func(string, string) (bool, error) { return true, nil }, []testing.InternalTest{{Name: "fleet", F: func(t *testing.T) {
		if err := run(t); err != nil {
			t.Fatal(err)
		}
	}}}, nil, nil)
}

func run(t *testing.T) error {
	scenarios, err := chosen(*only)
	if err != nil {
		return err
	}
	counts, err := numbers(*sizes)
	if err != nil {
		return err
	}
	done, err := load(*keep)
	if err != nil {
		return err
	}
	results := make([][]*fleet.Result, len(scenarios))
	defer chance.Seed(*seed)()
	t.Run("scenarios", func(t *testing.T) {
		for i, s := range scenarios {
			t.Run(s.Name, func(t *testing.T) {
				t.Parallel() // as many at once as there are processors
				for _, n := range s.Sizes(counts) {
					r := done.find(s, n)
					if r == nil && *write {
						continue
					}
					if r == nil {
						r = fleet.Run(t, s, n)
						show(r)
						done.add(t, r)
					}
					results[i] = append(results[i], r)
				}
			})
		}
	})
	if *out == "" {
		return nil
	}
	return fleet.Write(*out, results)
}

// show shows the progress.
func show(r *fleet.Result) {
	fmt.Fprintf(os.Stderr, "%-20s %6d instances: %5.1f %% of the quota, recovered in %6.1f s, most of one instance: %d calls, %d rejected logins; took %v  %s\n",
		r.Scenario.Name, r.N, 100*r.Share(), r.Recovery.Seconds(), r.MostCalls, r.MostRejected, r.Took.Round(time.Millisecond), strings.Join(r.Misses(), "; "))
}

// numbers returns the numbers of a list.
func numbers(list string) ([]int, error) {
	var ns []int
	for _, text := range strings.Split(list, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%q is no number of instances", text)
		}
		ns = append(ns, n)
	}
	return ns, nil
}

// chosen returns the scenarios of these names.
func chosen(names string) ([]*fleet.Scenario, error) {
	if names == "" {
		return fleet.Scenarios, nil
	}
	var scenarios []*fleet.Scenario
	for _, name := range strings.Split(names, ",") {
		s := fleet.Named(name)
		if s == nil {
			return nil, fmt.Errorf("there is no scenario %q", name)
		}
		scenarios = append(scenarios, s)
	}
	return scenarios, nil
}
