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

Says why a database does not open by the name of a secret. The first line names the cause, the next
lines show each step, and the last line says what to do.

DSN is the data source name that the program gives to sql.Open. Put it in quotation marks. DRIVER is
the driver's name that the program gives to sql.Open. Run the command where the program runs, with
the program's environment.

It sends at most one login for each version of the secret. Of the secret's values, it shows only
host, port and database. The pages that it names, such as docs/tls.md, are in the repository
https://github.com/sqlsecrets/sqlsecrets.

`

const defaultTimeout = 10 * time.Second

func runCheck(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	f := flag.NewFlagSet("check", flag.ContinueOnError)
	name := f.String("driver", "", "the driver's `name`, as for sql.Open, such as secretsmanager-postgres, or the engine's name, such as postgres (default secretsmanager: the data source name or the secret names the engine)")
	asJSON := f.Bool("json", false, "print one JSON object")
	timeout := f.Duration("timeout", defaultTimeout, "how long the whole run may take")
	others, code, ok := parseFlags(f, aboutCheck, args, stdout, stderr)
	if !ok {
		return code
	}
	t, err := parseTarget(*name, others)
	if *timeout <= 0 {
		err = errors.New("-timeout must be more than zero")
	}
	if err != nil {
		_, _ = io.WriteString(stderr, "sqlsecrets check: "+err.Error()+"\n")
		return exitUsage
	}
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, *timeout*9/10) // a tenth is left for the output
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
	plan      driver.Explanation // what is known so far
	id        string             // of the secret
	identity  func() (awssm.Identity, error)
	fetch     func() (*secretcache.Secret, error)
	region    string // where the secret was asked for; empty if unknown
	cache     *secretcache.Cache
	secret    *secretcache.Secret
	cancel    context.CancelFunc // ends the Connect call

	mu      sync.Mutex
	logins  []driver.LoginInfo // the logins that were sent, in order
	pending string             // describes a rotation that is under way; "" if none is known

	conn    *sql.Conn
	failed  *failure // why the Connect call failed; nil if it did not
	because cause
}

func newCheck(t target, progress func(string)) *check {
	c := &check{target: t, progress: progress, watch: &observer{}, cancel: func() {}}
	c.engines = c.watch.engines()
	return c
}

// trace returns a trace that records the logins. It cancels the Connect call before a rejected
// version is sent again. A data source name with a rotationWindow would send some versions again.
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

// run takes the steps in order, and stops at the first that fails.
func (c *check) run(ctx context.Context) *result {
	r := &result{}
	for _, s := range steps {
		if r.Cause != "" { // an earlier step failed
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

// engine returns the plan's engine, or nil if there is none.
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

// field returns a field of the plan. If the plan does not have it, only Name is set.
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

// clean returns text as one line, without the user's name. Servers quote that name in their errors.
func (c *check) clean(text string) string {
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r < ' ' || 0x7f <= r && r < 0xa0 }), " ")
	if user := c.user(); user != "" && user != c.field("dbname").Value { // the database's name is shown
		name := regexp.QuoteMeta(user)
		text = regexp.MustCompile(`(["'“«`+"`"+`]|\buser[ =]|\brole )`+name+`(["'”»`+"`"+`\s.,;:@]|$)`).ReplaceAllString(text, "${1}[username]${2}")
	}
	return text
}
