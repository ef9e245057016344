package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/agent/agenttest"
)

const password = "CANARY password"

// TestRun opens the database through both servers.
func TestRun(t *testing.T) {
	value := startPostgres(t)
	upstream := secretcache.SourceFunc(func(_ context.Context, id, _ string) (*secretcache.Secret, error) {
		return secretcache.NewSecret(secretcache.Value{ID: id, VersionID: "v1", String: value}), nil
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
			var out, log strings.Builder
			args := append(tt.flags, "-endpoint", tt.server.URL(), "prod/app?default_query_exec_mode=simple_protocol")
			if err := run(t.Context(), args, &out, slog.New(slog.NewTextHandler(&log, nil))); err != nil {
				t.Fatalf("%v\n%s", err, log.String())
			}
			if !strings.HasPrefix(out.String(), "app_user in app, after ") || !strings.HasSuffix(out.String(), "asked for secrets: 1 times\n") {
				t.Errorf("output: %s", out.String())
			}
			if text := out.String() + log.String(); strings.Contains(text, "CANARY") {
				t.Errorf("the output shows the password: %s", text)
			}
		})
	}
}

// TestNoSDK: the program links none.
func TestNoSDK(t *testing.T) {
	cmd := exec.Command("go", "list", "-deps", ".")
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	if strings.Contains(string(out), "github.com/aws/") || !strings.Contains(string(out), "github.com/jackc/pgx/") {
		t.Errorf("it links:\n%s", out)
	}
}

// startPostgres starts a stand-in for PostgreSQL with one user and an answer for one
// query, and returns the user's secret.
func startPostgres(t *testing.T) (secret string) {
	t.Helper()
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
			go func() {
				defer c.Close()
				_ = servePostgres(c) // if it goes wrong, the client notices
			}()
		}
	}()
	b, err := json.Marshal(map[string]any{"engine": "postgres", "host": "127.0.0.1", "port": l.Addr().(*net.TCPAddr).Port,
		"dbname": "app", "username": "app_user", "password": password})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func servePostgres(c net.Conn) error {
	p := pgproto3.NewBackend(c, c)
	for started := false; !started; {
		m, err := p.ReceiveStartupMessage()
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
	p.Send(&pgproto3.AuthenticationCleartextPassword{})
	if err := p.Flush(); err != nil {
		return err
	}
	if err := p.SetAuthType(pgproto3.AuthTypeCleartextPassword); err != nil {
		return err
	}
	m, err := p.Receive()
	if err != nil {
		return err
	}
	if pw, ok := m.(*pgproto3.PasswordMessage); !ok || pw.Password != password {
		p.Send(&pgproto3.ErrorResponse{Severity: "FATAL", Code: "28P01", Message: "password authentication failed"})
		return p.Flush()
	}
	p.Send(&pgproto3.AuthenticationOk{})
	p.Send(&pgproto3.ParameterStatus{Name: "standard_conforming_strings", Value: "on"})
	p.Send(&pgproto3.ParameterStatus{Name: "client_encoding", Value: "UTF8"})
	p.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	for {
		if err := p.Flush(); err != nil {
			return err
		}
		m, err := p.Receive()
		if err != nil {
			return err
		}
		switch m := m.(type) {
		case *pgproto3.Query:
			if strings.HasPrefix(m.String, "SELECT current_user") {
				p.Send(&pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{
					{Name: []byte("current_user"), DataTypeOID: 25, DataTypeSize: -1, TypeModifier: -1},
					{Name: []byte("current_database"), DataTypeOID: 25, DataTypeSize: -1, TypeModifier: -1}}})
				p.Send(&pgproto3.DataRow{Values: [][]byte{[]byte("app_user"), []byte("app")}})
			}
			p.Send(&pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")})
			p.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
		case *pgproto3.Terminate:
			return nil
		}
	}
}
