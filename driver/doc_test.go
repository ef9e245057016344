package driver_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

var update = flag.Bool("update", false, "write what docs/rotation.md shows instead of comparing it")

const rotationPage = "../docs/rotation.md"

// The traces, log records and errors in docs/rotation.md are what a connector really writes.
// This test plays each block of the page that begins with a comment "doc_test.go: <name>".
// With -update it writes the blocks into the page.
func TestRotationPage(t *testing.T) {
	file, err := os.ReadFile(rotationPage)
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{}
	page := pageBlock.ReplaceAllStringFunc(string(file), func(block string) string {
		name := pageBlock.FindStringSubmatch(block)[1]
		if shown[name] {
			t.Errorf("the page has block %q twice", name)
		}
		shown[name] = true
		var text string
		if m, ok := moments[name]; ok {
			text = m.play(t)
		} else if name == "costs" {
			text = costs(t)
		} else {
			t.Errorf("nothing plays the page's block %q", name)
			return block
		}
		return "<!-- doc_test.go: " + name + " -->\n```text\n" + text + "```\n"
	})
	for name := range moments {
		if !shown[name] {
			t.Errorf("the page does not show %q", name)
		}
	}
	if t.Failed() {
		return
	}
	if *update {
		if err := os.WriteFile(rotationPage, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if page == string(file) {
		return
	}
	got, want := strings.Split(string(file), "\n"), strings.Split(page, "\n")
	for i := range want {
		if i >= len(got) || got[i] != want[i] {
			t.Fatalf("%s:%d does not say what the connector does; see the difference that go test -run TestRotationPage -update ./driver makes\nwant %s",
				rotationPage, i+1, want[i])
		}
	}
	t.Fatalf("%s has more lines than it should", rotationPage)
}

var pageBlock = regexp.MustCompile("(?s)<!-- doc_test.go: ([a-z ]+) -->\n```text\n(.*?)```\n")

// A moment is a block of the page.
type moment struct {
	alike  []situation // the connector writes the same in all of them
	each   []situation // or: the block shows them one after the other, with titles
	errors bool        // the block shows errors only; those of each without their beginnings
	whole  bool        // the block shows log records with all of their attributes
}

// A situation is a connector and what happens to it.
type situation struct {
	title string
	dsn   string // empty: the default of newBench
	play  func(p *play)
}

func (m moment) play(t *testing.T) string {
	t.Helper()
	var text strings.Builder
	for i, s := range m.alike {
		switch got := s.run(t, m); {
		case i == 0:
			text.WriteString(got)
		case got != text.String():
			t.Errorf("%s:\n%s\nunlike %s:\n%s", s.title, got, m.alike[0].title, text.String())
		}
	}
	for _, s := range m.each {
		text.WriteString(s.title + ":\n" + s.run(t, m))
	}
	return text.String()
}

func (s situation) run(t *testing.T, m moment) (text string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := newPlay(t, s, m)
		s.play(p)
		text = strings.Join(p.lines, "\n") + "\n"
	})
	return text
}

// A play runs a connector and writes down its events.
type play struct {
	*bench
	t       *testing.T
	m       moment
	lines   []string
	on      bool // events are written into lines
	start   time.Time
	eventAt time.Time // time of the event on the last line
	last    cost
}

// A cost is what a Connect call cost.
type cost struct {
	logins, rejected, calls int
	took                    time.Duration
	err                     error
}

// How long a call of Secrets Manager and a login take in a play.
const (
	callTime  = 20 * time.Millisecond
	loginTime = 10 * time.Millisecond
)

