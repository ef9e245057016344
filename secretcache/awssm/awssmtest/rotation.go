package awssmtest

import (
	"context"
	"errors"
	"fmt"
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
	return nil
}

// rotateSecret starts a rotation, which goes on after the answer as in the
// service. An error of the function ends it; it is not tried again.
func (s *Server) rotateSecret(in *input) (output, *apiError) {
	sec, e := s.get(in)
	if e != nil {
		return nil, e
	}
	if in.ClientRequestToken == "" {
		return nil, bad("InvalidParameterException", noTokenText)
	}
	if n := len(in.ClientRequestToken); n < 32 || n > 64 {
		return nil, bad("InvalidParameterException", "ClientRequestToken must be 32-64 characters long.")
	}
	if in.RotationLambdaARN == "" && sec.lambda == "" && s.rotate == nil {
		return nil, bad("InvalidRequestException", "No Lambda rotation function ARN is associated with this secret.")
	}
	out := output{"ARN": sec.arn(in.region), "Name": sec.name, "VersionId": in.ClientRequestToken}
	if v := sec.holder(pending); v != nil && v != sec.holder(current) {
		if v.id == in.ClientRequestToken {
			return out, nil // the same request again
		}
		return nil, bad("InvalidRequestException", "A previous rotation isn't complete. That rotation will be reattempted.")
	}
	if v := sec.version(in.ClientRequestToken); v != nil {
		return out, nil
	}
	if in.RotationLambdaARN != "" {
		sec.lambda = in.RotationLambdaARN
	}
	if in.RotationRules != nil {
		sec.rules = in.RotationRules
	}
	sec.rotation = true
	if in.RotateImmediately != nil && !*in.RotateImmediately {
		delete(out, "VersionId")
		return out, nil
	}
	if err := sec.put(in.ClientRequestToken, nil, []string{pending}); err != nil {
		return nil, bad("LimitExceededException", err.Error())
	}
	if f := s.rotate; f != nil && s.ctx.Err() == nil {
		s.wg.Add(1)
		go func() {
			defer s.wg.Done()
			_ = s.runRotation(s.ctx, f, sec, in.ClientRequestToken) // the function knows
		}()
	}
	return out, nil
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
