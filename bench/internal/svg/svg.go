// Package svg draws what all plots of the benchmarks have in common: the page, its title, texts and
// legends.
package svg

import (
	"encoding/xml"
	"fmt"
	"strconv"
	"strings"
)

// Lengths are in pixels. A page that is narrower than Width scales the plot.
const (
	Width  = 640
	Margin = 20             // between the page's border and what is drawn
	Right  = Width - Margin // the right end of what is drawn
	Row    = 22             // height of a line of text

	titleRow           = 26
	letter, boldLetter = 9.0, 12.0 // mean width of a letter in wide fonts, of texts and of the title
)

// Colors is the number of colors. Their classes are c0, c1 and so on.
const Colors = 8

// The page, the fonts and the sizes are those of docs/pictures. The background is opaque, so that a
// plot is readable on any page. In both modes the contrast of text is at least 4.5:1, and that of
// lines and bars 3:1.
const style = `<style>
text { font-family: system-ui, sans-serif; font-size: 16px; fill: #333 }
.title { font-size: 20px; font-weight: 600 } .bold { font-weight: 600 }
.middle { text-anchor: middle } .end { text-anchor: end }
.page { fill: #fff; stroke: #d1d9e0 }
.grid { stroke: #8884 }
.event { stroke: #818b98; stroke-dasharray: 3 3 }
.limit { stroke: #c026d3; stroke-width: 2; stroke-dasharray: 6 3 }
.line { fill: none; stroke: currentColor; stroke-width: 2; stroke-linejoin: round }
.bar { stroke: currentColor; stroke-width: 14 }
.point { fill: currentColor }
.c0 { color: #2f81f7 } .c1 { color: #e5534b } .c2 { color: #9a6700 } .c3 { color: #3d8b40 }
.c4 { color: #8250df } .c5 { color: #1b7c83 } .c6 { color: #bf3989 } .c7 { color: #6e7781 }
@media (prefers-color-scheme: dark) {
text { fill: #ccc }
.page { fill: #0d1117; stroke: #3d444d }
.c2 { color: #c69026 } .c3 { color: #57ab5a }
.c4 { color: #b083f0 } .c5 { color: #39a5b5 } .c6 { color: #d4679c } .c7 { color: #8b949e }
}
</style>
`

// A Drawing is a plot that is being drawn, from the top to the bottom.
type Drawing struct {
	Y     int // the lower end of what is drawn
	title string
	body  strings.Builder
}

// New begins a plot. A title that is too long for a line has several. They end at spaces, but not at
// those that do not break ("\u00a0").
func New(title string) *Drawing {
	d := &Drawing{Y: 12, title: title}
	line := ""
	for _, word := range strings.Split(title, " ") {
		if line != "" && boldLetter*float64(len(line)+1+len(word)) > Right-Margin {
			d.titleLine(line)
			line = ""
		}
		line = strings.TrimSpace(line + " " + word)
	}
	d.titleLine(line)
	return d
}

func (d *Drawing) titleLine(text string) {
	d.Y += titleRow
	d.Text("title", Margin, float64(d.Y-4), text)
}

// Add adds an element.
func (d *Drawing) Add(format string, args ...any) { fmt.Fprintf(&d.body, format+"\n", args...) }

// Text writes one line of text. y is its baseline. Without the class middle or end, x is where it
// begins.
func (d *Drawing) Text(class string, x, y float64, text string) {
	d.Add(`<text class="%s" x="%.1f" y="%.1f">%s</text>`, class, x, y, escape(text))
}

// Line draws a straight line.
func (d *Drawing) Line(class string, x1, y1, x2, y2 float64) {
	d.Add(`<path class="%s" d="M%.1f %.1fL%.1f %.1f"/>`, class, x1, y1, x2, y2)
}

// A Key explains the class of a line or a bar.
type Key struct{ Class, Name string }

// Legend writes keys in as many rows as they need.
func (d *Drawing) Legend(keys []Key) {
	x := float64(Right) // the first key begins a row
	d.Y += 4
	for _, k := range keys {
		width := 22 + TextWidth(k.Name)
		if x+width > Right {
			x = Margin
			d.Y += Row
		}
		d.Line(k.Class, x, float64(d.Y-10), x+16, float64(d.Y-10))
		d.Text("", x+22, float64(d.Y-5), k.Name)
		x += width + 18
	}
}

// String ends the plot.
func (d *Drawing) String() string {
	height := d.Y + 16
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %d" role="img" aria-label="%s">`+"\n%s"+
		`<rect class="page" x="1" y="1" width="%d" height="%d" rx="6"/>`+"\n%s</svg>\n",
		Width, height, escape(d.title), style, Width-2, height-2, d.body.String())
}

// TextWidth returns the width of a text in a wide font. In most fonts it is narrower.
func TextWidth(text string) float64 { return letter * float64(len([]rune(text))) }

// escape returns text escaped for XML.
func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s))
	return b.String()
}

// Class returns the class of a color.
func Class(color int) string { return "c" + strconv.Itoa(color) }
