package report

import (
	"math"

	"github.com/sqlsecrets/sqlsecrets/bench/internal/svg"
)

const barHeight, groupGap = 20, 12 // in pixels

// drawBars draws the groups below each other: a label, and below it a bar for each series that has
// a value.
func (d *drawing) drawBars() {
	least, most := d.limits()
	if d.Log {
		least = math.Pow(10, math.Floor(math.Log10(least)-0.3)) // so that the shortest bar is visible
	}
	room := svg.Right - svg.Margin - 8 - widest(d.values())
	for group, label := range d.Labels {
		d.Y += groupGap + svg.Row
		d.Text("", svg.Margin, float64(d.Y-6), label)
		for n, s := range d.Series {
			if group >= len(s.Values) || math.IsNaN(s.Values[group]) {
				continue
			}
			d.Y += barHeight
			v, end := s.Values[group], svg.Margin+1.0
			switch {
			case !d.drawable(v) || v <= 0:
			case d.Log:
				end = max(end, svg.Margin+room*math.Log(v/least)/math.Log(most/least))
			default:
				end = max(end, svg.Margin+room*v/most)
			}
			d.Line("bar "+d.colors[n], svg.Margin, float64(d.Y-10), end, float64(d.Y-10))
			d.Text("", end+6, float64(d.Y-4), format(v))
		}
	}
}
