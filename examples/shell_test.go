//go:build unix

package examples_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A shell runs the blocks of pages.
type shell struct {
	root  string // the checkout
	bin   string // the directory of sqlsecrets
	env   []string
	limit time.Duration // for one page
}

// newShell builds sqlsecrets, and returns a shell that has it on its PATH.
func newShell(t *testing.T) *shell {
	t.Helper()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	s := &shell{root: root, bin: t.TempDir(), limit: time.Minute}
	build := exec.Command("go", "build", "-o", s.bin, "./cmd/sqlsecrets")
	build.Dir, build.Env = root, append(os.Environ(), "GOWORK=off", "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build ./cmd/sqlsecrets: %v\n%s", err, out)
	}
	names := []string{"GOCACHE", "GOMODCACHE", "GOPATH", "GOPROXY", "GOSUMDB"} // the test changes HOME, on which these depend
	out, err := exec.Command("go", append([]string{"env"}, names...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	for i, value := range strings.Split(strings.TrimRight(string(out), "\n"), "\n") {
		s.env = append(s.env, names[i]+"="+value)
	}
	s.env = append(s.env, "GOWORK=off", "LANG=C.UTF-8", "REPO="+root,
		"PATH="+s.bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
	return s
}

// script returns the page with empty lines in place of all lines outside of the blocks. So the shell's
// errors have the line numbers of the page. opening returns the line in place of the fence of block i.
func (p *page) script(opening func(i int) string, blocks ...int) string {
	lines := make([]string, len(p.lines))
	for _, i := range blocks {
		b := p.blocks[i]
		lines[b.line-1] = opening(i)
		copy(lines[b.line:], b.lines)
	}
	return strings.Join(lines, "\n") + "\n"
}

// checkSyntax notes a fault for the first block of sh that the shell cannot parse.
func (s *shell) checkSyntax(p *page) bool {
	for i, b := range p.blocks {
		if b.language != "sh" {
			continue
		}
		cmd := exec.Command("bash", "-n")
		cmd.Stdin = strings.NewReader(p.script(func(int) string { return "" }, i))
		if out, err := cmd.CombinedOutput(); err != nil {
			p.fault(b.line, "the shell does not understand this: %s", bytes.TrimSpace(out))
			return false
		}
	}
	return true
}

// run runs the blocks of sh in one shell, in an empty directory. It compares their output with the
// output in the page.
func (s *shell) run(t *testing.T, p *page) {
	t.Helper()
	var blocks []int
	for i, b := range p.blocks {
		if b.runs() {
			blocks = append(blocks, i)
			if notHere.MatchString(b.text()) {
				return // check has noted that
			}
		}
	}
	if !s.checkSyntax(p) || len(blocks) == 0 {
		return
	}
	work, outputs, home := t.TempDir(), t.TempDir(), t.TempDir()
	output := func(i int) string { return filepath.Join(outputs, strconv.Itoa(i)) }
	opening := func(i int) string { return fmt.Sprintf("exec >%s 2>&1", output(i)) }
	file := filepath.Join(outputs, filepath.Base(p.name))
	if err := os.WriteFile(file, []byte(p.script(opening, blocks...)), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), s.limit)
	defer cancel()
	// The shell writes the number of the line that failed to descriptor 3, which no block redirects.
	failed := filepath.Join(outputs, "failed")
	cmd := exec.CommandContext(ctx, "bash", "-euc", `exec 3>"$1"; trap 'echo $LINENO >&3' ERR; . "$2"`, "bash", failed, file)
	cmd.Dir, cmd.Env = work, append(slices.Clone(s.env), "HOME="+home)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // the processes that it starts are in its group
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	err := cmd.Run()
	group := -1
	if cmd.Process != nil {
		group = -cmd.Process.Pid
	}
	left := stillRuns(group)
	if left {
		_ = syscall.Kill(group, syscall.SIGKILL)
	}
	last := blocks[0] // the last block that began
	for _, i := range blocks {
		printed, missing := os.ReadFile(output(i))
		if missing != nil {
			break
		}
		last = i
		if next := i + 1; err == nil && next < len(p.blocks) && p.blocks[next].comment == "output" {
			p.checkOutput(p.blocks[next], string(printed))
		}
	}
	switch {
	case ctx.Err() != nil:
		p.fault(p.blocks[last].line, "the page takes longer than %v", s.limit)
	case err != nil:
		printed, _ := os.ReadFile(output(last))
		p.fault(failedLine(failed, p.blocks[last].line), "%v; it printed\n%s", err, printed)
	case left:
		p.fault(p.blocks[last].line, "a process that the page started still runs: kill it, and wait for it")
	}
}

// failedLine reads the number of the first line that failed from a file. If there is none, it returns the
// line of the block.
func failedLine(file string, block int) int {
	data, _ := os.ReadFile(file)
	if n, err := strconv.Atoi(regexp.MustCompile(`^\d*`).FindString(string(data))); err == nil {
		return n
	}
	return block
}

// stillRuns reports whether a process group has processes after a second.
func stillRuns(group int) bool {
	if group == -1 {
		return false
	}
	for range 20 {
		if errors.Is(syscall.Kill(group, 0), syscall.ESRCH) {
			return false
		}
		time.Sleep(50 * time.Millisecond)
	}
	return true
}
