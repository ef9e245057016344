package pgxv5_test

import (
	"context"
	"io"
	"net"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/postgres/pgxv5"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/pgserver"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/logintest"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/loopback"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/testca"
)

// The request for TLS goes to a server without TLS on the same connection as the login.
func TestServerWithoutTLSGetsOneConnectionForEachLogin(t *testing.T) {
	s := (&pgserver.Server{Check: wrongPassword}).Start(t)
	const logins = 3
	for range logins {
		conn, err := connect(t, pgxv5.Engine{}, endpoint(s), goodPassword)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
	}
	if _, err := connect(t, pgxv5.Engine{}, endpoint(s), "wrong"); !(pgxv5.Engine{}).Rejected(err) {
		t.Errorf("Connect = %v, want a rejected login", err)
	}
	s.WaitClosed(t)
	if got := s.Dialled(); got != logins+1 || len(s.Seen()) != logins+1 {
		t.Errorf("%d connections and %d logins, want %d of both", got, len(s.Seen()), logins+1)
	}
}

// A request to cancel a query goes over TLS if the connection does, also if the server decided
// about TLS.
func TestCancelRequestsAreEncryptedLikeTheConnection(t *testing.T) {
	for _, encrypted := range []bool{true, false} {
		s := &pgserver.Server{}
		if encrypted {
			s.TLS = testca.New("localhost").Server
		}
		s.Start(t)
		conn, err := connect(t, pgxv5.Engine{}, endpoint(s), goodPassword)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		if err := conn.Conn().PgConn().CancelRequest(ctx); err != nil {
			t.Errorf("CancelRequest with TLS %t: %v", encrypted, err)
		}
		cancel()
		if got := s.Cancels(); !slices.Equal(got, []bool{encrypted}) {
			t.Errorf("requests to cancel came over TLS: %t, want %t", got, encrypted)
		}
		_ = conn.Close()
	}
}

// An active attacker may add messages to the server's answer "yes", before TLS begins. They must
// not count as messages of the server (CVE-2021-23222).
func TestNothingIsReadBetweenTheAnswerAndTLS(t *testing.T) {
	certs := testca.New("localhost")
	s := (&pgserver.Server{TLS: certs.Server}).Start(t)
	for _, injected := range []string{"", "R\x00\x00\x00\x08\x00\x00\x00\x00", "N"} {
		l := loopback.Listen(t, func(client net.Conn) {
			server, err := net.Dial("tcp", net.JoinHostPort(s.Host, strconv.Itoa(s.Port)))
			if err != nil {
				return
			}
			defer server.Close()
			go func() { _, _ = io.Copy(server, client) }()
			answer := make([]byte, 1)
			if _, err := io.ReadFull(server, answer); err == nil {
				_, _ = client.Write(append(answer, injected...))
				_, _ = io.Copy(client, server)
			}
		}, "127.0.0.1")
		for _, mode := range []string{"prefer", "require"} {
			ep := driver.Endpoint{Host: "127.0.0.1", Port: l.Port, Database: "app", Params: pairs("sslmode", mode)}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			conn, err := logintest.ConnectContext(ctx, t, pgxv5.Engine{}, ep, "app_user", goodPassword)
			cancel()
			if err == nil {
				_ = conn.Close()
			}
			if (err == nil) != (injected == "") {
				t.Errorf("sslmode=%s, %q after the server's answer: Connect = %v", mode, injected, err)
			}
		}
	}
	if got := len(s.Seen()); got != 2 {
		t.Errorf("the server saw %d logins, want those 2 to which nothing was added", got)
	}
	for _, l := range s.Seen() {
		if !l.TLS {
			t.Error("a login was sent without TLS")
		}
	}
}
