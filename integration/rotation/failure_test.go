package rotation_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	"github.com/sqlsecrets/sqlsecrets/integration/rotation"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm/awssmtest"
)

// TestFailedStepIsRetried fails each step, before and after its effect, and rotates
// again: with the same version, to the end.
func TestFailedStepIsRetried(t *testing.T) {
	boom := errors.New("boom")
	forEachStrategy(t, func(t *testing.T, e *engine, s rotation.Strategy) {
		for i, step := range steps {
			for _, after := range []bool{false, true} {
				name := "before " + step
				if after {
					name = "after " + step
				}
				t.Run(name, func(t *testing.T) {
					v := newEnv(t, e, s)
					fail, called := true, 0
					hook := func(_ context.Context, e awssmtest.RotationEvent) error {
						if e.Step == step {
							if called++; fail {
								return boom
							}
						}
						return nil
					}
					other := func(_ context.Context, e awssmtest.RotationEvent) error {
						if e.Step == step && fail {
							t.Error("After is called although the step failed")
						}
						return nil
					}
					if after {
						v.f.After = hook
					} else {
						v.f.Before, v.f.After = hook, other
					}
					token, err := v.sm.Rotate(t.Context(), v.id)
					if !errors.Is(err, boom) || !strings.Contains(err.Error(), step+" of") || !strings.Contains(err.Error(), v.sm.ARN(v.id)) {
						t.Errorf("the error %v does not name %v, the step and the secret", err, boom)
					}

					// What has happened by now?
					has := func(s string) bool {
						at := slices.Index(steps, s)
						return at < i || at == i && after
					}
					created, set, finished := has("createSecret"), has("setSecret"), has("finishSecret")
					first := credential{v.user, v.firstPassword}
					alternating := s == rotation.AlternatingUsers
					if finished {
						v.wantStages("after the failure", token, v.first, token)
					} else {
						v.wantStages("after the failure", v.first, "", token)
					}
					v.wantLogin("after the failure: the first password", first, alternating || !set)
					var pending credential
					if created {
						pending = v.credential(token)
						v.wantLogin("after the failure: the pending password", pending, set)
					} else if _, err := v.versionOrError(token); !errors.As(err, new(*types.ResourceNotFoundException)) {
						t.Errorf("the version has a value before createSecret: %v", err)
					}

					fail = false
					if finished {
						v.mustStep(token, steps...) // Rotate would begin the next one
					} else if got := v.mustRotate(); got != token {
						t.Errorf("the second attempt made version %s, want %s", got, token)
					}
					if called != 2 {
						t.Errorf("the hook was called %d times, want 2", called)
					}
					v.wantStages("in the end", token, v.first, token)
					last := v.credential(token)
					if created && last != pending {
						t.Error("the second attempt changed the credentials")
					}
					v.wantLogin("in the end: the new password", last, true)
					v.wantLogin("in the end: the first password", first, alternating)
				})
			}
		}
	})
}

// A failure is what breaks before a step.
type failure struct {
	name       string
	step       string
	strategies []rotation.Strategy
	want       error // that the error wraps; or nil
	brk, mend  func(v *env, p *proxy)
	effect     bool // the step has had it nevertheless
}

// sdkFailure is one of the Secrets Manager.
func sdkFailure(f awssmtest.Fault, step string, effect bool) failure {
	return failure{f.String(), step, strategies, nil, func(v *env, _ *proxy) { v.sm.Fail(f) }, func(*env, *proxy) {}, effect}
}

// setPassword gives a user another password, as somebody else would.
func (v *env) setPassword(user, password string) {
	v.t.Helper()
	if err := v.SetPassword(v.t.Context(), user, password); err != nil {
		v.t.Fatal(err)
	}
}

