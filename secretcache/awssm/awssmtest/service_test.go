package awssmtest_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sm "github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/aws/smithy-go"

	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm/awssmtest"
)

// wantCode fails unless err is an error of the service with this code and with text in its message.
func wantCode(t *testing.T, what string, err error, code, text string) {
	t.Helper()
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != code || !strings.Contains(api.ErrorMessage(), text) {
		t.Errorf("%s: got %v, want %s with %q", what, err, code, text)
	}
}

// The API reference has constraints for each parameter.
func TestTheServersConstraints(t *testing.T) {
	ctx := t.Context()
	s := awssmtest.NewServer(t)
	c := client(s)
	s.Put("a", "1")
	a, value := aws.String("a"), aws.String("v")
	long := func(n int) *string { return aws.String(strings.Repeat("x", n)) }
	const short = "ClientRequestToken must be 32-64 characters long."
	for what, call := range map[string]func() error{
		"an empty value": func() error {
			_, err := c.PutSecretValue(ctx, &sm.PutSecretValueInput{SecretId: a, SecretString: aws.String("")})
			return err
		},
		"an empty value of a new secret": func() error {
			_, err := c.CreateSecret(ctx, &sm.CreateSecretInput{Name: aws.String("b"), SecretString: aws.String("")})
			return err
		},
		"an empty value of UpdateSecret": func() error {
			_, err := c.UpdateSecret(ctx, &sm.UpdateSecretInput{SecretId: a, SecretString: aws.String("")})
			return err
		},
		"an empty binary": func() error {
			_, err := c.PutSecretValue(ctx, &sm.PutSecretValueInput{SecretId: a, SecretBinary: []byte{}})
			return err
		},
		"a short token": func() error {
			_, err := c.PutSecretValue(ctx, &sm.PutSecretValueInput{SecretId: a, SecretString: value, ClientRequestToken: aws.String("12345")})
			return err
		},
		"a short token of CreateSecret": func() error {
			_, err := c.CreateSecret(ctx, &sm.CreateSecretInput{Name: aws.String("b"), SecretString: value, ClientRequestToken: long(31)})
			return err
		},
		"a long token": func() error {
			_, err := c.PutSecretValue(ctx, &sm.PutSecretValueInput{SecretId: a, SecretString: value, ClientRequestToken: long(65)})
			return err
		},
		"a short token of RotateSecret": func() error {
			_, err := c.RotateSecret(ctx, &sm.RotateSecretInput{SecretId: a, RotationLambdaARN: value, ClientRequestToken: long(5)})
			return err
		},
		"a stage without a name": func() error {
			_, err := c.PutSecretValue(ctx, &sm.PutSecretValueInput{SecretId: a, SecretString: value, VersionStages: []string{""}})
			return err
		},
		"two schedules": func() error {
			_, err := c.RotateSecret(ctx, &sm.RotateSecretInput{SecretId: a, RotationLambdaARN: value, RotationRules: &types.RotationRulesType{
				AutomaticallyAfterDays: aws.Int64(3), ScheduleExpression: aws.String("rate(3 days)")}})
			return err
		},
		"a tag of AWS": func() error {
			_, err := c.TagResource(ctx, &sm.TagResourceInput{SecretId: a, Tags: []types.Tag{{Key: aws.String("aws:x"), Value: value}}})
			return err
		},
	} {
		text := ""
		if strings.Contains(what, "token") {
			text = short
		}
		wantCode(t, what, call(), "InvalidParameterException", text)
	}
	wantCode(t, "a long stage", func() error {
		_, err := c.PutSecretValue(ctx, &sm.PutSecretValueInput{SecretId: a, SecretString: value, VersionStages: []string{*long(257)}})
		return err
	}(), "ValidationException", "256")
	if got := len(s.Stages("a")); got != 1 {
		t.Errorf("%d stages after errors: %v", got, s.Stages("a"))
	}
	if _, err := c.DescribeSecret(ctx, &sm.DescribeSecretInput{SecretId: aws.String("b")}); err == nil {
		t.Error("a request that failed made a secret")
	}
}

