//go:build db2shim

package db2_test

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/driver/drivertest"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/accounts"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/loopback"
)

// TestShim runs the conformance suite on a stand-in for the C library that go_ibm_db
// calls.
func TestShim(t *testing.T) {
	s := &server{}
	l := loopback.Listen(t, s.serve)
	suite := suite(l.Host, l.Port)
	suite.SetPassword, suite.Logins = s.SetPassword, s.Logins
	drivertest.Run(t, suite)
}

// A server checks users and passwords for the stand-in library.
type server struct{ accounts.Accounts }

func (s *server) serve(c net.Conn) {
	r := bufio.NewReader(c)
	var line [3]string // database, user, password
	for i := range line {
		text, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line[i] = strings.TrimSuffix(text, "\n")
	}
	answer := "ok\n"
	user := line[1]
	password, ok := s.Password(user)
	switch {
	case s.Check(user, ok && password == line[2]) != accounts.Good:
		answer = "rejected\n"
	case line[0] != "SAMPLE":
		answer = "no database\n"
	default:
		s.Accept(user)
	}
	_, _ = io.WriteString(c, answer)
	_, _ = io.Copy(io.Discard, c)
}