// TestFailure breaks what a step needs, and mends it for the second attempt.
func TestFailure(t *testing.T) {
	const single, alternating = rotation.SingleUser, rotation.AlternatingUsers
	failures := []failure{
		{
			"server that cannot be reached", "setSecret", strategies, nil,
			func(_ *env, p *proxy) { p.cut.Store(true) },
			func(_ *env, p *proxy) { p.cut.Store(false) }, false,
		},
		{
			"server that cannot be reached", "testSecret", strategies, nil,
			func(_ *env, p *proxy) { p.cut.Store(true) },
			func(_ *env, p *proxy) { p.cut.Store(false) }, false,
		},
		{
			"wrong superuser password", "setSecret", []rotation.Strategy{alternating}, rotation.ErrRefused,
			func(v *env, _ *proxy) { v.putSuperuser(v.User, canary, nil) },
			func(v *env, _ *proxy) { v.putSuperuser(v.User, v.Password, nil) }, false,
		},
		{
			"superuser's secret without a value", "setSecret", []rotation.Strategy{alternating}, rotation.ErrInvalidSecret,
			func(v *env, _ *proxy) { v.sm.Put(superuserID, canary) },
			func(v *env, _ *proxy) { v.putSuperuser(v.User, v.Password, nil) }, false,
		},
		{
			"superuser of another host", "setSecret", []rotation.Strategy{alternating}, rotation.ErrMismatch,
			func(v *env, _ *proxy) {
				v.putSuperuser(v.User, v.Password, map[string]any{"host": "localhost"})
			},
			func(v *env, _ *proxy) { v.putSuperuser(v.User, v.Password, nil) }, false,
		},
		{
			"wrong current password", "setSecret", strategies, rotation.ErrRefused,
			func(v *env, _ *proxy) { v.setPassword(v.user, canary) },
			func(v *env, _ *proxy) { v.setPassword(v.user, v.firstPassword) }, false,
		},
		{
			"pending password that was changed", "testSecret", []rotation.Strategy{single}, rotation.ErrRefused,
			func(v *env, _ *proxy) { v.setPassword(v.user, canary) },
			func(v *env, _ *proxy) { v.setPassword(v.user, v.firstPassword) }, false,
		},
		{
			"pending password that was changed", "testSecret", []rotation.Strategy{alternating}, rotation.ErrRefused,
			func(v *env, _ *proxy) { v.setPassword(v.clone(), canary) },
			func(*env, *proxy) {}, false, // the superuser sets it again
		},
	}
	inDatabase := len(failures)
	for _, step := range steps {
		failures = append(failures, sdkFailure(awssmtest.Unavailable.Op("DescribeSecret"), step, false))
	}
	failures = append(failures,
		sdkFailure(awssmtest.Denied.Op("GetSecretValue"), "createSecret", false),
		sdkFailure(awssmtest.Throttle.Op("GetRandomPassword"), "createSecret", false),
		sdkFailure(awssmtest.CloseConn.Op("PutSecretValue"), "createSecret", false),
		sdkFailure(awssmtest.Truncate.Op("PutSecretValue"), "createSecret", true),
		sdkFailure(awssmtest.ServerError.Op("GetSecretValue"), "setSecret", false),
		sdkFailure(awssmtest.CloseConn.Op("GetSecretValue"), "testSecret", false),
		sdkFailure(awssmtest.CloseConn.Op("UpdateSecretVersionStage"), "finishSecret", false),
		sdkFailure(awssmtest.Truncate.Op("UpdateSecretVersionStage"), "finishSecret", true),
	)

	forEachStrategy(t, func(t *testing.T, e *engine, s rotation.Strategy) {
		for i, c := range failures {
			// What fails in the Secrets Manager is no business of the engine's: those
			// that are always there have their share of it.
			if !slices.Contains(c.strategies, s) || i >= inDatabase && e != inProcess[i%len(inProcess)] {
				continue
			}
			t.Run(c.step+" "+c.name, func(t *testing.T) {
				v := newEnv(t, e, s)
				p := newProxy(t, v.Server)
				first := v.sm.Put(v.id, v.secret(v.user, v.firstPassword, map[string]any{"port": p.port}))
				v.sm.RemoveStage(v.id, "AWSPREVIOUS")
				last := ""
				v.f.Before = func(_ context.Context, e awssmtest.RotationEvent) error {
					if last = e.Step; last == c.step {
						c.brk(v, p)
					}
					return nil
				}
				token, err := v.sm.Rotate(t.Context(), v.id)
				if err == nil || last != c.step {
					t.Fatalf("%s ended with %v, want that %s fails", last, err, c.step)
				}
				if c.want != nil && !errors.Is(err, c.want) {
					t.Errorf("the error is %q, want one that wraps %q", err, c.want)
				}
				if c.want == nil && errors.Is(err, rotation.ErrRefused) {
					t.Errorf("the error is %q, but nobody refused a login", err)
				}
				v.f.Before = nil
				v.sm.Heal()
				c.mend(v, p)
				v.wantSafe(err)

				finished := c.step == "finishSecret" && c.effect
				if finished {
					v.wantStages("after the failure", token, first, token)
				} else {
					v.wantStages("after the failure", first, "", token)
				}
				var pending credential
				if created := c.step != "createSecret" || c.effect; created {
					pending = v.credential(token)
				} else if _, err := v.versionOrError(token); !errors.As(err, new(*types.ResourceNotFoundException)) {
					t.Errorf("the version has a value although createSecret failed: %v", err)
				}
				if finished {
					v.mustStep(token, steps...)
				} else if got := v.mustRotate(); got != token {
					t.Errorf("the second attempt made version %s, want %s", got, token)
				}
				v.wantStages("in the end", token, first, token)
				got := v.credential(token)
				if pending != (credential{}) && got != pending {
					t.Error("the second attempt changed the credentials")
				}
				v.wantLogin("in the end: the new password", got, true)
				v.wantLogin("in the end: the first password", credential{v.user, v.firstPassword}, s == rotation.AlternatingUsers)
			})
		}
	})
}