func newPlay(t *testing.T, s situation, m moment) *play {
	p := &play{t: t, m: m}
	p.bench = newBench(t, func(b *bench, dsn *string) {
		b.store.latency = callTime
		b.db.latency = func(int) time.Duration { return loginTime }
		b.db.fault = mysqlText(b.db)
		b.opts.Logger = slog.New(slog.NewTextHandler(p, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey || !m.whole && a.Key != slog.LevelKey && a.Key != slog.MessageKey {
				return slog.Attr{}
			}
			return a
		}}))
		b.opts.Trace = &driver.Trace{
			SecretDone: func(_ context.Context, i driver.SecretInfo) {
				p.event("SecretDone ", "Stage", i.Stage, "Version", i.Version, "Err", i.Err)
			},
			RefreshDone: func(_ context.Context, i driver.RefreshInfo) {
				p.event("RefreshDone", "Stage", i.Stage, "Rejected", i.Rejected, "Version", i.Version, "Err", i.Err)
			},
			LoginDone: func(_ context.Context, i driver.LoginInfo) {
				p.event("LoginDone  ", "Stage", i.Stage, "Version", i.Version, "Rejected", i.Rejected, "Err", i.Err)
			},
			ConnectDone: func(_ context.Context, i driver.ConnectInfo) {
				err := error(nil)
				if i.Err != nil {
					err = errors.New("…") // it is written out below
				}
				p.event("ConnectDone", "Version", i.Version, "Logins", i.Logins, "Err", err)
			},
		}
		if s.dsn != "" {
			*dsn = s.dsn
		}
	})
	return p
}

// mysqlText returns a fault whose rejections have the text that MySQL sends.
func mysqlText(db *database) func(context.Context, *login) error {
	return func(_ context.Context, l *login) error {
		db.mu.Lock()
		password, ok := db.users[l.user]
		db.mu.Unlock()
		if ok && password == l.password {
			return nil
		}
		return &vendorText{fmt.Sprintf("Error 1045 (28000): Access denied for user '%s'@'10.0.0.7' (using password: YES)", l.user),
			&vendorError{Code: codeRejected}}
	}
}

// A vendorText is a vendorError with another text.
type vendorText struct {
	text string
	*vendorError
}

func (e *vendorText) Error() string { return e.text }
func (e *vendorText) Unwrap() error { return e.vendorError }

// event writes a trace event. It leaves out fields that are zero.
func (p *play) event(name string, fields ...any) {
	if !p.on || p.m.errors || p.m.whole {
		return
	}
	line := fmt.Sprintf("%5s %s", stable(time.Since(p.start)), name)
	for i := 0; i < len(fields); i += 2 {
		switch v := fields[i+1].(type) {
		case nil:
		case string:
			if v != "" {
				line += fmt.Sprintf(" %s=%s", fields[i], v)
			}
		case bool:
			if v {
				line += fmt.Sprintf(" %s", fields[i])
			}
		default:
			text := fmt.Sprint(v)
			if len(text) > 80 { // the error has it whole
				head, _, _ := strings.Cut(text, ": ")
				text = head + ": …"
			}
			line += fmt.Sprintf(" %s=%s", fields[i], text)
		}
	}
	p.say("%s", line)
	p.eventAt = time.Now()
}

// Write writes a log record: on the line of the event that happened at the same time, or on a
// line of its own.
func (p *play) Write(record []byte) (int, error) {
	if !p.on || p.m.errors {
		return len(record), nil
	}
	text := strings.TrimSpace(strings.TrimPrefix(string(record), "level="))
	switch {
	case p.m.whole:
		p.say("%s", text)
	case p.eventAt.Equal(time.Now()):
		last := &p.lines[len(p.lines)-1]
		*last = fmt.Sprintf("%-58s  %s", *last, text)
	default:
		p.say("%5s %-52s  %s", stable(time.Since(p.start)), "", text)
	}
	return len(record), nil
}

// stable returns a duration as text. It rounds durations that have a random part.
func stable(d time.Duration) string {
	if d > 700*time.Millisecond { // shorter ones have no random part
		d = d.Round(time.Second)
	}
	return d.String()
}

var durationText = regexp.MustCompile(`\b\d+(\.\d+)?(µs|ms|s)\b`)

// say writes one line.
func (p *play) say(format string, args ...any) {
	p.lines = append(p.lines, fmt.Sprintf(format, args...))
}

// connect connects once and writes down what happens.
func (p *play) connect(ctx context.Context) {
	p.t.Helper()
	p.watch(func() error { return p.ping(ctx) })
	if err := p.last.err; err != nil && !p.m.whole {
		text := durationText.ReplaceAllStringFunc(err.Error(), func(s string) string {
			d, err := time.ParseDuration(s)
			if err != nil {
				p.t.Fatal(err)
			}
			return stable(d)
		})
		if p.m.errors && p.m.each != nil {
			p.say("    %s", firstRejection.ReplaceAllString(text, "… "))
			return
		}
		head, attempts, ok := strings.Cut(text, "credentials rejected: ")
		if ok {
			const indent = "\n        "
			text = head + "credentials rejected:" + indent + strings.ReplaceAll(attempts, "; ", ";"+indent)
		}
		p.say("error %s", text)
	}
}

