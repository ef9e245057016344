package drivertest

import (
	"context"
	"errors"
	"math"
	"net"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/loopback"
)

// silence checks logins to a server that stops answering at some step. When the context ends, the login
// must end too and leave no socket open.
func (s Server) silence(t *testing.T) {
	user := s.newUser(t, Passwords[0])
	relay := s.newRelay(t, math.MaxInt)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := s.connectOnce(ctx, relay, user); err != nil {
		t.Fatalf("Connect: %v", err)
	}
	var wg sync.WaitGroup // at once, because each of them mostly waits
	for step := range relay.steps() + 1 {
		wg.Go(func() { s.silentAt(t, user, step, false) })
		wg.Go(func() { s.silentAt(t, user, step, true) })
	}
	wg.Wait()
}

// silentAt makes the server stop answering after step messages of the client. Every login needs at least
// two answers. The client may not need an answer to its last message.
func (s Server) silentAt(t *testing.T, user string, step int, cancels bool) {
	relay := s.newRelay(t, step)
	limit := 200 * time.Millisecond
	if cancels {
		limit = time.Second // the relay cancels as soon as it is silent; this limit is for slow machines
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	if cancels {
		defer context.AfterFunc(relay.silent, cancel)()
	}
	const patience = 5 * time.Second
	defer time.AfterFunc(patience, relay.cut).Stop() // so that Connect returns in any case
	start := time.Now()
	err := s.connectOnce(ctx, relay, user)
	if took := time.Since(start); took >= patience {
		t.Errorf("silent at step %d: Connect took %v, and its context ended after %v", step, took, limit)
	}
	want := context.DeadlineExceeded // a dialer may notice the deadline before the context ends
	if errors.Is(ctx.Err(), context.Canceled) {
		want = context.Canceled
	}
	if (err != nil || step < 2) && !errors.Is(err, want) {
		t.Errorf("silent at step %d: Connect = %v, want %v in the tree", step, err, want)
	}
	if open := relay.WaitOpen(0, 10*time.Second); open != 0 {
		t.Errorf("silent at step %d: %d connections are still open 10 s later", step, open)
	}
	if err != nil {
		showsNo(t, err, Passwords[0])
	}
}

// connectOnce logs in with the engine through a relay, with TLS if the server has it.
func (s Server) connectOnce(ctx context.Context, r *relay, user string) error {
	ep := driver.Endpoint{Host: s.Host, Port: r.Port, Database: s.Database, Params: map[string]string{}}
	params := s.Params
	if s.TLS != nil && len(s.TLS.Names) > 0 {
		ep.Host, params = s.right(), s.TLS.Verified
	}
	values, err := url.ParseQuery(params)
	if err != nil {
		return err
	}
	for name := range values {
		ep.Params[name] = values.Get(name)
	}
	login, err := s.Engine.Prepare(ep)
	if err != nil {
		return err
	}
	conn, err := login.Connect(ctx, driver.Credentials{User: user, Password: driver.NewPassword(Passwords[0])})
	if err != nil {
		return err
	}
	r.cut() // otherwise Close may wait for an answer
	_ = conn.Close()
	return nil
}

// A relay passes connections on to a server. After a number of messages of the client, it passes on no
// more answers.
type relay struct {
	*loopback.Listener
	to     string
	after  int
	silent context.Context // ends when the relay holds back the first answer
	hold   context.CancelFunc

	mu    sync.Mutex
	most  int // the largest number of messages on one connection
	conns []net.Conn
}

func (s Server) newRelay(t *testing.T, after int) *relay {
	r := &relay{to: net.JoinHostPort(s.Host, strconv.Itoa(s.Port)), after: after}
	r.silent, r.hold = context.WithCancel(context.Background())
	t.Cleanup(r.hold)
	r.Listener = loopback.Listen(t, r.serve, loopbackHosts()...)
	return r
}

// steps returns the largest number of messages that a client has sent on one connection.
func (r *relay) steps() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.most
}

// cut ends all connections.
func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.conns {
		_ = c.Close()
	}
}

// serve returns when the client has closed the connection.
func (r *relay) serve(client net.Conn) {
	server, err := net.Dial("tcp", r.to)
	if err != nil {
		return
	}
	defer server.Close()
	r.mu.Lock()
	r.conns = append(r.conns, client)
	r.mu.Unlock()
	sent, answered := 0, true // all that the client sends before the next answer is one message
	go pass(server, client, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		answered = true
		if sent >= r.after {
			r.hold()
		}
		return sent < r.after
	})
	pass(client, server, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		if answered {
			sent, answered = sent+1, false
		}
		r.most = max(r.most, sent)
		return true
	})
}

// pass copies what allowed permits, until the connection ends.
func pass(from, to net.Conn, allowed func() bool) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && allowed() {
			_, _ = to.Write(buf[:n]) // if to has closed the connection, from will too
		}
		if err != nil {
			return
		}
	}
}