// TestCloneIsCompleteOrCannotLogIn: a superuser that may not do all that it takes
// leaves no clone that can log in; a better one completes it.
func TestCloneIsCompleteOrCannotLogIn(t *testing.T) {
	forEach(t, func(t *testing.T, e *engine) {
		if !e.clones() {
			t.Skip("the function makes no clones")
		}
		v := newEnv(t, e, rotation.AlternatingUsers)
		query := v.share(v.user)
		const weak = "weak"
		v.admin(weak, e.weak...)
		v.admin(v.user, e.grand...)
		t.Cleanup(func() {
			if err := v.DropUser(context.Background(), weak); err != nil {
				t.Error(err)
			}
		})
		v.putSuperuser(weak, canary, nil)
		token, err := v.sm.Rotate(t.Context(), v.id)
		if err == nil || errors.Is(err, rotation.ErrRefused) {
			t.Errorf("the error is %v, want one of a privilege that is missing", err)
		}
		v.wantSafe(err)
		v.wantStages("after the failure", v.first, "", token)
		// Half of a clone, where there are no transactions.
		want := !e.atomic
		if got := v.exists(v.clone()); got != want {
			t.Errorf("the clone exists: %t, want %t", got, want)
		}
		pending := v.credential(token)
		if conn, err := v.connect(pending); err == nil {
			_ = conn.Close()
			t.Error("half of a clone can log in")
		}

		v.putSuperuser(v.User, v.Password, nil)
		if got := v.mustRotate(); got != token {
			t.Errorf("the second attempt made version %s, want %s", got, token)
		}
		if got := v.credential(token); got != pending {
			t.Error("the second attempt changed the credentials")
		}
		v.wantRead(pending, query)
		conn, _ := v.mustConnect(pending)
		defer conn.Close()
		for _, s := range v.statements(v.user, e.pass) {
			if _, err := conn.ExecContext(t.Context(), s); err != nil {
				t.Errorf("the clone may not do what the user may: %s: %v", s, err)
			}
		}
	})
}

