package main

import (
	"encoding/xml"
	"fmt"
	"strings"
)

// The style has the colors of the plots in docs/benchmarks. The background is opaque, so that a
// picture is readable on any page. In both modes the contrast of text is at least 4.5:1, and that of
// arrows 3:1.
const style = `<style>
text { font-family: system-ui, sans-serif; fill: #333 }
.bold { font-weight: 600 } .middle { text-anchor: middle }
.page { fill: #fff; stroke: #d1d9e0 }
.box, .plain { fill: #f6f8fa; stroke: #818b98 }
.old { fill: #d5e6fd; stroke: #2f81f7 }
.new { fill: #dcefdc; stroke: #57ab5a }
.none { fill: none; stroke: #818b98; stroke-dasharray: 5 4 }
.group { fill: #2f81f714; stroke: #2f81f7 }
.band { fill: #c6902633; stroke: #9a6700 }
.grid { stroke: #818b98; stroke-width: 1; stroke-dasharray: 2 4 }
.line, .back, .rejected { fill: none; stroke-width: 2; stroke-linejoin: round }
.line { stroke: #6e7781 } .back { stroke: #3d8b40 } .rejected { stroke: #e5534b }
.head-line { fill: #6e7781 } .head-back { fill: #3d8b40 } .head-rejected { fill: #e5534b }
.mark { fill: #fff; stroke: #e5534b; stroke-width: 2 }
text.rejection { fill: #b42318 }
@media (prefers-color-scheme: dark) {
text { fill: #ccc }
.page { fill: #0d1117; stroke: #3d444d }
.box, .plain { fill: #1c2128 }
.old { fill: #14305a } .new { fill: #1d3a24 }
.group { fill: #2f81f71f }
.mark { fill: #0d1117 }
.band { stroke: #c69026 }
.back { stroke: #57ab5a } .head-back { fill: #57ab5a }
text.rejection { fill: #ff8a80 }
}
</style>
`

// A canvas is an SVG picture that is being drawn. Lengths are in pixels of its own size; the page
// scales it.
type canvas struct{ strings.Builder }

// newCanvas begins a picture. Screen readers read the title and the description.
func newCanvas(width, height int, title, description string) *canvas {
	c := &canvas{}
	c.add(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %d" role="img" aria-labelledby="title description">`, width, height)
	c.add(`<title id="title">%s</title>`, escape(title))
	c.add(`<desc id="description">%s</desc>`, escape(description))
	c.WriteString("<!-- Drawn by: go run ./docs/pictures -->\n" + style + "<defs>\n")
	for _, class := range []string{"line", "back", "rejected"} {
		c.add(`<marker id="%s" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="6" markerHeight="6" orient="auto"><path class="head-%[1]s" d="M0 0L10 5L0 10Z"/></marker>`, class)
	}
	c.add(`</defs>`)
	c.rect("page", 1, 1, width-2, height-2)
	return c
}

func (c *canvas) add(format string, args ...any) { fmt.Fprintf(c, format+"\n", args...) }

// end ends the picture and returns it.
func (c *canvas) end() string {
	c.add("</svg>")
	return c.String()
}

func (c *canvas) rect(class string, x, y, width, height int) {
	c.add(`<rect class="%s" x="%d" y="%d" width="%d" height="%d" rx="6"/>`, class, x, y, width, height)
}

// text writes one line whose baseline is y. class may be empty.
func (c *canvas) text(class string, size, x, y int, text string) {
	c.add(`<text class="%s" font-size="%d" x="%d" y="%d">%s</text>`, class, size, x, y, escape(text))
}

// upwards writes one line that is read from the bottom to the top and whose middle is (x, y).
func (c *canvas) upwards(class string, size, x, y int, text string) {
	c.add(`<text class="middle %s" font-size="%d" transform="translate(%d %d) rotate(-90)">%s</text>`, class, size, x, y, escape(text))
}

// arrow draws a line through points, each an x and a y, with an arrow head at its end. Its class is
// line, back or rejected.
func (c *canvas) arrow(class string, points ...int) {
	c.add(`<polyline class="%s" marker-end="url(#%[1]s)" points="%s"/>`, class, strings.Trim(fmt.Sprint(points), "[]"))
}

// escape returns text as XML has it.
func escape(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text))
	return b.String()
}
