package rotation_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/integration/rotation"
	"github.com/sqlsecrets/sqlsecrets/integration/testdb"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm/awssmtest"
)

// TestEachStepOfARotation rotates three times. After each step it checks the labels, the logins and
// the sessions that were open before.
func TestEachStepOfARotation(t *testing.T) {
	forEachStrategy(t, func(t *testing.T, e *engine, s rotation.Strategy) {
		v := newEnv(t, e, s)
		query := v.share(v.user)
		alternating := s == rotation.AlternatingUsers

		versions := []string{v.first}
		credentials := []credential{{v.user, v.firstPassword}}
		type session struct {
			user string
			conn *sql.Conn
			id   int64
		}
		var open []session
		var called []string
		var logins int
		v.f.Before = func(_ context.Context, e awssmtest.RotationEvent) error {
			called = append(called, "before "+e.Step)
			if e.Step == "testSecret" {
				logins = v.Logins(v.credential(e.ClientRequestToken).user)
			}
			return nil
		}
		v.f.After = func(_ context.Context, e awssmtest.RotationEvent) error {
			called = append(called, "after "+e.Step)
			i, token := len(versions), e.ClientRequestToken // i is the rotation's number
			user := v.user
			if alternating && i%2 == 1 {
				user = v.clone()
			}
			current, previous := versions[i-1], ""
			if i > 1 {
				previous = versions[i-2]
			}
			pending := v.credential(token)
			set := e.Step != "createSecret"

			if e.Step == "createSecret" {
				v.wantVersion(token, user)
				for _, old := range credentials {
					if pending.password == old.password {
						t.Error("createSecret: the password is not new")
					}
				}
				credentials = append(credentials, pending)
			} else if pending != credentials[i] {
				t.Errorf("%s changed the credentials of AWSPENDING", e.Step)
			}
			if e.Step == "finishSecret" {
				v.wantStages(e.Step, token, current, token)
			} else {
				v.wantStages(e.Step, current, previous, token)
			}
			if e.Step == "testSecret" {
				if got := v.Logins(pending.user) - logins; got != 1 {
					t.Errorf("testSecret logged in %d times, want once", got)
				}
			}

			v.wantLogin(e.Step+": the pending password", pending, set)
			v.wantLogin(e.Step+": the current password", credentials[i-1], alternating || !set)
			if i > 1 {
				// A session of the current or the pending user.
				v.wantLogin(e.Step+": the previous password", credentials[i-2], alternating && !set)
			}
			for _, s := range open {
				if got := scan[int64](t, s.conn, v.engine.session); got != s.id || !slices.Contains(v.Sessions(s.user), s.id) {
					t.Errorf("%s: the connection is session %d, was %d; the user's sessions are %v", e.Step, got, s.id, v.Sessions(s.user))
				}
			}
			return nil
		}

		for i := 1; i <= 3; i++ {
			conn, id := v.mustConnect(credentials[i-1])
			open = append(open, session{credentials[i-1].user, conn, id})
			called = nil
			token := v.mustRotate()
			versions = append(versions, token)
			var want []string
			for _, s := range steps {
				want = append(want, "before "+s, "after "+s)
			}
			if !slices.Equal(called, want) {
				t.Errorf("hooks called: %q, want %q", called, want)
			}
			v.wantRead(credentials[i], query)
		}
		for _, s := range open {
			if query != "" {
				if n := scan[int](t, s.conn, query); n != 42 {
					t.Errorf("an old connection reads %d, want 42", n)
				}
			}
			if err := s.conn.Close(); err != nil {
				t.Error(err)
			}
		}
		// The function leaves no sessions of its own, either.
		v.WaitSessions(v.user, 0)
		v.WaitSessions(v.clone(), 0)
	})
}

