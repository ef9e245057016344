package fleet

import (
	"fmt"
	"math"
	"strings"
)

// The size of a plot, in pixels.
const (
	plotWidth, panelHeight, panelGap = 800, 130, 46
	plotLeft, plotRight, plotTop     = 70, 20, 34
	panelWidth                       = plotWidth - plotLeft - plotRight
)

// The colors are readable on white and on black. The color of the text follows the reader's
// setting.
const plotStyle = `<style>
text { font: 12px system-ui, sans-serif; fill: #333 }
.grid { stroke: #8884; stroke-width: 1 }
.event { stroke: #888; stroke-width: 1; stroke-dasharray: 3 3 }
.limit { stroke: #c026d3; stroke-width: 1; stroke-dasharray: 6 3 }
.a { stroke: #2f81f7 } .b { stroke: #e5534b } .c { stroke: #c69026 }
.line { fill: none; stroke-width: 1.5; stroke-linejoin: round }
@media (prefers-color-scheme: dark) { text { fill: #ccc } }
</style>
`

// A line is one count of a panel.
type line struct {
	class, name string
	of          func(Second) int
}

// A panel is one diagram of a plot.
type panel struct {
	title string
	lines []line
	scale func(*Result, float64) float64
	limit float64 // a line across, or 0
	unit  string
}

var panels = []panel{
	{"calls of Secrets Manager per second, scaled to 100,000 instances",
		[]line{{"a", "all", calls}, {"c", "throttled", throttled}, {"b", "failed", failed}}, (*Result).full, Quota / 2, ""},
	{"logins per second, scaled to 100,000 instances",
		[]line{{"a", "all", logins}, {"c", "accepted", accepted}, {"b", "rejected", rejected}}, (*Result).full, 0, ""},
	{"unhealthy instances", []line{{"a", "unhealthy", unhealthy}, {"b", "without a connection", dark}},
		func(r *Result, v float64) float64 { return 100 * v / float64(r.N) }, 0, " %"},
}

// Plot draws a result as SVG.
func Plot(r *Result) string {
	height := plotTop + len(panels)*(panelHeight+panelGap)
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-label=%q>`+"\n%s", plotWidth, height, r.Scenario.Title, plotStyle)
	fmt.Fprintf(&b, `<text x="%d" y="16" font-weight="bold">%s, %s instances</text>`+"\n", plotLeft, r.Scenario.Title, number(float64(r.N)))
	for n, p := range panels {
		p.draw(&b, r, plotTop+n*(panelHeight+panelGap)+16)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// draw draws a panel whose diagram begins at y.
func (p *panel) draw(b *strings.Builder, r *Result, y int) {
	first := max(0, r.From-60) // so that the plot shows the time before
	seconds := r.Seconds[first:]
	most := 0.0
	for _, l := range p.lines {
		for _, s := range seconds {
			most = max(most, p.scale(r, float64(l.of(s))))
		}
	}
	top := niceCeiling(most)
	p.drawLegend(b, y)
	for _, share := range []float64{0, 0.5, 1} {
		at := float64(y) + panelHeight*(1-share)
		fmt.Fprintf(b, `<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/><text x="%d" y="%.1f" text-anchor="end">%s%s</text>`+"\n",
			plotLeft, plotLeft+panelWidth, at, at, plotLeft-6, at+4, axis(top*share), p.unit)
	}
	if p.limit > 0 && p.limit <= top {
		at := float64(y) + panelHeight*(1-p.limit/top)
		fmt.Fprintf(b, `<line class="limit" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/><text x="%d" y="%.1f" text-anchor="end">50 %% of the quota</text>`+"\n",
			plotLeft, plotLeft+panelWidth, at, at, plotLeft+panelWidth, at-4)
	}
	drawTime(b, r, first, len(seconds), y)
	for _, l := range p.lines {
		if points := p.points(r, l, seconds, top, y); points != "" {
			fmt.Fprintf(b, `<polyline class="line %s" points="%s"/>`+"\n", l.class, points)
		}
	}
}

// drawLegend writes the title of the panel and the names of the lines.
func (p *panel) drawLegend(b *strings.Builder, y int) {
	fmt.Fprintf(b, `<text x="%d" y="%d">%s</text>`+"\n", plotLeft, y-6, p.title)
	x := plotLeft + panelWidth
	for n := len(p.lines) - 1; n >= 0; n-- {
		if l := p.lines[n]; l.name != "" {
			x -= 7*len(l.name) + 30
			fmt.Fprintf(b, `<line class="line %s" x1="%d" x2="%d" y1="%d" y2="%d"/><text x="%d" y="%d">%s</text>`+"\n",
				l.class, x, x+16, y-10, y-10, x+20, y-6, l.name)
		}
	}
}

// drawTime draws the events, and the minutes since the measurement began.
func drawTime(b *strings.Builder, r *Result, first, n, y int) {
	x := func(second float64) float64 { return plotLeft + panelWidth*(second-float64(first))/float64(n) }
	step := niceCeiling(float64(n) / 60 / 8)
	for minute := 0.0; r.From+int(60*minute) < first+n; minute += step {
		fmt.Fprintf(b, `<text x="%.1f" y="%d" text-anchor="middle">%s min</text>`+"\n", x(float64(r.From)+60*minute), y+panelHeight+15, axis(minute))
	}
	for _, e := range r.Events {
		if at := e.At.Seconds(); at >= float64(first) && e.Text != "" {
			fmt.Fprintf(b, `<line class="event" x1="%.1f" x2="%.1f" y1="%d" y2="%d"><title>%s</title></line>`+"\n", x(at), x(at), y, y+panelHeight, e.Text)
			fmt.Fprintf(b, `<text x="%.1f" y="%d" opacity="0.8">%s</text>`+"\n", x(at)+4, y+12, e.Text)
		}
	}
}

// points returns the points of a line: the largest value for each two pixels, so that no peak is
// lost. It returns nothing for a line of zeros.
func (p *panel) points(r *Result, l line, seconds []Second, top float64, y int) string {
	const columns = panelWidth / 2
	var b strings.Builder
	none := true
	for from := 0; from < len(seconds); {
		to := from
		column, v := from*columns/len(seconds), 0
		for ; to < len(seconds) && to*columns/len(seconds) == column; to++ {
			v = max(v, l.of(seconds[to]))
		}
		none = none && v == 0
		x := plotLeft + panelWidth*from/len(seconds)
		fmt.Fprintf(&b, "%d,%.1f ", x, float64(y)+panelHeight*(1-p.scale(r, float64(v))/top))
		from = to
	}
	if none {
		return ""
	}
	return strings.TrimSpace(b.String())
}

// niceCeiling returns the next of 1, 2, 5, 10 and so on.
func niceCeiling(v float64) float64 {
	if v <= 0 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, n := range []float64{1, 2, 5} {
		if n*power >= v {
			return n * power
		}
	}
	return 10 * power
}

// axis writes a number for an axis.
func axis(v float64) string {
	if v < 10 && v != math.Trunc(v) {
		return fmt.Sprintf("%.1f", v)
	}
	return number(v)
}
