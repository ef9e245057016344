package pgxv5_test

import (
	"testing"

	"github.com/sqlsecrets/sqlsecrets/engines/postgres/pgxv5"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/pgserver"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/testca"
)

// A server that is not verified, such as that of an active attacker, can ask for the password in
// plaintext and gets it, with and without TLS. SECURITY.md says so, and says that verification
// stops it.
func TestAServerThatIsNotVerifiedMayAskForThePassword(t *testing.T) {
	attacker := testca.New("elsewhere.test") // no authority that the system knows
	for _, tt := range []struct {
		name   string
		server *pgserver.Server
		params []string
		gets   bool
	}{
		{"default, no TLS", &pgserver.Server{}, nil, true},
		{"default, TLS", &pgserver.Server{TLS: attacker.Server}, nil, true},
		{"require, no TLS", &pgserver.Server{}, []string{"sslmode", "require"}, false},
		{"require, TLS", &pgserver.Server{TLS: attacker.Server}, []string{"sslmode", "require"}, true},
		{"verify-full, no TLS", &pgserver.Server{}, []string{"sslmode", "verify-full"}, false},
		{"verify-full, TLS", &pgserver.Server{TLS: attacker.Server}, []string{"sslmode", "verify-full"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			conn, err := connect(t, pgxv5.Engine{}, endpoint(tt.server.Start(t), tt.params...), goodPassword)
			if (err == nil) != tt.gets {
				t.Errorf("Connect = %v", err)
			}
			if err == nil {
				// This is the exception to the promise of the library.
				if got := conn.Conn().Config().Password; got != goodPassword {
					t.Errorf("the connection's configuration has the password %q", got)
				}
				_ = conn.Close()
			}
			tt.server.WaitClosed(t)
			got := tt.server.Seen()
			if (len(got) == 1 && got[0].Password == goodPassword) != tt.gets {
				t.Errorf("the server saw %v, want the password: %t", got, tt.gets)
			}
		})
	}
}
