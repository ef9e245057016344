package integration_test

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/integration/testdb"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm/awssmtest"
)

// buildExamples builds programs of a module and returns the directory that they are in.
func buildExamples(t *testing.T, module string, names ...string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	args := []string{"build", "-o", dir + string(filepath.Separator)}
	for _, name := range names {
		args = append(args, "./"+name)
	}
	cmd := osexec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = module
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return dir
}

// example returns a command that has the Secrets Manager.
func (v *env) example(ctx context.Context, path string, args ...string) *osexec.Cmd {
	cmd := osexec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), "AWS_ENDPOINT_URL_SECRETS_MANAGER="+v.sm.URL(), "AWS_REGION="+awssmtest.Region)
	return cmd
}

// newExampleEnv returns an env, and the DSN that an example gets.
func newExampleEnv(t *testing.T) (v *env, dsn string) {
	t.Helper()
	v = newEnv(t, engineNamed("postgres"), testdb.Options{})
	return v, v.id + "?sslmode=disable"
}

// crossed fails the test if no login was rejected besides those of the rotation functions. Each
// rotation function tries once whether it has set the password before.
func (v *env) crossed(t *testing.T, rotations int) {
	t.Helper()
	if v.RejectedLogins(v.user) <= rotations {
		t.Error("no login was rejected: the program did not cross the rotation")
	}
}

// Each of these programs stores orders in all phases of a rotation, and no order fails.
func TestExamplesWithLibraries(t *testing.T) {
	testdb.Postgres(t, testdb.Options{}) // skips before anything is built
	names := []string{"sqlx", "gorm", "bun", "sqlc", "otelsql"}
	dir := buildExamples(t, "../examples/libraries", names...)
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			v, dsn := newExampleEnv(t)
			cmd := v.example(t.Context(), filepath.Join(dir, name), "-lifetime", "1ms", dsn)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(out)
			n := 0
			order := func(step string) {
				n++
				fmt.Fprintln(in, "tea")
				if want := fmt.Sprintf("tea: %d", n); !lines.Scan() || lines.Text() != want {
					t.Errorf("before %s it prints %q, want %q", step, lines.Text(), want)
				}
			}
			order("the rotation")
			if err := v.rotate(t.Context(), order); err != nil {
				t.Error(err)
			}
			order("the end")
			_ = in.Close()
			if err := cmd.Wait(); err != nil {
				t.Fatalf("%v\n%s", err, stderr.String())
			}
			v.crossed(t, 1)
			if name == "otelsql" {
				rejectionIsInASpan(t, &stderr)
			}
		})
	}
}

// rejectionIsInASpan reads the spans of examples/libraries/otelsql. One span of a new connection
// has to show a rejected login and the refresh after it, and no span may have failed.
func rejectionIsInASpan(t *testing.T, spans io.Reader) {
	t.Helper()
	found := false
	for d := json.NewDecoder(spans); ; {
		var span struct {
			Name   string
			Status struct{ Code string }
			Events []struct {
				Name       string
				Attributes []struct {
					Key   string
					Value struct{ Value any }
				}
			}
		}
		if err := d.Decode(&span); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("the spans: %v", err)
		}
		if span.Status.Code == "Error" {
			t.Errorf("span %s has failed", span.Name)
		}
		var story []string
		for _, e := range span.Events {
			story = append(story, e.Name)
			for _, a := range e.Attributes {
				if a.Key == "rejected" && a.Value.Value == true {
					story = append(story, "rejected")
				}
			}
		}
		found = found || span.Name == "sql.connector.connect" && strings.HasPrefix(strings.Join(story, " "), "login rejected refresh")
	}
	if !found {
		t.Error("no span of a new connection shows a rejected login and a refresh")
	}
}

// The program of docs/pgxpool.md does what the guide says, at each moment of a rotation.
func TestExamplePgxpool(t *testing.T) {
	v, dsn := newExampleEnv(t)
	path := filepath.Join(buildExamples(t, "../examples", "pgxpool"), "pgxpool")
	run := func(string) {
		out, err := v.example(t.Context(), path, dsn).CombinedOutput()
		if err != nil || string(out) != "order 7: tea\n" {
			t.Errorf("%v, output: %s", err, out)
		}
	}
	if err := v.rotate(t.Context(), run); err != nil {
		t.Error(err)
	}
	run("the end")
	v.crossed(t, 1)
	v.WaitSessions(v.user, 0)
}

// Migrations run at each moment of a rotation. A migration that is under way continues.
func TestExamplesOfMigrations(t *testing.T) {
	testdb.Postgres(t, testdb.Options{}) // skips before anything is built
	names := []string{"goose", "migrate"}
	dir := buildExamples(t, "../examples/libraries", names...)
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			v, dsn := newExampleEnv(t)
			run := func(direction, want string) error {
				out, err := v.example(t.Context(), filepath.Join(dir, name), direction, dsn).CombinedOutput()
				if err == nil && string(out) != want {
					err = errors.New("want " + want)
				}
				if err != nil {
					return fmt.Errorf("%s %s: %w, output: %s", name, direction, err, out)
				}
				return nil
			}
			mustRun := func(string) {
				if err := errors.Join(run("up", "version 2\n"), run("down", "version 0\n")); err != nil {
					t.Error(err)
				}
			}
			if err := v.rotate(t.Context(), mustRun); err != nil {
				t.Fatal(err)
			}
			v.crossed(t, 1)

			if err := run("up", "version 2\n"); err != nil {
				t.Fatal(err)
			}
			unlock := v.lockTable(t, name+"_orders", "ACCESS SHARE")
			done := make(chan error, 1)
			go func() { done <- run("down", "version 0\n") }()
			v.waitBlocked(t)
			if err := v.rotate(t.Context(), noPause); err != nil {
				t.Error(err)
			}
			unlock()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

// lockTable locks a table until the func is called.
func (v *env) lockTable(t *testing.T, table, mode string) (unlock func()) {
	t.Helper()
	tx, err := v.Admin().BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.ExecContext(t.Context(), "LOCK TABLE "+table+" IN "+mode+" MODE"); err != nil {
		_ = tx.Rollback()
		t.Fatal(err)
	}
	return func() {
		if err := tx.Rollback(); err != nil && !errors.Is(err, sql.ErrTxDone) {
			t.Error(err)
		}
	}
}

// waitBlocked waits until a session of the user waits for a lock.
func (v *env) waitBlocked(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		var blocked bool
		row := v.Admin().QueryRowContext(t.Context(), "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE usename = $1 AND wait_event_type = 'Lock')", v.user)
		if err := row.Scan(&blocked); err != nil {
			t.Fatal(err)
		}
		if blocked {
			return
		}
		if time.Now().After(end) {
			t.Fatal("no session waits for the lock")
		}
	}
}
