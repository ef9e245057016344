package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/agent/agenttest"
)

// TestRun opens the database with each source, before and after a rotation. The sources have not
// noticed the rotation.
func TestRun(t *testing.T) {
	db := startPostgres(t)
	upstream := secretcache.SourceFunc(func(_ context.Context, id, _ string) (*secretcache.Secret, error) {
		return db.secret(id), nil
	})
	for _, tt := range []struct {
		name   string
		server *agenttest.Server
		env    string
		flags  []string
	}{
		{"agent", agenttest.NewServer(t, upstream), "AWS_TOKEN", nil},
		{"extension", agenttest.NewExtension(t, upstream), "AWS_SESSION_TOKEN", []string{"-extension"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv(tt.env, tt.server.Token())
			args := append(tt.flags, "-endpoint", tt.server.URL(), "prod/app?default_query_exec_mode=simple_protocol")
			for _, rotated := range []bool{false, true} {
				if rotated {
					db.version.Add(1)
				}
				var out, log strings.Builder
				if err := run(t.Context(), args, &out, slog.New(slog.NewTextHandler(&log, nil))); err != nil {
					t.Fatalf("rotated: %t: %v\n%s", rotated, err, log.String())
				}
				once := strings.HasSuffix(out.String(), "fetches of secrets so far: 1\n")
				if !strings.HasPrefix(out.String(), "logged in as app_user to database app after ") || once == rotated {
					t.Errorf("rotated: %t: output: %s", rotated, out.String())
				}
				if text := out.String() + log.String(); strings.Contains(text, "CANARY") {
					t.Errorf("the output shows the password: %s", text)
				}
			}
		})
	}
}

// TestNoSDK checks that the program does not contain the AWS SDK.
func TestNoSDK(t *testing.T) {
	cmd := exec.Command("go", "list", "-deps", ".")
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	if strings.Contains(string(out), "github.com/aws/") || !strings.Contains(string(out), "github.com/jackc/pgx/") {
		t.Errorf("the AWS SDK is, or pgx is not, among the packages:\n%s", out)
	}
}

// A postgres is a stand-in for PostgreSQL with one user and an answer to one query. The password
// changes with the version.
type postgres struct {
	port    int
	version atomic.Int32
}

func (p *postgres) password() string { return fmt.Sprintf("CANARY password %d", p.version.Load()) }

// secret returns the user's secret with the present password.
func (p *postgres) secret(id string) *secretcache.Secret {
	value := fmt.Sprintf(`{"engine":"postgres","host":"127.0.0.1","port":%d,"dbname":"app","username":"app_user","password":%q}`, p.port, p.password())
	return secretcache.NewSecret(secretcache.Value{ID: id, VersionID: fmt.Sprint("v", p.version.Load()), String: value})
}

func startPostgres(t *testing.T) *postgres {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	p := &postgres{port: l.Addr().(*net.TCPAddr).Port}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_ = p.serve(c) // the client sees the error
			}()
		}
	}()
	return p
}

func (p *postgres) serve(c net.Conn) error {
	b := pgproto3.NewBackend(c, c)
	for started := false; !started; {
		m, err := b.ReceiveStartupMessage()
		if err != nil {
			return err
		}
		if _, isTLS := m.(*pgproto3.SSLRequest); isTLS {
			if _, err := c.Write([]byte("N")); err != nil {
				return err
			}
			continue
		}
		started = true
	}
	b.Send(&pgproto3.AuthenticationCleartextPassword{})
	if err := b.Flush(); err != nil {
		return err
	}
	if err := b.SetAuthType(pgproto3.AuthTypeCleartextPassword); err != nil {
		return err
	}
	m, err := b.Receive()
	if err != nil {
		return err
	}
	if pw, ok := m.(*pgproto3.PasswordMessage); !ok || pw.Password != p.password() {
		b.Send(&pgproto3.ErrorResponse{Severity: "FATAL", Code: "28P01", Message: "password authentication failed"})
		return b.Flush()
	}
	b.Send(&pgproto3.AuthenticationOk{})
	b.Send(&pgproto3.ParameterStatus{Name: "standard_conforming_strings", Value: "on"})
	b.Send(&pgproto3.ParameterStatus{Name: "client_encoding", Value: "UTF8"})
	b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	for {
		if err := b.Flush(); err != nil {
			return err
		}
		m, err := b.Receive()
		if err != nil {
			return err
		}
		switch m := m.(type) {
		case *pgproto3.Query:
			if strings.HasPrefix(m.String, "SELECT current_user") {
				b.Send(&pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{
					{Name: []byte("current_user"), DataTypeOID: 25, DataTypeSize: -1, TypeModifier: -1},
					{Name: []byte("current_database"), DataTypeOID: 25, DataTypeSize: -1, TypeModifier: -1}}})
				b.Send(&pgproto3.DataRow{Values: [][]byte{[]byte("app_user"), []byte("app")}})
			}
			b.Send(&pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")})
			b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
		case *pgproto3.Terminate:
			return nil
		}
	}
}
