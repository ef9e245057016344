package awssmtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// The four steps of a rotation, in order.
const (
	CreateSecret = "createSecret" // make a new value and store it as AWSPENDING
	SetSecret    = "setSecret"    // make the database accept it
	TestSecret   = "testSecret"   // log in with it
	FinishSecret = "finishSecret" // move AWSCURRENT to it
)

// A RotationEvent tells a rotation function what to do. In AWS, it is the event that Lambda
// passes to the function.
type RotationEvent struct {
	Step               string // CreateSecret, SetSecret, TestSecret or FinishSecret
	SecretID           string // the ARN
	ClientRequestToken string // the id of the version to make
}

// A RotationFunc is a rotation function. It is called once for each step, without locks held.
// It must move AWSCURRENT to the new version in the step FinishSecret; the server does not do that.
//
// It may call methods of the server, and may use clients of the server. [Server.Rotate] calls it in
// the caller's goroutine, RotateSecret in another one. There a method that cannot do its work fails
// the test without ending it, so use a client, which returns errors.
type RotationFunc func(ctx context.Context, e RotationEvent) error

// SetRotation sets the rotation function that RotateSecret and [Server.Rotate] call, for all
// secrets. Nil means none. RotateSecret then needs a RotationLambdaARN, and leaves AWSPENDING
// on a version without a value; Rotate returns an error.
func (s *Server) SetRotation(f RotationFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rotate = f
}

// Rotate rotates a secret, and returns at the end of the rotation with the id of the new
// version. It puts AWSPENDING on a version without a value. If an earlier rotation failed and
// left AWSPENDING on a version, Rotate goes on with that version, where RotateSecret returns an
// error. Then it calls the rotation function with ctx for each of the four steps. The first
// error ends the rotation. Without a rotation function Rotate returns an error.
func (s *Server) Rotate(ctx context.Context, id string) (versionID string, err error) {
	s.mu.Lock()
	sec, err := s.find("", id)
	if err != nil {
		s.mu.Unlock()
		return "", fmt.Errorf("awssmtest: rotate %q: there is no such secret", id)
	}
	f := s.rotate
	if f == nil {
		s.mu.Unlock()
		return "", errors.New("awssmtest: rotate: SetRotation was not called")
	}
	if v := sec.holder(pending); v != nil && v != sec.holder(current) {
		versionID = v.id
	} else {
		versionID = newUUID()
		if err := sec.put(versionID, nil, []string{pending}); err != nil {
			s.mu.Unlock()
			return "", fmt.Errorf("awssmtest: rotate %q: %w", id, err)
		}
	}
	s.mu.Unlock()
	return versionID, s.runRotation(ctx, f, sec, versionID)
}

