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

// The steps of a rotation, in their order.
const (
	CreateSecret = "createSecret" // make a new value and store it as AWSPENDING
	SetSecret    = "setSecret"    // make the database accept it
	TestSecret   = "testSecret"   // log in with it
	FinishSecret = "finishSecret" // move AWSCURRENT to it
)

// A RotationEvent is what a rotation function gets, as AWS Lambda does in an event.
type RotationEvent struct {
	Step               string
	SecretID           string // the ARN
	ClientRequestToken string // the id of the version to make
}

// A RotationFunc is a rotation function. It is called once for each step, without
// locks held, and may call the server by its methods and through clients.
type RotationFunc func(ctx context.Context, e RotationEvent) error

// SetRotation sets the function that RotateSecret and [Server.Rotate] call, for
// all secrets. Nil: none; RotateSecret then needs a RotationLambdaARN, and leaves
// AWSPENDING on a version without a value.
func (s *Server) SetRotation(f RotationFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rotate = f
}

// Rotate rotates a secret and waits for the end of it. It puts AWSPENDING on a
// version without a value, or takes the one on which an earlier rotation left it,
// and calls the rotation function for the four steps, with ctx. The first error
// ends it. Unlike RotateSecret it may so go on with a rotation that failed.
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
		_ = sec.move(pending, nil) // takes one away
	}
	return nil
}

// RemovePendingAfterRotation says whether a rotation that ends takes AWSPENDING from its
// version. By default it stays there, beside AWSCURRENT, unless the rotation function
// removes it. The service may leave a secret in either state.
func (s *Server) RemovePendingAfterRotation(remove bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.removePending = remove
}

// rotateSecret starts a rotation, which goes on after the answer as in the service. An
// error of the function ends it; the next RotateSecret runs the function again.
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
		_ = s.runRotation(s.ctx, f, sec, in.ClientRequestToken) // the function knows
	})
	return out, nil
}

// checkRotation says what is wrong with a RotateSecret.
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

// rotateAgain runs the function for a rotation that has not ended, and returns the
// service's error for another one. It promises that only if there is a function.
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

// testRotation is what RotateSecret does that is not to rotate yet: it runs testSecret with
// a version that bears AWSPENDING and has the current value, and removes that version.
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

// start has the rotation function run, after what it runs for now, and reports whether there
// is one. The caller holds mu.
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

// nextRotation is when the service would rotate again: so many days or hours after it has,
// or after rotation was switched on. It is zero if that is off, and for cron expressions.
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
