package report

import "math"

// barsOf returns the series that have a value in a group.
func (p *Plot) barsOf(group int) (series []int) {
	for n, s := range p.Series {
		if group < len(s.Values) && !math.IsNaN(s.Values[group]) {
			series = append(series, n)
		}
	}
	return series
}

func (p *Plot) barsHeight() int {
	height := 0
	for group := range p.Labels {
		height += max(1, len(p.barsOf(group)))*barHeight + groupGap
	}
	return height
}

// drawBars draws the groups below each other, each with a bar for each series that has a value.
func (d *drawing) drawBars(y int) {
	least, most := d.limits()
	if d.Log {
		least = math.Pow(10, math.Floor(math.Log10(least)-0.3)) // so that the shortest bar is visible
	}
	for group, label := range d.Labels {
		bars := d.barsOf(group)
		middle := y + max(1, len(bars))*barHeight/2 + 4
		d.printf(`<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", labelWidth-8, middle, escape(label))
		for _, n := range bars {
			v := d.Series[n].Values[group]
			width := d.barWidth(v, least, most)
			d.printf(`<rect x="%d" y="%d" width="%.1f" height="%d" rx="2" fill="%s"/><text x="%.1f" y="%d">%s</text>`+"\n",
				labelWidth, y+1, width, barHeight-3, d.colors[n], labelWidth+width+5, y+12, format(v))
			y += barHeight
		}
		if len(bars) == 0 {
			y += barHeight
		}
		y += groupGap
	}
}

// barWidth returns how long the bar of a value is.
func (p *Plot) barWidth(v, least, most float64) float64 {
	const room = plotWidth - labelWidth - valueSpan
	switch {
	case !p.drawable(v) || v <= 0:
		return 1
	case p.Log:
		return max(1, room*math.Log(v/least)/math.Log(most/least))
	}
	return max(1, room*v/most)
}