// TestSetPasswordFails: where nobody can set a password, the step fails and can be
// repeated, and what the administrator says is not shown.
func TestSetPasswordFails(t *testing.T) {
	forEachStrategy(t, func(t *testing.T, e *engine, s rotation.Strategy) {
		if e.clones() {
			t.Skip("the function sets passwords itself")
		}
		v := newEnv(t, e, s)
		for what, f := range map[string]func(context.Context, string, string) error{
			"no administrator": nil,
			"one that fails":   func(_ context.Context, user, password string) error { return errors.New(user + password) },
		} {
			v.f.SetPassword = f
			token, err := v.sm.Rotate(t.Context(), v.id)
			if err == nil || !strings.Contains(err.Error(), "setSecret of") {
				t.Errorf("%s: the error is %v, want one of setSecret", what, err)
			}
			v.wantSafe(err)
			v.wantStages(what, v.first, "", token)
			v.wantLogin(what+": the pending password", v.credential(token), false)
		}
		v.f.SetPassword = v.SetPassword
		token := v.mustRotate()
		v.wantLogin("in the end", v.credential(token), true)
	})
}

// exists looks for a user in the server's tables.
func (v *env) exists(user string) (exists bool) {
	v.t.Helper()
	err := v.Admin().QueryRowContext(v.t.Context(), v.engine.exists(user)).Scan(new(any))
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		v.t.Fatal(err)
	}
	return err == nil
}

// TestMismatch: AWSPENDING of another user, host or engine is refused, although one
// could log in with it, and nobody tries.
func TestMismatch(t *testing.T) {
	forEachStrategy(t, func(t *testing.T, e *engine, s rotation.Strategy) {
		v := newEnv(t, e, s)
		due, not := v.user, v.clone() // the user of AWSPENDING, and not
		if s == rotation.AlternatingUsers {
			due, not = not, due
		}
		v.haveClone(s)
		for _, c := range []struct {
			name, user string
			changes    map[string]any
		}{
			{"user", not, nil},
			{"case of the user", strings.ToUpper(due), nil},
			{"host", due, map[string]any{"host": "localhost"}},
			{"engine", due, map[string]any{"engine": e.other}},
		} {
			t.Run(c.name, func(t *testing.T) {
				token := v.sm.PutStage(v.id, v.secret(c.user, v.firstPassword, c.changes), "AWSPENDING")
				err := v.step("setSecret", token)
				if !errors.Is(err, rotation.ErrMismatch) {
					t.Errorf("the error is %v, want one that wraps %q", err, rotation.ErrMismatch)
				}
				v.wantSafe(err)
			})
		}
		for _, user := range []string{v.user, v.clone(), strings.ToUpper(due)} {
			if got := v.Logins(user) + v.RejectedLogins(user); got != 0 {
				t.Errorf("user %q: %d attempts to log in, want none", user, got)
			}
		}
		token := v.sm.PutStage(v.id, v.secret(due, v.firstPassword, nil), "AWSPENDING")
		if err := v.step("setSecret", token); err != nil {
			t.Errorf("without a mismatch: %v", err)
		}
	})
}

// TestPreviousIsRefused: AWSPREVIOUS is of no use if it is of another user or does not
// log in either.
func TestPreviousIsRefused(t *testing.T) {
	forEach(t, func(t *testing.T, e *engine) {
		for _, c := range []struct {
			name string
			user string // of AWSPREVIOUS; empty is the secret's
			want error
		}{
			{"another user", "another", rotation.ErrMismatch},
			{"another password", "", rotation.ErrRefused},
		} {
			t.Run(c.name, func(t *testing.T) {
				v := newEnv(t, e, rotation.SingleUser)
				user, password := v.user, canary
				if c.user != "" {
					user, password = c.user, v.firstPassword
					v.CreateUser(user, password)
				}
				v.sm.PutStage(v.id, v.secret(user, password, nil), "AWSPREVIOUS")
				v.setPassword(v.user, "another")
				_, err := v.sm.Rotate(t.Context(), v.id)
				if !errors.Is(err, c.want) || !errors.Is(err, rotation.ErrRefused) {
					t.Errorf("the error is %v, want one that wraps %q and that AWSCURRENT was refused", err, c.want)
				}
				v.wantSafe(err)
				v.wantLogin("AWSPREVIOUS", credential{user, password}, c.user != "")
				v.wantLogin("the user", credential{v.user, "another"}, true)
			})
		}
	})
}

