package rotation_test

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	"github.com/sqlsecrets/sqlsecrets/integration/rotation"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm/awssmtest"
)

// TestFailedStepIsRepeated makes each step fail, before and after its effect, and rotates again.
// The second rotation uses the same version and finishes. With -short, each strategy meets one of
// the two cases.
func TestFailedStepIsRepeated(t *testing.T) {
	boom := errors.New("boom")
	forEachStrategy(t, func(t *testing.T, e *engine, s rotation.Strategy) {
		for i, step := range steps {
			for _, after := range []bool{false, true} {
				if testing.Short() && after != (s == rotation.SingleUser) {
					continue
				}
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

					// The state of the secret at this point.
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
						v.mustStep(token, steps...) // Rotate would begin the next rotation
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

// A failure is something that breaks before a step.
type failure struct {
	name       string
	step       string
	strategies []rotation.Strategy
	want       error // the error wraps it; or nil
	brk, mend  func(v *env, p *proxy)
	effect     bool // the step had its effect nevertheless
}

// sdkFailure is a failure of the Secrets Manager.
func sdkFailure(f awssmtest.Fault, step string, effect bool) failure {
	return failure{f.String(), step, strategies, nil, func(v *env, _ *proxy) { v.sm.Fail(f) }, func(*env, *proxy) {}, effect}
}

// setPassword gives a user another password, as another program would.
func (v *env) setPassword(user, password string) {
	v.t.Helper()
	if err := v.SetPassword(v.t.Context(), user, password); err != nil {
		v.t.Fatal(err)
	}
}

// TestStepThatFailedIsRepeatedWhenItsCauseIsGone breaks something that a step needs, and repairs it
// for the second attempt.
func TestStepThatFailedIsRepeatedWhenItsCauseIsGone(t *testing.T) {
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
			"wrong superuser password", "setSecret", []rotation.Strategy{alternating}, rotation.ErrRejected,
			func(v *env, _ *proxy) { v.putSuperuser(v.User, canary, nil) },
			func(v *env, _ *proxy) { v.putSuperuser(v.User, v.Password, nil) }, false,
		},
		{
			"superuser's secret without a value", "setSecret", []rotation.Strategy{alternating}, rotation.ErrInvalidSecret,
			func(v *env, _ *proxy) { v.sm.Put(superuserID, canary) },
			func(v *env, _ *proxy) { v.putSuperuser(v.User, v.Password, nil) }, false,
		},
		{
			"wrong current password", "setSecret", strategies, rotation.ErrRejected,
			func(v *env, _ *proxy) { v.setPassword(v.user, canary) },
			func(v *env, _ *proxy) { v.setPassword(v.user, v.firstPassword) }, false,
		},
		{
			"pending password that was changed", "testSecret", []rotation.Strategy{single}, rotation.ErrRejected,
			func(v *env, _ *proxy) { v.setPassword(v.user, canary) },
			func(v *env, _ *proxy) { v.setPassword(v.user, v.firstPassword) }, false,
		},
		{
			"pending password that was changed", "testSecret", []rotation.Strategy{alternating}, rotation.ErrRejected,
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
			// Failures of the Secrets Manager do not depend on the engine. So only the engines that
			// are always available meet them.
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
					t.Fatalf("%s ended with %v, want a failure of %s", last, err, c.step)
				}
				if c.want != nil && !errors.Is(err, c.want) {
					t.Errorf("the error is %q, want one that wraps %q", err, c.want)
				}
				if c.want == nil && errors.Is(err, rotation.ErrRejected) {
					t.Errorf("the error is %q, but no login was rejected", err)
				}
				v.f.Before = nil
				v.sm.Heal()
				c.mend(v, p)

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

// TestCloneIsCompleteOrCannotLogIn: a superuser with too few privileges leaves no clone that can
// log in. A superuser with enough privileges completes the clone.
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
		if err == nil || errors.Is(err, rotation.ErrRejected) {
			t.Errorf("the error is %v, want an error about a missing privilege", err)
		}
		v.wantStages("after the failure", v.first, "", token)
		// Without transactions there is half of a clone.
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

// exists reports whether the server's tables have a user.
func (v *env) exists(user string) (exists bool) {
	v.t.Helper()
	err := v.Admin().QueryRowContext(v.t.Context(), v.engine.exists(user)).Scan(new(any))
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		v.t.Fatal(err)
	}
	return err == nil
}

// TestPreviousIsRejected: if AWSPREVIOUS does not log in either, the error is about AWSCURRENT.
func TestPreviousIsRejected(t *testing.T) {
	forEach(t, func(t *testing.T, e *engine) {
		v := newEnv(t, e, rotation.SingleUser)
		v.sm.PutStage(v.id, v.secret(v.user, canary, nil), "AWSPREVIOUS")
		v.setPassword(v.user, "another")
		if _, err := v.sm.Rotate(t.Context(), v.id); !errors.Is(err, rotation.ErrRejected) {
			t.Errorf("the error is %v, want an error that AWSCURRENT was rejected", err)
		}
		v.wantLogin("the user", credential{v.user, "another"}, true)
	})
}
