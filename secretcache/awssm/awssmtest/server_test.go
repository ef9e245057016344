package awssmtest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	sm "github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm/awssmtest"
)

// client returns an SDK client with the defaults, but without retries. It also works around a
// bug of smithy-go that breaks connections to servers that answer this fast: after the answer,
// WriteTo of the request body returns an error.
func client(s *awssmtest.Server, region ...string) *sm.Client {
	return sm.NewFromConfig(s.Config(), func(o *sm.Options) {
		o.Retryer = aws.NopRetryer{}
		h := awshttp.NewBuildableClient()
		o.HTTPClient = smithyhttp.ClientDoFunc(func(r *http.Request) (*http.Response, error) {
			r.Body = struct{ io.ReadCloser }{r.Body} // without WriteTo
			return h.Do(r)
		})
		if len(region) > 0 {
			o.Region = region[0]
		}
	})
}

func token(i int) *string { return aws.String(fmt.Sprintf("00000000-0000-4000-8000-%012d", i)) }

func current(t *testing.T, c *sm.Client, id string) string {
	t.Helper()
	out, err := c.GetSecretValue(t.Context(), &sm.GetSecretValueInput{SecretId: &id})
	if err != nil {
		t.Fatalf("GetSecretValue(%q): %v", id, err)
	}
	return aws.ToString(out.SecretString)
}

func TestLifeOfASecretThroughTheSDK(t *testing.T) {
	ctx := t.Context()
	s := awssmtest.NewServer(t)
	c := client(s)

	created, err := c.CreateSecret(ctx, &sm.CreateSecretInput{
		Name: aws.String("prod/app"), Description: aws.String("d"), SecretString: aws.String("one"), ClientRequestToken: token(1),
	})
	if err != nil {
		t.Fatal(err)
	}
	arn := *created.ARN
	if !strings.HasPrefix(arn, "arn:aws:secretsmanager:us-west-2:123456789012:secret:prod/app-") || len(arn) != len("arn:aws:secretsmanager:us-west-2:123456789012:secret:prod/app-a1b2c3") {
		t.Errorf("ARN %q", arn)
	}
	if *created.VersionId != *token(1) || *created.Name != "prod/app" {
		t.Errorf("created %+v", created)
	}

	for _, id := range []string{"prod/app", arn, arn[:len(arn)-7]} {
		out, err := c.GetSecretValue(ctx, &sm.GetSecretValueInput{SecretId: &id})
		if err != nil {
			t.Fatalf("%s: %v", id, err)
		}
		if *out.ARN != arn || *out.Name != "prod/app" || *out.SecretString != "one" || out.SecretBinary != nil ||
			*out.VersionId != *token(1) || !slices.Equal(out.VersionStages, []string{"AWSCURRENT"}) ||
			time.Since(*out.CreatedDate).Abs() > time.Minute {
			t.Errorf("%s: %+v", id, out)
		}
	}

	put, err := c.PutSecretValue(ctx, &sm.PutSecretValueInput{SecretId: &arn, SecretBinary: []byte{0, 1, 2}, ClientRequestToken: token(2)})
	if err != nil || !slices.Equal(put.VersionStages, []string{"AWSCURRENT"}) {
		t.Fatalf("put %+v, %v", put, err)
	}
	out, err := c.GetSecretValue(ctx, &sm.GetSecretValueInput{SecretId: &arn})
	if err != nil || !bytes.Equal(out.SecretBinary, []byte{0, 1, 2}) || out.SecretString != nil {
		t.Errorf("binary: %+v, %v", out, err)
	}
	out, err = c.GetSecretValue(ctx, &sm.GetSecretValueInput{SecretId: &arn, VersionStage: aws.String("AWSPREVIOUS")})
	if err != nil || *out.SecretString != "one" {
		t.Errorf("previous: %+v, %v", out, err)
	}

	upd, err := c.UpdateSecret(ctx, &sm.UpdateSecretInput{SecretId: &arn, SecretString: aws.String("three"), Description: aws.String("e"), ClientRequestToken: token(3)})
	if err != nil || *upd.VersionId != *token(3) {
		t.Errorf("update: %+v, %v", upd, err)
	}
	if _, err := c.UpdateSecret(ctx, &sm.UpdateSecretInput{SecretId: &arn, Description: aws.String("f")}); err != nil {
		t.Error(err)
	}

	desc, err := c.DescribeSecret(ctx, &sm.DescribeSecretInput{SecretId: &arn})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{*token(2): {"AWSPREVIOUS"}, *token(3): {"AWSCURRENT"}}
	if !reflect.DeepEqual(desc.VersionIdsToStages, want) || *desc.Description != "f" || desc.LastAccessedDate == nil || desc.DeletedDate != nil {
		t.Errorf("describe: %+v", desc)
	}
	for deprecated, n := range map[bool]int{false: 2, true: 3} {
		list, err := c.ListSecretVersionIds(ctx, &sm.ListSecretVersionIdsInput{SecretId: &arn, IncludeDeprecated: &deprecated})
		if err != nil || len(list.Versions) != n {
			t.Errorf("versions, deprecated %t: %+v, %v, want %d", deprecated, list, err, n)
		}
	}

	del, err := c.DeleteSecret(ctx, &sm.DeleteSecretInput{SecretId: &arn, RecoveryWindowInDays: aws.Int64(7)})
	if err != nil || time.Until(*del.DeletionDate) < 6*24*time.Hour || time.Until(*del.DeletionDate) > 8*24*time.Hour {
		t.Errorf("delete: %+v, %v", del, err)
	}
	if desc, err := c.DescribeSecret(ctx, &sm.DescribeSecretInput{SecretId: &arn}); err != nil || desc.DeletedDate == nil {
		t.Errorf("describe deleted: %+v, %v", desc, err)
	}
	if _, err := c.RestoreSecret(ctx, &sm.RestoreSecretInput{SecretId: &arn}); err != nil {
		t.Error(err)
	}
	if got := current(t, c, "prod/app"); got != "three" {
		t.Errorf("after restore: %q", got)
	}
	for range 2 { // the second time the secret no longer exists
		if _, err := c.DeleteSecret(ctx, &sm.DeleteSecretInput{SecretId: aws.String("prod/app"), ForceDeleteWithoutRecovery: aws.Bool(true)}); err != nil {
			t.Error(err)
		}
	}
	again, err := c.CreateSecret(ctx, &sm.CreateSecretInput{Name: aws.String("prod/app"), SecretString: aws.String("x")})
	if err != nil || *again.ARN == arn {
		t.Errorf("created again: %+v, %v", again, err)
	}
}

