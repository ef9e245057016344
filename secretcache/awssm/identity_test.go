package awssm_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm"
)

// A source returns its region and identity, and an error if AWS STS does not tell the ARN.
func TestIdentity(t *testing.T) {
	const arn = "arn:aws:sts::123456789012:assumed-role/app/session"
	status, body := http.StatusOK, `<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult><Arn>`+arn+
		`</Arn><UserId>X</UserId><Account>123456789012</Account></GetCallerIdentityResult></GetCallerIdentityResponse>`
	sts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}))
	defer sts.Close()
	with := func(creds aws.CredentialsProvider) *awssm.Source {
		return awssm.New(func(o *awssm.Options) {
			o.Config = &aws.Config{Region: "eu-north-1", BaseEndpoint: &sts.URL, Credentials: creds}
		})
	}
	s := with(fixedCredentials(someCredentials))
	who, err := s.Identity(t.Context(), "arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/app-a1b2c3")
	if want := (awssm.Identity{Region: "eu-west-1", Credentials: "Options.Config", ARN: arn}); err != nil || who != want {
		t.Errorf("Identity = %+v, %v, want %+v", who, err, want)
	}

	status, body = http.StatusForbidden, `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Code>AccessDenied</Code>`+
		`<Message>not authorized to perform: sts:GetCallerIdentity</Message></Error></ErrorResponse>`
	who, err = s.Identity(t.Context(), "prod/app")
	if want := (awssm.Identity{Region: "eu-north-1", Credentials: "Options.Config"}); who != want || err == nil || !strings.Contains(err.Error(), "sts:GetCallerIdentity") {
		t.Errorf("Identity = %+v, %v, want %+v and why", who, err, want)
	}

	failing := aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return aws.Credentials{}, errors.New("none today") })
	who, err = with(failing).Identity(t.Context(), "prod/app")
	if want := (awssm.Identity{Region: "eu-north-1"}); who != want || err == nil || !strings.Contains(err.Error(), "none today") {
		t.Errorf("Identity = %+v, %v, want %+v and why", who, err, want)
	}
	if e := (*awssm.Error)(nil); !errors.As(err, &e) || strings.Contains(err.Error(), canary) {
		t.Errorf("%v is no *Error, or shows the secret key", err)
	}
}
