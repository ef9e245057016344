package main

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm"
)

const aboutCheck = `usage: sqlsecrets check [flags] DSN
       sqlsecrets check [flags] DRIVER DSN

Says why a database does not open by the name of a secret, in the first line, and then what it
found step by step. DSN is what the program gives to sql.Open, DRIVER the name that it gives with
it. Put the DSN into quotation marks. It sends at most one login for each version of the secret, and
shows no value of the secret but host, port and database.

`

const defaultTimeout = 10 * time.Second

func runCheck(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	f := flag.NewFlagSet("check", flag.ContinueOnError)
	name := f.String("driver", "", "the driver's `name`, as sql.Open takes it: secretsmanager-postgres; or an engine's: postgres (default secretsmanager)")
	asJSON := f.Bool("json", false, "print one JSON object")
	timeout := f.Duration("timeout", defaultTimeout, "how long the whole run may take")
	others, code, ok := parseFlags(f, aboutCheck, args, stdout, stderr)
	if !ok {
		return code
	}
	t, err := parseTarget(*name, others)
	if *timeout <= 0 {
		err = errors.New("-timeout has to be more than zero")
	}
	if err != nil {
		_, _ = io.WriteString(stderr, "sqlsecrets check: "+err.Error()+"\n")
		return exitUsage
	}
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, *timeout*9/10) // the rest is for the output
	defer cancel()
	p := newProgress(stderr)
	c := newCheck(t, p.show)
	r := c.run(ctx)
	p.clear()
	r.Took = time.Since(start)
	if *asJSON {
		r.writeJSON(stdout)
	} else {
		r.writeText(stdout, marksFor(stdout))
	}
	return r.ExitCode
}

// A check is one run.
type check struct {
	target   target
	progress func(doing string)
	watch    *observer
	engines  []driver.Engine

	connector connector
	plan      driver.Explanation // as far as it is known
	id        string             // of the secret
	identity  func() (awssm.Identity, error)
	fetch     func() (*secretcache.Secret, error)
	region    string // that was asked; empty if it is not known
	cache     *secretcache.Cache
	secret    *secretcache.Secret
	cancel    context.CancelFunc // ends the Connect call

	mu      sync.Mutex
	logins  []driver.LoginInfo // that were sent, in their order
	pending string             // what is known of a rotation under way, or ""

	conn    *sql.Conn
	failed  *failure // of the Connect call, or nil
	because cause
}

func newCheck(t target, progress func(string)) *check {
	c := &check{target: t, progress: progress, watch: &observer{}, cancel: func() {}}
	c.engines = c.watch.engines()
	return c
}

// trace has the check see the logins. A second login with a version does not take place: a
// data source name with a rotationWindow would make some.
func (c *check) trace() *driver.Trace {
	return &driver.Trace{
		LoginStart: func(_ context.Context, info driver.LoginInfo) {
			c.mu.Lock()
			defer c.mu.Unlock()
			if slices.ContainsFunc(c.logins, func(l driver.LoginInfo) bool { return l.Version == info.Version && l.Rejected }) {
				c.cancel()
			}
		},
		LoginDone: func(ctx context.Context, info driver.LoginInfo) {
			if ctx.Err() != nil && !info.Rejected && info.Err != nil {
				return
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			c.logins = append(c.logins, info)
		},
	}
}

// run takes the steps, in their order, up to the first that fails.
func (c *check) run(ctx context.Context) *result {
	r := &result{}
	for _, s := range steps {
		if r.Cause != "" { // of an earlier step
			r.add(step{Name: s.name, Mark: markNone, Text: "not reached"})
			continue
		}
		c.progress(s.doing)
		text, err := s.take(c, ctx)
		one := step{Name: s.name, Mark: markOK, Text: c.clean(text)}
		switch {
		case err == errUnknown:
			one.Mark = markNone
		case err != nil:
			f, because := c.failed, c.because
			if f == nil {
				f = &failure{c: c, step: s.name, err: err, text: c.clean(err.Error())}
				because = diagnose(f)
			}
			if ctx.Err() == context.Canceled {
				because = interrupted
			}
			r.fail(f, because)
			one.Mark, one.Text = markFailed, strings.TrimPrefix(one.Text+"; "+f.reason(), "; ")
		}
		r.add(one)
	}
	r.finish(c)
	if c.conn != nil {
		_ = c.conn.Close()
	}
	return r
}

// connect makes the Connect call, once.
func (c *check) connect(ctx context.Context) {
	ctx, c.cancel = context.WithCancel(ctx)
	db := sql.OpenDB(c.connector)
	var err error
	if c.conn, err = db.Conn(ctx); err != nil {
		c.findPending(ctx)
		c.failed = &failure{c: c, step: stepTCP, err: err, text: c.clean(err.Error())}
		c.because = diagnose(c.failed)
	}
}

// engine returns the engine of the plan, or nil.
func (c *check) engine() driver.Engine {
	i := slices.IndexFunc(c.engines, func(e driver.Engine) bool { return e.Info().Name == c.plan.Engine })
	if i < 0 {
		return nil
	}
	return c.engines[i]
}

func (c *check) accountLocked(err error) bool {
	e, ok := c.engine().(driver.AccountLocked)
	return ok && e.AccountLocked(err)
}

func (c *check) noDatabase(err error) bool { return c.engine() != nil && c.engine().NoDatabase(err) }

// field returns a field of the plan.
func (c *check) field(name string) driver.Field {
	i := slices.IndexFunc(c.plan.Fields, func(f driver.Field) bool { return f.Name == name })
	if i < 0 {
		return driver.Field{Name: name}
	}
	return c.plan.Fields[i]
}

func (c *check) dialed() bool { d, _, _ := c.watch.last(); return d != nil }

func (c *check) reached() bool { _, _, reached := c.watch.last(); return reached }

func (c *check) dialError() error {
	if d, _, _ := c.watch.last(); d != nil {
		return d.err
	}
	return nil
}

// clean returns a text as a line, without the user's name, which servers quote.
func (c *check) clean(text string) string {
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r < ' ' || 0x7f <= r && r < 0xa0 }), " ")
	if user := c.user(); user != "" && user != c.field("dbname").Value { // which is shown
		name := regexp.QuoteMeta(user)
		text = regexp.MustCompile(`(["'“«`+"`"+`]|\buser[ =]|\brole )`+name+`(["'”»`+"`"+`\s.,;:@]|$)`).ReplaceAllString(text, "${1}[username]${2}")
	}
	return text
}