// LocalStack's snapshot tests (tests/aws/services/secretsmanager) recorded from the service how
// stages move.
func TestStagesMoveAsInTheService(t *testing.T) {
	type put struct {
		version int
		stages  []string
	}
	type move struct {
		stage    string
		to, from int
	}
	for _, tt := range []struct {
		name  string
		steps []any
		want  map[int]string
	}{
		{"new current", []any{put{2, nil}}, map[int]string{1: "AWSPREVIOUS", 2: "AWSCURRENT"}},
		{"and another", []any{put{2, nil}, put{3, nil}}, map[int]string{2: "AWSPREVIOUS", 3: "AWSCURRENT"}},
		{"pending does not move current", []any{put{2, []string{"AWSPENDING"}}}, map[int]string{1: "AWSCURRENT", 2: "AWSPENDING"}},
		{"pending moves to the next", []any{put{2, []string{"AWSPENDING"}}, put{3, []string{"AWSPENDING"}}}, map[int]string{1: "AWSCURRENT", 3: "AWSPENDING"}},
		{"finish leaves pending with current", []any{put{2, []string{"AWSPENDING"}}, move{"AWSCURRENT", 2, 1}}, map[int]string{1: "AWSPREVIOUS", 2: "AWSCURRENT,AWSPENDING"}},
		{"then it is removed", []any{put{2, []string{"AWSPENDING"}}, move{"AWSCURRENT", 2, 1}, move{"AWSPENDING", 0, 2}}, map[int]string{1: "AWSPREVIOUS", 2: "AWSCURRENT"}},
		{"or the next current takes it", []any{put{2, []string{"AWSPENDING"}}, move{"AWSCURRENT", 2, 1}, put{3, nil}}, map[int]string{2: "AWSPREVIOUS", 3: "AWSCURRENT"}},
		{"roll back", []any{put{2, nil}, move{"AWSCURRENT", 1, 2}}, map[int]string{1: "AWSCURRENT", 2: "AWSPREVIOUS"}},
		{"own stages stay", []any{put{2, []string{"AWSCURRENT", "b", "a"}}, put{3, nil}}, map[int]string{2: "AWSPREVIOUS,a,b", 3: "AWSCURRENT"}},
		{"own stages move one by one", []any{put{2, []string{"one", "three", "two"}}, put{3, []string{"one", "two", "four"}}}, map[int]string{1: "AWSCURRENT", 2: "three", 3: "four,one,two"}},
		{"to where it is", []any{move{"AWSCURRENT", 1, 1}}, map[int]string{1: "AWSCURRENT"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := awssmtest.NewServer(t)
			c := client(s)
			if _, err := c.CreateSecret(t.Context(), &sm.CreateSecretInput{Name: aws.String("a"), SecretString: aws.String("1"), ClientRequestToken: token(1)}); err != nil {
				t.Fatal(err)
			}
			for _, step := range tt.steps {
				var err error
				switch step := step.(type) {
				case put:
					_, err = c.PutSecretValue(t.Context(), &sm.PutSecretValueInput{
						SecretId: aws.String("a"), SecretString: aws.String("x"), ClientRequestToken: token(step.version), VersionStages: step.stages,
					})
				case move:
					in := &sm.UpdateSecretVersionStageInput{SecretId: aws.String("a"), VersionStage: &step.stage, RemoveFromVersionId: token(step.from)}
					if step.to != 0 {
						in.MoveToVersionId = token(step.to)
					}
					_, err = c.UpdateSecretVersionStage(t.Context(), in)
				}
				if err != nil {
					t.Fatalf("%+v: %v", step, err)
				}
			}
			out, err := c.DescribeSecret(t.Context(), &sm.DescribeSecretInput{SecretId: aws.String("a")})
			if err != nil {
				t.Fatal(err)
			}
			want := map[string][]string{}
			for v, stages := range tt.want {
				want[*token(v)] = strings.Split(stages, ",")
			}
			if !reflect.DeepEqual(out.VersionIdsToStages, want) {
				t.Errorf("%+v: stages %v, want %v", tt.steps, out.VersionIdsToStages, want)
			}
		})
	}
}

