package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// A mark says how a step ended.
type mark string

const (
	markOK     mark = "ok"
	markFailed mark = "failed"
	markNone   mark = "none" // not reached, or no answer
)

// A step is the outcome of one step.
type step struct {
	Name string `json:"name"`
	Mark mark   `json:"mark"`
	Text string `json:"text"`
}

// A result is what check prints.
type result struct {
	Connected bool          `json:"connected"`
	Cause     string        `json:"cause,omitempty"` // one of the causes in docs/command.md; empty if connected
	Summary   string        `json:"summary"`         // the first line
	Advice    string        `json:"advice,omitempty"`
	ExitCode  int           `json:"exitCode"`
	Took      time.Duration `json:"-"`
	Steps     []step        `json:"steps"`
}

func (r *result) add(s step) { r.Steps = append(r.Steps, s) }

// fail records that the run failed, and why.
func (r *result) fail(f *failure, because cause) {
	r.Cause, r.ExitCode, r.Advice = because.code, because.exit, because.advice
	r.Summary = "not connected: " + f.c.clean(because.says(f))
}

// finish sets the first line if the run has connected.
func (r *result) finish(c *check) {
	if r.Cause != "" {
		return
	}
	r.Connected = true
	r.Summary = "connected to " + c.plan.Engine + " at " + c.plan.Address
	if n := len(c.logins); n > 0 && c.logins[n-1].Stage != c.plan.Stage {
		r.Summary += fmt.Sprintf(" with %s; the server rejected %s, so a rotation is under way", c.logins[n-1].Stage, c.plan.Stage)
		r.Advice = "Nothing, if the rotation ends soon: until then, programs log in with that version. If the rotation does not end, read the log of the rotation function."
	}
}

// marks says how each mark is printed.
type marks map[mark]string

var (
	symbols = marks{markOK: "✓", markFailed: "✗", markNone: "–"}
	words   = marks{markOK: "ok  ", markFailed: "FAIL", markNone: "-   "}
)

// marksFor returns symbols for a terminal with UTF-8, and words otherwise.
func marksFor(w io.Writer) marks {
	locale := ""
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if locale = os.Getenv(name); locale != "" {
			break
		}
	}
	locale = strings.ReplaceAll(strings.ToUpper(locale), "-", "")
	if isTerminal(w) && strings.Contains(locale, "UTF8") {
		return symbols
	}
	return words
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func (r *result) writeText(w io.Writer, m marks) {
	first := markOK
	if !r.Connected {
		first = markFailed
	}
	fmt.Fprintf(w, "%s %s\n", m[first], r.Summary)
	for _, s := range r.Steps {
		fmt.Fprintf(w, "  %s %-16s %s\n", m[s.Mark], s.Name, s.Text)
	}
	if r.Advice != "" {
		fmt.Fprintf(w, "What to do: %s\n", r.Advice)
	}
}

func (r *result) writeJSON(w io.Writer) {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	_ = e.Encode(struct {
		*result
		Milliseconds int64 `json:"milliseconds"`
	}{r, r.Took.Milliseconds()})
}

// A progress shows on a terminal what the command is waiting for. With a nil w it shows nothing.
type progress struct{ w io.Writer }

func newProgress(stderr io.Writer) *progress {
	if !isTerminal(stderr) {
		return &progress{}
	}
	return &progress{stderr}
}

func (p *progress) show(doing string) {
	if p.w != nil && doing != "" {
		fmt.Fprintf(p.w, "\r\x1b[K%s …", doing)
	}
}

func (p *progress) clear() {
	if p.w != nil {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
