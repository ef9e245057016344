package fleet

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/sqlsecrets/sqlsecrets/bench/internal/svg"
)

const panelHeight = 130 // in pixels, without texts

// A line is one count of a panel.
type line struct {
	color int
	name  string
	of    func(Second) int
}

// A panel is one diagram of a plot.
type panel struct {
	title string
	lines []line
	scale func(*Result, float64) float64
	limit float64 // a line across, or 0: 50 % of the quota
	unit  string
}

var panels = []panel{
	{"calls of Secrets Manager per second, scaled to 100,000 instances",
		[]line{{0, "all", calls}, {2, "throttled", throttled}, {1, "failed", failed}}, (*Result).full, Quota / 2, ""},
	{"logins per second, scaled to 100,000 instances",
		[]line{{0, "all", logins}, {2, "accepted", accepted}, {1, "rejected", rejected}}, (*Result).full, 0, ""},
	{"unhealthy instances", []line{{0, "unhealthy", unhealthy}, {1, "without a connection", dark}},
		func(r *Result, v float64) float64 { return 100 * v / float64(r.N) }, 0, " %"},
}

// A plot is a result that is being drawn. All its panels have the same axis of time.
type plot struct {
	*Result
	*svg.Drawing
	first       int     // the second that is drawn first
	left, right float64 // of the diagrams
}

// Plot draws a result as SVG.
func Plot(r *Result) string {
	p := &plot{
		Result:  r,
		Drawing: svg.New(fmt.Sprintf("%s, %s\u00a0instances", r.Scenario.Title, number(float64(r.N)))),
		first:   max(0, r.From-60), // so that the plot shows the time before
		right:   svg.Right - svg.TextWidth("100 min")/2,
	}
	for _, panel := range panels {
		top := panel.top(p)
		p.left = max(p.left, svg.Margin+8+max(svg.TextWidth(axis(top)+panel.unit), svg.TextWidth(axis(top/2)+panel.unit)))
	}
	for _, panel := range panels {
		panel.draw(p)
	}
	return p.String()
}

// drawn returns the seconds that are drawn.
func (p *plot) drawn() []Second { return p.Seconds[p.first:] }

// x returns where a second is drawn.
func (p *plot) x(second float64) float64 {
	return p.left + (p.right-p.left)*(second-float64(p.first))/float64(len(p.drawn()))
}

// top returns the value at the upper end of the panel.
func (p *panel) top(r *plot) float64 {
	most := 0.0
	for _, l := range p.lines {
		for _, s := range r.drawn() {
			most = max(most, p.scale(r.Result, float64(l.of(s))))
		}
	}
	return svg.NiceCeiling(most)
}

// draw draws the panel below what is drawn.
func (p *panel) draw(r *plot) {
	top := p.top(r)
	r.Y += 10 + svg.Row
	r.Text("bold", svg.Margin, float64(r.Y-5), p.title)
	var keys []svg.Key
	for _, l := range p.lines {
		keys = append(keys, svg.Key{Class: "line " + svg.Class(l.color), Name: l.name})
	}
	limited := p.limit > 0 && p.limit <= top
	if limited {
		keys = append(keys, svg.Key{Class: "limit", Name: "50 % of the quota"})
	}
	r.Legend(keys)
	r.drawEvents()
	bottom := float64(r.Y) + panelHeight
	y := func(v float64) float64 { return bottom - panelHeight*v/top }
	for _, v := range []float64{0, top / 2, top} {
		r.Line("grid", r.left, y(v), r.right, y(v))
		r.Text("end", r.left-8, y(v)+5, axis(v)+p.unit)
	}
	if limited {
		r.Line("limit", r.left, y(p.limit), r.right, y(p.limit))
	}
	step := svg.NiceCeiling(float64(len(r.drawn())) / 60 / 7)
	for minute := 0.0; r.From+int(60*minute) < len(r.Seconds); minute += step {
		r.Text("middle", r.x(float64(r.From)+60*minute), bottom+24, axis(minute)+" min")
	}
	for _, l := range p.lines {
		if points := p.points(r, l, y); points != "" {
			r.Add(`<polyline class="line %s" points="%s"/>`, svg.Class(l.color), points)
		}
	}
	r.Y = int(bottom) + 28
}

// A label is the text of an event. It is right of the event, or left of it if it has no room there.
type label struct {
	text, class string
	at          float64 // the event
	begin, end  float64 // of the text
	row         int     // 1 is the lowest
}

// labels returns the texts of the events, and the number of rows. A text is in a higher row than
// those of later events that begin left of its end, so that their lines do not cross it.
func (p *plot) labels() (labels []label, rows int) {
	for _, e := range slices.Backward(p.Events) {
		if e.At.Seconds() < float64(p.first) || e.Text == "" {
			continue
		}
		at, width := p.x(e.At.Seconds()), svg.TextWidth(e.Text)
		l := label{e.Text, "", at, at + 4, at + 4 + width, 1}
		if l.end > svg.Right {
			l.class, l.begin, l.end = "end", at-4-width, at-4
		}
		for _, later := range labels {
			if later.begin < l.end+4 {
				l.row = max(l.row, later.row+1)
			}
		}
		rows = max(rows, l.row)
		labels = append(labels, l)
	}
	return labels, rows
}

// drawEvents writes the events above the next diagram, and draws a line down through it from each.
func (p *plot) drawEvents() {
	labels, rows := p.labels()
	p.Y += 12 + rows*svg.Row
	for _, l := range labels {
		x, y := l.begin, float64(p.Y-l.row*svg.Row)
		if l.class == "end" {
			x = l.end
		}
		p.Text(l.class, x, y+14, l.text)
		p.Line("event", l.at, y+2, l.at, float64(p.Y+panelHeight))
	}
}

// points returns the points of a line: the largest value for each two pixels, so that no peak is
// lost. It returns nothing for a line of zeros.
func (p *panel) points(r *plot, l line, y func(float64) float64) string {
	seconds, columns := r.drawn(), int(r.right-r.left)/2
	var b strings.Builder
	none := true
	for from := 0; from < len(seconds); {
		to := from
		column, v := from*columns/len(seconds), 0
		for ; to < len(seconds) && to*columns/len(seconds) == column; to++ {
			v = max(v, l.of(seconds[to]))
		}
		none = none && v == 0
		fmt.Fprintf(&b, "%.0f,%.1f ", r.x(float64(r.first+from)), y(p.scale(r.Result, float64(v))))
		from = to
	}
	if none {
		return ""
	}
	return strings.TrimSpace(b.String())
}

// axis writes a number for an axis.
func axis(v float64) string {
	if v < 10 && v != math.Trunc(v) {
		return fmt.Sprintf("%.1f", v)
	}
	return number(v)
}
