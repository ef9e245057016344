package db2cli

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"slices"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/internal/standin/accounts"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/loopback"
)

// A Server is the server that a [Driver] dials. It checks the user and the password, and counts
// logins.
type Server struct {
	*loopback.Listener // set by Start
	accounts.Accounts

	TLS       *tls.Config // nil: it has no TLS; otherwise it has only TLS
	Databases []string
}

// Start makes the server listen on hosts, or on 127.0.0.1 if there are none, and returns the
// server. The server ends with the test.
func (s *Server) Start(tb testing.TB, hosts ...string) *Server {
	tb.Helper()
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
	want, ok := s.Password(user)
	switch s.Check(user, ok && password == want) {
	case accounts.Rejected:
		return "rejected\n"
	case accounts.Refused:
		return "revoked\n"
	}
	if !slices.Contains(s.Databases, database) {
		return "no database\n"
	}
	s.Accept(user)
	return "ok\n"
}
