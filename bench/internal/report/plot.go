package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/sqlsecrets/sqlsecrets/bench/internal/svg"
)

// own begins the name of the series that has the first color in every plot.
const own = "sqlsecrets"

// A drawing is a plot that is being drawn.
type drawing struct {
	*Plot
	*svg.Drawing
	colors []string // classes of the series
}

// SVG draws the plot: lines if X is set, and bars otherwise.
func (p *Plot) SVG() string { return p.svg(nil) }

func (p *Plot) svg(all palette) string {
	title, key := p.Title, "bar "
	if p.Unit != "" {
		title += ", in\u00a0" + p.Unit
	}
	if p.Log {
		title += " (logarithmic)"
	}
	if len(p.X) > 0 {
		key = "line "
	}
	d := &drawing{p, svg.New(title), all.choose(p.Series)}
	var keys []svg.Key
	for n, s := range p.Series {
		keys = append(keys, svg.Key{Class: key + d.colors[n], Name: s.Name})
	}
	d.Legend(keys)
	if len(p.X) > 0 {
		d.drawLines()
	} else {
		d.drawBars()
	}
	return d.String()
}

// A palette has the preferred color of each name, so that the name has the same color in most
// plots.
type palette map[string]int

func paletteOf(sections []*Section) palette {
	all := palette{}
	for _, section := range sections {
		for _, plot := range section.Plots {
			for _, s := range plot.Series {
				if _, ok := all[s.Name]; !ok && s.Name != own {
					all[s.Name] = len(all)
				}
			}
		}
	}
	return all
}

// choose returns the colors of the series. The series of one plot have different colors while there
// are enough.
func (all palette) choose(series []Series) (chosen []string) {
	first := slices.IndexFunc(series, func(s Series) bool { return strings.HasPrefix(s.Name, own) })
	for i, s := range series {
		c := svg.Class(0)
		for n := 0; i != first && n < svg.Colors-1; n++ {
			c = svg.Class(1 + (all[s.Name]+n)%(svg.Colors-1))
			if !slices.Contains(chosen, c) {
				break
			}
		}
		chosen = append(chosen, c)
	}
	return chosen
}

// limits returns the smallest and the largest value that is not NaN. In a logarithmic plot it
// ignores values that are not positive.
func (p *Plot) limits() (least, most float64) {
	least = math.Inf(1)
	for _, v := range p.values() {
		if p.drawable(v) {
			least, most = min(least, v), max(most, v)
		}
	}
	if most == 0 {
		return 1, 1
	}
	return least, most
}

func (p *Plot) drawable(v float64) bool { return !math.IsNaN(v) && (!p.Log || v > 0) }

// format writes a value with three significant digits.
func format(v float64) string {
	digits := 0
	switch size := math.Abs(v); {
	case size >= 100 || v == math.Trunc(v):
	case size >= 10:
		digits = 1
	case size >= 1:
		digits = 2
	default:
		return fmt.Sprintf("%.2g", v)
	}
	return svg.Commas(fmt.Sprintf("%.*f", digits, v))
}

// values returns the values of all series.
func (p *Plot) values() (all []float64) {
	for _, s := range p.Series {
		all = append(all, s.Values...)
	}
	return all
}

// widest returns the width of the longest of the values, as they are written.
func widest(values []float64) (width float64) {
	for _, v := range values {
		width = max(width, svg.TextWidth(format(v)))
	}
	return width
}

// Number writes a number with commas: 12,345.
func Number(n int) string { return svg.Commas(strconv.Itoa(n)) }