func (s *Server) runRotation(ctx context.Context, f RotationFunc, sec *secret, token string) error {
	for _, step := range []string{CreateSecret, SetSecret, TestSecret, FinishSecret} {
		e := RotationEvent{Step: step, SecretID: sec.arn(sec.region), ClientRequestToken: token}
		if err := f(ctx, e); err != nil {
			return fmt.Errorf("awssmtest: rotate %q: %s: %w", sec.name, step, err)
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("awssmtest: rotate %q: %s: %w", sec.name, step, err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	sec.rotated = time.Now()
	if v := sec.holder(pending); s.removePending && v != nil && v.id == token {
		_ = sec.move(pending, nil) // never fails: it only removes a stage
	}
	return nil
}

// RemovePendingAfterRotation sets whether AWSPENDING is removed from the new version at the
// end of a rotation. By default it stays there beside AWSCURRENT, unless the rotation
// function removes it. The service may leave a secret in either state.
func (s *Server) RemovePendingAfterRotation(remove bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.removePending = remove
}

// rotateSecret starts a rotation. As in the service, the rotation goes on after the answer. An
// error of the function ends it, and the next RotateSecret runs the function again.
func (s *Server) rotateSecret(in *input) (output, *apiError) {
	sec, e := s.get(in)
	if e == nil {
		e = s.checkRotation(sec, in)
	}
	if e != nil {
		return nil, e
	}
	out := output{"ARN": sec.arn(in.region), "Name": sec.name, "VersionId": in.ClientRequestToken}
	if v := sec.holder(pending); v != nil && v != sec.holder(current) && v.id != in.ClientRequestToken {
		return nil, s.rotateAgain(sec, v.id)
	}
	if sec.version(in.ClientRequestToken) != nil {
		return out, nil // the same request again
	}
	sec.lambda = cmp.Or(in.RotationLambdaARN, sec.lambda)
	if in.RotationRules != nil {
		sec.rules = in.RotationRules
	}
	sec.rotation, sec.scheduled = true, time.Now()
	if in.RotateImmediately != nil && !*in.RotateImmediately {
		delete(out, "VersionId")
		return out, s.testRotation(sec, in.ClientRequestToken)
	}
	if err := sec.put(in.ClientRequestToken, nil, []string{pending}); err != nil {
		return nil, bad("LimitExceededException", err.Error())
	}
	s.start(sec, func(f RotationFunc) {
		_ = s.runRotation(s.ctx, f, sec, in.ClientRequestToken) // the service does not report this error either
	})
	return out, nil
}

// checkRotation returns what is wrong with a RotateSecret.
func (s *Server) checkRotation(sec *secret, in *input) *apiError {
	_, scheduled := in.RotationRules["ScheduleExpression"]
	days, counted := in.RotationRules["AutomaticallyAfterDays"].(float64)
	switch {
	case in.ClientRequestToken == "":
		return bad("InvalidParameterException", noTokenText)
	case counted && scheduled:
		return bad("InvalidParameterException", "You can't specify both AutomaticallyAfterDays and ScheduleExpression.")
	case counted && (days < 1 || days > 1000):
		return bad("InvalidParameterException", "AutomaticallyAfterDays is 1 to 1000.")
	case in.RotationLambdaARN == "" && sec.lambda == "" && s.rotate == nil:
		return bad("InvalidRequestException", "No Lambda rotation function ARN is associated with this secret.")
	}
	return nil
}

// rotateAgain calls the rotation function again for a rotation that has not ended. It returns
// the error of the service. The text promises another run only if there is a function.
func (s *Server) rotateAgain(sec *secret, token string) *apiError {
	text := "A previous rotation isn't complete."
	again := s.start(sec, func(f RotationFunc) {
		s.mu.Lock()
		v := sec.holder(pending)
		done := v == nil || v.id != token || v == sec.holder(current)
		s.mu.Unlock()
		if !done {
			_ = s.runRotation(s.ctx, f, sec, token)
		}
	})
	if again {
		text += " That rotation will be reattempted."
	}
	return bad("InvalidRequestException", text)
}

// testRotation does what RotateSecret does with RotateImmediately false: it makes a version with
// the current value and AWSPENDING, runs the step testSecret with it, and removes it.
func (s *Server) testRotation(sec *secret, token string) *apiError {
	v := sec.holder(current)
	if s.rotate == nil || v == nil {
		return nil
	}
	if err := sec.put(token, v.value, []string{pending}); err != nil {
		return bad("LimitExceededException", err.Error())
	}
	s.start(sec, func(f RotationFunc) {
		_ = f(s.ctx, RotationEvent{Step: TestSecret, SecretID: sec.arn(sec.region), ClientRequestToken: token})
		s.mu.Lock()
		defer s.mu.Unlock()
		sec.versions = slices.DeleteFunc(sec.versions, func(v *version) bool { return v.id == token && v != sec.holder(current) })
	})
	return nil
}

// start calls run with the rotation function in a goroutine, after the secret's rotation that
// is under way has ended. It reports whether there is a rotation function. The caller holds mu.
func (s *Server) start(sec *secret, run func(RotationFunc)) bool {
	f := s.rotate
	if f == nil || s.ctx.Err() != nil {
		return false
	}
	before, ended := sec.rotating, make(chan struct{})
	sec.rotating = ended
	s.wg.Go(func() {
		defer close(ended) // also if the function ends its goroutine
		if before != nil {
			<-before
		}
		run(f)
	})
	return true
}

// nextRotation returns when the service would rotate again: some days or hours after the last
// rotation, or after rotation was switched on. It returns the zero time if rotation is off, and
// for cron expressions.
func (s *secret) nextRotation() time.Time {
	from := s.rotated
	if from.Before(s.scheduled) {
		from = s.scheduled
	}
	if days, ok := s.rules["AutomaticallyAfterDays"].(float64); ok && s.rotation {
		return from.AddDate(0, 0, int(days))
	}
	var n int
	var unit string
	rate, _ := s.rules["ScheduleExpression"].(string)
	if _, err := fmt.Sscanf(rate, "rate(%d %s", &n, &unit); err != nil || !s.rotation {
		return time.Time{}
	}
	if strings.HasPrefix(unit, "hour") {
		return from.Add(time.Duration(n) * time.Hour)
	}
	return from.AddDate(0, 0, n)
}

func (s *Server) cancelRotateSecret(in *input) (output, *apiError) {
	sec, e := s.get(in)
	if e != nil {
		return nil, e
	}
	sec.rotation = false
	out := output{"ARN": sec.arn(in.region), "Name": sec.name}
	if v := sec.holder(pending); v != nil {
		out["VersionId"] = v.id
	}
	return out, nil
}