// firstRejection is the beginning of an error that a block with several errors leaves out.
var firstRejection = regexp.MustCompile(
	`^connect .* credentials rejected: db\.example\.com:3306 rejected AWSCURRENT version v1: Error 1045 \(28000\): [^;]*; `)

// watch runs f and writes down what happens.
func (p *play) watch(f func() error) {
	all, rejected := p.db.count()
	calls := p.store.calls("")
	p.on, p.start = true, time.Now()
	err := f()
	p.last = cost{took: time.Since(p.start), err: err}
	synctest.Wait()
	p.on = false
	p.last.logins, p.last.rejected = p.db.count()
	p.last.logins -= all
	p.last.rejected -= rejected
	p.last.calls = p.store.calls("") - calls
}

// warm connects once and writes nothing down.
func (p *play) warm() {
	p.t.Helper()
	p.mustPing(p.t)
}

func (p *play) first()  { p.warm(); p.next() }
func (p *play) next()   { p.t.Helper(); p.connect(p.t.Context()) }
func (p *play) create() { p.store.put("v2", credentials("app", "pw2"), "AWSPENDING") }
func (p *play) set()    { p.db.set("app", "pw2") }
func (p *play) finish() { p.store.move("AWSCURRENT", "v2") }

func (p *play) createClone() { p.store.put("v2", credentials("app_clone", "pw2"), "AWSPENDING") }
func (p *play) setClone()    { p.db.set("app_clone", "pw2") }

func sourceError(text string, kind error) func(context.Context, string) error {
	return func(context.Context, string) error {
		if kind == nil {
			return fmt.Errorf(`GetSecretValue "prod/app" in us-west-2: %s`, text)
		}
		return fmt.Errorf(`GetSecretValue "prod/app" in us-west-2: %w: %s`, kind, text)
	}
}

// Errors as the package awssm returns them.
var (
	throttles = sourceError("ThrottlingException: Rate exceeded (3 attempts)", secretcache.ErrThrottled)
	breaks    = sourceError("InternalServiceError: An error occurred on the server side. (3 attempts)", nil)
	denies    = sourceError("AccessDeniedException: User: … is not authorized to perform: secretsmanager:GetSecretValue …", secretcache.ErrAccessDenied)
)

func hangs(ctx context.Context, stage string) error {
	if err := wait(ctx, 6*time.Second); err != nil { // 3 attempts of 2 s
		return err
	}
	return sourceError("no answer within 2s (3 attempts)", nil)(ctx, stage)
}

