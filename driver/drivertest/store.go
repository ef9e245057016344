package drivertest

import (
	"context"
	"io"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// A store is a Source with one secret.
type store struct {
	mu     sync.Mutex
	fields map[string]any
	number int      // of the version
	count  int      // of fetches
	past   []string // passwords of former versions
}

func (s *store) Fetch(_ context.Context, id, stage string) (*secretcache.Secret, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count++
	return secretcache.NewSecret(secretcache.Value{
		ID: id, Name: id, VersionID: "v" + strconv.Itoa(s.number+1), Stages: []string{stage}, String: value(s.fields)}), nil
}

// set makes a new version with another value of a field.
func (s *store) set(key string, v any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.past = append(s.past, s.fields["password"].(string))
	s.fields[key] = v
	s.number++
}

func (s *store) fetches() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}

func (s *store) passwords() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string{s.fields["password"].(string)}, s.past...)
}

// A proxy passes connections on and counts them.
type proxy struct {
	port    int
	mu      sync.Mutex
	all     int
	open    int
	changed chan struct{} // closed when open changes, and replaced
}

func newProxy(t *testing.T, address string) *proxy {
	l := listen(t)
	p := &proxy{port: l.Addr().(*net.TCPAddr).Port, changed: make(chan struct{})}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return // closed by the test's end
			}
			server, err := net.Dial("tcp", address)
			if err != nil {
				_ = client.Close()
				continue
			}
			p.count(1)
			go func() { _, _ = io.Copy(client, server); closeWrite(client) }()
			go func() {
				// The client's end is what counts: it closes, or is still open.
				_, _ = io.Copy(server, client)
				_ = server.Close()
				_ = client.Close()
				p.count(-1)
			}()
		}
	}()
	return p
}

// closeWrite passes the server's end on without ending the client's.
func closeWrite(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.CloseWrite()
	}
}

func (p *proxy) count(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n > 0 {
		p.all += n
	}
	p.open += n
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *proxy) dialled() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.all
}

// waitOpen waits until n connections are open, for d at most, and returns how many
// are.
func (p *proxy) waitOpen(n int, d time.Duration) int {
	late := time.After(d)
	for {
		p.mu.Lock()
		open, changed := p.open, p.changed
		p.mu.Unlock()
		if open == n {
			return open
		}
		select {
		case <-changed:
		case <-late:
			return open
		}
	}
}
