package report

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Write writes benchmarks.md into a directory, and the plots into benchmarks/ in it.
func Write(dir string, machine Machine, sections []*Section) error {
	plots := filepath.Join(dir, "benchmarks")
	if err := os.MkdirAll(plots, 0o755); err != nil {
		return err
	}
	colors := paletteOf(sections)
	for _, s := range sections {
		for n := range s.Plots {
			if err := os.WriteFile(filepath.Join(plots, plotFile(s, n)), []byte(s.Plots[n].svg(colors)), 0o644); err != nil {
				return err
			}
		}
	}
	var text strings.Builder
	writeReport(&text, machine, sections)
	return os.WriteFile(filepath.Join(dir, "benchmarks.md"), []byte(text.String()), 0o644)
}

// Print writes the sections without their plots.
func Print(w io.Writer, sections []*Section) {
	writeTargets(w, sections)
	for _, s := range sections {
		s.write(w, false)
	}
}

// plotFile names the file of a section's plot.
func plotFile(s *Section, n int) string { return fmt.Sprintf("%s-%d.svg", s.Name, n+1) }

const introduction = `# Benchmarks

This page shows what the library costs, compared with its peers. ` + "`go -C bench run .`" + ` measures everything and
writes this page.

The subjects of a comparison run in one process. They take turns in slices of some milliseconds, because the
speed of a shared machine changes. "low" is the 10th percentile of the slices, "median" the 50th. Comparisons use
low unless a section says otherwise: low shows what the code costs, and the rest is other work of the machine. A
comparison ends when no median differs by more than 1 % from the median of its first three quarters, or after some
hundred slices.

Times are for one operation. With several goroutines, the elapsed time is divided by the operations of all
goroutines. "allocs" counts heap objects per operation. Secrets have a JSON value of about 150 bytes, each in
memory of its own.

`

func writeReport(w io.Writer, machine Machine, sections []*Section) {
	fmt.Fprint(w, introduction)
	writeMachine(w, machine)
	writeTargets(w, sections)
	writeAbsent(w, sections)
	for _, s := range sections {
		s.write(w, true)
	}
}

func writeMachine(w io.Writer, m Machine) {
	fmt.Fprintf(w, "Measured with: %s.\n", m.String())
	if len(m.Peers) > 0 {
		fmt.Fprint(w, "\nPeers:\n\n")
		for _, p := range m.Peers {
			fmt.Fprintf(w, "- `%s`\n", p)
		}
	}
}

func writeTargets(w io.Writer, sections []*Section) {
	fmt.Fprint(w, "\n## Targets\n\n")
	t := Table{Columns: []string{"what", "target", "measured", ""}}
	for _, s := range sections {
		for _, target := range s.Targets {
			t.Rows = append(t.Rows, []string{target.What, target.Want, target.Got, target.verdict()})
		}
	}
	t.write(w, true)
}

func (t *Target) verdict() string {
	if t.Met {
		return "met"
	}
	return "**missed**: " + t.Missed
}

func writeAbsent(w io.Writer, sections []*Section) {
	var all []string
	for _, s := range sections {
		for _, absent := range s.Absent { // several sections may lack the same peer
			if !slices.Contains(all, absent) {
				all = append(all, absent)
			}
		}
	}
	if len(all) > 0 {
		fmt.Fprintf(w, "\nNot available:\n\n- %s\n", strings.Join(all, "\n- "))
	}
}

func (s *Section) write(w io.Writer, plots bool) {
	fmt.Fprintf(w, "\n## %s\n\n%s\n", s.Title, strings.TrimSpace(s.Text))
	for n := 0; plots && n < len(s.Plots); n++ {
		fmt.Fprintf(w, "\n![%s](benchmarks/%s)\n", s.Plots[n].Title, plotFile(s, n))
	}
	for n := range s.Tables {
		fmt.Fprintln(w)
		if title := s.Tables[n].Title; title != "" {
			fmt.Fprintf(w, "%s:\n\n", title)
		}
		s.Tables[n].write(w, false)
	}
}

// write writes the table. Figures are right-aligned, and words are not.
func (t *Table) write(w io.Writer, words bool) {
	align := "--:|"
	if words {
		align = "---|"
	}
	writeRow(w, t.Columns)
	fmt.Fprint(w, "|---|"+strings.Repeat(align, len(t.Columns)-1)+"\n")
	for _, row := range t.Rows {
		writeRow(w, row)
	}
}

func writeRow(w io.Writer, cells []string) {
	for _, c := range cells {
		fmt.Fprintf(w, "| %s ", strings.ReplaceAll(c, "|", `\|`))
	}
	fmt.Fprint(w, "|\n")
}
