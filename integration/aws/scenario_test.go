// Package aws_test is for a user who has an AWS account. It has never been run on AWS, because
// there is no account where it was written. See README.md.
package aws_test

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/aws/smithy-go"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm"
)

// A scenario is the life of one secret on one Secrets Manager. It notes the answers, and replaces
// values that differ each time by names, so that two services can be compared.
type scenario struct {
	t      *testing.T
	cfg    aws.Config
	api    *secretsmanager.Client
	source *awssm.Source
	name   string // of the secret
	arn    string

	replaced []string // pairs for strings.NewReplacer
	answers  []string
}

// The values of the two versions.
const firstValue, secondValue = `{"username":"u","password":"first"}`, `{"username":"u","password":"second"}`

// run runs the scenario on the Secrets Manager of a configuration and returns its answers. It
// deletes the secret at the end.
func run(t *testing.T, cfg aws.Config) []string {
	t.Helper()
	s := &scenario{t: t, cfg: cfg, api: secretsmanager.NewFromConfig(cfg), source: awssm.New(func(o *awssm.Options) { o.Config = &cfg }),
		name: "sqlsecrets-test/" + strings.ToLower(rand.Text())}
	s.replaced = []string{s.name, "NAME", cfg.Region, "REGION"}
	s.create()
	t.Cleanup(func() { // also if the test fails before it deletes the secret
		for _, name := range []string{s.name, s.name + "-empty"} {
			_, _ = s.api.DeleteSecret(context.Background(), &secretsmanager.DeleteSecretInput{SecretId: &name, ForceDeleteWithoutRecovery: aws.Bool(true)})
		}
	})
	s.forms()
	s.missing()
	s.rotate()
	s.lists()
	s.delete()
	return s.answers
}

