package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/bench/fleet"
	"github.com/sqlsecrets/sqlsecrets/bench/internal/report"
	"github.com/sqlsecrets/sqlsecrets/internal/chance"
)

var (
	fleetSizes     = flag.String("fleet.n", "1,100,1000,10000", "numbers of instances, separated by commas, ascending")
	fleetScenarios = flag.String("fleet.scenarios", "", "names of scenarios, separated by commas; empty: all")
	fleetRuns      = flag.String("fleet.results", "", "file that keeps the fleet's runs. A run in the file is not repeated; empty: no file")
	fleetSeed      = flag.Uint64("fleet.seed", 1, "seed of random choices; equal seeds give similar runs, not equal ones, because scheduling has no seed")
)

// testKey is the key of the test in the context of the sections.
type testKey struct{}

func withTest(t *testing.T) context.Context { return context.WithValue(t.Context(), testKey{}, t) }

// simulatedFleet runs package fleet, which also writes a report of its own.
func simulatedFleet(ctx context.Context, quick bool) (*report.Section, error) {
	names, counts := *fleetScenarios, *fleetSizes
	if quick {
		names, counts = "cold", "30"
	}
	scenarios, err := chosenScenarios(names)
	if err != nil {
		return nil, err
	}
	sizes, err := numbers(counts)
	if err != nil {
		return nil, err
	}
	done, err := loadRuns(*fleetRuns)
	if err != nil {
		return nil, err
	}
	all, err := runFleet(ctx.Value(testKey{}).(*testing.T), scenarios, sizes, done)
	if err != nil {
		return nil, err
	}
	if !quick {
		if err := fleet.Write(filepath.Join(*out, "benchmarks"), all); err != nil {
			return nil, err
		}
	}
	return fleetSection(all), nil
}

// runFleet runs the scenarios with each of the sizes. Each row of the result has the runs of one
// scenario. Runs that are done are not repeated.
func runFleet(t *testing.T, scenarios []*fleet.Scenario, sizes []int, done *fleetResults) ([][]*fleet.Result, error) {
	all := make([][]*fleet.Result, len(scenarios))
	defer chance.Seed(*fleetSeed)()
	ok := t.Run("scenarios", func(t *testing.T) {
		for i, s := range scenarios {
			t.Run(s.Name, func(t *testing.T) {
				t.Parallel() // as many at once as there are processors
				for _, n := range s.Sizes(sizes) {
					r := done.find(s, n)
					if r == nil {
						r = fleet.Run(t, s, n)
						showRun(r)
						done.add(t, r)
					}
					all[i] = append(all[i], r)
				}
			})
		}
	})
	if !ok {
		return nil, fmt.Errorf("a scenario failed")
	}
	return all, nil
}

// showRun shows the progress.
func showRun(r *fleet.Result) {
	fmt.Fprintf(os.Stderr, "   %-20s %6d instances: %5.1f %% of the quota, recovered in %6.1f s, most of one instance: %d calls, %d rejected logins; took %v  %s\n",
		r.Scenario.Name, r.N, 100*r.Share(), r.Recovery.Seconds(), r.MostCalls, r.MostRejected, r.Took.Round(time.Millisecond), strings.Join(r.Misses(), "; "))
}

// fleetSection sums up the largest run of each scenario.
func fleetSection(all [][]*fleet.Result) *report.Section {
	table := report.Table{Columns: []string{"scenario", "share of the quota in the busiest second", "last instance healthy after", "most calls of one instance"}}
	s := &report.Section{Name: "fleet", Title: "A fleet of 100,000, simulated",
		Text: "The cache and the connector are real. Secrets Manager and the database are models. [The report](benchmarks/fleet.md) " +
			"has the models, the plots and the conclusions. The figures here are those of the largest runs, scaled to 100,000 " +
			"instances."}
	for _, runs := range all {
		r := runs[len(runs)-1]
		share, recovery := fmt.Sprintf("%.1f %%", 100*r.Share()), fmt.Sprintf("%.1f s", r.Recovery.Seconds())
		table.Rows = append(table.Rows, []string{r.Scenario.Title, share, recovery, strconv.FormatInt(r.MostCalls, 10)})
		want := fleetTarget(r.Scenario)
		if want == "" {
			continue
		}
		misses := r.Misses()
		s.Targets = append(s.Targets, report.Target{What: "fleet: " + r.Scenario.Title, Want: want,
			Got: fmt.Sprintf("%s of the quota, %s, %d calls", share, recovery, r.MostCalls),
			Met: len(misses) == 0, Missed: strings.TrimSpace(strings.Join(misses, "; ") + ". " + r.Scenario.Why)})
	}
	s.Tables = []report.Table{table}
	return s
}

// fleetTarget returns the target of a scenario, or nothing if it has none.
func fleetTarget(s *fleet.Scenario) string {
	var parts []string
	if s.Share > 0 {
		parts = append(parts, fmt.Sprintf("at most %.0f %% of the quota in any second", 100*s.Share))
	}
	if s.Recovery > 0 {
		parts = append(parts, fmt.Sprintf("all healthy within %.0f s", s.Recovery.Seconds()))
	}
	if s.Calls > 0 {
		parts = append(parts, fmt.Sprintf("at most %d calls of each instance", s.Calls))
	}
	return strings.Join(parts, ", ")
}

// numbers returns the numbers of a list.
func numbers(list string) ([]int, error) {
	var ns []int
	for text := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%q is not a number of instances", text)
		}
		ns = append(ns, n)
	}
	return ns, nil
}

// chosenScenarios returns the scenarios of these names.
func chosenScenarios(names string) ([]*fleet.Scenario, error) {
	if names == "" {
		return fleet.Scenarios, nil
	}
	var scenarios []*fleet.Scenario
	for name := range strings.SplitSeq(names, ",") {
		s := fleet.Named(name)
		if s == nil {
			return nil, fmt.Errorf("there is no scenario %q", name)
		}
		scenarios = append(scenarios, s)
	}
	return scenarios, nil
}
