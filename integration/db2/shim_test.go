//go:build db2shim

package db2_test

import (
	"bufio"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/driver/drivertest"
)

// TestShim runs the conformance suite on a stand-in for the C library that go_ibm_db
// calls.
func TestShim(t *testing.T) {
	s := &server{passwords: map[string]string{}, accepted: map[string]int{}, rejected: map[string]int{}}
	suite := suite("127.0.0.1", s.start(t))
	suite.SetPassword, suite.Logins = s.setPassword, s.logins
	drivertest.Run(t, suite)
}

// A server checks users and passwords for the stand-in.
type server struct {
	mu                 sync.Mutex
	passwords          map[string]string
	accepted, rejected map[string]int
}

func (s *server) start(t *testing.T) (port int) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go s.serve(c)
		}
	}()
	return l.Addr().(*net.TCPAddr).Port
}

func (s *server) serve(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	var line [3]string // database, user, password
	for i := range line {
		text, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line[i] = strings.TrimSuffix(text, "\n")
	}
	s.mu.Lock()
	answer := "ok\n"
	switch want, ok := s.passwords[line[1]]; {
	case !ok || want != line[2]:
		s.rejected[line[1]]++
		answer = "rejected\n"
	case line[0] != "SAMPLE":
		answer = "no database\n"
	default:
		s.accepted[line[1]]++
	}
	s.mu.Unlock()
	_, _ = io.WriteString(c, answer)
	_, _ = io.Copy(io.Discard, c)
}

func (s *server) setPassword(_ testing.TB, user, password string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.passwords[user] = password
}

func (s *server) logins(_ testing.TB, user string) (accepted, rejected int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accepted[user], s.rejected[user]
}