// note adds an answer, named after the step.
func (s *scenario) note(step, answer string) {
	text := strings.NewReplacer(s.replaced...).Replace(answer)
	text = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}`).ReplaceAllString(text, "UUID")
	text = regexp.MustCompile(`\b[0-9]{12}\b`).ReplaceAllString(text, "ACCOUNT")
	s.answers = append(s.answers, step+": "+text)
}

// failed notes the error of an API call: its code and message.
func (s *scenario) failed(step string, err error) {
	var api smithy.APIError
	switch {
	case err == nil:
		s.note(step, "no error")
	case errors.As(err, &api):
		s.note(step, api.ErrorCode()+": "+api.ErrorMessage())
	default:
		s.t.Fatalf("%s: %v", step, err)
	}
}

// must ends the test if a step failed that other steps need.
func (s *scenario) must(step string, err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatalf("%s: %v", step, err)
	}
}

func (s *scenario) create() {
	out, err := s.api.CreateSecret(s.t.Context(), &secretsmanager.CreateSecretInput{Name: &s.name, SecretString: aws.String(firstValue),
		Description: aws.String("of a test of sqlsecrets; may be deleted"), Tags: []types.Tag{{Key: aws.String("sqlsecrets"), Value: aws.String("test")}}})
	s.must("CreateSecret", err)
	s.arn = aws.ToString(out.ARN)
	s.replaced = append([]string{s.arn, "ARN", s.arn[:len(s.arn)-1], "ARN, SHORTER", *out.VersionId, "V1"}, s.replaced...)
	s.note("CreateSecret", fmt.Sprintf("%s, version %s, six characters behind the name: %v", aws.ToString(out.Name), aws.ToString(out.VersionId),
		regexp.MustCompile(`:secret:`+regexp.QuoteMeta(s.name)+`-[A-Za-z0-9]{6}$`).MatchString(s.arn)))
	_, err = s.api.CreateSecret(s.t.Context(), &secretsmanager.CreateSecretInput{Name: &s.name, SecretString: aws.String(firstValue)})
	s.failed("CreateSecret again", err)
	_, err = s.api.CreateSecret(s.t.Context(), &secretsmanager.CreateSecretInput{Name: aws.String(s.name + "-empty"), SecretString: aws.String("")})
	s.failed("CreateSecret with an empty value", err)
}

// fetch makes the library read a stage until the service shows the value that was written a moment
// ago.
func (s *scenario) fetch(step, id, stage, want string) {
	s.t.Helper()
	var secret *secretcache.Secret
	var err error
	for range 20 {
		if secret, err = s.source.Fetch(s.t.Context(), id, stage); err != nil && want == "" || err == nil && secret.Reveal() == want {
			break
		}
		time.Sleep(time.Second)
	}
	switch {
	case want == "" && err != nil:
		s.note(step, kind(err)+": "+strings.Join(strings.Fields(err.Error()), " "))
	case want == "" || err != nil || secret.Reveal() != want:
		s.t.Errorf("%s: %v", step, err)
	default:
		s.note(step, fmt.Sprintf("version %s with stages %v", secret.VersionID(), slices.Sorted(slices.Values(secret.Stages()))))
	}
}

func kind(err error) string {
	for name, sentinel := range map[string]error{"ErrNotFound": secretcache.ErrNotFound, "ErrNoVersion": secretcache.ErrNoVersion,
		"ErrAccessDenied": secretcache.ErrAccessDenied, "ErrThrottled": secretcache.ErrThrottled} {
		if errors.Is(err, sentinel) {
			return name
		}
	}
	return "other"
}

// forms reads the secret by every form of its id.
func (s *scenario) forms() {
	partial := s.arn[:len(s.arn)-len("-xxxxxx")]
	s.fetch("by name", s.name, "AWSCURRENT", firstValue)
	s.fetch("by ARN", s.arn, "AWSCURRENT", firstValue)
	s.fetch("by partial ARN", partial, "AWSCURRENT", firstValue)
	here := s.source
	s.source = awssm.New(func(o *awssm.Options) { o.Config, o.Region = &s.cfg, "eu-central-2" })
	s.fetch("by ARN, whose region takes precedence", s.arn, "AWSCURRENT", firstValue)
	s.source = here
}

// missing reads things that do not exist. None of these calls costs anything.
func (s *scenario) missing() {
	s.fetch("unknown name", s.name+"-unknown", "AWSCURRENT", "")
	s.fetch("no such stage", s.name, "AWSPENDING", "")
	s.fetch("ARN cut off", s.arn[:len(s.arn)-1], "AWSCURRENT", "")
	_, err := s.api.PutSecretValue(s.t.Context(), &secretsmanager.PutSecretValueInput{SecretId: &s.name, SecretString: aws.String("x"), ClientRequestToken: aws.String("short")})
	s.failed("PutSecretValue with a short token", err)
	_, err = s.api.RotateSecret(s.t.Context(), &secretsmanager.RotateSecretInput{SecretId: &s.name})
	s.failed("RotateSecret without a function", err)
}

// rotate moves the stages as a rotation function does.
func (s *scenario) rotate() {
	ctx := s.t.Context()
	old, err := s.api.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &s.name})
	s.must("GetSecretValue", err)
	put, err := s.api.PutSecretValue(ctx, &secretsmanager.PutSecretValueInput{SecretId: &s.name, SecretString: aws.String(secondValue), VersionStages: []string{"AWSPENDING"}})
	s.must("PutSecretValue", err)
	s.replaced = append(s.replaced, *put.VersionId, "V2")
	s.note("PutSecretValue", fmt.Sprintf("version %s with stages %v", *put.VersionId, put.VersionStages))
	s.fetch("AWSPENDING", s.name, "AWSPENDING", secondValue)
	s.fetch("AWSCURRENT meanwhile", s.name, "AWSCURRENT", firstValue)
	move := &secretsmanager.UpdateSecretVersionStageInput{SecretId: &s.name, VersionStage: aws.String("AWSCURRENT"), MoveToVersionId: put.VersionId}
	_, err = s.api.UpdateSecretVersionStage(ctx, move)
	s.failed("UpdateSecretVersionStage without the version that has it", err)
	move.RemoveFromVersionId = old.VersionId
	_, err = s.api.UpdateSecretVersionStage(ctx, move)
	s.must("UpdateSecretVersionStage", err)
	s.fetch("AWSCURRENT", s.name, "AWSCURRENT", secondValue)
	s.fetch("AWSPREVIOUS", s.name, "AWSPREVIOUS", firstValue)
	_, err = s.api.UpdateSecretVersionStage(ctx, &secretsmanager.UpdateSecretVersionStageInput{SecretId: &s.name, VersionStage: aws.String("AWSPENDING"), RemoveFromVersionId: put.VersionId})
	s.failed("AWSPENDING taken away", err)
	s.fetch("no AWSPENDING any more", s.name, "AWSPENDING", "")
}

// lists reads the descriptions of the secret.
func (s *scenario) lists() {
	ctx := s.t.Context()
	d, err := s.api.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &s.name})
	s.must("DescribeSecret", err)
	var versions []string
	for id, stages := range d.VersionIdsToStages {
		versions = append(versions, fmt.Sprint(id, slices.Sorted(slices.Values(stages))))
	}
	slices.SortFunc(versions, func(a, b string) int { return cmp.Compare(a[len(a)-6:], b[len(b)-6:]) })
	s.note("DescribeSecret", fmt.Sprint(versions, len(d.Tags), aws.ToString(d.Description), aws.ToBool(d.RotationEnabled)))
	for range 20 { // the list lags behind the other calls
		l, err := s.api.ListSecrets(ctx, &secretsmanager.ListSecretsInput{Filters: []types.Filter{{Key: types.FilterNameStringTypeName, Values: []string{s.name}}}})
		s.must("ListSecrets", err)
		if len(l.SecretList) == 1 {
			s.note("ListSecrets", aws.ToString(l.SecretList[0].Name))
			break
		}
		time.Sleep(time.Second)
	}
	for i, r := range s.source.FetchBatch(ctx, []string{s.name, s.name + "-unknown"}) {
		if r.Err != nil {
			s.note(fmt.Sprint("FetchBatch ", i), kind(r.Err))
			continue
		}
		s.note(fmt.Sprint("FetchBatch ", i), "version "+r.Secret.VersionID())
	}
	password, err := s.api.GetRandomPassword(ctx, &secretsmanager.GetRandomPasswordInput{PasswordLength: aws.Int64(20), ExcludePunctuation: aws.Bool(true)})
	s.must("GetRandomPassword", err)
	s.note("GetRandomPassword", fmt.Sprint(regexp.MustCompile(`^[A-Za-z0-9]{20}$`).MatchString(aws.ToString(password.RandomPassword))))
}

// delete schedules the deletion, cancels it, and deletes the secret at once.
func (s *scenario) delete() {
	ctx := s.t.Context()
	_, err := s.api.DeleteSecret(ctx, &secretsmanager.DeleteSecretInput{SecretId: &s.name, RecoveryWindowInDays: aws.Int64(7)})
	s.must("DeleteSecret", err)
	s.fetch("marked for deletion", s.name, "AWSCURRENT", "")
	_, err = s.api.RestoreSecret(ctx, &secretsmanager.RestoreSecretInput{SecretId: &s.name})
	s.must("RestoreSecret", err)
	s.fetch("restored", s.name, "AWSCURRENT", secondValue)
	_, err = s.api.DeleteSecret(ctx, &secretsmanager.DeleteSecretInput{SecretId: &s.name, ForceDeleteWithoutRecovery: aws.Bool(true)})
	s.must("DeleteSecret at once", err)
	s.fetch("deleted", s.name, "AWSCURRENT", "")
}

// compare reports each answer of the service that differs from awssmtest's.
func compare(t *testing.T, service, ours []string) {
	t.Helper()
	for i := range max(len(service), len(ours)) {
		a, b := "nothing", "nothing"
		if i < len(service) {
			a = service[i]
		}
		if i < len(ours) {
			b = ours[i]
		}
		if a != b {
			t.Errorf("the service: %s\n     awssmtest: %s", a, b)
		}
	}
}
