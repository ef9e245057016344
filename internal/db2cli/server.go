package db2cli

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"slices"
	"sync"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/internal/loopback"
)

// A Server is what [Driver] dials. It checks the user and the password, and counts.
type Server struct {
	*loopback.Listener // from Start on

	TLS       *tls.Config // nil: it has none, else it has nothing else
	Databases []string

	mu        sync.Mutex
	revoked   map[string]bool
	passwords map[string]string
	accepted  map[string]int
	rejected  map[string]int
}

// Start has the server listen on hosts, 127.0.0.1 if there are none, and returns it. It
// ends with the test.
func (s *Server) Start(tb testing.TB, hosts ...string) *Server {
	tb.Helper()
	s.passwords, s.accepted, s.rejected, s.revoked = map[string]string{}, map[string]int{}, map[string]int{}, map[string]bool{}
	s.Listener = loopback.Listen(tb, s.serve, hosts...)
	return s
}

func (s *Server) serve(c net.Conn) {
	if s.TLS != nil {
		c = tls.Server(c, s.TLS)
	}
	var login []string
	if json.NewDecoder(c).Decode(&login) != nil || len(login) != 3 {
		return
	}
	_, _ = io.WriteString(c, s.decide(login[0], login[1], login[2]))
	_, _ = io.Copy(io.Discard, c)
}

func (s *Server) decide(database, user, password string) (answer string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if want, ok := s.passwords[user]; !ok || want != password {
		s.rejected[user]++
		return "rejected\n"
	}
	if s.revoked[user] {
		return "revoked\n"
	}
	if !slices.Contains(s.Databases, database) {
		return "no database\n"
	}
	s.accepted[user]++
	return "ok\n"
}

// SetPassword gives a user a password, and makes the user if there is none.
func (s *Server) SetPassword(_ testing.TB, user, password string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.passwords[user] = password
}

// Revoke takes away a user's right to log in.
func (s *Server) Revoke(_ testing.TB, user string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revoked[user] = true
}

// Logins returns how many logins of a user were accepted, and rejected for the password.
func (s *Server) Logins(_ testing.TB, user string) (accepted, rejected int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accepted[user], s.rejected[user]
}
