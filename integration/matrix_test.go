package integration_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/integration/rotation"
	"github.com/sqlsecrets/sqlsecrets/integration/testdb"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm/awssmtest"
)

// A smState is a state of Secrets Manager during a Connect call.
type smState struct {
	name  string
	begin func(v *env, r *relay)
	err   func(error) bool // reports what the error of a Connect call contains besides ErrAuthFailed
}

var smStates = []smState{
	{"healthy", func(*env, *relay) {}, nil},
	{"throttling", func(v *env, _ *relay) { v.sm.Fail(awssmtest.Throttle) }, is(secretcache.ErrThrottled)},
	{"5xx", func(v *env, _ *relay) { v.sm.Fail(awssmtest.ServerError) }, says("InternalServiceError")},
	{"hanging", func(v *env, _ *relay) { v.sm.Fail(awssmtest.Hang) }, is(context.DeadlineExceeded)},
	{"unreachable", func(_ *env, r *relay) { r.close() }, is(syscall.ECONNREFUSED)},
	{"denying", func(v *env, _ *relay) { v.sm.Fail(awssmtest.Denied) }, is(secretcache.ErrAccessDenied)},
}

func is(target error) func(error) bool { return func(err error) bool { return errors.Is(err, target) } }
func says(s string) func(error) bool {
	return func(err error) bool { return strings.Contains(err.Error(), s) }
}

// An outcome is the result of a Connect call.
type outcome int

const (
	atOnce       outcome = iota // works with the first login, without asking Secrets Manager
	oneRefresh                  // works after one refresh: GetSecretValue for AWSCURRENT, one more login
	twoRefreshes                // the same, and one GetSecretValue for AWSPENDING
	fails                       // ErrAuthFailed, with the reason why no refresh succeeded
)

func (o outcome) String() string {
	return [...]string{"at once", "AWSCURRENT", "AWSPENDING", "fails"}[o]
}

// cost returns the calls of GetSecretValue and the logins of an outcome if Secrets Manager answers.
// A Connect call that fails sends one login, the rejected one.
func (o outcome) cost() (calls, logins int) {
	return [...]int{0, 1, 2, -1}[o], [...]int{1, 2, 2, 1}[o]
}

// A row has the expected outcome at a moment of a rotation, in each of smStates.
type row struct {
	moment string
	want   [6]outcome
	reason string
}

var (
	always  = [6]outcome{}
	current = [6]outcome{oneRefresh, fails, fails, fails, fails, fails}
	pending = [6]outcome{twoRefreshes, fails, fails, fails, fails, fails}
)

// matrix has the outcomes of a Connect call of a process that has read the secret before.
var matrix = []struct {
	name     string
	strategy rotation.Strategy
	before   int // rotations since the process read the secret
	rows     []row
}{
	{"single user", rotation.SingleUser, 0, []row{
		{"before create", always, "the cached password is the database's"},
		{"created", always, "the pending password is in the secret only"},
		{"set", pending, "the database has the pending password, AWSCURRENT still the old one"},
		{"tested", pending, "as set"},
		{"finished", current, "the cached version has become AWSPREVIOUS"},
		{"failed at set", always, "the database was not changed"},
		{"failed at test", pending, "the database was changed, and AWSPENDING kept for the next try"},
		{"rolled back", current, "database and AWSCURRENT are back at the version before the cached one"},
	}},
	{"alternating users", rotation.AlternatingUsers, 0, []row{
		{"before create", always, "the cached user is current"},
		{"created", always, "the cached user is current"},
		{"set", always, "the other user's password was changed"},
		{"tested", always, "the other user's password was changed"},
		{"finished", always, "the cached user is valid until its next turn"},
		{"failed at set", always, "nothing was changed"},
		{"failed at test", always, "the other user's password was changed"},
		{"rolled back", always, "both users are valid"},
	}},
	// The process has cached the user whose turn it is now.
	{"alternating users, one rotation later", rotation.AlternatingUsers, 1, []row{
		{"before create", always, "the cached user is valid until its turn"},
		{"created", always, "the pending password is in the secret only"},
		{"set", current, "the cached user's password was changed; AWSCURRENT is the other user"},
		{"tested", current, "as set"},
		{"finished", current, "AWSCURRENT is the cached user with another password"},
		{"failed at set", always, "the database was not changed"},
		{"failed at test", current, "as set"},
		{"rolled back", always, "the process has read the version that was rolled back; both users are valid"},
	}},
}

