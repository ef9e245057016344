package main

import (
	"fmt"
	"math"
	"os"
	"time"

	"github.com/sqlsecrets/sqlsecrets/bench/internal/report"
	"github.com/sqlsecrets/sqlsecrets/bench/internal/turns"
)

// again is the suffix of the vendor's second subject. The difference between the two medians of the
// vendor comes from the machine.
const again = ", once more"

// oneByOne are the options for operations of a millisecond and more.
func oneByOne(quick bool, rounds int) *turns.Options {
	return &turns.Options{One: true, Once: quick, Rounds: rounds, MaxRounds: 2 * rounds}
}

// inSlices are the options for operations of less than a millisecond.
func inSlices(quick bool) *turns.Options {
	return &turns.Options{Once: quick, Rounds: 100, MaxRounds: 400}
}

// inTurns measures subjects in turns and shows the progress.
func inTurns(what string, subjects []turns.Subject, o *turns.Options) []turns.Result {
	fmt.Fprintf(os.Stderr, "   %s\n", what)
	shown := time.Now()
	o.Progress = func(rounds int) {
		if time.Since(shown) > 5*time.Second {
			shown = time.Now()
			fmt.Fprintf(os.Stderr, "   %s: %d rounds\n", what, rounds)
		}
	}
	return turns.Compare(subjects, o)
}

// comparison lists results, with the difference from the first of them.
func comparison(title string, results []turns.Result) report.Table {
	t := report.Table{Title: title, Columns: []string{"", "median", "10th percentile", "90th percentile", "more than the first", "allocations", "bytes"}}
	for i, r := range results {
		over := ""
		if i > 0 {
			over = signed(r.Median - results[0].Median)
		}
		t.Rows = append(t.Rows, []string{r.Name, took(r.Median), took(r.Low), took(r.High), over,
			fmt.Sprintf("%.0f", r.Allocs), fmt.Sprintf("%.0f", r.Bytes)})
	}
	return t
}

// took writes nanoseconds.
func took(ns float64) string {
	d := time.Duration(math.Round(ns))
	switch {
	case d < 0:
		return "−" + took(-ns)
	case d < time.Microsecond:
		return fmt.Sprintf("%.0f ns", ns)
	case d < time.Millisecond:
		return fmt.Sprintf("%.3g µs", ns/1e3)
	case d < time.Second:
		return fmt.Sprintf("%.3g ms", ns/1e6)
	}
	return fmt.Sprintf("%.3g s", ns/1e9)
}

// signed writes a difference of nanoseconds.
func signed(ns float64) string {
	if ns < 0 {
		return took(ns)
	}
	return "+" + took(ns)
}

// noise is the difference of two medians that means nothing. It is the largest of three values: the
// difference of the vendor's own two medians, two standard errors of the difference, and 1 %. A
// median has about 1.25 times the standard error of a mean. The 10th and the 90th percentile are
// 2.56 standard deviations apart.
func noise(vendor, vendorAgain, ours turns.Result) float64 {
	squares := 0.0
	for _, r := range []turns.Result{vendor, ours} {
		e := 1.25 * (r.High - r.Low) / 2.56 / math.Sqrt(float64(r.Rounds))
		squares += e * e
	}
	return max(math.Abs(vendor.Median-vendorAgain.Median), 2*math.Sqrt(squares), vendor.Median/100)
}

// notMeasurable is the target that the library costs no measurable time compared with the vendor.
// The vendor's result is the faster one of its two.
func notMeasurable(what string, vendor, vendorAgain, ours turns.Result) report.Target {
	allowed := noise(vendor, vendorAgain, ours)
	if vendorAgain.Median < vendor.Median {
		vendor = vendorAgain
	}
	over := ours.Median - vendor.Median
	t := report.Target{What: what, Want: fmt.Sprintf("as the vendor's driver, %s, plus at most %s", took(vendor.Median), took(allowed)),
		Got: fmt.Sprintf("%s, %s", took(ours.Median), signed(over)), Met: over <= allowed}
	if !t.Met {
		t.Missed = fmt.Sprintf("It is %s (%.1f %%) slower; %s would be noise.", took(over), 100*over/vendor.Median, took(allowed))
	}
	return t
}

// how explains notMeasurable to readers.
const how = "The vendor's connector takes two turns in each round. Two medians count as equal if they differ by no more than the " +
	"largest of three values: the difference of the vendor's own two medians, two standard errors, and 1 %."

// bars plots results. unit is the number of nanoseconds in a unit.
func bars(title, unitName string, unit float64, results []turns.Result) report.Plot {
	low, median := report.Series{Name: "10th percentile"}, report.Series{Name: "median"}
	p := report.Plot{Title: title, Unit: unitName}
	for _, r := range results {
		p.Labels = append(p.Labels, r.Name)
		low.Values, median.Values = append(low.Values, r.Low/unit), append(median.Values, r.Median/unit)
	}
	p.Series = []report.Series{low, median}
	return p
}