// offline returns a Secrets Manager with a secret, of a database that is nowhere.
func offline(t *testing.T, s rotation.Strategy, changes map[string]any) (sm *awssmtest.Server, f *rotation.Function, version string) {
	t.Helper()
	sm = awssmtest.NewServer(t)
	version = sm.Put("app", offlineSecret(changes))
	return sm, &rotation.Function{Client: newClient(sm), Strategy: s}, version
}

func offlineSecret(changes map[string]any) string {
	return marshal(map[string]any{
		"engine": "postgres", "host": "127.0.0.1", "port": 1, "dbname": canary, "username": canary, "password": canary,
	}, changes)
}

func TestVersionIsChecked(t *testing.T) {
	for _, s := range strategies {
		sm, f, previous := offline(t, s, nil)
		current := sm.Put("app", marshal(map[string]any{"password": canary}, nil))
		labelled := sm.PutStage("app", "{}", "MINE")
		sm.PutEmpty("app", "AWSPENDING")
		before := sm.Stages("app")
		for _, c := range []struct {
			name, secret, token string
			want                error
		}{
			{"unknown token", "app", "00000000-0000-0000-0000-000000000000", rotation.ErrUnknownVersion},
			{"AWSPREVIOUS", "app", previous, rotation.ErrNotPending},
			{"another label", "app", labelled, rotation.ErrNotPending},
			{"AWSCURRENT", "app", current, nil},
		} {
			for _, step := range steps {
				err := f.Rotate(t.Context(), awssmtest.RotationEvent{Step: step, SecretID: c.secret, ClientRequestToken: c.token})
				if !errors.Is(err, c.want) {
					t.Errorf("%s: %s: the error is %v, want %v", c.name, step, err, c.want)
				}
			}
		}
		for _, r := range sm.Requests() {
			if r.Op != "DescribeSecret" {
				t.Errorf("%s was called, want nothing but DescribeSecret", r.Op)
			}
		}
		for stage, version := range sm.Stages("app") {
			if before[stage] != version {
				t.Errorf("%s is on version %s, was on %s", stage, version, before[stage])
			}
		}
	}
}

func TestUnknownSecretAndStep(t *testing.T) {
	sm, f, _ := offline(t, rotation.SingleUser, nil)
	token := sm.PutEmpty("app", "AWSPENDING")
	err := f.Rotate(t.Context(), awssmtest.RotationEvent{Step: "createSecret", SecretID: "none", ClientRequestToken: token})
	if !errors.As(err, new(*types.ResourceNotFoundException)) {
		t.Errorf("a secret that is not there: %v, want a ResourceNotFoundException", err)
	}
	sm.ResetCalls()
	f.Before = func(context.Context, awssmtest.RotationEvent) error {
		t.Error("Before is called for a step that there is not")
		return nil
	}
	if err := f.Rotate(t.Context(), awssmtest.RotationEvent{Step: "dropSecret", SecretID: "app", ClientRequestToken: token}); err == nil {
		t.Error("there is no step dropSecret, but no error either")
	}
	if got := len(sm.Requests()); got != 0 {
		t.Errorf("%d requests for a step that there is not, want none", got)
	}
}

