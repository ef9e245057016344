package main

import "strings"

const (
	rotationWidth, rotationHeight = 720, 790
	stepsTop, lanesTop            = 78, 156
	laneHeight                    = 74
)

// A step is a part of the timeline. The rotation function has four.
type step struct {
	name  string
	width int
	notes []string // what the step does
}

var steps = []step{
	{"before", 114, nil},
	{"create", 112, []string{"makes v2,", "with pw2"}},
	{"set", 152, []string{"gives pw2 to", "the database"}},
	{"test", 130, []string{"logs in", "with v2"}},
	{"finish", 172, []string{"AWSCURRENT", "moves to v2"}},
}

// A lane is something that changes in a rotation: a row of docs/rotation.md.
type lane struct {
	name, note string
	states     []string // one for each step
}

// lanes are those of a single user. A test compares the first three with docs/rotation.md.
var lanes = []lane{
	{"AWSCURRENT", "is the current version of the secret",
		[]string{"v1", "v1", "v1", "v1", "v2"}},
	{"AWSPENDING", "is the version that the rotation prepares",
		[]string{"none or v1", "v2", "v2", "v2", "none or v2"}},
	{"database", "accepts this password",
		[]string{"pw1", "pw1", "pw2", "pw2", "pw2"}},
	{"open connections", "are not touched",
		[]string{"go on", "go on", "go on", "go on", "go on"}},
	{"new connections", "",
		[]string{"v1 works", "v1 works", "v2 works", "v2 works", "v2 works"}},
}

// rotation draws a rotation of a single user as a timeline.
func rotation() string {
	c := newCanvas(rotationWidth, rotationHeight, "A rotation of a single user",
		"Version v1 of the secret has password pw1, version v2 has pw2. "+
			"Create makes v2, and AWSPENDING names it. Set gives pw2 to the database, which now rejects pw1. "+
			"Test logs in with v2. Finish moves AWSCURRENT from v1 to v2. "+
			"Open connections go on all the time. New connections log in with v1 until set. "+
			"The first Connect call after set is rejected. sqlsecrets refreshes AWSCURRENT, which is still v1, and AWSPENDING, which is v2. The login with v2 is accepted. "+
			"Later Connect calls log in with v2 at once. If no Connect call was made between set and finish, the first one after finish is rejected if v1 is cached. "+
			"sqlsecrets refreshes AWSCURRENT, which is v2, and the login with v2 is accepted.")
	c.text("bold", 20, 20, 36, "A rotation of a single user")
	c.text("", 17, 20, 62, "A rotation function changes the password in four steps.")
	set, finish := stepX(2), stepX(4)
	c.rect("band", set, stepsTop, finish-set, lanesTop+laneHeight*len(lanes)-stepsTop)
	for n, s := range steps {
		x := stepX(n)
		if n > 0 {
			c.add(`<line class="grid" x1="%d" x2="%[1]d" y1="%d" y2="%d"/>`, x, stepsTop, stepsTop+66)
		}
		c.text("bold", 18, x+6, stepsTop+20, s.name)
		for line, note := range s.notes {
			c.text("", 16, x+6, stepsTop+42+20*line, note)
		}
	}
	for n, l := range lanes {
		c.lane(l, lanesTop+laneHeight*n)
	}
	last := lanesTop + laneHeight*(len(lanes)-1)
	c.mark(set, last+14, "1")
	c.mark(finish, last+14, "2")

	y := last + laneHeight + 30
	c.rect("band", 22, y-20, 28, 28)
	c.text("", 17, 60, y, "Here the database rejects AWSCURRENT and accepts AWSPENDING.")
	y += 40
	c.story(y, "1", "The first Connect call after set",
		"The database rejects v1. sqlsecrets refreshes AWSCURRENT: still v1.",
		"It refreshes AWSPENDING: v2. It logs in with v2: accepted.")
	c.story(y+84, "2", "If 1 did not happen: the first Connect call after finish",
		"If v1 is cached, the database rejects it. sqlsecrets refreshes",
		"AWSCURRENT: v2. It logs in with v2: accepted.")
	c.text("", 17, 60, y+168, "All other Connect calls log in at once.")
	return c.end()
}

// stepX returns where a step begins.
func stepX(n int) int {
	x := 20
	for _, s := range steps[:n] {
		x += s.width
	}
	return x
}

// lane draws a lane: a bar for each state, as long as it lasts.
func (c *canvas) lane(l lane, y int) {
	c.add(`<text font-size="17" x="24" y="%d"><tspan class="bold">%s</tspan> %s</text>`, y+20, escape(l.name), escape(l.note))
	for from := 0; from < len(steps); {
		to, state := from+1, l.states[from]
		for to < len(steps) && l.states[to] == state {
			to++
		}
		x, width := stepX(from)+2, stepX(to)-stepX(from)-4
		c.rect(class(state), x, y+30, width, 36)
		c.text("middle", 17, x+width/2, y+54, withPassword(state))
		from = to
	}
}

// withPassword says which password a version has.
func withPassword(state string) string {
	if number, ok := strings.CutPrefix(state, "v"); ok && len(number) == 1 {
		return state + ", with pw" + number
	}
	return state
}

// class returns the style of a state.
func class(state string) string {
	switch {
	case strings.HasPrefix(state, "none"):
		return "none"
	case strings.Contains(state, "1"):
		return "old"
	case strings.Contains(state, "2"):
		return "new"
	}
	return "plain"
}

// mark draws a number in a circle.
func (c *canvas) mark(x, y int, number string) {
	c.add(`<circle class="mark" cx="%d" cy="%d" r="14"/>`, x, y)
	c.text("bold middle rejection", 17, x, y+6, number)
}

// story tells what happens at a mark.
func (c *canvas) story(y int, number, when string, lines ...string) {
	c.mark(36, y-6, number)
	c.text("bold", 17, 60, y, when)
	for n, line := range lines {
		c.text("", 17, 60, y+24*(n+1), line)
	}
}
