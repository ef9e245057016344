package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/sqlsecrets/sqlsecrets/bench/internal/svg"
)

const linesHeight = 280 // in pixels

// An axis places values between two ends, evenly or by their logarithm.
type axis struct {
	from, to float64
	log      bool
}

// at returns the position of a value: 0 at one end, 1 at the other.
func (a axis) at(v float64) float64 {
	switch {
	case a.to == a.from:
		return 0
	case a.log:
		return math.Log(v/a.from) / math.Log(a.to/a.from)
	}
	return (v - a.from) / (a.to - a.from)
}

// ticks returns the values that are written at the axis.
func (a axis) ticks() (ticks []float64) {
	if a.log {
		for v := a.from; v <= a.to*1.001; v *= 10 {
			ticks = append(ticks, v)
		}
		return ticks
	}
	for n := range 5 {
		ticks = append(ticks, a.from+(a.to-a.from)*float64(n)/4)
	}
	return ticks
}

// valueAxis returns the axis of the values.
func (p *Plot) valueAxis() axis {
	least, most := p.limits()
	if p.Log {
		return axis{math.Pow(10, math.Floor(math.Log10(least))), math.Pow(10, max(math.Ceil(math.Log10(most)), math.Floor(math.Log10(least))+1)), true}
	}
	return axis{0, svg.NiceCeiling(most), false}
}

// drawLines draws a line for each series over the logarithm of X.
func (d *drawing) drawLines() {
	ys, xs := d.valueAxis(), axis{slices.Min(d.X), slices.Max(d.X), true}
	left := svg.Margin + 8 + widest(ys.ticks())
	right := svg.Right - max(endText+widest(d.values()), widest(d.X)/2)
	top := float64(d.Y) + svg.Row
	bottom := top + linesHeight
	x := func(v float64) float64 { return left + (right-left)*xs.at(v) }
	y := func(v float64) float64 { return bottom - linesHeight*ys.at(v) }
	for _, v := range ys.ticks() {
		d.Line("grid", left, y(v), right, y(v))
		d.Text("end", left-8, y(v)+5, format(v))
	}
	for _, v := range d.X {
		d.Text("middle", x(v), bottom+26, format(v))
	}
	d.Text("middle", (left+right)/2, bottom+26+svg.Row, d.XUnit)
	d.Y = int(bottom) + 30 + svg.Row
	var ends []point
	for n := range d.Series {
		if points := d.drawLine(n, x, y); len(points) > 0 {
			ends = append(ends, points[len(points)-1])
		}
	}
	d.writeEnds(ends)
}

// A point is a value in the drawing.
type point struct {
	x, y, value float64
	color       string
}

func (p point) String() string { return fmt.Sprintf("%.1f,%.1f", p.x, p.y) }

// drawLine draws the line of a series.
func (d *drawing) drawLine(n int, x, y func(float64) float64) (points []point) {
	for i, v := range d.Series[n].Values {
		if i < len(d.X) && d.drawable(v) {
			p := point{x(d.X[i]), y(v), v, d.colors[n]}
			d.Add(`<circle class="point %s" cx="%.1f" cy="%.1f" r="3"/>`, p.color, p.x, p.y)
			points = append(points, p)
		}
	}
	if len(points) > 0 {
		d.Add(`<polyline class="line %s" points="%s"/>`, d.colors[n], strings.Trim(fmt.Sprint(points), "[]"))
	}
	return points
}

// endText is the distance of a text from the end of its line. Between them is the line's color.
const endText = 20

// writeEnds writes the values of last points, from the lowest to the highest. A text that has no
// room moves up.
func (d *drawing) writeEnds(ends []point) {
	slices.SortStableFunc(ends, func(a, b point) int { return cmp.Compare(b.y, a.y) })
	free := map[float64]float64{} // by x
	for _, p := range ends {
		if limit, ok := free[p.x]; ok {
			p.y = min(p.y, limit)
		}
		free[p.x] = p.y - svg.Row + 4
		d.Line("bar "+p.color, p.x+10, p.y, p.x+14, p.y)
		d.Text("", p.x+endText, p.y+5, format(p.value))
	}
}