var errStop = errors.New("the test stops the rotation here")

// reach takes the rotation to a moment.
func (v *env) reach(t *testing.T, moment string, read func()) {
	t.Helper()
	stopBefore := func(step string, tries int) {
		t.Helper()
		for range tries {
			err := v.rotateWith(t.Context(), &rotation.Function{Before: func(_ context.Context, e awssmtest.RotationEvent) error {
				if e.Step == step {
					return errStop
				}
				return nil
			}})
			if !errors.Is(err, errStop) {
				t.Fatalf("rotation: %v, want it to stop before %s", err, step)
			}
		}
	}
	finish := func() {
		t.Helper()
		if err := v.rotate(t.Context(), noPause); err != nil {
			t.Fatal(err)
		}
	}
	switch moment {
	case "before create":
	case "created":
		stopBefore(awssmtest.SetSecret, 1)
	case "set":
		stopBefore(awssmtest.TestSecret, 1)
	case "tested":
		stopBefore(awssmtest.FinishSecret, 1)
	case "finished":
		finish()
	case "failed at set":
		stopBefore(awssmtest.SetSecret, 2) // the second attempt stops, too
	case "failed at test":
		stopBefore(awssmtest.TestSecret, 2)
	case "rolled back":
		_, password := v.credentials()
		finish()
		read()
		if v.strategy == rotation.SingleUser {
			if err := v.SetPassword(t.Context(), v.user, password); err != nil {
				t.Fatal(err)
			}
		}
		v.sm.MoveStage(v.id, "AWSCURRENT", v.sm.Stages(v.id)["AWSPREVIOUS"])
	default:
		t.Fatalf("no moment %q", moment)
	}
}

// TestFaultMatrix makes one Connect call at each moment of a rotation and in each state of Secrets
// Manager, and again when Secrets Manager is healthy. With -short each moment meets two of the
// states.
func TestFaultMatrix(t *testing.T) {
	const limit = 3 * time.Second // deadline of a Connect call
	const together = 12           // cells at the same time; they mostly wait
	forEach(t, func(t *testing.T, e *engine) {
		var mu sync.Mutex
		results := map[string]string{}
		order := []string{}
		slots := make(chan bool, together)
		var wg sync.WaitGroup
		rows := 0
		for _, m := range matrix {
			for _, r := range m.rows {
				rows++
				for i, state := range smStates {
					if testing.Short() && i != 0 && i != 1+rows%(len(smStates)-1) {
						continue
					}
					name := m.name + "/" + r.moment + "/" + state.name
					order = append(order, name)
					slots <- true
					wg.Go(func() {
						defer func() { <-slots }()
						t.Run(name, func(t *testing.T) {
							got := cell(t, e, m.strategy, m.before, r, state, r.want[i], limit)
							mu.Lock()
							defer mu.Unlock()
							results[name] = got
						})
					})
				}
			}
		}
		wg.Wait()
		text := ""
		for _, name := range order {
			text += fmt.Sprintf("%-66s %s\n", name, results[name])
		}
		t.Logf("moment and state of Secrets Manager; result of a Connect call:\n%s", text)
	})
}

