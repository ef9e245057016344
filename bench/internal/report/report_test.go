package report_test

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/bench/internal/report"
)

var nan = math.NaN()

var plots = map[string]report.Plot{
	"bars": {Title: "hit <&> miss", Unit: "ns", Labels: []string{"1 key", "1,000 keys", "nothing"}, Series: []report.Series{
		{Name: "a & b", Values: report.Values{12.34, nan, nan}}, {Name: "sqlsecrets", Values: report.Values{5, 12345, nan}}}},
	"logarithmic bars": {Title: "x", Log: true, Labels: []string{"g"}, Series: []report.Series{
		{Name: "sqlsecrets", Values: report.Values{0}}, {Name: "b", Values: report.Values{1e6}}}},
	"lines": {Title: "x", X: []float64{1e3, 1e4, 1e6}, XUnit: "secrets", Series: []report.Series{
		{Name: "b", Values: report.Values{1, nan, 3}}, {Name: "sqlsecrets", Values: report.Values{2.5, 2.5, 3}}}},
	"two of sqlsecrets": {Title: "x", Labels: []string{"g"}, Series: []report.Series{
		{Name: "b", Values: report.Values{1}}, {Name: "sqlsecrets", Values: report.Values{2}}, {Name: "sqlsecrets, again", Values: report.Values{3}}}},
	"logarithmic lines": {Title: "x", Log: true, X: []float64{1, 10}, Series: []report.Series{{Name: "b", Values: report.Values{0, 3e7}}}},
	"nothing":           {Title: "x"},
	"lines of nothing":  {Title: "x", X: []float64{1, 10}, Series: []report.Series{{Name: "b", Values: report.Values{nan, nan}}}},
}

func TestPlotsAreXML(t *testing.T) {
	for name, p := range plots {
		t.Run(name, func(t *testing.T) {
			svg := p.SVG()
			for d := xml.NewDecoder(strings.NewReader(svg)); ; {
				if _, err := d.Token(); errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					t.Fatalf("%v in\n%s", err, svg)
				}
			}
			for _, bad := range []string{"NaN", "Inf", `width="-`, `height="-`} {
				if strings.Contains(svg, bad) {
					t.Errorf("the plot has %q:\n%s", bad, svg)
				}
			}
			if !strings.Contains(svg, "prefers-color-scheme: dark") {
				t.Error("the plot has no colors for dark mode")
			}
		})
	}
}

func TestPlotsWriteValues(t *testing.T) {
	p := plots["bars"]
	for _, want := range []string{">12.3<", ">5<", ">12,345<", ">1,000 keys<", "hit &lt;&amp;&gt; miss, in\u00a0ns"} {
		if svg := p.SVG(); !strings.Contains(svg, want) {
			t.Errorf("the plot has no %q:\n%s", want, svg)
		}
	}
}

func TestSqlsecretsHasOneColor(t *testing.T) {
	legend := regexp.MustCompile(`class="(?:bar|line) (c\d)".*\n<text .*>(sqlsecrets|sqlsecrets, again|b)<`)
	for _, name := range []string{"bars", "logarithmic bars", "lines", "two of sqlsecrets"} {
		p := plots[name]
		found := legend.FindAllStringSubmatch(p.SVG(), -1)
		for _, key := range found {
			if first := key[2] == "sqlsecrets"; first != (key[1] == "c0") {
				t.Errorf("%s: the color of %s is %s", name, key[2], key[1])
			}
		}
		if len(found) == 0 {
			t.Errorf("%s: the legend has no sqlsecrets", name)
		}
	}
}

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	err := report.Write(dir, report.Machine{CPU: "Z80", Cores: 2, OS: "linux/amd64", Go: "go1.26", Date: "2026-11-30", Peers: []string{"example.com/p@v1.2.3"}},
		[]*report.Section{{
			Name: "hit", Title: "Cache hit", Text: "A text.\n",
			Tables: []report.Table{{Title: "Times", Columns: []string{"who", "ns"}, Rows: [][]string{{"a|b", "1"}}}},
			Plots:  []report.Plot{plots["bars"], plots["lines"]},
			Targets: []report.Target{
				{What: "hit", Want: "5 ns", Got: "4 ns", Met: true},
				{What: "miss", Want: "5 ns", Got: "6 ns", Missed: "by 20 %, because of a lock"},
			},
			Absent: []string{"a server: not here"},
		}})
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "benchmarks.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Measured with: Z80, 2 cores, linux/amd64, go1.26, on 2026-11-30.",
		"- `example.com/p@v1.2.3`",
		"| what | target | measured |  |\n|---|---|---|---|\n| hit | 5 ns | 4 ns | met |\n| miss | 5 ns | 6 ns | **missed**: by 20 %, because of a lock |\n",
		"- a server: not here",
		"## Cache hit\n\nA text.\n\n![hit <&> miss](benchmarks/hit-1.svg)\n\n![x](benchmarks/hit-2.svg)\n",
		"Times:\n\n| who | ns |\n|---|--:|\n| a\\|b | 1 |\n",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the report has no %q:\n%s", want, text)
		}
	}
	for _, file := range []string{"hit-1.svg", "hit-2.svg"} {
		if _, err := os.Stat(filepath.Join(dir, "benchmarks", file)); err != nil {
			t.Error(err)
		}
	}
}

func TestPrintHasNoPlots(t *testing.T) {
	var b strings.Builder
	report.Print(&b, []*report.Section{{Name: "hit", Title: "Cache hit", Plots: []report.Plot{plots["bars"]}}})
	if text := b.String(); !strings.Contains(text, "## Cache hit") || strings.Contains(text, "svg") {
		t.Errorf("printed is:\n%s", text)
	}
}

func TestSectionsSurviveJSON(t *testing.T) {
	in := report.Section{Name: "x", Plots: []report.Plot{plots["bars"]}}
	data, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var out report.Section
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	values := out.Plots[0].Series[0].Values
	if len(values) != 3 || values[0] != 12.34 || !math.IsNaN(values[1]) {
		t.Errorf("values are %v", values)
	}
	if in, out := in.Plots[0].Labels, out.Plots[0].Labels; !reflect.DeepEqual(in, out) {
		t.Errorf("labels are %v, want %v", out, in)
	}
}

func TestThisMachineNamesPeers(t *testing.T) {
	m := report.ThisMachine([]string{"example.com/none"})
	if m.Cores == 0 || m.Go == "" || m.OS == "" || m.Date == "" || len(m.Peers) != 0 {
		t.Errorf("the machine is %+v", m)
	}
}
