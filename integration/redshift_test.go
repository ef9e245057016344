package integration_test

import (
	"bytes"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"io"
	"net"
	"net/url"
	"strconv"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/driver/drivertest"
	"github.com/sqlsecrets/sqlsecrets/engines/redshift"
	"github.com/sqlsecrets/sqlsecrets/integration/testdb"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm/awssmtest"
)

// TestRedshift runs the conformance suite, and all ways to open a database, on a real PostgreSQL
// that plays Redshift. docs/redshift.md says what this server lacks.
func TestRedshift(t *testing.T) {
	server := testdb.Postgres(t, testdb.Options{})
	port := asRedshift(t, net.JoinHostPort(server.Host, strconv.Itoa(server.Port)))
	made := map[string]bool{}
	setPassword := func(t testing.TB, user, password string) {
		t.Helper()
		if !made[user] {
			made[user] = true
			server.CreateUser(user, password)
		} else if err := server.SetPassword(t.Context(), user, password); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("conformance", func(t *testing.T) {
		drivertest.Run(t, drivertest.Server{
			Engine: redshift.Engine{}, Host: "127.0.0.1", Port: port, Database: server.Database,
			Query: "SELECT 1", Params: "sslmode=disable", ConnType: "*stdlib.Conn", SetPassword: setPassword,
			Logins: func(_ testing.TB, user string) (accepted, rejected int) {
				return server.Logins(user), server.RejectedLogins(user)
			},
		})
	})
	t.Run("open", func(t *testing.T) {
		setPassword(t, "dt_opener", "first password")
		sm := awssmtest.NewServer(t)
		put := func(id string, fields map[string]any) {
			fields["username"], fields["password"] = "dt_opener", "first password"
			b, err := json.Marshal(fields)
			if err != nil {
				t.Fatal(err)
			}
			sm.Put(id, string(b))
		}
		put("cluster", map[string]any{"engine": "redshift", "host": "127.0.0.1", "port": port, "dbname": server.Database})
		put("redshift!managed", map[string]any{})
		where := "region=us-west-2&endpoint=" + url.PathEscape(sm.URL()) + "&sslmode=disable"
		address := "127.0.0.1:" + strconv.Itoa(port)
		if port == redshiftPort {
			address = "127.0.0.1" // the default
		}
		for _, dsn := range []string{
			"cluster?" + where,
			"redshift!managed?host=127.0.0.1&port=" + strconv.Itoa(port) + "&dbname=" + server.Database + "&" + where,
			"jdbc-secretsmanager:redshift://" + address + "/" + server.Database + "?user=redshift!managed&" + where,
		} {
			db, err := sql.Open(redshift.DriverName, dsn)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			var n int
			if err := db.QueryRowContext(t.Context(), "SELECT 40 + $1::int", 2).Scan(&n); err != nil || n != 42 {
				t.Errorf("%s: query yields %d, %v, want 42", dsn, n, err)
			}
		}
	})
}

const redshiftPort = 5439

// asRedshift listens on Redshift's port, or on another one if that is taken. It forwards
// connections without TLS to a PostgreSQL server. Its answers have Redshift's code for a wrong
// password, and do not report standard_conforming_strings.
func asRedshift(t *testing.T, server string) (port int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(redshiftPort))
	if err != nil {
		if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			backend, err := net.Dial("tcp", server)
			if err != nil {
				_ = client.Close()
				continue
			}
			go func() {
				_, _ = io.Copy(backend, client)
				_ = backend.Close()
			}()
			go func() {
				defer client.Close()
				for translate(client, backend) == nil {
				}
			}()
		}
	}()
	return l.Addr().(*net.TCPAddr).Port
}

// translate forwards one message of the server.
func translate(client io.Writer, server io.Reader) error {
	header := make([]byte, 5)
	if _, err := io.ReadFull(server, header); err != nil {
		return err
	}
	body := make([]byte, binary.BigEndian.Uint32(header[1:])-4)
	if _, err := io.ReadFull(server, body); err != nil {
		return err
	}
	switch {
	case header[0] == 'E':
		body = bytes.Replace(body, []byte("\x00C28P01\x00"), []byte("\x00C28000\x00"), 1)
	case header[0] == 'S' && bytes.HasPrefix(body, []byte("standard_conforming_strings\x00")):
		return nil
	}
	_, err := client.Write(append(header, body...))
	return err
}
