package integration_test

import (
	"encoding/json"
	"errors"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/integration/testdb"
)

// TestCommandChecks: "sqlsecrets check" connects to the server and knows its version. It names a
// wrong password, and the server's own log shows one login for it.
func TestCommandChecks(t *testing.T) {
	command := filepath.Join(t.TempDir(), "sqlsecrets.exe")
	if out, err := osexec.Command("go", "build", "-o", command, "github.com/sqlsecrets/sqlsecrets/cmd/sqlsecrets").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	forEach(t, func(t *testing.T, e *engine) {
		v := newEnv(t, e, testdb.Options{})
		r := v.check(t, command, e.driverName, v.id)
		server := ""
		for _, s := range r.Steps {
			if s.Name == "server" {
				server = s.Mark + " " + s.Text
			}
		}
		if !r.Connected || r.ExitCode != 0 || !strings.HasPrefix(server, "ok ") {
			t.Errorf("check = %+v, want connected", r)
		}
		t.Log(r.Summary, "-", server)

		before := v.RejectedLogins(v.user)
		v.sm.Put(v.id, v.secret(v.user, "wrong password of "+v.user))
		r = v.check(t, command, e.driverName, v.id)
		if r.Connected || r.Cause != "wrong-password" || r.ExitCode != 10 {
			t.Errorf("check = %+v, want wrong-password", r)
		}
		if n := v.RejectedLogins(v.user) - before; n != 1 {
			t.Errorf("%d logins were rejected, want 1", n)
		}
	})
}

// A checked is what "sqlsecrets check -json" prints.
type checked struct {
	Connected      bool
	Cause, Summary string
	ExitCode       int
	Steps          []struct{ Name, Mark, Text string }
}

// check runs the command. Its output must contain neither a password nor the user.
func (v *env) check(t *testing.T, command string, args ...string) checked {
	t.Helper()
	cmd := osexec.CommandContext(t.Context(), command, append([]string{"check", "-json"}, args...)...)
	cmd.Env = []string{
		"HOME=" + t.TempDir(), "AWS_ENDPOINT_URL_SECRETS_MANAGER=" + v.sm.URL(), "AWS_ENDPOINT_URL_STS=" + v.sm.URL(), "AWS_REGION=us-west-2",
		"AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test",
	}
	out, err := cmd.Output()
	var r checked
	if exit := (*osexec.ExitError)(nil); err != nil && !errors.As(err, &exit) || json.Unmarshal(out, &r) != nil {
		t.Fatalf("check: %v: %s", err, out)
	}
	if text := strings.ReplaceAll(string(out), v.id, ""); strings.Contains(text, "password of") || strings.Contains(text, v.user) {
		t.Errorf("the output shows a value: %s", out)
	}
	return r
}