var moments = map[string]moment{
	"undisturbed": {alike: []situation{
		{"before create", "", func(p *play) { p.first() }},
		{"created, or failed at set", "", func(p *play) { p.warm(); p.create(); p.next() }},
		{"alternating users: created", "", func(p *play) { p.warm(); p.createClone(); p.next() }},
		{"alternating users: set, tested, or failed at test", "", func(p *play) { p.warm(); p.createClone(); p.setClone(); p.next() }},
		{"alternating users: finished", "", func(p *play) { p.warm(); p.createClone(); p.setClone(); p.finish(); p.next() }},
	}},
	"window": {alike: []situation{
		{"set, tested, or failed at test", "", func(p *play) {
			p.warm()
			p.create()
			p.set()
			p.next()
			p.say("later Connect calls")
			p.next()
		}},
		{"and finished after the first Connect call", "", func(p *play) {
			p.warm()
			p.create()
			p.set()
			p.next()
			p.finish()
			p.say("later Connect calls")
			p.next()
		}},
	}},
	"finished": {alike: []situation{
		{"finished", "", func(p *play) { p.warm(); p.create(); p.set(); p.finish(); p.next() }},
		{"rolled back, in which v1 and v2 are exchanged", "", func(p *play) {
			p.rollBack()
			for i, line := range p.lines {
				p.lines[i] = strings.NewReplacer("v1", "v2", "v2", "v1").Replace(line)
			}
		}},
	}},
	"record": {whole: true, alike: []situation{
		{"finished", "", func(p *play) { p.warm(); p.create(); p.set(); p.finish(); p.next() }},
	}},
	"empty pending": {alike: []situation{
		{"the database changed, AWSPENDING is on an empty version", "", func(p *play) { p.emptyPending(); p.next() }},
	}},
	"error": {errors: true, alike: []situation{
		{"the next Connect call", "", func(p *play) {
			p.emptyPending()
			if err := p.ping(p.t.Context()); !errors.Is(err, driver.ErrAuthFailed) {
				p.t.Fatalf("got %v", err)
			}
			time.Sleep(200 * time.Millisecond)
			p.soon(500 * time.Millisecond)
		}},
	}},
	"nothing works": {errors: true, each: []situation{
		{"AWSPENDING is gone", "", func(p *play) { p.warm(); p.set(); p.next() }},
		{"AWSPENDING has another password than the database", "", func(p *play) { p.warm(); p.create(); p.db.set("app", "pw3"); p.next() }},
		{"the server that was dialled does not have the new user yet, without fallback=AWSPREVIOUS", "", func(p *play) { p.replicaLag() }},
	}},
	"replica lag": {alike: []situation{
		{"replica lag", "prod/app?fallback=AWSPREVIOUS", func(p *play) { p.replicaLag() }},
	}},
	"rotation window": {alike: []situation{
		{"finishes within the window", "prod/app?fallback=none&rotationWindow=1m", func(p *play) {
			p.warm()
			p.create()
			p.set()
			time.AfterFunc(500*time.Millisecond, p.finish)
			p.next()
		}},
	}},
	"rotation window over": {errors: true, each: []situation{
		{"the rotation window is over", "prod/app?fallback=none&rotationWindow=1s", func(p *play) { p.warm(); p.set(); p.next() }},
		{"the caller's context ends first", "prod/app?fallback=none&rotationWindow=1m", func(p *play) {
			p.warm()
			p.set()
			p.soon(500 * time.Millisecond)
		}},
	}},
	"secrets manager fails": {errors: true, each: []situation{
		failing("Secrets Manager throttles", throttles),
		failing("Secrets Manager answers 5xx", breaks),
		failing("Secrets Manager denies access", denies),
		failing("Secrets Manager does not answer", hangs),
		{"Secrets Manager does not answer, and the caller has a deadline of 2 s", "", func(p *play) {
			p.warm()
			p.create()
			p.set()
			p.finish()
			p.store.setFault(hangs)
			p.soon(2 * time.Second)
		}},
		{"between set and finish, Secrets Manager denies access to AWSPENDING", "", func(p *play) {
			p.warm()
			p.create()
			p.set()
			p.store.setFault(func(ctx context.Context, stage string) error {
				if stage != "AWSPENDING" {
					return nil
				}
				return denies(ctx, stage)
			})
			p.next()
		}},
		{"Secrets Manager throttles a process that has just started, which has nothing to log in with", "", func(p *play) {
			p.store.setFault(throttles)
			p.next()
		}},
	}},
	"moved": {each: []situation{
		{"the host has no address any more", "", func(p *play) {
			p.warm()
			p.db.setFault(gone(errMoved))
			p.store.put("v2", movedSecret, "AWSCURRENT")
			time.Sleep(2 * time.Minute)
			p.next()
		}},
		{"the database is down", "", func(p *play) {
			p.warm()
			p.db.setFault(gone(errDown))
			p.next()
		}},
	}},
	"superseded": {alike: []situation{
		{"Invalidate, and the pool makes no login", "prod/app?closeSuperseded=true", func(p *play) {
			c, err := p.Connect(p.t.Context())
			if err != nil {
				p.t.Fatal(err)
			}
			checkout := func() { _ = c.(*conn).ResetSession(p.t.Context()) }
			p.rotate("v2", "pw2")
			p.cache.Invalidate("prod/app")
			checkout() // has the secret fetched
			time.Sleep(2 * time.Second)
			p.watch(func() error { checkout(); time.Sleep(time.Second); checkout(); return nil })
		}},
	}},
}

func (p *play) finishBetweenRefreshes() {
	p.warm()
	p.create()
	p.set()
	time.AfterFunc(loginTime+callTime*3/4, p.finish) // AWSCURRENT is read before, AWSPENDING after
	p.next()
}

// ownTurn makes a Connect call as a user whose password has been rotated again. The cache has not
// seen the previous rotation.
func (p *play) ownTurn() {
	p.warm()
	p.createClone()
	p.setClone()
	p.finish()
	p.store.put("v3", credentials("app", "pw3"), "AWSPENDING")
	p.db.set("app", "pw3")
	p.next()
}

