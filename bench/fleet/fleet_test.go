package fleet_test

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/bench/fleet"
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
