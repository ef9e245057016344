//go:build db2shim

// Package db2_test runs the conformance suite through IBM's go_ibm_db, on a stand-in for
// the C library that it calls. The script "run" builds that; IBM's own cannot be had here.
// It is a module of its own since go_ibm_db does not compile without those headers.
package db2_test

import (
	"bufio"
	"database/sql"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	_ "github.com/ibmdb/go_ibm_db"

	"github.com/sqlsecrets/sqlsecrets/driver/drivertest"
	"github.com/sqlsecrets/sqlsecrets/engines/db2"
)

func TestConformance(t *testing.T) {
	s := &server{passwords: map[string]string{}, accepted: map[string]int{}, rejected: map[string]int{}}
	port := s.start(t)
	drivertest.Run(t, drivertest.Server{
		Engine: db2.Engine{}, Host: "127.0.0.1", Port: port, Database: "SAMPLE",
		Query: "VALUES 1", ConnType: "*go_ibm_db.Conn", SetPassword: s.setPassword, Logins: s.logins,
		Refuses: func(p string) bool {
			return strings.Contains(p, ";") || strings.TrimSpace(p) != p || strings.ContainsFunc(p, func(r rune) bool { return r > 0x7e }) || p[0] == '\''
		},
	})
}

func TestRegistered(t *testing.T) {
	if _, err := sql.Open(db2.DefaultDriver, ""); err != nil {
		t.Errorf("go_ibm_db does not register as %q: %v", db2.DefaultDriver, err)
	}
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
