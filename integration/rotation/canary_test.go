package rotation_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/integration/internal/testdb"
	"github.com/sqlsecrets/sqlsecrets/integration/rotation"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/leak"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm/awssmtest"
)

// TestNothingShowsASecret drives rotations into errors that quote, or whose trees
// hold, what they were given, and searches them for the values of the secrets. The
// failures of the other tests are searched there.
func TestNothingShowsASecret(t *testing.T) {
	forEachStrategy(t, func(t *testing.T, e *engine, s rotation.Strategy) {
		for _, c := range []struct {
			name    string
			changes map[string]any // in the secret
			unknown bool           // the server's authority
		}{
			{name: "unknown database", changes: map[string]any{"dbname": "canary"}},
			{name: "unknown user", changes: map[string]any{"username": "canary nobody"}},
			{name: "wrong password", changes: map[string]any{"password": "canary wrong"}},
			{name: "user of control characters", changes: map[string]any{"username": "canary\x00\n"}},
			{name: "password of control characters", changes: map[string]any{"password": "canary\x00\n"}},
			{name: "unknown authority", unknown: true},
		} {
			t.Run(c.name, func(t *testing.T) {
				var v *env
				if c.unknown {
					v = newEnvOverTLS(t, e, s)
					v.f.TLS = trust(testdb.UnknownCA(t))
				} else {
					v = newEnv(t, e, s)
				}
				v.sm.Put(v.id, v.secret(v.user, v.firstPassword, c.changes))
				v.sm.RemoveStage(v.id, "AWSPREVIOUS")
				_, err := v.sm.Rotate(t.Context(), v.id)
				if err == nil {
					t.Fatal("the rotation succeeded")
				}
				v.wantSafe(err)
			})
		}
	})
}

// TestNothingShowsASecretOffline is the same where there is no database.
func TestNothingShowsASecretOffline(t *testing.T) {
	answer := func(op, body string) awssmtest.Fault { return awssmtest.Answer(200, body).Op(op) }
	for _, e := range engines {
		for _, s := range strategies {
			for _, c := range []struct {
				name    string
				step    string
				changes map[string]any // in the secret
				fault   awssmtest.Fault
			}{
				{name: "unknown host", step: "setSecret", changes: map[string]any{"host": "canary.invalid"}},
				{name: "host that is none", step: "setSecret", changes: map[string]any{"host": "canary host:%"}},
				{name: "nobody listens", step: "testSecret"},
				{name: "value cut off", step: "createSecret", fault: awssmtest.Truncate.Op("GetSecretValue")},
				{name: "value that is not JSON", step: "setSecret", fault: answer("GetSecretValue", `{"SecretString":"canary", oops`)},
				{name: "value of the wrong type", step: "testSecret", fault: answer("GetSecretValue", `{"SecretString":{"password":"canary"}}`)},
				{name: "value of something else", step: "createSecret", fault: answer("GetSecretValue", `{"SecretString":"canary"}`)},
				{name: "versions that are not JSON", step: "createSecret", fault: answer("DescribeSecret", `{"VersionIdsToStages":"canary"}`)},
				{name: "random password that is not JSON", step: "createSecret", fault: answer("GetRandomPassword", `{"RandomPassword":"canary", oops`)},
				{name: "value put, answer cut off", step: "createSecret", fault: awssmtest.Truncate.Op("PutSecretValue")},
				{name: "value put, answer that is not JSON", step: "createSecret", fault: answer("PutSecretValue", "canary")},
				{name: "value not put", step: "createSecret", fault: awssmtest.Unavailable.Op("PutSecretValue")},
				{name: "value not put in time", step: "createSecret", fault: awssmtest.Hang.Op("PutSecretValue")},
				{name: "label not moved", step: "finishSecret", fault: answer("UpdateSecretVersionStage", `["canary"`)},
			} {
				t.Run(e.name+" "+s.String()+" "+c.name, func(t *testing.T) {
					changes := map[string]any{"engine": e.secret}
					maps.Copy(changes, c.changes)
					sm, f, _ := offline(t, s, changes)
					var token string
					if c.step == "createSecret" {
						token = sm.PutEmpty("app", "AWSPENDING")
					} else {
						pending := maps.Clone(changes)
						pending["username"] = canary
						if s == rotation.AlternatingUsers {
							pending["username"] = e.offlineClone(canary)
						}
						token = sm.PutStage("app", offlineSecret(pending), "AWSPENDING")
					}
					if c.fault != (awssmtest.Fault{}) {
						sm.Fail(c.fault)
					}
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					defer cancel()
					if strings.HasSuffix(c.name, "in time") {
						go func() {
							if sm.WaitHanging(ctx, 1) == nil {
								cancel()
							}
						}()
					}
					err := f.Rotate(ctx, awssmtest.RotationEvent{Step: c.step, SecretID: "app", ClientRequestToken: token})
					if err == nil || errors.Is(err, rotation.ErrMismatch) {
						t.Fatalf("the error is %v, want one of the failure", err)
					}
					wantNoCanary(t, err)
					t.Log(err)
				})
			}
		}
	}
}

func wantNoCanary(t *testing.T, err error) {
	t.Helper()
	if path := leak.Find(err, canary); path != "" {
		t.Errorf("a value is in the error at %s", path)
	}
	if strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), canary) {
		t.Errorf("the error shows a value: %v", err)
	}
}
