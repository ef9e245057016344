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

// silence checks that a context that ends also ends a login to a server that says nothing
// more, at whatever step, and leaves no socket open.
func (s Server) silence(t *testing.T) {
	user := s.newUser(t, Passwords[0])
	relay := s.newRelay(t, math.MaxInt)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := s.connectOnce(ctx, relay, user); err != nil {
		t.Fatalf("Connect: %v", err)
	}
	var wg sync.WaitGroup // they do nothing but wait
	for step := range relay.steps() + 1 {
		wg.Go(func() { s.silentAt(t, user, step, false) })
		wg.Go(func() { s.silentAt(t, user, step, true) })
	}
	wg.Wait()
}

// silentAt has the server fall silent after some messages of the client. Two at least are
// answered in every login; after the last one the client may do without an answer.
func (s Server) silentAt(t *testing.T, user string, step int, cancels bool) {
	relay := s.newRelay(t, step)
	limit := 200 * time.Millisecond
	if cancels {
		limit = time.Second // the relay cancels, as soon as it is silent, unless the machine is slow
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	if cancels {
		defer context.AfterFunc(relay.silent, cancel)()
	}
	const patience = 5 * time.Second
	defer time.AfterFunc(patience, relay.cut).Stop() // or Connect would never return
	start := time.Now()
	err := s.connectOnce(ctx, relay, user)
	if took := time.Since(start); took >= patience {
		t.Errorf("silent at step %d: Connect took %v, and its context ended after %v", step, took, limit)
	}
	want := context.DeadlineExceeded // which a dialer may notice before the context does
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

// connectOnce has the engine log in through a relay, with TLS if the server has it.
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
	r.cut() // or Close may wait for an answer
	_ = conn.Close()
	return nil
}

// A relay passes connections on, and holds back what the server says after a number of
// messages of the client.
type relay struct {
	*loopback.Listener
	to     string
	after  int
	silent context.Context // ends with the first that is held back
	hold   context.CancelFunc

	mu    sync.Mutex
	most  int // messages on a connection
	conns []net.Conn
}

func (s Server) newRelay(t *testing.T, after int) *relay {
	r := &relay{to: net.JoinHostPort(s.Host, strconv.Itoa(s.Port)), after: after}
	r.silent, r.hold = context.WithCancel(context.Background())
	t.Cleanup(r.hold)
	r.Listener = loopback.Listen(t, r.serve, loopbackHosts()...)
	return r
}

// steps is how many messages a client sent on one connection, at most.
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

// serve returns when the client has hung up.
func (r *relay) serve(client net.Conn) {
	server, err := net.Dial("tcp", r.to)
	if err != nil {
		return
	}
	defer server.Close()
	r.mu.Lock()
	r.conns = append(r.conns, client)
	r.mu.Unlock()
	sent, answered := 0, true // what comes before the next answer is one message
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

// pass copies what it is allowed to, until the end.
func pass(from, to net.Conn, allowed func() bool) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && allowed() {
			_, _ = to.Write(buf[:n]) // if it has hung up, so will the other
		}
		if err != nil {
			return
		}
	}
}