// A request for something that the server does not have is an error, and is never ignored.
func TestErrorsForMissingFeaturesNameTheTestServer(t *testing.T) {
	ctx := t.Context()
	s := awssmtest.NewServer(t)
	c := client(s)
	s.Put("a", "1")
	a := aws.String("a")
	_, err := c.PutResourcePolicy(ctx, &sm.PutResourcePolicyInput{SecretId: a, ResourcePolicy: aws.String("{}")})
	wantCode(t, "operation", err, "UnknownOperationException", `awssmtest, the test server, does not have the operation "PutResourcePolicy"`)
	_, err = c.UpdateSecret(ctx, &sm.UpdateSecretInput{SecretId: a, Type: aws.String("x")})
	wantCode(t, "parameter", err, "InvalidParameterException", `awssmtest, the test server, does not have the parameter "Type" of UpdateSecret`)
	_, err = c.ListSecrets(ctx, &sm.ListSecretsInput{Filters: []types.Filter{{Key: types.FilterNameStringTypeAll, Values: []string{"x"}}}})
	wantCode(t, "filter", err, "InvalidParameterException", "awssmtest, the test server, does not have the filter \"all\"")
	_, err = c.BatchGetSecretValue(ctx, &sm.BatchGetSecretValueInput{Filters: []types.Filter{{Key: types.FilterNameStringTypeName, Values: []string{"x"}}}})
	wantCode(t, "batch filter", err, "InvalidParameterException", "awssmtest, the test server, does not have the parameter Filters")
}

func TestTagsKeysAndReplicasAreKept(t *testing.T) {
	ctx := t.Context()
	s := awssmtest.NewServer(t)
	c := client(s)
	made, err := c.CreateSecret(ctx, &sm.CreateSecretInput{
		Name: aws.String("prod/a"), SecretString: aws.String("1"), KmsKeyId: aws.String("alias/k"),
		Tags:              []types.Tag{{Key: aws.String("team"), Value: aws.String("db")}},
		AddReplicaRegions: []types.ReplicaRegionType{{Region: aws.String("us-east-1"), KmsKeyId: aws.String("alias/r")}},
	})
	if err != nil || len(made.ReplicationStatus) != 1 {
		t.Fatalf("%+v, %v", made, err)
	}
	s.Put("test/b", "1")
	a := aws.String("prod/a")
	_, err = c.TagResource(ctx, &sm.TagResourceInput{SecretId: a, Tags: []types.Tag{
		{Key: aws.String("team"), Value: aws.String("app")}, {Key: aws.String("stage"), Value: aws.String("prod")}, {Key: aws.String("x"), Value: aws.String("y")}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = c.UntagResource(ctx, &sm.UntagResourceInput{SecretId: a, TagKeys: []string{"x"}}); err != nil {
		t.Fatal(err)
	}
	d, err := c.DescribeSecret(ctx, &sm.DescribeSecretInput{SecretId: a})
	if err != nil {
		t.Fatal(err)
	}
	var tags []string
	for _, tag := range d.Tags {
		tags = append(tags, *tag.Key+"="+*tag.Value)
	}
	if want := []string{"team=app", "stage=prod"}; !slices.Equal(tags, want) || aws.ToString(d.KmsKeyId) != "alias/k" {
		t.Errorf("tags %q, key %v, want %q and alias/k", tags, d.KmsKeyId, want)
	}
	if len(d.ReplicationStatus) != 1 || *d.ReplicationStatus[0].Region != "us-east-1" || *d.ReplicationStatus[0].KmsKeyId != "alias/r" || *d.PrimaryRegion != awssmtest.Region {
		t.Errorf("replicas %+v of %v", d.ReplicationStatus, d.PrimaryRegion)
	}

	// A replica may be read.
	cfg := s.Config()
	cfg.Region = "us-east-1"
	replica := sm.NewFromConfig(cfg)
	if got := current(t, replica, "prod/a"); got != "1" {
		t.Errorf("replica: %q", got)
	}
	_, err = replica.PutSecretValue(ctx, &sm.PutSecretValueInput{SecretId: a, SecretString: aws.String("2")})
	wantCode(t, "put", err, "InvalidRequestException", "Operation not permitted on a replica secret.")
	_, err = replica.TagResource(ctx, &sm.TagResourceInput{SecretId: a, Tags: []types.Tag{{Key: aws.String("x"), Value: aws.String("y")}}})
	wantCode(t, "tag", err, "InvalidRequestException", "Operation not permitted on a replica secret.")
	_, err = c.DeleteSecret(ctx, &sm.DeleteSecretInput{SecretId: a})
	wantCode(t, "delete", err, "InvalidParameterException", "still has replica regions")
	if _, err = c.RemoveRegionsFromReplication(ctx, &sm.RemoveRegionsFromReplicationInput{SecretId: a, RemoveReplicaRegions: []string{"us-east-1"}}); err != nil {
		t.Fatal(err)
	}

	for _, tt := range []struct {
		key, value string
		want       string
	}{
		{"", "", "prod/a test/b"}, {"name", "prod", "prod/a"}, {"name", "!prod", "test/b"}, {"tag-key", "team", "prod/a"}, {"tag-value", "app", "prod/a"}, {"tag-value", "db", ""},
	} {
		in := &sm.ListSecretsInput{MaxResults: aws.Int32(1), SortOrder: types.SortOrderTypeAsc}
		if tt.key != "" {
			in.Filters = []types.Filter{{Key: types.FilterNameStringType(tt.key), Values: []string{tt.value}}}
		}
		var got []string
		for pages := sm.NewListSecretsPaginator(c, in); pages.HasMorePages(); {
			page, err := pages.NextPage(ctx)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range page.SecretList {
				got = append(got, *e.Name)
				if len(e.SecretVersionsToStages) != 1 {
					t.Errorf("%s has the stages %v", *e.Name, e.SecretVersionsToStages)
				}
			}
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("ListSecrets with %s %q: %q, want %q", tt.key, tt.value, got, tt.want)
		}
	}
	if _, err = c.DeleteSecret(ctx, &sm.DeleteSecretInput{SecretId: a}); err != nil {
		t.Fatal(err)
	}
	list, err := c.ListSecrets(ctx, &sm.ListSecretsInput{})
	all, err2 := c.ListSecrets(ctx, &sm.ListSecretsInput{IncludePlannedDeletion: aws.Bool(true)})
	if err != nil || err2 != nil || len(list.SecretList) != 1 || len(all.SecretList) != 2 {
		t.Errorf("after a deletion: %+v, %+v, %v, %v", list, all, err, err2)
	}
}

// rotations has the steps that a rotation function was called for.
func rotations(s *awssmtest.Server, fail func(awssmtest.RotationEvent) error) chan awssmtest.RotationEvent {
	steps := make(chan awssmtest.RotationEvent, 100)
	s.SetRotation(func(_ context.Context, e awssmtest.RotationEvent) error {
		err := fail(e)
		if err == nil && e.Step == awssmtest.CreateSecret {
			s.PutVersion("a", e.ClientRequestToken, "new", "AWSPENDING")
		}
		if err == nil && e.Step == awssmtest.FinishSecret {
			s.MoveStage("a", "AWSCURRENT", e.ClientRequestToken)
		}
		steps <- e
		return err
	})
	return steps
}

// eventually waits until a condition holds, because the server goes on after its answer.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not %s after 30 s", what)
		}
	}
}

