package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/sqlsecrets/sqlsecrets/bench/internal/report"
	"github.com/sqlsecrets/sqlsecrets/bench/internal/turns"
)

// compare measures subjects in turns and shows the progress. A zero of o is the default.
func compare(quick bool, what string, subjects []turns.Subject, o turns.Options) map[string]turns.Result {
	names := make([]string, len(subjects))
	for i, s := range subjects {
		names[i] = s.Name
	}
	fmt.Fprintf(os.Stderr, "   %s: %s\n", what, strings.Join(names, ", "))
	o.Once = quick
	shown := time.Now()
	o.Progress = func(rounds int) {
		if time.Since(shown) > 5*time.Second {
			shown = time.Now()
			fmt.Fprintf(os.Stderr, "   %s: %d rounds\n", what, rounds)
		}
	}
	results := map[string]turns.Result{}
	for _, r := range turns.Compare(subjects, &o) {
		results[r.Name] = r
	}
	return results
}

// figure writes a time in nanoseconds with three significant digits.
func figure(ns float64) string {
	switch {
	case ns < 1e3:
		return digits(ns) + " ns"
	case ns < 1e6:
		return digits(ns/1e3) + " µs"
	case ns < 1e9:
		return digits(ns/1e6) + " ms"
	}
	return digits(ns/1e9) + " s"
}

// digits writes a number below 1,000 with three significant digits.
func digits(v float64) string {
	switch {
	case v < 10:
		return fmt.Sprintf("%.2f", v)
	case v < 100:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

// allocs writes a number of allocations. The measurement itself allocates for a few goroutines.
// That is spread over many operations and shows as 0.00.
func allocs(r turns.Result) string {
	if r.Allocs < 0.005 {
		return "0"
	}
	return fmt.Sprintf("%.2f", r.Allocs)
}

// over says by how much a figure exceeds a limit, and why: "12 % over: …".
func over(got, want float64, why string) string {
	return fmt.Sprintf("%.1f %% over: %s", 100*(got/want-1), why)
}

// times writes a ratio.
func times(ratio float64) string { return fmt.Sprintf("%.2f ×", ratio) }

// plural writes a number of things: "1 key", "1,000 keys".
func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return report.Number(n) + " " + thing + "s"
}

// list writes a list of several things.
func list(things []string) string { return strings.Join(things, "; ") }

// upper writes the first letter of a text as a capital.
func upper(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