func TestErrorsAreTheServices(t *testing.T) {
	ctx := t.Context()
	s := awssmtest.NewServer(t)
	c := client(s)
	s.Put("a", "1")
	first := s.Stages("a")["AWSCURRENT"]
	second := s.PutStage("a", "2", "AWSPENDING")
	empty := s.PutEmpty("a", "EMPTY")
	s.Put("gone", "x")
	s.Delete("gone")
	if _, err := c.CreateSecret(ctx, &sm.CreateSecretInput{Name: aws.String("novalue")}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.CreateSecret(ctx, &sm.CreateSecretInput{Name: aws.String("same"), SecretString: aws.String("1"), ClientRequestToken: token(1)}); err != nil {
		t.Fatal(err)
	}
	get := func(in sm.GetSecretValueInput) error { _, err := c.GetSecretValue(ctx, &in); return err }
	put := func(in sm.PutSecretValueInput) error { _, err := c.PutSecretValue(ctx, &in); return err }
	create := func(in sm.CreateSecretInput) error { _, err := c.CreateSecret(ctx, &in); return err }
	stage := func(in sm.UpdateSecretVersionStageInput) error {
		_, err := c.UpdateSecretVersionStage(ctx, &in)
		return err
	}
	del := func(in sm.DeleteSecretInput) error { _, err := c.DeleteSecret(ctx, &in); return err }
	rotate := func(in sm.RotateSecretInput) error { _, err := c.RotateSecret(ctx, &in); return err }
	p := aws.String
	stages := func(n int) (list []string) {
		for i := range n {
			list = append(list, fmt.Sprint("s", i))
		}
		return list
	}
	const marked = "You can't perform this operation on the secret because it was marked for deletion."
	for _, tt := range []struct {
		name       string
		err        error
		code, text string // text is a part of the message
	}{
		{"no such name", get(sm.GetSecretValueInput{SecretId: p("b")}), "ResourceNotFoundException", "Secrets Manager can't find the specified secret."},
		{"no such ARN", get(sm.GetSecretValueInput{SecretId: p(strings.Replace(s.ARN("a"), ":a-", ":b-", 1))}), "ResourceNotFoundException", "Secrets Manager can't find the specified secret."},
		{"another suffix", get(sm.GetSecretValueInput{SecretId: p(s.ARN("a")[:len(s.ARN("a"))-6] + "------")}), "ResourceNotFoundException", "Secrets Manager can't find the specified secret."},
		{"another account", get(sm.GetSecretValueInput{SecretId: p(strings.Replace(s.ARN("a"), awssmtest.Account, "210987654321", 1))}), "ResourceNotFoundException", "Secrets Manager can't find the specified secret."},
		{"another region", get(sm.GetSecretValueInput{SecretId: p(strings.Replace(s.ARN("a"), "us-west-2", "us-east-1", 1))}), "ResourceNotFoundException", "Secrets Manager can't find the specified secret."},
		{"another service", get(sm.GetSecretValueInput{SecretId: p("arn:aws:secretsmanager:us-west-2:123456789012:key:a")}), "ResourceNotFoundException", "Secrets Manager can't find the specified secret."},
		{"bad name", get(sm.GetSecretValueInput{SecretId: p("a b")}), "ValidationException", "Invalid name. Must be a valid name containing alphanumeric characters, or any of the following: -/_+=.@!"},
		{"empty id", get(sm.GetSecretValueInput{SecretId: p("")}), "ValidationException", "secretId"},
		{"no such stage", get(sm.GetSecretValueInput{SecretId: p("a"), VersionStage: p("AWSPREVIOUS")}), "ResourceNotFoundException", "Secrets Manager can't find the specified secret value for staging label: AWSPREVIOUS"},
		{"no such version", get(sm.GetSecretValueInput{SecretId: p("a"), VersionId: p("v")}), "ResourceNotFoundException", "Secrets Manager can't find the specified secret value for VersionId: v"},
		{"empty version", get(sm.GetSecretValueInput{SecretId: p("a"), VersionStage: p("EMPTY")}), "ResourceNotFoundException", "Secrets Manager can't find the specified secret value for staging label: EMPTY"},
		{"empty version by id", get(sm.GetSecretValueInput{SecretId: p("a"), VersionId: &empty}), "ResourceNotFoundException", "VersionId"},
		{"secret without a version", get(sm.GetSecretValueInput{SecretId: p("novalue")}), "ResourceNotFoundException", "Secrets Manager can't find the specified secret value for staging label: AWSCURRENT"},
		{"stage of another version", get(sm.GetSecretValueInput{SecretId: p("a"), VersionId: &first, VersionStage: p("AWSPENDING")}), "InvalidRequestException", "You provided a VersionStage that is not associated to the provided VersionId."},
		{"marked for deletion", get(sm.GetSecretValueInput{SecretId: p("gone")}), "InvalidRequestException", marked},

		{"create again", create(sm.CreateSecretInput{Name: p("a"), SecretString: p("1")}), "ResourceExistsException", "The operation failed because the secret a already exists."},
		{"create same", create(sm.CreateSecretInput{Name: p("same"), SecretString: p("1"), ClientRequestToken: token(1)}), "", ""},
		{"create same with another value", create(sm.CreateSecretInput{Name: p("same"), SecretString: p("2"), ClientRequestToken: token(1)}), "ResourceExistsException", "The operation failed because the secret same already exists."},
		{"create marked", create(sm.CreateSecretInput{Name: p("gone"), SecretString: p("1")}), "InvalidRequestException", "You can't create this secret because a secret with this name is already scheduled for deletion."},
		{"create bad name", create(sm.CreateSecretInput{Name: p("a b")}), "ValidationException", "Invalid name."},
		{"create both", create(sm.CreateSecretInput{Name: p("both"), SecretString: p("1"), SecretBinary: []byte("1")}), "InvalidParameterException", ""},
		{"64 KiB", create(sm.CreateSecretInput{Name: p("big"), SecretString: p(strings.Repeat("x", 65536))}), "", ""},
		{"64 KiB and one", put(sm.PutSecretValueInput{SecretId: p("a"), SecretString: p(strings.Repeat("x", 65537))}), "ValidationException", "65536"},
		{"binary too", put(sm.PutSecretValueInput{SecretId: p("a"), SecretBinary: make([]byte, 65537)}), "ValidationException", "65536"},

		{"put nothing", put(sm.PutSecretValueInput{SecretId: p("a")}), "InvalidRequestException", "You must provide either SecretString or SecretBinary."},
		{"put to none", put(sm.PutSecretValueInput{SecretId: p("b"), SecretString: p("1")}), "ResourceNotFoundException", "Secrets Manager can't find the specified secret."},
		{"put to marked", put(sm.PutSecretValueInput{SecretId: p("gone"), SecretString: p("1")}), "InvalidRequestException", marked},
		{"put again", put(sm.PutSecretValueInput{SecretId: p("a"), SecretString: p("2"), ClientRequestToken: &second}), "", ""},
		{"put another value with the token", put(sm.PutSecretValueInput{SecretId: p("a"), SecretString: p("3"), ClientRequestToken: &second}), "ResourceExistsException", "You can't use ClientRequestToken " + second},
		{"put text for binary", put(sm.PutSecretValueInput{SecretId: p("a"), SecretBinary: []byte("2"), ClientRequestToken: &second}), "ResourceExistsException", ""},
		{"17 more stages", put(sm.PutSecretValueInput{SecretId: p("a"), SecretString: p("x"), VersionStages: stages(17)}), "", ""},
		{"18 more stages", put(sm.PutSecretValueInput{SecretId: p("a"), SecretString: p("x"), VersionStages: stages(18)}), "LimitExceededException", ""},
		{"21 stages", put(sm.PutSecretValueInput{SecretId: p("a"), SecretString: p("x"), VersionStages: stages(21)}), "ValidationException", ""},
		{"move a 21st", stage(sm.UpdateSecretVersionStageInput{SecretId: p("a"), VersionStage: p("more"), MoveToVersionId: &first}), "LimitExceededException", ""},

		{"move from nowhere", stage(sm.UpdateSecretVersionStageInput{SecretId: p("a"), VersionStage: p("AWSCURRENT"), MoveToVersionId: &second}), "InvalidParameterException", "The parameter RemoveFromVersionId can't be empty. Staging label AWSCURRENT is currently attached to version " + first + ", so you must explicitly reference that version in RemoveFromVersionId."},
		{"move from another", stage(sm.UpdateSecretVersionStageInput{SecretId: p("a"), VersionStage: p("AWSCURRENT"), MoveToVersionId: &second, RemoveFromVersionId: &empty}), "InvalidParameterException", "must be set to the version that currently has the staging label AWSCURRENT"},
		{"remove current", stage(sm.UpdateSecretVersionStageInput{SecretId: p("a"), VersionStage: p("AWSCURRENT"), RemoveFromVersionId: &first}), "InvalidParameterException", "You can only move staging label AWSCURRENT to a different secret version."},
		{"move to none", stage(sm.UpdateSecretVersionStageInput{SecretId: p("a"), VersionStage: p("s"), MoveToVersionId: p("none")}), "ResourceNotFoundException", "none"},
		{"remove from none", stage(sm.UpdateSecretVersionStageInput{SecretId: p("a"), VersionStage: p("s"), RemoveFromVersionId: p("none")}), "ResourceNotFoundException", "none"},
		{"move nothing", stage(sm.UpdateSecretVersionStageInput{SecretId: p("a"), VersionStage: p("s")}), "InvalidParameterException", ""},
		{"move of marked", stage(sm.UpdateSecretVersionStageInput{SecretId: p("gone"), VersionStage: p("s"), MoveToVersionId: &first}), "InvalidRequestException", marked},

		{"delete twice", del(sm.DeleteSecretInput{SecretId: p("gone")}), "InvalidRequestException", marked},
		{"delete soon", del(sm.DeleteSecretInput{SecretId: p("a"), RecoveryWindowInDays: aws.Int64(6)}), "InvalidParameterException", "between 7 and 30 days"},
		{"delete both", del(sm.DeleteSecretInput{SecretId: p("a"), RecoveryWindowInDays: aws.Int64(7), ForceDeleteWithoutRecovery: aws.Bool(true)}), "InvalidParameterException", "ForceDeleteWithoutRecovery"},
		{"delete none", del(sm.DeleteSecretInput{SecretId: p("b")}), "ResourceNotFoundException", ""},
		{"delete bad name", del(sm.DeleteSecretInput{SecretId: p("b b"), ForceDeleteWithoutRecovery: aws.Bool(true)}), "ValidationException", ""},

		{"rotate without a function", rotate(sm.RotateSecretInput{SecretId: p("same")}), "InvalidRequestException", "No Lambda rotation function ARN is associated with this secret."},
		{"rotate while pending", rotate(sm.RotateSecretInput{SecretId: p("a"), RotationLambdaARN: p("f")}), "InvalidRequestException", "A previous rotation isn't complete."},
		{"rotate with a short token", rotate(sm.RotateSecretInput{SecretId: p("a"), ClientRequestToken: p("short")}), "InvalidParameterException", "32-64"},
		{"rotate marked", rotate(sm.RotateSecretInput{SecretId: p("gone")}), "InvalidRequestException", marked},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.code == "" {
				if tt.err != nil {
					t.Fatalf("got %v, want no error", tt.err)
				}
				return
			}
			var api smithy.APIError
			if !errors.As(tt.err, &api) {
				t.Fatalf("got %v, want %s", tt.err, tt.code)
			}
			if api.ErrorCode() != tt.code || !strings.Contains(api.ErrorMessage(), tt.text) {
				t.Errorf("got  %s: %s\nwant %s: %s", api.ErrorCode(), api.ErrorMessage(), tt.code, tt.text)
			}
		})
	}

	// errors.As finds the SDK's generated types too.
	var notFound *types.ResourceNotFoundException
	if err := get(sm.GetSecretValueInput{SecretId: p("b")}); !errors.As(err, &notFound) {
		t.Errorf("got %T, want *types.ResourceNotFoundException", err)
	}
}