func describe(t *testing.T, c *sm.Client) *sm.DescribeSecretOutput {
	t.Helper()
	d, err := c.DescribeSecret(t.Context(), &sm.DescribeSecretInput{SecretId: aws.String("a")})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestRotationIsSwitchedOnAndOff(t *testing.T) {
	ctx := t.Context()
	s := awssmtest.NewServer(t)
	c := client(s)
	s.Put("a", "1")
	if d := describe(t, c); d.RotationEnabled != nil || d.NextRotationDate != nil {
		t.Errorf("never: %v, %v", d.RotationEnabled, d.NextRotationDate)
	}
	for rate, want := range map[string]time.Duration{"": 30 * 24 * time.Hour, "rate(10 days)": 240 * time.Hour, "rate(4 hours)": 4 * time.Hour} {
		rules := &types.RotationRulesType{AutomaticallyAfterDays: aws.Int64(30)}
		if rate != "" {
			rules = &types.RotationRulesType{ScheduleExpression: &rate}
		}
		if _, err := c.RotateSecret(ctx, &sm.RotateSecretInput{SecretId: aws.String("a"), RotationLambdaARN: aws.String("f"), RotationRules: rules, RotateImmediately: aws.Bool(false)}); err != nil {
			t.Fatal(err)
		}
		d := describe(t, c)
		if d.RotationEnabled == nil || !*d.RotationEnabled || d.NextRotationDate == nil {
			t.Fatalf("on: %v, %v", d.RotationEnabled, d.NextRotationDate)
		}
		if off := time.Until(*d.NextRotationDate) - want; off.Abs() > 2*time.Hour { // a day may have 23 hours
			t.Errorf("%q: next rotation at %v, want in %v", rate, d.NextRotationDate, want)
		}
	}
	if _, err := c.CancelRotateSecret(ctx, &sm.CancelRotateSecretInput{SecretId: aws.String("a")}); err != nil {
		t.Fatal(err)
	}
	if d := describe(t, c); d.RotationEnabled == nil || *d.RotationEnabled || d.NextRotationDate != nil || d.RotationLambdaARN == nil {
		t.Errorf("off: %+v", d)
	}
}

func TestAFailedRotationIsRepeatedAsTheErrorSays(t *testing.T) {
	ctx := t.Context()
	s := awssmtest.NewServer(t)
	c := client(s)
	s.Put("a", "old")
	failed := false
	steps := rotations(s, func(e awssmtest.RotationEvent) error {
		if e.Step == awssmtest.CreateSecret && !failed {
			failed = true
			return errors.New("no")
		}
		return nil
	})
	in := func() *sm.RotateSecretInput { // the SDK sets its ClientRequestToken
		return &sm.RotateSecretInput{SecretId: aws.String("a"), RotationLambdaARN: aws.String("f")}
	}
	out, err := c.RotateSecret(ctx, in())
	if err != nil {
		t.Fatal(err)
	}
	<-steps
	_, err = c.RotateSecret(ctx, in())
	wantCode(t, "again", err, "InvalidRequestException", "A previous rotation isn't complete. That rotation will be reattempted.")
	eventually(t, "rotated", func() bool { return describe(t, c).LastRotatedDate != nil })
	if got := s.Stages("a")["AWSCURRENT"]; got != *out.VersionId || current(t, c, "a") != "new" {
		t.Errorf("AWSCURRENT is %s, want %s", got, *out.VersionId)
	}

	// Without a function there is no other run, and the error promises none.
	s.SetRotation(nil)
	s.PutEmpty("a", "AWSPENDING")
	_, err = c.RotateSecret(ctx, in())
	if err == nil || strings.Contains(err.Error(), "reattempted") {
		t.Errorf("got %v", err)
	}
}

func TestARotationForLaterIsTested(t *testing.T) {
	ctx := t.Context()
	s := awssmtest.NewServer(t)
	c := client(s)
	id := s.Put("a", "old")
	seen := make(chan string, 1)
	steps := rotations(s, func(e awssmtest.RotationEvent) error {
		v, err := c.GetSecretValue(ctx, &sm.GetSecretValueInput{SecretId: &e.SecretID, VersionId: &e.ClientRequestToken, VersionStage: aws.String("AWSPENDING")})
		if err != nil {
			return err
		}
		seen <- *v.SecretString
		return nil
	})
	if _, err := c.RotateSecret(ctx, &sm.RotateSecretInput{SecretId: aws.String("a"), RotationLambdaARN: aws.String("f"), RotateImmediately: aws.Bool(false)}); err != nil {
		t.Fatal(err)
	}
	if e := <-steps; e.Step != awssmtest.TestSecret {
		t.Errorf("step %s", e.Step)
	}
	if got := <-seen; got != "old" {
		t.Errorf("AWSPENDING has %q, want the current value", got)
	}
	eventually(t, "removed", func() bool { return len(s.Stages("a")) == 1 })
	if got := s.Stages("a"); len(got) != 1 || got["AWSCURRENT"] != id || len(steps) != 0 {
		t.Errorf("after the test: %v, %d more steps", got, len(steps))
	}
}

func TestAWSPENDINGIsRemovedAtTheEndIfAsked(t *testing.T) {
	s := awssmtest.NewServer(t)
	s.Put("a", "old")
	rotations(s, func(awssmtest.RotationEvent) error { return nil })
	for _, remove := range []bool{false, true} {
		s.RemovePendingAfterRotation(remove)
		id, err := s.Rotate(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		if stages := s.Stages("a"); stages["AWSCURRENT"] != id || (stages["AWSPENDING"] == "") != remove {
			t.Errorf("remove %t: %v", remove, stages)
		}
	}
	// AWSPENDING on another version stays.
	var other string
	rotations(s, func(e awssmtest.RotationEvent) error {
		if e.Step == awssmtest.TestSecret {
			other = s.PutStage("a", "another", "AWSPENDING")
		}
		return nil
	})
	if _, err := s.Rotate(t.Context(), "a"); err != nil || s.Stages("a")["AWSPENDING"] != other {
		t.Errorf("%v, %v, want AWSPENDING on %s", err, s.Stages("a"), other)
	}
}

// A rotation function may end its goroutine, as t.FailNow does.
func TestARotationFunctionMayEndItsGoroutine(t *testing.T) {
	s := awssmtest.NewServer(t)
	c := client(s)
	s.Put("a", "old")
	failed := make(chan struct{})
	steps := rotations(s, func(awssmtest.RotationEvent) error {
		select {
		case <-failed:
			return nil
		default:
			close(failed)
			runtime.Goexit()
			return nil
		}
	})
	rotate := func() error { // the SDK sets the ClientRequestToken
		_, err := c.RotateSecret(t.Context(), &sm.RotateSecretInput{SecretId: aws.String("a"), RotationLambdaARN: aws.String("f")})
		return err
	}
	if err := rotate(); err != nil {
		t.Fatal(err)
	}
	<-failed
	err := rotate()
	wantCode(t, "again", err, "InvalidRequestException", "That rotation will be reattempted.")
	for range 4 {
		select {
		case <-steps:
		case <-time.After(10 * time.Second):
			t.Fatal("the rotation is not repeated")
		}
	}
}
