package main

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/sqlsecrets/sqlsecrets/bench/internal/report"
)

// mostGrowth is the limit in percent: a program may be this much larger than the same program with
// the vendor's driver and the AWS SDK.
const mostGrowth = 13

// linked has the build tags of bench/programs that link the drivers of an engine.
var linked = []struct{ name, vendor, ours, source string }{
	{"postgres", "pgx", "postgres", "pgxv5"},
	{"mysql", "gomysql", "mysql", "gosqldriver"},
	{"mariadb", "gomysql", "mariadb", "gosqldriver"},
	{"sqlserver", "mssql", "sqlserver", "mssqldb"},
	{"oracle", "goora", "oracle", "goora"},
	{"redshift", "pgx", "redshift", ""},
	{"db2, without IBM's driver", "", "db2", ""},
}

// programSizes measures programs that open a database, built as for production.
func programSizes(ctx context.Context, quick bool) (*report.Section, error) {
	s := &report.Section{Name: "size", Title: "Size of a program",
		Text: "A program opens a database and prints one row. It is built with `-trimpath -ldflags \"-s -w\"`. *By hand* it reads the " +
			"secret with the AWS SDK and opens the vendor's driver. With the library it has all sources. With the agent or files " +
			"alone, and without `engines/<db>`, it links no AWS SDK. Redshift and Db2 have no engine without `engines/<db>`. The " +
			"vendor's driver for Db2 needs cgo, so no program has it."}
	engines := linked
	if quick {
		engines = engines[:1]
	}
	dir, err := os.MkdirTemp("", "sizes")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	b := builder{dir: dir}
	t := report.Table{Columns: []string{"engine", "vendor's driver", "by hand", "sqlsecrets", "more than by hand", "agent alone", "files alone"}}
	p := report.Plot{Title: "Size of a program", Unit: "MB"}
	for _, name := range t.Columns[1:] {
		if name != "more than by hand" {
			p.Series = append(p.Series, report.Series{Name: name})
		}
	}
	for _, e := range engines {
		vendor, byHand, ours := b.size(ctx, "open", e.vendor), b.size(ctx, "byhand", e.vendor), b.size(ctx, "open", e.ours)
		agent, file := math.NaN(), math.NaN()
		if e.source != "" {
			agent, file = b.size(ctx, "source", e.source, "agent"), b.size(ctx, "source", e.source, "file")
		}
		growth := 100 * (ours/byHand - 1)
		t.Rows = append(t.Rows, []string{e.name, megabytes(vendor), megabytes(byHand), megabytes(ours), fmt.Sprintf("%+.1f %%", growth), megabytes(agent), megabytes(file)})
		p.Labels = append(p.Labels, e.name)
		for i, v := range []float64{vendor, byHand, ours, agent, file} {
			p.Series[i].Values = append(p.Series[i].Values, v)
		}
		s.Targets = append(s.Targets, growthTarget(e.name, growth))
	}
	s.Tables, s.Plots = []report.Table{t}, []report.Plot{p}
	return s, b.err
}

func growthTarget(engine string, growth float64) report.Target {
	t := report.Target{What: "size of a program, " + engine, Want: fmt.Sprintf("at most %d %% more than by hand", mostGrowth),
		Got: fmt.Sprintf("%+.1f %%", growth), Met: growth <= mostGrowth}
	if !t.Met {
		t.Missed = fmt.Sprintf("%.1f %% more than that", growth-mostGrowth)
	}
	return t
}

func megabytes(mb float64) string {
	if math.IsNaN(mb) {
		return "–"
	}
	return fmt.Sprintf("%.1f MB", mb)
}

// A builder builds each of the programs of bench/programs once.
type builder struct {
	dir string
	err error // the first error; nothing is built after it
}

// build returns the path of a program with these build tags.
func (b *builder) build(ctx context.Context, program string, tags ...string) string {
	path := filepath.Join(b.dir, strings.Join(append([]string{program}, tags...), "-"))
	if _, err := os.Stat(path); err == nil || b.err != nil {
		return path
	}
	fmt.Fprintf(os.Stderr, "   go build %s\n", filepath.Base(path))
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w",
		"-tags="+strings.Join(tags, ","), "-o", path, "./programs/"+program)
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		b.err = fmt.Errorf("build %s: %w\n%s", filepath.Base(path), err, out)
	}
	return path
}

// size returns the size of a program in MB.
func (b *builder) size(ctx context.Context, program string, tags ...string) float64 {
	info, err := os.Stat(b.build(ctx, program, tags...))
	if err != nil {
		b.err = cmp.Or(b.err, err)
		return math.NaN()
	}
	return float64(info.Size()) / 1e6
}