func TestIdempotentPutMakesNoVersion(t *testing.T) {
	s := awssmtest.NewServer(t)
	c := client(s)
	s.Put("a", "1")
	for range 3 {
		out, err := c.PutSecretValue(t.Context(), &sm.PutSecretValueInput{SecretId: aws.String("a"), SecretString: aws.String("2"), ClientRequestToken: token(2)})
		if err != nil || *out.VersionId != *token(2) || !slices.Equal(out.VersionStages, []string{"AWSCURRENT"}) {
			t.Fatalf("%+v, %v", out, err)
		}
	}
	list, err := c.ListSecretVersionIds(t.Context(), &sm.ListSecretVersionIdsInput{SecretId: aws.String("a"), IncludeDeprecated: aws.Bool(true)})
	if err != nil {
		t.Fatal(err)
	}
	if len(list.Versions) != 2 {
		t.Errorf("%d versions, want 2", len(list.Versions))
	}
}

func TestOldVersionsWithoutAStageAreDropped(t *testing.T) {
	s := awssmtest.NewServer(t)
	first := s.PutStage("a", "first", "KEEP")
	for i := range 300 {
		s.Put("a", fmt.Sprint(i))
	}
	list, err := client(s).ListSecretVersionIds(t.Context(), &sm.ListSecretVersionIdsInput{SecretId: aws.String("a"), IncludeDeprecated: aws.Bool(true)})
	if err != nil {
		t.Fatal(err)
	}
	if len(list.Versions) != 100 || *list.Versions[0].VersionId != first {
		t.Errorf("%d versions, first %s, want 100, first %s", len(list.Versions), *list.Versions[0].VersionId, first)
	}
}

