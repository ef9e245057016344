package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/bench/internal/report"
	"github.com/sqlsecrets/sqlsecrets/bench/internal/turns"
	"github.com/sqlsecrets/sqlsecrets/secretcache/agent/agenttest"
)

// programStart measures whole processes, from their start to the first row of a query.
func programStart(ctx context.Context, quick bool) (*report.Section, error) {
	s := &report.Section{Name: "start", Title: "Program start to first row",
		Text: "A process starts, opens a real PostgreSQL, prints one row and ends. The Secrets Manager and its Agent are stand-ins " +
			"on this machine, over HTTP without TLS and with static credentials. Real ones take longer. *By hand* the program " +
			"reads the secret before it opens the database. CPU is the user time plus the system time of the process.",
		Absent: []string{noWrapper}}
	dir, err := os.MkdirTemp("", "start")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	err = onServers(ctx, s, products[:1], func(tb testing.TB, p *product) {
		processes := newProcesses(tb, newDatabase(tb, p), &builder{dir: dir})
		subjects := make([]turns.Subject, len(processes))
		for i, p := range processes {
			subjects[i] = turns.Subject{Name: p.name, Op: func(n int) {
				for range n {
					p.run(tb)
				}
			}}
		}
		results := inTurns("processes", subjects, oneByOne(quick, 60))
		t := report.Table{Columns: []string{"", "median", "10th percentile", "90th percentile", "CPU, median"}}
		for i, r := range results {
			t.Rows = append(t.Rows, []string{r.Name, took(r.Median), took(r.Low), took(r.High), took(float64(processes[i].medianCPU()))})
		}
		s.Tables = []report.Table{t}
		s.Plots = []report.Plot{bars("From the start of a process to its end", "ms", 1e6, results)}
	})
	return s, err
}

// A process is a program with its arguments.
type process struct {
	name string
	path string
	args []string
	env  []string
	cpu  []time.Duration // of each run
}

func newProcesses(tb testing.TB, d *database, b *builder) []*process {
	ctx := tb.Context()
	const query = "SELECT 1"
	fixed := fmt.Sprintf("host=%s port=%d dbname=%s sslmode=disable", d.Host, d.Port, d.Database)
	byHand := []string{d.id, "pgx", fixed + " user=$username password='$password'", query}
	sm := agenttest.NewServer(tb, d.sm.Source())
	all := []*process{
		{name: "a process that does nothing", path: b.build(ctx, "nothing")},
		{name: "pgx with a fixed password", path: b.build(ctx, "open", "pgx"),
			args: []string{"pgx", fmt.Sprintf("%s user=%s password='%s'", fixed, d.user, d.password), query}},
		{name: "pgx and the AWS SDK by hand", path: b.build(ctx, "byhand", "pgx"), args: byHand, env: d.awsEnv()},
		{name: "pgx and AWS's caching client by hand", path: b.build(ctx, "byhand", "pgx", "awscaching"), args: byHand, env: d.awsEnv()},
		{name: "sqlsecrets", path: b.build(ctx, "open", "postgres"), args: []string{"secretsmanager-postgres", d.dsn(), query}, env: d.awsEnv()},
		{name: "sqlsecrets, the agent alone", path: b.build(ctx, "source", "pgxv5", "agent"), args: []string{sm.URL(), d.dsn(), query},
			env: []string{"AWS_TOKEN=" + sm.Token()}},
		{name: "sqlsecrets, files alone", path: b.build(ctx, "source", "pgxv5", "file"), args: []string{d.secretFile(tb), d.dsn(), query}},
	}
	if b.err != nil {
		tb.Fatal(b.err)
	}
	return all
}

// run runs the process once.
func (p *process) run(tb testing.TB) {
	cmd := exec.CommandContext(tb.Context(), p.path, p.args...)
	cmd.Env = p.env
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("%s: %v\n%s", p.name, err, out)
	}
	p.cpu = append(p.cpu, cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime())
}

func (p *process) medianCPU() time.Duration {
	slices.Sort(p.cpu)
	return p.cpu[len(p.cpu)/2]
}

// secretFile puts the secret into a directory of files, and returns the directory.
func (d *database) secretFile(tb testing.TB) string {
	dir := tb.TempDir()
	name := strings.ReplaceAll(d.id, "/", "_") // the name that package file looks for
	if err := os.WriteFile(filepath.Join(dir, name), []byte(d.secret(d.password)), 0o600); err != nil {
		tb.Fatal(err)
	}
	return dir
}
