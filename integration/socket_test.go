package integration_test

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/integration/testdb"
)

// TestUnixSocket: logins through a Unix socket of a real server with TLS, before and after a
// rotation, with the socket in the data source name and in the secret.
func TestUnixSocket(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("a container's Unix socket can be reached on Linux only")
	}
	for _, c := range []struct {
		engine, socket string
		port           int
		bySocket       string // a query whose answer is this
		answer         string
	}{
		{"postgres", "", 5432, "SELECT COALESCE(inet_server_addr()::text, 'socket')", "socket"},
		{"mariadb", "mysqld.sock", 3306, "SELECT SUBSTRING_INDEX(USER(), '@', -1)", "localhost"},
		{"mysql", "mysqld.sock", 3306, "SELECT SUBSTRING_INDEX(USER(), '@', -1)", "localhost"},
	} {
		t.Run(c.engine, func(t *testing.T) {
			e := engineNamed(c.engine)
			dir, err := os.MkdirTemp("", "socket") // paths of sockets have to be short
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.RemoveAll(dir) })
			if err := os.Chmod(dir, 0o777); err != nil { // the server is another user
				t.Fatal(err)
			}
			v := newEnv(t, e, testdb.Options{TLS: true, SocketDir: dir, Private: true})
			host := filepath.Join(dir, c.socket)
			params := "host=" + host
			if c.port == 5432 {
				params += "&port=5432" // part of the file's name; the secret has the port of the container
			}

			db := v.open(t, params+"&"+e.mayTLS, nil)
			db.SetMaxIdleConns(0)
			login := func() {
				t.Helper()
				var answer string
				if err := db.QueryRowContext(t.Context(), c.bySocket).Scan(&answer); err != nil || answer != c.answer {
					t.Fatalf("got %q, %v, want %q", answer, err, c.answer)
				}
			}
			login()
			if e.encrypted(t, v, db) {
				t.Error("the connection has TLS")
			}
			if err := v.rotate(t.Context(), func(string) {}); err != nil {
				t.Fatal(err)
			}
			login() // after one rejected login
			user, password := v.credentials()
			v.Host, v.Port = host, c.port
			v.sm.Put(v.id, v.secret(user, password))
			db = v.open(t, "", nil)
			login()

			err = v.open(t, e.anyTLS, nil).PingContext(t.Context())
			if err == nil || !strings.Contains(err.Error(), "requires TLS, and a connection by a Unix socket has none") {
				t.Errorf("with %s: Ping = %v", e.anyTLS, err)
			}
		})
	}
}
