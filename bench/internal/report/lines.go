package report

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

const (
	linesHeight          = 280
	linesLeft, linesSpan = 70, plotWidth - 70 - 80
)

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
	return axis{0, niceCeiling(most), false}
}

// drawLines draws a line for each series over the logarithm of X.
func (d *drawing) drawLines(top int) {
	ys, xs := d.valueAxis(), axis{slices.Min(d.X), slices.Max(d.X), true}
	x := func(v float64) float64 { return linesLeft + linesSpan*xs.at(v) }
	y := func(v float64) float64 { return float64(top) + linesHeight*(1-ys.at(v)) }
	for _, v := range ys.ticks() {
		d.printf(`<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n",
			linesLeft, linesLeft+linesSpan, y(v), y(v), linesLeft-6, y(v)+4, format(v))
	}
	for _, v := range d.X {
		d.printf(`<text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n", x(v), top+linesHeight+16, format(v))
	}
	d.printf(`<text x="%d" y="%d" text-anchor="middle">%s</text>`+"\n", linesLeft+linesSpan/2, top+linesHeight+34, escape(d.XUnit))
	var taken []point
	for n := range d.Series {
		taken = d.drawLine(n, x, y, taken)
	}
}

// A point is a place in the drawing.
type point struct{ x, y float64 }

// drawLine draws the line of a series, and writes its last value at a free place. It returns the
// places that are taken.
func (d *drawing) drawLine(n int, x, y func(float64) float64, taken []point) []point {
	var points []string
	var at point
	var last float64
	s := d.Series[n]
	for i, v := range s.Values {
		if i >= len(d.X) || !d.drawable(v) {
			continue
		}
		at, last = point{x(d.X[i]), y(v)}, v
		points = append(points, fmt.Sprintf("%.1f,%.1f", at.x, at.y))
		d.printf(`<circle cx="%.1f" cy="%.1f" r="3" fill="%s"><title>%s: %s</title></circle>`+"\n", at.x, at.y, d.colors[n], escape(s.Name), format(v))
	}
	if len(points) == 0 {
		return taken
	}
	d.printf(`<polyline class="line" stroke="%s" points="%s"/>`+"\n", d.colors[n], strings.Join(points, " "))
	for slices.ContainsFunc(taken, at.covers) {
		at.y--
	}
	d.printf(`<text x="%.1f" y="%.1f" style="fill: %s">%s</text>`+"\n", at.x+8, at.y+4, d.colors[n], format(last))
	return append(taken, at)
}

// covers reports whether texts at the two places overlap.
func (p point) covers(q point) bool {
	return math.Abs(p.x-q.x) < 60 && math.Abs(p.y-q.y) < 13
}

// niceCeiling returns the next of 1, 2, 5, 10 and so on.
func niceCeiling(v float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, n := range []float64{1, 2, 5} {
		if n*power >= v {
			return n * power
		}
	}
	return 10 * power
}
