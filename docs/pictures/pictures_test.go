package main

import (
	"encoding/xml"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The SVG files are what the program draws, well-formed, and small.
func TestPicturesAreUpToDate(t *testing.T) {
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if strings.HasSuffix(f.Name(), ".svg") && pictures[f.Name()] == nil {
			t.Errorf("nothing draws %s", f.Name())
		}
	}
	for name, draw := range pictures {
		want := draw()
		got, err := os.ReadFile(name)
		if err != nil || string(got) != want {
			t.Errorf("%s is not what its description says (%v): run \"go run ./docs/pictures\" in the repository's root", name, err)
		}
		if again := draw(); again != want {
			t.Errorf("%s is drawn differently each time", name)
		}
		if len(want) > 60_000 {
			t.Errorf("%s has %d bytes", name, len(want))
		}
		d := xml.NewDecoder(strings.NewReader(want))
		for err == nil {
			_, err = d.Token()
		}
		if err != io.EOF {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The picture of a rotation shows the same as the timeline of a single user in docs/rotation.md.
func TestRotationAgreesWithTheGuide(t *testing.T) {
	guide, err := os.ReadFile("../rotation.md")
	if err != nil {
		t.Fatal(err)
	}
	timeline := regexp.MustCompile(`(?is)\*\*single user\*\*.*\*\*alternating users\*\*`).FindString(string(guide))
	columns := regexp.MustCompile(`\s+\|\s+|\s{2,}`)
	rows := map[string][]string{}
	for line := range strings.Lines(timeline) {
		cells := columns.Split(strings.TrimSpace(line), -1)
		rows[cells[0]] = cells[1:]
	}
	var names []string
	for _, s := range steps[1:] {
		names = append(names, s.name)
	}
	if got := rows[steps[0].name]; !slices.Equal(got, names) {
		t.Errorf("the steps after %q are %q, and %q in docs/rotation.md", steps[0].name, names, got)
	}
	for _, l := range lanes[:3] {
		if got := rows[l.name]; !slices.Equal(got, l.states) {
			t.Errorf("%s is %q, and %q in docs/rotation.md", l.name, l.states, got)
		}
	}
}