// emptyPending is a rotation that failed, and a database whose password is in no version.
func (p *play) emptyPending() {
	p.warm()
	p.store.put("v2", "", "AWSPENDING")
	p.set()
}

func (p *play) rollBack() {
	p.warm()
	p.rotate("v2", "pw2")
	p.warm() // with v2
	p.db.set("app", "pw1")
	p.store.move("AWSCURRENT", "v1")
	p.next()
}

// replicaLag makes a Connect call to a server that does not have the clone yet.
func (p *play) replicaLag() {
	p.createClone()
	p.finish()
	p.next()
}

// soon connects with a deadline.
func (p *play) soon(d time.Duration) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), d)
	defer cancel()
	p.connect(ctx)
}

var (
	errMoved = &net.DNSError{Err: "no such host", Name: "db.example.com", IsNotFound: true}
	errDown  = &net.OpError{Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(10, 0, 0, 5), Port: 3306}, Err: errors.New("connect: connection refused")}
)

// failing is a rotation that has finished, a cache that still has the old version, and a Secrets
// Manager that fails.
func failing(title string, fault func(context.Context, string) error) situation {
	return situation{title, "", func(p *play) {
		p.warm()
		p.create()
		p.set()
		p.finish()
		p.store.setFault(fault)
		p.next()
	}}
}

// costs is the page's table of what a Connect call costs.
func costs(t *testing.T) string {
	t.Helper()
	var out strings.Builder
	fmt.Fprintf(&out, "%-56s%7s%10s%7s%7s\n", "", "logins", "rejected", "calls", "time")
	for _, s := range []situation{
		{"no rotation, or before set", "", func(p *play) { p.first() }},
		{"single user, set to finish: first Connect call", "", func(p *play) { p.warm(); p.create(); p.set(); p.next() }},
		{"single user, set to finish: later Connect calls", "", func(p *play) { p.warm(); p.create(); p.set(); p.warm(); p.next() }},
		{"single user, finished: first Connect call since set", "", func(p *play) { p.warm(); p.create(); p.set(); p.finish(); p.next() }},
		{"single user, finished: later Connect calls", "", func(p *play) {
			p.warm()
			p.create()
			p.set()
			p.warm()
			p.finish()
			p.next()
		}},
		{"single user, finishes between two refreshes of a call", "", func(p *play) { p.finishBetweenRefreshes() }},
		{"alternating users", "", func(p *play) { p.warm(); p.createClone(); p.setClone(); p.finish(); p.next() }},
		{"alternating users, cached before the previous rotation", "", func(p *play) { p.ownTurn() }},
		{"rolled back, in the secret and the database", "", func(p *play) { p.rollBack() }},
		{"failed at test, then the old password was put back", "", func(p *play) {
			p.warm()
			p.create()
			p.set()
			p.warm()
			p.db.set("app", "pw1")
			time.Sleep(time.Minute)
			p.next()
		}},
		{"replica lag, fallback=AWSPREVIOUS: first Connect call", "prod/app?fallback=AWSPREVIOUS", func(p *play) { p.replicaLag() }},
		{"nothing works: first Connect call", "", func(p *play) { p.warm(); p.set(); p.next() }},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := newPlay(t, s, moment{})
			s.play(p)
			result := ""
			if p.last.err != nil {
				result = "  fails"
			}
			fmt.Fprintf(&out, "%-56s%7d%10d%7d%7s%s\n", s.title, p.last.logins, p.last.rejected, p.last.calls, stable(p.last.took), result)
		})
	}
	return out.String()
}

// The page's bounds on logins and calls are right for a secret whose password stays wrong.
func TestRotationPageNothingWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlay(t, situation{}, moment{errors: true})
		p.warm()
		p.set()
		for hour := range 2 {
			p.watch(func() error {
				for start := time.Now(); time.Since(start) < time.Hour; time.Sleep(time.Second) {
					ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
					_ = p.ping(ctx)
					cancel()
				}
				return nil
			})
			most := []int{24, 16}[hour]
			if p.last.rejected > most || p.last.calls > 340 {
				t.Errorf("in hour %d %d rejected logins and %d calls, want %d and 340 at most", hour, p.last.rejected, p.last.calls, most)
			}
		}
	})
}