// TestCreateSecretNeedsCurrent: there has to be a good AWSCURRENT for a new version.
func TestCreateSecretNeedsCurrent(t *testing.T) {
	for _, c := range []struct {
		name     string
		strategy rotation.Strategy
		changes  map[string]any
	}{
		{"no engine", rotation.SingleUser, map[string]any{"engine": nil}},
		{"unknown engine", rotation.SingleUser, map[string]any{"engine": "canary"}},
		{"engine that is not a string", rotation.SingleUser, map[string]any{"engine": []string{canary}}},
		{"no host", rotation.SingleUser, map[string]any{"host": nil}},
		{"empty host", rotation.SingleUser, map[string]any{"host": ""}},
		{"no user", rotation.SingleUser, map[string]any{"username": nil}},
		{"no password", rotation.SingleUser, map[string]any{"password": nil}},
		{"password that is not a string", rotation.SingleUser, map[string]any{"password": map[string]string{"canary": canary}}},
		{"port that is not a number", rotation.SingleUser, map[string]any{"port": canary}},
		{"port that is none", rotation.SingleUser, map[string]any{"port": 65536}},
		{"no database for Oracle", rotation.SingleUser, map[string]any{"engine": "oracle", "dbname": nil}},
		{"database that is not a string", rotation.SingleUser, map[string]any{"dbname": 7}},
		{"nothing but the suffix", rotation.AlternatingUsers, map[string]any{"username": "_clone"}},
		// PostgreSQL's names have 63 bytes, MySQL's 32 characters, MariaDB's 80.
		{"long name for PostgreSQL", rotation.AlternatingUsers, map[string]any{"username": strings.Repeat("x", 63-5)}},
		{"long name for MySQL", rotation.AlternatingUsers, map[string]any{"engine": "mysql", "username": strings.Repeat("x", 32-5)}},
		{"nothing but the suffix, Oracle", rotation.AlternatingUsers, map[string]any{"engine": "oracle", "username": "_clone"}},
		{"nothing but the suffix, Oracle, quoted", rotation.AlternatingUsers, map[string]any{"engine": "oracle", "username": `"_CLONE"`}},
		{"long name for SQL Server", rotation.AlternatingUsers, map[string]any{"engine": "sqlserver", "username": strings.Repeat("x", 128-5)}},
		{"long name for Oracle", rotation.AlternatingUsers, map[string]any{"engine": "oracle", "username": strings.Repeat("x", 128-5)}},
		{"long name for MariaDB", rotation.AlternatingUsers, map[string]any{"engine": "mariadb", "username": strings.Repeat("x", 80-5)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			sm, f, _ := offline(t, c.strategy, c.changes)
			wantInvalid(t, sm, f)
		})
	}
	for _, text := range []string{"", "canary", `"canary"`, `["canary"]`, "null", `{"canary":`, `{"password":"canary"} canary`} {
		t.Run("value "+text, func(t *testing.T) {
			sm, f, _ := offline(t, rotation.SingleUser, nil)
			sm.Put("app", text)
			wantInvalid(t, sm, f)
		})
	}
	t.Run("binary", func(t *testing.T) {
		sm, f, _ := offline(t, rotation.SingleUser, nil)
		sm.PutBinary("app", []byte(`{"password":"canary"}`))
		wantInvalid(t, sm, f)
	})
}

func wantInvalid(t *testing.T, sm *awssmtest.Server, f *rotation.Function) {
	t.Helper()
	token := sm.PutEmpty("app", "AWSPENDING")
	err := f.Rotate(t.Context(), awssmtest.RotationEvent{Step: "createSecret", SecretID: "app", ClientRequestToken: token})
	if !errors.Is(err, rotation.ErrInvalidSecret) {
		t.Errorf("the error is %v, want one that wraps %q", err, rotation.ErrInvalidSecret)
	}
	wantNoCanary(t, err)
	if got := sm.Calls("PutSecretValue"); got != 0 {
		t.Errorf("%d calls of PutSecretValue, want none", got)
	}
}

