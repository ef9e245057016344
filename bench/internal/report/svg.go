package report

import (
	"encoding/xml"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// The colors are readable on white and on black. The color of the text follows the reader's
// setting.
const style = `<style>
text { font: 12px system-ui, sans-serif; fill: #333 }
.grid { stroke: #8884; stroke-width: 1 }
.line { fill: none; stroke-width: 2; stroke-linejoin: round }
@media (prefers-color-scheme: dark) { text { fill: #ccc } }
</style>
`

// own is the series that has the first color in every plot.
const own = "sqlsecrets"

var colors = [...]string{"#2f81f7", "#e5534b", "#c69026", "#57ab5a", "#b083f0", "#39a5b5", "#d4679c", "#8b949e"}

// plotWidth and the others are in pixels.
const (
	plotWidth             = 800
	labelWidth, valueSpan = 190, 110 // widths of the labels left of the bars, and of the values right of them
	barHeight, groupGap   = 16, 14
	titleHeight           = 26
	legendRow             = 20
	letter                = 6.8 // mean width of a letter
)

// A drawing is a plot that is drawn.
type drawing struct {
	*Plot
	strings.Builder
	colors []string // of the series
}

// SVG draws the plot: lines if X is set, and bars otherwise.
func (p *Plot) SVG() string { return p.svg(nil) }

func (p *Plot) svg(all palette) string {
	d := &drawing{Plot: p, colors: all.choose(p.Series)}
	top := titleHeight + p.legendHeight() + 8
	draw, height := d.drawBars, p.barsHeight()
	if len(p.X) > 0 {
		draw, height = d.drawLines, linesHeight+40
	}
	d.printf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-label="%s">`+"\n%s",
		plotWidth, top+height, escape(p.Title), style)
	title := p.Title
	if p.Unit != "" {
		title += ", in " + p.Unit
	}
	if p.Log {
		title += " (logarithmic)"
	}
	d.printf(`<text x="8" y="17" font-weight="bold">%s</text>`+"\n", escape(title))
	d.drawLegend()
	draw(top)
	d.printf("</svg>\n")
	return d.String()
}

func (d *drawing) printf(format string, args ...any) { fmt.Fprintf(d, format, args...) }

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
	for _, s := range series {
		c := colors[0]
		for n := 0; s.Name != own && n < len(colors)-1; n++ {
			c = colors[1+(all[s.Name]+n)%(len(colors)-1)]
			if !slices.Contains(chosen, c) {
				break
			}
		}
		chosen = append(chosen, c)
	}
	return chosen
}

// legendPlace returns the place of a series in the legend.
func (p *Plot) legendPlace(n int) (x, row int) {
	x = 8
	for i, s := range p.Series[:n+1] {
		width := int(letter*float64(len(s.Name))) + 38
		if x > 8 && x+width > plotWidth {
			x, row = 8, row+1
		}
		if i < n {
			x += width
		}
	}
	return x, row
}

// legendHeight returns the height of the legend, or 0 without series.
func (p *Plot) legendHeight() int {
	if len(p.Series) == 0 {
		return 0
	}
	_, row := p.legendPlace(len(p.Series) - 1)
	return legendRow * (row + 1)
}

func (d *drawing) drawLegend() {
	for n, s := range d.Series {
		x, row := d.legendPlace(n)
		y := titleHeight + legendRow*row
		d.printf(`<rect x="%d" y="%d" width="14" height="10" rx="2" fill="%s"/><text x="%d" y="%d">%s</text>`+"\n",
			x, y+3, d.colors[n], x+19, y+12, escape(s.Name))
	}
}

// limits returns the smallest and the largest value that is not NaN. In a logarithmic plot it
// ignores values that are not positive.
func (p *Plot) limits() (least, most float64) {
	least = math.Inf(1)
	for _, s := range p.Series {
		for _, v := range s.Values {
			if !p.drawable(v) {
				continue
			}
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
	return commas(fmt.Sprintf("%.*f", digits, v))
}

// commas writes 12345.6 as 12,345.6.
func commas(s string) string {
	whole, fraction, found := strings.Cut(s, ".")
	for n := len(whole) - 3; n > 0 && whole[n-1] != '-'; n -= 3 {
		whole = whole[:n] + "," + whole[n:]
	}
	if found {
		return whole + "." + fraction
	}
	return whole
}

// escape returns text escaped for XML.
func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s))
	return b.String()
}

// Number writes a number with commas: 12,345.
func Number(n int) string { return commas(strconv.Itoa(n)) }