// wantVersion checks the value that createSecret makes. Everything is as in the first value, except
// that the user may be the other one, and that the password comes from GetRandomPassword by
// default, without the characters that AWS's functions exclude.
func (v *env) wantVersion(token, user string) {
	v.t.Helper()
	got := v.version(token)
	password, _ := got["password"].(string)
	if len(password) != 32 || strings.ContainsAny(password, `/@"'\`) {
		v.t.Errorf("a password of %d characters: %q", len(password), password)
	}
	var want map[string]any
	if err := json.Unmarshal([]byte(v.secret(user, password, nil)), &want); err != nil {
		v.t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		v.t.Errorf("AWSPENDING is %v, want %v", got, want)
	}
}

// TestRepeatedStepHasNoEffect: each step is called twice. The second call has no effect.
func TestRepeatedStepHasNoEffect(t *testing.T) {
	forEachStrategy(t, func(t *testing.T, e *engine, s rotation.Strategy) {
		v := newEnv(t, e, s)
		v.sm.SetRotation(func(ctx context.Context, e awssmtest.RotationEvent) error {
			if err := v.f.Rotate(ctx, e); err != nil {
				return err
			}
			before := v.credential(e.ClientRequestToken)
			again := func() {
				if err := v.f.Rotate(ctx, e); err != nil {
					t.Errorf("%s for the second time: %v", e.Step, err)
				}
			}
			if e.Step == "setSecret" {
				// AWSPENDING can log in already, and no other user is needed.
				v.sm.Put(superuserID, "of no use")
				logins, rejected := v.Logins(before.user), v.RejectedLogins(before.user)
				again()
				if got := v.Logins(before.user) - logins; got != 1 {
					t.Errorf("setSecret for the second time: %d logins, want 1", got)
				}
				if got := v.RejectedLogins(before.user) - rejected; got != 0 {
					t.Errorf("setSecret for the second time: %d rejected logins, want none", got)
				}
			} else {
				again()
			}
			if after := v.credential(e.ClientRequestToken); after != before {
				t.Errorf("%s for the second time: the credentials change", e.Step)
			}
			return nil
		})
		token := v.mustRotate()
		v.wantStages("in the end", token, v.first, token)
		v.wantLogin("the new password", v.credential(token), true)
		for _, op := range []string{"GetRandomPassword", "PutSecretValue", "UpdateSecretVersionStage"} {
			if got := v.sm.Calls(op); got != 1 {
				t.Errorf("%d calls of %s, want 1", got, op)
			}
		}
	})
}

// TestOriginalThatIsMissingIsMadeLikeItsClone: AWSCURRENT may be the clone from the start. If the
// original does not exist, it is created like the clone, where users are cloned.
func TestOriginalThatIsMissingIsMadeLikeItsClone(t *testing.T) {
	forEach(t, func(t *testing.T, e *engine) {
		v := newEnv(t, e, rotation.AlternatingUsers)
		v.haveClone(rotation.AlternatingUsers)
		query := v.share(v.clone())
		if e.clones() {
			if err := v.DropUser(t.Context(), v.user); err != nil {
				t.Fatal(err)
			}
		}
		v.sm.Put(v.id, v.secret(v.clone(), v.firstPassword, nil))
		c := v.credential(v.mustRotate())
		if c.user != v.user {
			t.Errorf("the user is %q, want %q", c.user, v.user)
		}
		v.wantRead(c, query)
		v.wantLogin("the clone", credential{v.clone(), v.firstPassword}, true)
	})
}

// TestDatabaseOneVersionBehindTakesPrevious: the function logs in with AWSPREVIOUS if the database
// is one version behind.
func TestDatabaseOneVersionBehindTakesPrevious(t *testing.T) {
	forEach(t, func(t *testing.T, e *engine) {
		v := newEnv(t, e, rotation.SingleUser)
		second := v.mustRotate()
		if err := v.SetPassword(t.Context(), v.user, v.firstPassword); err != nil {
			t.Fatal(err)
		}
		third := v.mustRotate()
		v.wantStages("in the end", third, second, third)
		v.wantLogin("AWSCURRENT", v.credential(third), true)
		v.wantLogin("the first password", credential{v.user, v.firstPassword}, false)
	})
}

// TestConnectionsAreEncryptedAndVerified: the connections have TLS, and the server's certificate is
// verified.
func TestConnectionsAreEncryptedAndVerified(t *testing.T) {
	forEachStrategy(t, func(t *testing.T, e *engine, s rotation.Strategy) {
		v := newEnvOverTLS(t, e, s)
		v.f.TLS = trust(testdb.UnknownCA(t))
		token, err := v.sm.Rotate(t.Context(), v.id)
		if err == nil {
			t.Error("an unknown authority is trusted")
		}
		v.wantStages("with an unknown authority", v.first, "", token)
		v.f.TLS = trust(v.CA)
		if got := v.mustRotate(); got != token {
			t.Errorf("the second attempt made version %s, want %s", got, token)
		}
		v.wantStages("in the end", token, v.first, token)
		v.wantLogin("the new password", v.credential(token), true)
	})
}

// TestSuperuserOption: the option takes precedence over the secret.
func TestSuperuserOption(t *testing.T) {
	forEach(t, func(t *testing.T, e *engine) {
		for _, master := range []any{nil, "no/such/secret"} {
			v := newEnv(t, e, rotation.AlternatingUsers)
			first := v.sm.Put(v.id, v.secret(v.user, v.firstPassword, map[string]any{"masterarn": master}))
			token, err := v.sm.Rotate(t.Context(), v.id)
			if err == nil {
				t.Errorf("masterarn %v: rotated without a superuser", master)
			}
			v.wantLogin("AWSPENDING without a superuser", v.credential(token), false)
			v.f.Superuser = superuserID
			v.mustRotate()
			v.wantStages("with the option", token, first, token)
			v.wantLogin("AWSCURRENT", v.credential(token), true)
		}
	})
}

func TestStrategiesHaveTheNamesOfTheUserGuide(t *testing.T) {
	// The names in the AWS user guide.
	for s, want := range map[rotation.Strategy]string{
		rotation.SingleUser: "single user", rotation.AlternatingUsers: "alternating users", 7: "Strategy(7)",
	} {
		if got := s.String(); got != want {
			t.Errorf("%d: %q, want %q", int(s), got, want)
		}
	}
}