// TestCreateSecretTakes what secrets of AWS look like: a port may be a string or left
// out, and the longest names are good.
func TestCreateSecretTakes(t *testing.T) {
	for _, changes := range []map[string]any{
		{"port": "5432"},
		{"port": nil},
		{"dbname": nil},
		{"engine": "aurora-postgresql"},
		{"engine": "aurora-mysql"},
		{"username": strings.Repeat("x", 63-6)},
		{"username": strings.Repeat("x", 63-6) + "_clone"},
		{"engine": "mysql", "username": strings.Repeat("x", 32-6)},
		{"engine": "mariadb", "username": strings.Repeat("x", 80-6)},
		{"engine": "sqlserver", "username": strings.Repeat("x", 128-6)},
		{"engine": "sqlserver", "dbname": nil},
		{"engine": "oracle", "username": strings.Repeat("x", 128-6)},
	} {
		sm, f, _ := offline(t, rotation.AlternatingUsers, changes)
		token := sm.PutEmpty("app", "AWSPENDING")
		if err := f.Rotate(t.Context(), awssmtest.RotationEvent{Step: "createSecret", SecretID: "app", ClientRequestToken: token}); err != nil {
			t.Errorf("%v: %v", changes, err)
		}
	}
}

// TestOracleNames: the other user's name is in upper case, as with AWS's functions,
// unless it is in quotes, which they leave alone.
func TestOracleNames(t *testing.T) {
	for user, want := range map[string]string{
		"app": "APP_CLONE", "APP": "APP_CLONE", "App_Clone": "APP", "APP_CLONE": "APP",
		`"App"`: `"App_CLONE"`, `"App_CLONE"`: `"App"`, `"App_clone"`: `"App_clone_CLONE"`,
	} {
		sm, f, _ := offline(t, rotation.AlternatingUsers, map[string]any{"engine": "oracle", "username": user})
		token := sm.PutEmpty("app", "AWSPENDING")
		if err := f.Rotate(t.Context(), awssmtest.RotationEvent{Step: "createSecret", SecretID: "app", ClientRequestToken: token}); err != nil {
			t.Errorf("%s: %v", user, err)
			continue
		}
		out, err := f.Client.GetSecretValue(t.Context(), &secretsmanager.GetSecretValueInput{SecretId: aws.String("app"), VersionId: &token})
		if err != nil {
			t.Fatal(err)
		}
		var got struct{ Username string }
		if err := json.Unmarshal([]byte(*out.SecretString), &got); err != nil || got.Username != want {
			t.Errorf("%s alternates with %s, want %s (%v)", user, got.Username, want, err)
		}
	}
}

// offlineClone is a clone's name in a secret of a user that is not quoted.
func (e *engine) offlineClone(user string) string {
	if e.secret == "oracle" {
		return strings.ToUpper(user) + "_CLONE"
	}
	return suffixed(user)
}

// TestUnreachable: a database that cannot be reached has not refused AWSPENDING, so
// nothing else is tried.
func TestUnreachable(t *testing.T) {
	for _, e := range engines {
		for _, s := range strategies {
			user := "app"
			if s == rotation.AlternatingUsers {
				user = e.offlineClone(user)
			}
			sm, f, _ := offline(t, s, map[string]any{"engine": e.secret, "username": "app"})
			token := sm.PutStage("app", offlineSecret(map[string]any{"engine": e.secret, "username": user}), "AWSPENDING")
			err := f.Rotate(t.Context(), awssmtest.RotationEvent{Step: "setSecret", SecretID: "app", ClientRequestToken: token})
			if !errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, rotation.ErrRefused) || !strings.Contains(err.Error(), "log in with AWSPENDING: ") {
				t.Errorf("%s, %v: the error is %v, want that of the connection with AWSPENDING", e.name, s, err)
			}
		}
	}
}

// TestEndedContext: a server that says nothing holds nobody longer than the context.
func TestEndedContext(t *testing.T) {
	forEach(t, func(t *testing.T, e *engine) {
		v := newEnv(t, e, rotation.SingleUser)
		p := newProxy(t, v.Server)
		v.sm.Put(v.id, v.secret(v.user, v.firstPassword, map[string]any{"port": p.port}))
		p.hang.Store(true)
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		_, err := v.sm.Rotate(ctx, v.id)
		if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, rotation.ErrRefused) {
			t.Errorf("the error is %v, want one that wraps %q alone", err, context.DeadlineExceeded)
		}
		v.wantSafe(err)
	})
}
