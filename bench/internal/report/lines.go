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

// at returns where a value is: 0 at one end, 1 at the other.
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
func (p *Plot) drawLines(b *strings.Builder, top int) {
	ys, xs := p.valueAxis(), axis{slices.Min(p.X), slices.Max(p.X), true}
	x := func(v float64) float64 { return linesLeft + linesSpan*xs.at(v) }
	y := func(v float64) float64 { return float64(top) + linesHeight*(1-ys.at(v)) }
	for _, v := range ys.ticks() {
		fmt.Fprintf(b, `<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n",
			linesLeft, linesLeft+linesSpan, y(v), y(v), linesLeft-6, y(v)+4, format(v))
	}
	for _, v := range p.X {
		fmt.Fprintf(b, `<text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n", x(v), top+linesHeight+16, format(v))
	}
	fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="middle">%s</text>`+"\n", linesLeft+linesSpan/2, top+linesHeight+34, escape(p.XUnit))
	var taken []float64
	for n, s := range p.Series {
		var points []string
		var lastX, lastY, last float64
		for i, v := range s.Values {
			if i >= len(p.X) || !p.drawable(v) {
				continue
			}
			lastX, lastY, last = x(p.X[i]), y(v), v
			points = append(points, fmt.Sprintf("%.1f,%.1f", lastX, lastY))
			fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"><title>%s: %s</title></circle>`+"\n", lastX, lastY, p.colour(n), escape(s.Name), format(v))
		}
		if len(points) == 0 {
			continue
		}
		fmt.Fprintf(b, `<polyline class="line" stroke="%s" points="%s"/>`+"\n", p.colour(n), strings.Join(points, " "))
		lastY = freePlace(taken, lastY)
		taken = append(taken, lastY)
		fmt.Fprintf(b, `<text x="%.1f" y="%.1f">%s</text>`+"\n", lastX+8, lastY+4, format(last))
	}
}

// freePlace returns the place next to y where a text covers no other one.
func freePlace(taken []float64, y float64) float64 {
	const line = 13
	for d := 0.0; ; d += 2 {
		for _, at := range []float64{y + d, y - d} {
			if !slices.ContainsFunc(taken, func(t float64) bool { return math.Abs(t-at) < line }) {
				return at
			}
		}
	}
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
