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
	port int
	mu   sync.Mutex
	all  int
	open int
	idle chan struct{} // closed when open is zero; replaced by the next connection
}

func newProxy(t *testing.T, address string) *proxy {
	l := listen(t)
	p := &proxy{port: l.Addr().(*net.TCPAddr).Port, idle: make(chan struct{})}
	close(p.idle)
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
			p.opened()
			go func() { _, _ = io.Copy(client, server); closeWrite(client) }()
			go func() {
				// The client's end is what counts: it closes, or is still open.
				_, _ = io.Copy(server, client)
				_ = server.Close()
				_ = client.Close()
				p.closed()
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

func (p *proxy) opened() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all++
	if p.open++; p.open == 1 {
		p.idle = make(chan struct{})
	}
}

func (p *proxy) closed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open--; p.open == 0 {
		close(p.idle)
	}
}

func (p *proxy) dialled() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.all
}

// waitClosed waits until every connection is closed, for d at most, and returns
// how many are not.
func (p *proxy) waitClosed(d time.Duration) int {
	p.mu.Lock()
	idle := p.idle
	p.mu.Unlock()
	select {
	case <-idle:
	case <-time.After(d):
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open
}
