// Package report writes docs/benchmarks.md: what was measured, as tables and plots.
package report

import (
	"encoding/json"
	"math"
)

// A Section is one group of measurements, and the plots and tables that show them.
type Section struct {
	Name    string // of its plots' files, and on the command line
	Title   string
	Text    string // Markdown: what is measured, and what it shows
	Tables  []Table
	Plots   []Plot
	Targets []Target
	Absent  []string // peers and servers that are not available, and why
}

// A Table is a table. All columns except the first have figures.
type Table struct {
	Title   string // may be empty
	Columns []string
	Rows    [][]string
}

// A Plot is a group of bars, or of lines if X is set.
type Plot struct {
	Title  string
	Unit   string    // of the values, for example "ns"
	Labels []string  // of the groups of bars
	X      []float64 // positions of the points of lines, on a logarithmic axis
	XUnit  string
	Log    bool // the values' axis is logarithmic
	Series []Series
}

// A Series is one color of a plot: a value for each label, or for each X. NaN means no value.
type Series struct {
	Name   string
	Values Values
}

// Values are the values of a Series. NaN is null in JSON.
type Values []float64

// A Target is a target for the library, and the result.
type Target struct {
	What   string
	Want   string
	Got    string
	Met    bool
	Missed string // by how much and why, if it is not met
}

// MarshalJSON writes NaN as null.
func (v Values) MarshalJSON() ([]byte, error) {
	all := make([]*float64, len(v))
	for i := range v {
		if !math.IsNaN(v[i]) {
			all[i] = &v[i]
		}
	}
	return json.Marshal(all)
}

// UnmarshalJSON reads null as NaN.
func (v *Values) UnmarshalJSON(data []byte) error {
	var all []*float64
	if err := json.Unmarshal(data, &all); err != nil {
		return err
	}
	*v = nil
	for _, p := range all {
		f := math.NaN()
		if p != nil {
			f = *p
		}
		*v = append(*v, f)
	}
	return nil
}
