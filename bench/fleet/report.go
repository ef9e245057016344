package fleet

import (
	_ "embed"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/sqlsecrets/sqlsecrets/bench/internal/svg"
)

// Write writes the report into a directory: fleet.md, and a plot for each scenario. Each row of
// results has the runs of one scenario, from the smallest fleet to the largest.
func Write(dir string, results [][]*Result) error {
	plots := filepath.Join(dir, "fleet")
	if err := os.MkdirAll(plots, 0o755); err != nil {
		return err
	}
	for _, runs := range results {
		last := runs[len(runs)-1]
		if err := os.WriteFile(filepath.Join(plots, last.Scenario.Name+".svg"), []byte(Plot(last)), 0o644); err != nil {
			return err
		}
	}
	var text strings.Builder
	writeReport(&text, results)
	return os.WriteFile(filepath.Join(dir, "fleet.md"), []byte(text.String()), 0o644)
}

func writeReport(w io.Writer, results [][]*Result) {
	fmt.Fprintf(w, introduction, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	writeSummary(w, results)
	fmt.Fprint(w, argument)
	writeScaling(w, results)
	fmt.Fprint(w, findings)
	for _, runs := range results {
		writeScenario(w, runs)
	}
}

// findings is written by hand from the figures of a full run.
//
//go:embed findings.md
var findings string

const introduction = `# A fleet, simulated

This page shows the load that a fleet of 100,000 instances puts on Secrets Manager and on its databases when all
instances start, rotate and fail together. ` + "`go -C bench run . -only fleet`" + ` writes this page.

The cache, the connector, package awssm and the AWS SDK are real. They run under testing/synctest. The rest are models:

| model | what it does |
|---|---|
| Secrets Manager | answers after 10 to 40 ms. Allows 10,000 calls of GetSecretValue and 100 of BatchGetSecretValue per second and region, by token buckets that hold the calls of one second |
| database | accepts 0.5 logins per second for each instance (500 for a database with 1,000 instances). Further logins queue for up to 5 s, and are turned away after that |
| pool | 10 connections that live 24 to 30 minutes. After a Connect call that failed, a query makes the next call 1 to 2 s later |

All options have their defaults: a TTL of one hour, and three attempts for a fetch (one attempt after a fetch that
failed). The quota and the logins are in proportion to the number of instances in the run. An instance becomes
unhealthy when it has lost all its connections, or when a Connect call fails. It is healthy again when a Connect
call succeeds. Each attempt of a fetch counts as a call, also one that was throttled. Run with %s on %s/%s.

The limits are from https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_limits.html.
Only Cache.Prefetch calls BatchGetSecretValue. These calls are counted separately.

## Summary

The figures are from the largest run of each scenario, scaled to 100,000 instances.

* "Lasting" is the mean over the last two minutes of a fault. If the scenario has no end of a fault, it is the highest
  mean over 30 seconds after the first minute.
* "Recovered" is the time until the last instance was healthy. It is counted from the end of the fault. If the
  scenario has no such end, it is counted from the beginning; with "One region down", from the moment when all
  instances have restarted.
* "Connected" is the time until the last instance had a connection at all.
* "Busiest 10 s": in 10 seconds 10,000 instances make as many calls as 100,000 make in one second. So this mean shows
  the peak without the random effects of a smaller fleet. A shorter burst shows in the first column.

`

func writeSummary(w io.Writer, results [][]*Result) {
	fmt.Fprint(w, "| scenario | calls/s, peak | calls/s, busiest 10 s | calls/s, lasting | share of quota, peak | logins/s, peak | logins/s, lasting | most calls of one instance | most rejected logins of one instance | recovered | connected | target |\n"+
		"|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|\n")
	for _, runs := range results {
		r := runs[len(runs)-1]
		peak, _ := r.peak(calls)
		most, _ := r.peak(logins)
		verdict := "met"
		switch misses := r.Misses(); {
		case len(misses) > 0:
			verdict = strings.TrimSpace("**missed**: " + strings.Join(misses, "; ") + ". " + r.Scenario.Why)
		case r.Scenario.target() == (&Scenario{}).target():
			verdict = "–"
		}
		fmt.Fprintf(w, "| [%s](#%s) | %s | %s | %s | %s | %s | %s | %d | %d | %s | %s | %s |\n", r.Scenario.Title, anchor(r.Scenario.Title),
			number(r.full(float64(peak))), number(r.full(busiest(r.measured(), calls, 10))), number(r.full(r.lasting(calls))), percent(r.Share()),
			number(r.full(float64(most))), number(r.full(r.lasting(logins))), r.MostCalls, r.MostRejected, seconds(r.Recovery), seconds(r.Connected), verdict)
	}
}

const argument = `
## Why smaller fleets show what 100,000 instances do

An instance does not know about the others. What it does depends on its own cache, its own timers and the answers
that it gets. So its rates are the same in any fleet, as long as the answers are the same: below the quota, and below
the logins that the databases accept. If a large fleet reaches a limit, a smaller fleet reaches it, too, because the
limits are in proportion.

Only random effects depend on the size. With few instances, the busiest second has many more calls than the mean.
The difference shrinks with the square root of the number. So the share of a smaller fleet is too high, and never too
low. The lasting rate should not depend on the size:

`

func writeScaling(w io.Writer, results [][]*Result) {
	fmt.Fprint(w, "| scenario |")
	most := 0
	for n, r := range longest(results) {
		most = n + 1
		fmt.Fprintf(w, " %s |", number(float64(r.N)))
	}
	fmt.Fprint(w, "\n|---|"+strings.Repeat("--:|", most)+"\n")
	for _, runs := range results {
		fmt.Fprintf(w, "| %s |", runs[0].Scenario.Title)
		for _, r := range runs {
			fmt.Fprintf(w, " %.2f / %s |", 1000*r.lasting(calls)/float64(r.N), percent(r.Share()))
		}
		fmt.Fprint(w, strings.Repeat(" |", most-len(runs))+"\n")
	}
	fmt.Fprint(w, "\nEach cell has the lasting calls per second of 1,000 instances, and the share of the quota in the busiest second. The\n"+
		"columns are the number of instances. One instance alone has a quota of 10 calls per second, and its database accepts\n"+
		"10 logins per second.\n")
}

// longest returns the runs of the scenario that has the most runs.
func longest(results [][]*Result) []*Result {
	return slices.MaxFunc(results, func(a, b []*Result) int { return len(a) - len(b) })
}

func writeScenario(w io.Writer, runs []*Result) {
	s := runs[0].Scenario
	fmt.Fprintf(w, "\n## %s\n\n%s\nTarget: %s.\n\n![calls, logins and unhealthy instances per second](fleet/%s.svg)\n\n", s.Title, s.Text, s.target(), s.Name)
	fmt.Fprint(w, "| instances | calls | calls per instance | throttled | failed | calls/s, peak | logins/s, mean | logins/s, peak | rejected | most unhealthy | recovered | connected |\n"+
		"|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	for _, r := range runs {
		peak, at := r.peak(calls)
		most, _ := r.peak(logins)
		ill, _ := r.peak(unhealthy)
		fmt.Fprintf(w, "| %s | %d | %.2f | %d | %d | %d (after %d s) | %.1f | %d | %d | %s | %s | %s |\n", number(float64(r.N)), r.sum(calls),
			float64(r.sum(calls))/float64(r.N), r.sum(throttled), r.sum(failed), peak, at, r.mean(logins), most, r.sum(rejected),
			percent(float64(ill)/float64(r.N)), seconds(r.Recovery), seconds(r.Connected))
	}
	if last := runs[len(runs)-1]; last.sum(batches) > 0 {
		fmt.Fprintf(w, "\nWith %s instances: %d calls of BatchGetSecretValue, of which %d were throttled. Prefetch failed in %d instances.\n",
			number(float64(last.N)), last.sum(batches), last.sum(batchesThrottled), last.sum(prefetchesFailed))
	}
}

// anchor returns the anchor of a heading.
func anchor(title string) string {
	return strings.NewReplacer(" ", "-", ",", "").Replace(strings.ToLower(title))
}

func percent(share float64) string {
	if share < 0.095 {
		return fmt.Sprintf("%.1f %%", 100*share)
	}
	return fmt.Sprintf("%.0f %%", 100*share)
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

// number writes a number with commas: 12,345.
func number(v float64) string { return svg.Commas(fmt.Sprintf("%.0f", v)) }