func cell(t *testing.T, e *engine, strategy rotation.Strategy, before int, r row, state smState, want outcome, limit time.Duration) string {
	v := newEnvFor(t, e, testdb.Options{}, strategy)
	url, source := v.front(t)
	relay := newRelay(t, url)
	cache := secretcache.New(source(relay.url()), nil)
	t.Cleanup(func() { _ = cache.Close() })
	w, trace := watch(t)
	c := v.connector(t, e.noTLS, &driver.Options{Secrets: cache, Trace: trace})
	read := func() {
		cache.Invalidate(v.id)
		if err := connect(t.Context(), c); err != nil {
			t.Fatalf("Connect without a rotation: %v", err)
		}
	}
	read()
	for range before {
		if err := v.rotate(t.Context(), noPause); err != nil {
			t.Fatal(err)
		}
	}
	v.reach(t, r.moment, read)

	state.begin(v, relay)
	calls, logins := v.fetches(), loginsOf(w)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	start := time.Now()
	err := connect(ctx, c)
	took := time.Since(start)
	calls, logins = v.fetches()-calls, loginsOf(w)-logins

	wantCalls, wantLogins := want.cost()
	switch {
	case want != fails && err != nil:
		t.Errorf("%v; want a connection, because %s", err, r.reason)
	case want != fails && calls != wantCalls:
		t.Errorf("%d calls of GetSecretValue, want %d (%v), because %s", calls, wantCalls, want, r.reason)
	case want == fails && (!errors.Is(err, driver.ErrAuthFailed) || !suiteSource().tells(state, err) || !e.vendorError(err)):
		t.Errorf("got %v; want ErrAuthFailed with the server's error and Secrets Manager's (%s), because %s", err, state.name, r.reason)
	}
	if calls > maxCalls {
		t.Errorf("%d calls of GetSecretValue, want %d at most", calls, maxCalls)
	}
	if logins != wantLogins {
		t.Errorf("%d logins, want %d (%v), because %s", logins, wantLogins, want, r.reason)
	}
	if took > limit+500*time.Millisecond {
		t.Errorf("took %v with a deadline of %v", took, limit)
	}

	// When Secrets Manager is healthy again, one refresh is enough.
	v.sm.Heal()
	relay.open()
	start = time.Now()
	for err := connect(t.Context(), c); err != nil; err = connect(t.Context(), c) {
		if time.Since(start) > 5*time.Second {
			t.Fatalf("after %v of a healthy Secrets Manager: %v", time.Since(start), err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	recovered := time.Since(start)
	return fmt.Sprintf("%-10v %7v  %d calls %d logins, recovered after %v", want, took.Round(time.Millisecond), calls, logins, recovered.Round(time.Millisecond))
}

func loginsOf(w *watcher) int { n, _ := w.counts(); return n }

// A relay forwards connections, and can be closed.
type relay struct {
	t      testing.TB
	addr   string // its own
	target string

	mu    sync.Mutex
	ln    net.Listener // nil if it is closed
	conns map[net.Conn]bool
}

func newRelay(t testing.TB, target string) *relay {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	// No other process must get the port while the relay is closed.
	port, err := testdb.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{t: t, addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), target: u.Host, conns: map[net.Conn]bool{}}
	r.open()
	t.Cleanup(r.close)
	return r
}

func (r *relay) url() string { return "http://" + r.addr }

// open listens, unless the relay listens already.
func (r *relay) open() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ln != nil {
		return
	}
	ln, err := net.Listen("tcp", r.addr)
	if err != nil {
		r.t.Fatal(err)
	}
	r.ln = ln
	go func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", r.target)
			if err != nil {
				_ = in.Close()
				continue
			}
			r.mu.Lock()
			r.conns[in], r.conns[out] = true, true
			r.mu.Unlock()
			go pass(in, out)
			go pass(out, in)
		}
	}()
}

func pass(to, from net.Conn) {
	_, _ = io.Copy(to, from)
	_ = to.Close()
	_ = from.Close()
}

// close ends all connections and accepts no new ones.
func (r *relay) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ln == nil {
		return
	}
	_ = r.ln.Close()
	r.ln = nil
	for c := range r.conns {
		_ = c.Close()
	}
	clear(r.conns)
}