func TestBatch(t *testing.T) {
	ctx := t.Context()
	s := awssmtest.NewServer(t)
	c := client(s)
	s.Put("a", "1")
	s.PutBinary("b", []byte("2"))
	s.Put("c", "3")
	s.Put("gone", "4")
	s.Delete("gone")
	s.Fail(awssmtest.Denied.Secret("c").Op("GetSecretValue"))

	out, err := c.BatchGetSecretValue(ctx, &sm.BatchGetSecretValueInput{SecretIdList: []string{"a", s.ARN("a"), s.ARN("b")[:len(s.ARN("b"))-7], "c", "gone", "none"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(out.SecretValues) != 2 || *out.SecretValues[0].SecretString != "1" || string(out.SecretValues[1].SecretBinary) != "2" {
		t.Errorf("values: %+v", out.SecretValues)
	}
	var errs []string
	for _, e := range out.Errors {
		errs = append(errs, *e.SecretId+" "+*e.ErrorCode+" "+*e.Message)
	}
	want := []string{
		"c AccessDeniedException User: arn:aws:sts::123456789012:assumed-role/app/session is not authorized to perform: secretsmanager:GetSecretValue on resource: c because no identity-based policy allows the secretsmanager:GetSecretValue action",
		"gone InvalidRequestException You can't perform this operation on the secret because it was marked for deletion.",
		"none ResourceNotFoundException Secrets Manager can't find the specified secret.",
	}
	if !slices.Equal(errs, want) {
		t.Errorf("errors:\n got %q\nwant %q", errs, want)
	}

	for name, in := range map[string]*sm.BatchGetSecretValueInput{
		"21":      {SecretIdList: make([]string, 21)},
		"nothing": {},
		"filters": {Filters: []types.Filter{{Key: types.FilterNameStringTypeName, Values: []string{"a"}}}},
	} {
		if _, err := c.BatchGetSecretValue(ctx, in); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestRegions(t *testing.T) {
	s := awssmtest.NewServer(t)
	east := "arn:aws:secretsmanager:us-east-1:111111111111:secret:db-aaaaaa"
	s.Put("db", "west")
	s.Put(east, "east")
	if got := s.ARN(east); got != east {
		t.Errorf("ARN(%q) = %q", east, got)
	}
	usWest, usEast, eu := client(s), client(s, "us-east-1"), client(s, "eu-west-1")

	if got := current(t, usEast, east); got != "east" {
		t.Errorf("by ARN: %q", got)
	}
	if got := current(t, usWest, "db"); got != "west" {
		t.Errorf("by name, own region: %q", got)
	}
	if got := current(t, usEast, "db"); got != "east" {
		t.Errorf("by name, other region: %q", got)
	}
	out, err := eu.GetSecretValue(t.Context(), &sm.GetSecretValueInput{SecretId: aws.String(strings.Replace(east, "us-east-1", "eu-west-1", 1))})
	if err != nil || *out.SecretString != "east" || !strings.HasPrefix(*out.ARN, "arn:aws:secretsmanager:eu-west-1:") {
		t.Errorf("replica: %+v, %v", out, err)
	}

	s.FreezeReplica("eu-west-1")
	s.Put("db", "newer")
	if got := current(t, eu, "db"); got != "west" {
		t.Errorf("frozen: %q", got)
	}
	s.ThawReplica("eu-west-1")
	if got := current(t, eu, "db"); got != "newer" {
		t.Errorf("thawed: %q", got)
	}
}

func TestRotation(t *testing.T) {
	ctx := t.Context()
	s := awssmtest.NewServer(t)
	c := client(s)
	s.Put("a", "old")

	// A rotation function makes these calls through the API.
	steps := make(chan string, 10)
	s.SetRotation(func(ctx context.Context, e awssmtest.RotationEvent) error {
		steps <- e.Step
		switch e.Step {
		case awssmtest.CreateSecret:
			_, err := c.GetSecretValue(ctx, &sm.GetSecretValueInput{SecretId: &e.SecretID, VersionId: &e.ClientRequestToken, VersionStage: aws.String("AWSPENDING")})
			if !errors.As(err, new(*types.ResourceNotFoundException)) {
				t.Errorf("pending before it is made: %v", err)
			}
			pw, err := c.GetRandomPassword(ctx, &sm.GetRandomPasswordInput{ExcludeCharacters: aws.String(`/@"'\`), PasswordLength: aws.Int64(20)})
			if err != nil || len(*pw.RandomPassword) != 20 || strings.ContainsAny(*pw.RandomPassword, `/@"'\`) {
				t.Errorf("password %v, %v", pw, err)
			}
			_, err = c.PutSecretValue(ctx, &sm.PutSecretValueInput{SecretId: &e.SecretID, ClientRequestToken: &e.ClientRequestToken, SecretString: aws.String("new"), VersionStages: []string{"AWSPENDING"}})
			return err
		case awssmtest.FinishSecret:
			d, err := c.DescribeSecret(ctx, &sm.DescribeSecretInput{SecretId: &e.SecretID})
			if err != nil {
				return err
			}
			for id, stages := range d.VersionIdsToStages {
				if slices.Contains(stages, "AWSCURRENT") {
					_, err = c.UpdateSecretVersionStage(ctx, &sm.UpdateSecretVersionStageInput{
						SecretId: &e.SecretID, VersionStage: aws.String("AWSCURRENT"), MoveToVersionId: &e.ClientRequestToken, RemoveFromVersionId: &id,
					})
				}
			}
			return err
		}
		return nil
	})
	out, err := c.RotateSecret(ctx, &sm.RotateSecretInput{SecretId: aws.String("a"), RotationLambdaARN: aws.String("f"), RotationRules: &types.RotationRulesType{AutomaticallyAfterDays: aws.Int64(30)}})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"createSecret", "setSecret", "testSecret", "finishSecret"} {
		if got := <-steps; got != want {
			t.Errorf("step %s, want %s", got, want)
		}
	}
	// The rotation goes on after the answer. At its end LastRotatedDate changes.
	var d *sm.DescribeSecretOutput
	for d == nil || d.LastRotatedDate == nil {
		if d, err = c.DescribeSecret(ctx, &sm.DescribeSecretInput{SecretId: aws.String("a")}); err != nil {
			t.Fatal(err)
		}
	}
	if s.Stages("a")["AWSCURRENT"] != *out.VersionId || current(t, c, "a") != "new" || !*d.RotationEnabled || *d.RotationLambdaARN != "f" || *d.RotationRules.AutomaticallyAfterDays != 30 {
		t.Errorf("after the rotation: %v, %+v", s.Stages("a"), d)
	}
	if _, err := c.CancelRotateSecret(ctx, &sm.CancelRotateSecretInput{SecretId: aws.String("a")}); err != nil {
		t.Error(err)
	}

	// In process, a rotation that fails leaves AWSPENDING on its version, and the next rotation
	// uses that version.
	fail := awssmtest.SetSecret
	var seen []string
	s.SetRotation(func(_ context.Context, e awssmtest.RotationEvent) error {
		seen = append(seen, e.Step)
		if e.Step == fail {
			return errors.New("database is down")
		}
		switch e.Step {
		case awssmtest.CreateSecret:
			if s.Stages("a")["AWSPENDING"] == e.ClientRequestToken && fail != "" {
				s.PutVersion("a", e.ClientRequestToken, "newer", "AWSPENDING")
			}
		case awssmtest.FinishSecret:
			s.MoveStage("a", "AWSCURRENT", e.ClientRequestToken)
			s.RemoveStage("a", "AWSPENDING")
		}
		return nil
	})
	token1, err := s.Rotate(ctx, "a")
	if err == nil || !strings.Contains(err.Error(), `rotate "a": setSecret: database is down`) {
		t.Errorf("error %v", err)
	}
	if current(t, c, "a") != "new" || s.Stages("a")["AWSPENDING"] != token1 {
		t.Errorf("after a failed rotation: %v", s.Stages("a"))
	}
	fail = ""
	token2, err := s.Rotate(ctx, "a")
	if err != nil || token2 != token1 || current(t, c, "a") != "newer" {
		t.Errorf("second try: %q, %v, want %q", token2, err, token1)
	}
	if want := []string{"createSecret", "setSecret", "createSecret", "setSecret", "testSecret", "finishSecret"}; !slices.Equal(seen, want) {
		t.Errorf("steps %v, want %v", seen, want)
	}

	ctx2, cancel := context.WithCancel(ctx)
	s.SetRotation(func(context.Context, awssmtest.RotationEvent) error { cancel(); return nil })
	if _, err := s.Rotate(ctx2, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	if _, err := s.Rotate(ctx, "none"); err == nil {
		t.Error("no error for a secret that is not there")
	}
	s.SetRotation(nil)
	if _, err := s.Rotate(ctx, "a"); err == nil {
		t.Error("no error without a function")
	}
}

func TestRotateSecretWithoutFunctionLeavesAnEmptyVersion(t *testing.T) {
	ctx := t.Context()
	s := awssmtest.NewServer(t)
	c := client(s)
	s.Put("a", "1")
	in := &sm.RotateSecretInput{SecretId: aws.String("a"), RotationLambdaARN: aws.String("f"), ClientRequestToken: token(7)}
	for range 2 {
		out, err := c.RotateSecret(ctx, in)
		if err != nil || *out.VersionId != *token(7) {
			t.Fatalf("%+v, %v", out, err)
		}
	}
	if got := s.Stages("a")["AWSPENDING"]; got != *token(7) {
		t.Errorf("AWSPENDING on %q", got)
	}
	_, err := c.GetSecretValue(ctx, &sm.GetSecretValueInput{SecretId: aws.String("a"), VersionStage: aws.String("AWSPENDING")})
	if !errors.As(err, new(*types.ResourceNotFoundException)) {
		t.Errorf("got %v", err)
	}

	s.Put("later", "1")
	out, err := c.RotateSecret(ctx, &sm.RotateSecretInput{SecretId: aws.String("later"), RotationLambdaARN: aws.String("f"), RotateImmediately: aws.Bool(false)})
	if err != nil || out.VersionId != nil || len(s.Stages("later")) != 1 {
		t.Errorf("%+v, %v, %v", out, err, s.Stages("later"))
	}
}

func TestRandomPassword(t *testing.T) {
	c := client(awssmtest.NewServer(t))
	yes, no := aws.Bool(true), aws.Bool(false)
	for _, tt := range []struct {
		in    sm.GetRandomPasswordInput
		chars string // the allowed characters; empty means an error
		n     int
	}{
		{sm.GetRandomPasswordInput{ExcludeUppercase: yes, ExcludeNumbers: yes, ExcludePunctuation: yes}, "abcdefghijklmnopqrstuvwxyz", 32},
		{sm.GetRandomPasswordInput{PasswordLength: aws.Int64(4), ExcludeLowercase: yes, ExcludeUppercase: yes, ExcludePunctuation: yes, IncludeSpace: yes, RequireEachIncludedType: no}, "0123456789 ", 4},
		{sm.GetRandomPasswordInput{PasswordLength: aws.Int64(3)}, "", 0},
		{sm.GetRandomPasswordInput{PasswordLength: aws.Int64(5000)}, "", 0},
	} {
		out, err := c.GetRandomPassword(t.Context(), &tt.in)
		if tt.chars == "" {
			if err == nil {
				t.Errorf("%+v: no error", tt.in)
			}
			continue
		}
		if err != nil || len(*out.RandomPassword) != tt.n || strings.Trim(*out.RandomPassword, tt.chars) != "" {
			t.Errorf("%+v: %v, %v", tt.in, out, err)
		}
	}
}

func TestFaults(t *testing.T) {
	s := awssmtest.NewServer(t)
	s.Put("a", "1")
	s.Put("b", "2")
	c := client(s)
	get := func(id string, within time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), within)
		defer cancel()
		_, err := c.GetSecretValue(ctx, &sm.GetSecretValueInput{SecretId: &id})
		return err
	}
	code := func(err error) string {
		var api smithy.APIError
		var status interface{ HTTPStatusCode() int }
		switch {
		case err == nil:
			return "ok"
		case errors.Is(err, context.DeadlineExceeded):
			return "timeout"
		case errors.As(err, &api) && errors.As(err, &status):
			return fmt.Sprint(status.HTTPStatusCode(), " ", api.ErrorCode())
		case errors.Is(err, io.EOF):
			return "EOF"
		case errors.Is(err, io.ErrUnexpectedEOF):
			return "unexpected EOF"
		}
		return err.Error()
	}
	for _, tt := range []struct {
		fault awssmtest.Fault
		text  string
		want  []string // the results of calls for a, a, b
	}{
		{awssmtest.Throttle, "error 400 ThrottlingException", []string{"400 ThrottlingException", "400 ThrottlingException", "400 ThrottlingException"}},
		{awssmtest.ServerError.Times(1), "error 500 InternalServiceError, 1 times", []string{"500 InternalServiceError", "ok", "ok"}},
		{awssmtest.Unavailable.Secret("a"), "error 503 ServiceUnavailable, secret a", []string{"503 ServiceUnavailable", "503 ServiceUnavailable", "ok"}},
		{awssmtest.Denied.Secret(s.ARN("b")), "error 400 AccessDeniedException, secret " + s.ARN("b"), []string{"ok", "ok", "400 AccessDeniedException"}},
		{awssmtest.DeniedKMS.Op("GetSecretValue"), "error 400 AccessDeniedException, op GetSecretValue", []string{"400 AccessDeniedException", "400 AccessDeniedException", "400 AccessDeniedException"}},
		{awssmtest.DeniedKMS.Op("PutSecretValue"), "error 400 AccessDeniedException, op PutSecretValue", []string{"ok", "ok", "ok"}},
		{awssmtest.Hang.Times(1), "hang, 1 times", []string{"timeout", "ok", "ok"}},
		{awssmtest.CloseConn.Times(1), "closed connection, 1 times", []string{"EOF", "ok", "ok"}},
		{awssmtest.Truncate.Times(1), "truncated answer, 1 times", []string{"unexpected EOF", "ok", "ok"}},
		{awssmtest.Delay(time.Millisecond), "delay of 1ms", []string{"ok", "ok", "ok"}},
		{awssmtest.Delay(time.Hour).Secret("a"), "delay of 1h0m0s, secret a", []string{"timeout", "timeout", "ok"}},
		{awssmtest.Answer(418, `{"__type":"Teapot"}`).Times(1), "answer with status 418, 1 times", []string{"418 Teapot", "ok", "ok"}},
		{awssmtest.ServerError.Region("eu-west-1"), "error 500 InternalServiceError, region eu-west-1", []string{"ok", "ok", "ok"}},
		{awssmtest.ServerError.Region("us-west-2").Stage("AWSCURRENT"), "error 500 InternalServiceError, region us-west-2, stage AWSCURRENT", []string{"500 InternalServiceError", "500 InternalServiceError", "500 InternalServiceError"}},
		{awssmtest.ServerError.Stage("AWSPENDING"), "error 500 InternalServiceError, stage AWSPENDING", []string{"ok", "ok", "ok"}},
		{awssmtest.Fault{}, "no fault", []string{"ok", "ok", "ok"}},
	} {
		t.Run(tt.text, func(t *testing.T) {
			s.Fail(tt.fault)
			s.ResetCalls()
			var got []string
			for i, id := range []string{"a", "a", "b"} {
				within := 30 * time.Second
				if tt.want[i] == "timeout" {
					within = 100 * time.Millisecond
				}
				got = append(got, code(get(id, within)))
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			// A request that timed out may not have arrived.
			if n := s.Calls("GetSecretValue"); n != 3 && !slices.Contains(tt.want, "timeout") {
				t.Errorf("%d calls counted, want 3", n)
			}
			if got := fmt.Sprintf("%v", tt.fault); got != tt.text {
				t.Errorf("text %q, want %q", got, tt.text)
			}
			s.Heal()
			if err := get("a", 30*time.Second); err != nil {
				t.Errorf("after Heal: %v", err)
			}
		})
	}

	// The last fault is used, and a delay in addition.
	s.Fail(awssmtest.ServerError)
	s.Fail(awssmtest.Throttle.Times(1))
	s.Fail(awssmtest.Delay(time.Microsecond))
	if got := []string{code(get("a", time.Minute)), code(get("a", time.Minute))}; !slices.Equal(got, []string{"400 ThrottlingException", "500 InternalServiceError"}) {
		t.Errorf("got %q", got)
	}
}

func TestWhatHangsEnds(t *testing.T) {
	for name, end := range map[string]func(*awssmtest.Server, context.CancelFunc){
		"when the client goes away": func(_ *awssmtest.Server, cancel context.CancelFunc) { cancel() },
		"at Heal":                   func(s *awssmtest.Server, _ context.CancelFunc) { s.Heal() },
		"at Close":                  func(s *awssmtest.Server, _ context.CancelFunc) { s.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			s := awssmtest.NewServer(nil)
			defer s.Close()
			s.Put("a", "1")
			s.Fail(awssmtest.Hang)
			s.Fail(awssmtest.Delay(time.Hour).Secret("a"))
			s.Put("b", "2")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := make(chan error)
			for _, id := range []string{"a", "b"} {
				go func() {
					_, err := client(s).GetSecretValue(ctx, &sm.GetSecretValueInput{SecretId: &id})
					done <- err
				}()
			}
			if err := s.WaitHanging(t.Context(), 2); err != nil {
				t.Fatal(err)
			}
			if n := s.Hanging(); n != 2 {
				t.Errorf("%d hang", n)
			}
			end(s, cancel)
			for range 2 {
				<-done
			}
			if err := s.WaitHanging(t.Context(), 0); err != nil {
				t.Error(err)
			}
			short, stop := context.WithTimeout(t.Context(), time.Millisecond)
			defer stop()
			if err := s.WaitHanging(short, 1); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
			s.Close() // must not block
		})
	}
}

func TestRequests(t *testing.T) {
	s := awssmtest.NewServer(t)
	s.Put("a", "1")
	c := client(s, "eu-west-1")
	_ = current(t, c, "a")
	_, _ = c.BatchGetSecretValue(t.Context(), &sm.BatchGetSecretValueInput{SecretIdList: []string{"a", "b"}})
	got := s.Requests()
	if len(got) != 2 || got[0].Op != "GetSecretValue" || !slices.Equal(got[0].SecretIDs, []string{"a"}) || got[0].Stage != "AWSCURRENT" || got[0].Region != "eu-west-1" ||
		!strings.Contains(got[0].UserAgent, "aws-sdk-go-v2") || got[0].Remote == "" || got[0].Time.IsZero() ||
		got[1].Op != "BatchGetSecretValue" || !slices.Equal(got[1].SecretIDs, []string{"a", "b"}) {
		t.Errorf("%+v", got)
	}
	s.ResetCalls()
	if len(s.Requests()) != 0 || s.Calls("GetSecretValue") != 0 {
		t.Error("not reset")
	}
}

func TestProtocol(t *testing.T) {
	s := awssmtest.NewServer(t)
	s.Put("a", "1")
	const signed = "AWS4-HMAC-SHA256 Credential=AKID/20250102/us-west-2/secretsmanager/aws4_request, SignedHeaders=host, Signature=00"
	for _, tt := range []struct {
		name, method, target, auth, body string
		status                           int
		code                             string
	}{
		{"good", "POST", "secretsmanager.GetSecretValue", signed, `{"SecretId":"a"}`, 200, ""},
		{"not signed", "POST", "secretsmanager.GetSecretValue", "", `{"SecretId":"a"}`, 400, "MissingAuthenticationTokenException"},
		{"basic", "POST", "secretsmanager.GetSecretValue", "Basic x", `{"SecretId":"a"}`, 400, "IncompleteSignatureException"},
		{"no signature", "POST", "secretsmanager.GetSecretValue", strings.TrimSuffix(signed, ", Signature=00"), `{"SecretId":"a"}`, 400, "IncompleteSignatureException"},
		{"for another service", "POST", "secretsmanager.GetSecretValue", strings.Replace(signed, "secretsmanager", "ssm", 1), `{"SecretId":"a"}`, 400, "InvalidSignatureException"},
		{"GET", "GET", "secretsmanager.GetSecretValue", signed, "", 400, "UnknownOperationException"},
		{"no target", "POST", "", signed, `{}`, 400, "UnknownOperationException"},
		{"unknown target", "POST", "secretsmanager.Nope", signed, `{}`, 400, "UnknownOperationException"},
		{"not JSON", "POST", "secretsmanager.GetSecretValue", signed, `{`, 400, "SerializationException"},
		{"too large", "POST", "secretsmanager.PutSecretValue", signed, strings.Repeat(" ", 2<<20), 413, "RequestEntityTooLargeException"},
		{"no token", "POST", "secretsmanager.PutSecretValue", signed, `{"SecretId":"a","SecretString":"x"}`, 400, "InvalidRequestException"},
		{"no token to create", "POST", "secretsmanager.CreateSecret", signed, `{"Name":"b","SecretString":"x"}`, 400, "InvalidRequestException"},
		{"no token to rotate", "POST", "secretsmanager.RotateSecret", signed, `{"SecretId":"a"}`, 400, "InvalidParameterException"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), tt.method, s.URL(), strings.NewReader(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("X-Amz-Target", tt.target)
			if tt.auth != "" {
				req.Header.Set("Authorization", tt.auth)
			}
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			var body struct {
				Type string `json:"__type"`
			}
			if err := json.NewDecoder(res.Body).Decode(&body); err != nil {
				t.Fatal(err)
			}
			if res.StatusCode != tt.status || body.Type != tt.code || res.Header.Get("X-Amzn-Errortype") != tt.code {
				t.Errorf("%d %q (header %q), want %d %q", res.StatusCode, body.Type, res.Header.Get("X-Amzn-Errortype"), tt.status, tt.code)
			}
			if res.Header.Get("X-Amzn-Requestid") == "" || res.Header.Get("Content-Type") != "application/x-amz-json-1.1" {
				t.Errorf("headers %v", res.Header)
			}
		})
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestMisusePanicsOutsideTests(t *testing.T) {
	s := awssmtest.NewServer(nil)
	defer s.Close()
	s.Put("a", "1")
	s.Put("gone", "1")
	s.Delete("gone")
	for want, f := range map[string]func(){
		`awssmtest: MoveStage "a": the secret has no version "none"`:                          func() { s.MoveStage("a", "x", "none") },
		`awssmtest: MoveStage "none": there is no such secret`:                                func() { s.MoveStage("none", "x", "none") },
		`awssmtest: RemoveStage "a": no version has the stage "x"`:                            func() { s.RemoveStage("a", "x") },
		`awssmtest: Put "a": the value has 65537 bytes, and at most 65536 are allowed`:        func() { s.Put("a", strings.Repeat("x", 65537)) },
		`awssmtest: Put "gone": the secret is marked for deletion`:                            func() { s.Put("gone", "x") },
		`awssmtest: Put "a b": not the name of a secret`:                                      func() { s.Put("a b", "x") },
		`awssmtest: Put "arn:aws:s3:::bucket": not the ARN of a secret`:                       func() { s.Put("arn:aws:s3:::bucket", "x") },
		`awssmtest: Put "a": version "` + s.Stages("a")["AWSCURRENT"] + `" already has a val`: func() { s.PutVersion("a", s.Stages("a")["AWSCURRENT"], "x") },
	} {
		func() {
			defer func() {
				if got := fmt.Sprint(recover()); !strings.HasPrefix(got, want) {
					t.Errorf("panic %q, want %q", got, want)
				}
			}()
			f()
		}()
	}
	s.Restore("gone")
	s.Put("gone", "2") // would block if the panic had left a lock held
}

func TestPrintedFormsShowNoValue(t *testing.T) {
	const password = "hunter2-canary"
	s := awssmtest.NewServer(t)
	s.Put("a", password)
	s.Fail(awssmtest.Answer(200, password))
	for _, v := range []any{s, awssmtest.Answer(200, password), s.Requests(), awssmtest.RotationEvent{}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
			if got := fmt.Sprintf(verb, v); strings.Contains(got, password) || strings.Contains(got, fmt.Sprintf("%x", password)) {
				t.Errorf("%s of %T: %s", verb, v, got)
			}
		}
		var b bytes.Buffer
		slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "v", v)
		slog.New(slog.NewTextHandler(&b, nil)).Info("x", "v", v)
		if strings.Contains(b.String(), password) {
			t.Errorf("slog of %T: %s", v, b.String())
		}
	}
}

// The stages may move while an answer is written.
func TestStagesMoveWhileAnswersAreWritten(t *testing.T) {
	sm := awssmtest.NewServer(t)
	versions := [2]string{sm.Put("a", "one"), sm.PutStage("a", "two", "AWSPENDING")}
	source := sm.Source()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 300 {
			if _, err := source.Fetch(t.Context(), "a", "AWSCURRENT"); err != nil {
				t.Error(err)
			}
		}
	}()
	for i := 0; ; i++ {
		sm.MoveStage("a", "AWSCURRENT", versions[i%2])
		sm.MoveStage("a", "AWSPENDING", versions[i%2])
		select {
		case <-done:
			return
		default:
		}
	}
}
