package fleet_test

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/bench/fleet"
	"github.com/sqlsecrets/sqlsecrets/bench/internal/svg"
	"github.com/sqlsecrets/sqlsecrets/internal/chance"
)

// small is a fleet that takes a second for each scenario.
const small = 30

// These conditions hold in each scenario for any size of the fleet.
func TestScenarios(t *testing.T) {
	defer chance.Seed(1)()
	for _, s := range fleet.Scenarios {
		t.Run(s.Name, func(t *testing.T) {
			var r *fleet.Result
			t.Run("run", func(t *testing.T) { r = fleet.Run(t, s, small) })
			if r == nil {
				t.Fatal("no result")
			}
			if r.Unhealthy > 0 {
				t.Errorf("%d of %d instances are unhealthy at the end", r.Unhealthy, r.N)
			}
			// The pause after a rejected login doubles from 1 s to 5 min, less a quarter. Ten
			// logins may be in flight when the first one is rejected, if the version was accepted
			// within the last second.
			if most := 10 + 9 + int64(r.Measured()/(225*time.Second)); r.MostRejected > most {
				t.Errorf("%d rejected logins of one instance, want %d at most", r.MostRejected, most)
			}
			if s.Name == "rotation" && r.MostCalls > int64(s.Calls)+1 { // one of them may be a renewal at the TTL
				t.Errorf("%d calls of one instance, want %d at most", r.MostCalls, s.Calls)
			}
			if share := r.LastingShare(); s.Share > 0 && share > 0.6 { // 0.43 with a mistyped secret
				t.Errorf("%.0f %% of the quota in the long run, want less than 60 %%", 100*share)
			}
			if s.Recovery > 0 && r.Recovery > s.Recovery {
				t.Errorf("the last instance is healthy after %v, want %v", r.Recovery, s.Recovery)
			}
		})
	}
}

func TestWriteMakesAReportWithPlots(t *testing.T) {
	s := fleet.Named("cold")
	var r *fleet.Result
	t.Run("run", func(t *testing.T) { r = fleet.Run(t, s, small) })
	dir := t.TempDir()
	if err := fleet.Write(dir, [][]*fleet.Result{{r}}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "fleet.md"))
	if err != nil || !strings.Contains(string(text), "## "+s.Title) || !strings.Contains(string(text), "(fleet/cold.svg)") {
		t.Errorf("report: %v\n%s", err, text)
	}
	plot, err := os.Open(filepath.Join(dir, "fleet", "cold.svg"))
	if err != nil {
		t.Fatal(err)
	}
	defer plot.Close()
	for d := xml.NewDecoder(plot); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("the plot is not XML: %v", err)
		}
	}
}

// The texts of a plot neither overlap nor leave the page.
func TestPlotHasRoomForTexts(t *testing.T) {
	texts := regexp.MustCompile(`<text class="(\w*)" x="([\d.]+)" y="([\d.]+)">(.*)</text>`)
	for name, events := range map[string][]fleet.Event{
		"together":   {{At: 3600 * time.Second, Text: "new password"}, {At: 3610 * time.Second, Text: "the next version moves"}},
		"long":       {{At: 3600 * time.Second, Text: "a fault begins, and every tenth instance restarts"}, {At: 3660 * time.Second, Text: "all have restarted"}},
		"at the end": {{At: 3600 * time.Second, Text: "a fault begins"}, {At: 4400 * time.Second, Text: "the fault is over"}},
	} {
		t.Run(name, func(t *testing.T) {
			seconds := make([]fleet.Second, 4500)
			seconds[3601] = fleet.Second{Calls: 10_000, Logins: 10_000, Unhealthy: 100}
			plot := fleet.Plot(&fleet.Result{Scenario: &fleet.Scenario{Title: "A scenario that has a title of two lines"}, N: 1000, Seconds: seconds, From: 3600, Events: events})
			type box struct {
				text             string
				left, right, low float64
			}
			var boxes []box
			for _, found := range texts.FindAllStringSubmatch(plot, -1) {
				x, _ := strconv.ParseFloat(found[2], 64)
				y, _ := strconv.ParseFloat(found[3], 64)
				width := svg.TextWidth(found[4])
				switch found[1] {
				case "middle":
					x -= width / 2
				case "end":
					x -= width
				}
				b := box{found[4], x, x + width, y}
				if b.left < svg.Margin || found[1] != "title" && found[1] != "bold" && b.right > svg.Right {
					t.Errorf("%q leaves the page: from %.0f to %.0f", b.text, b.left, b.right)
				}
				for _, o := range boxes {
					if b.left < o.right && o.left < b.right && math.Abs(b.low-o.low) < 14 {
						t.Errorf("%q and %q overlap", b.text, o.text)
					}
				}
				boxes = append(boxes, b)
			}
			if len(boxes) < 30 {
				t.Errorf("found %d texts", len(boxes))
			}
		})
	}
}
