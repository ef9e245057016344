package awssm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/sqlsecrets/sqlsecrets/secretcache/internal/httpfetch"
)

const (
	// A fetch waits for credentials for at least credentialsWait. Without a deadline it waits for
	// credentialsWaitMax, as long as the SDK lets a credential_process run.
	credentialsWait, credentialsWaitMax = 8 * time.Second, time.Minute
	// After this time without credentials, a caller that gives up gets an error that says so.
	credentialsReport = 500 * time.Millisecond
)

// sources has our names for the places that the SDK gets credentials from.
var sources = map[aws.CredentialSource]string{
	aws.CredentialSourceEnvVars:              "environment variables",
	aws.CredentialSourceEnvVarsSTSWebIDToken: webIdentity,
	aws.CredentialSourceSTSAssumeRoleWebID:   webIdentity,
	aws.CredentialSourceProfileSTSWebIDToken: webIdentity,
	aws.CredentialSourceSTSAssumeRole:        "AssumeRole of AWS STS",
	aws.CredentialSourceProfileSourceProfile: "AssumeRole of AWS STS",
	aws.CredentialSourceProfileNamedProvider: "AssumeRole of AWS STS",
	aws.CredentialSourceProfile:              "the profile",
	aws.CredentialSourceSSO:                  "single sign-on (IAM Identity Center)",
	aws.CredentialSourceProfileSSO:           "single sign-on (IAM Identity Center)",
	aws.CredentialSourceSSOLegacy:            "single sign-on (IAM Identity Center)",
	aws.CredentialSourceProfileSSOLegacy:     "single sign-on (IAM Identity Center)",
	aws.CredentialSourceLogin:                "the session of aws login",
	aws.CredentialSourceProfileLogin:         "the session of aws login",
	aws.CredentialSourceProcess:              "credential_process",
	aws.CredentialSourceProfileProcess:       "credential_process",
	aws.CredentialSourceHTTP:                 "the container's endpoint",
	aws.CredentialSourceIMDS:                 "the EC2 instance metadata",
	aws.CredentialSourceSTSFederationToken:   "AWS STS",
	aws.CredentialSourceSTSSessionToken:      "AWS STS",
	aws.CredentialSourceSTSAssumeRoleSaml:    "AWS STS",
	aws.CredentialSourceCode:                 inCode,
	aws.CredentialSourceUndefined:            inCode,
}

const (
	webIdentity = "web identity (AssumeRoleWithWebIdentity of AWS STS)"
	inCode      = "Options.Config"

	noCredentials = "no AWS credentials found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile (AWS_PROFILE), or give this machine a role"
)

// credentials is a provider whose Retrieve takes a bounded time and whose errors say where
// the credentials should have come from.
type credentials struct {
	provider aws.CredentialsProvider
	from     string
}

// newCredentials wraps p in a credentials. It returns anonymous credentials as they are,
// because the SDK recognizes them by their type.
func newCredentials(p aws.CredentialsProvider) aws.CredentialsProvider {
	if aws.IsCredentialsProvider(p, (*aws.AnonymousCredentials)(nil)) {
		return p
	}
	c := &credentials{provider: p, from: inCode}
	if s, ok := p.(aws.CredentialProviderSource); ok {
		for _, source := range s.ProviderSources() {
			c.from = cmp.Or(sources[source], c.from) // the last one that we know
		}
	}
	return c
}

// waitFor returns how long a fetch waits for credentials. That is less than the default
// FetchTimeout of package secretcache, and 4/5 of a longer one. So the fetch itself returns the
// error, and the error names the credentials. The SDK's request for them goes on, and serves the
// next fetch.
func waitFor(ctx context.Context) time.Duration {
	if end, ok := ctx.Deadline(); ok {
		return max(credentialsWait, time.Until(end)*4/5)
	}
	return credentialsWaitMax
}

// Retrieve returns the provider's credentials.
func (c *credentials) Retrieve(ctx context.Context) (aws.Credentials, error) {
	if c.provider == nil {
		return aws.Credentials{}, &credentialsError{noCredentials, errors.New("Options.Config has no credentials")}
	}
	phase := "get AWS credentials from " + c.from
	limit := waitFor(ctx)
	wait, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	at, _ := ctx.Value(attemptKey{}).(*attempt)
	done := at.begin(phase)
	creds, err := c.provider.Retrieve(wait)
	done(err == nil)
	switch {
	case err == nil:
		err = checkCredentials(creds)
	case wait.Err() != nil && ctx.Err() == nil:
		err = &httpfetch.TimeoutError{After: limit}
	case strings.Contains(err.Error(), "no EC2 IMDS role found"):
		phase = noCredentials // the last place of the SDK's default chain has none
	}
	if err != nil {
		return creds, &credentialsError{phase, err}
	}
	return creds, nil
}

// begin notes that the attempt waits for credentials. If that takes long, callers that give
// up get an error that says so. done must be called at the end; came says whether the
// credentials came.
func (a *attempt) begin(phase string) (done func(came bool)) {
	if a == nil {
		return func(bool) {}
	}
	a.phase = phase + ": "
	start := time.Now()
	told := make(chan struct{})
	timer := time.AfterFunc(credentialsReport, func() {
		defer close(told)
		late := &httpfetch.TimeoutError{After: credentialsReport}
		a.report(&failure{class: local, cause: causeOf(late).with(phase + ": " + late.Error())})
	})
	return func(came bool) {
		stopped := timer.Stop()
		if !came {
			return
		}
		a.phase = ""
		if !stopped {
			<-told
			took := time.Since(start).Round(time.Millisecond)
			a.report(&failure{class: local, cause: &cause{text: fmt.Sprintf("AWS credentials came after %v; no answer of the API yet", took)}})
		}
	}
}

// checkCredentials returns an error if credentials have a line break, for example from a
// file that an editor wrote. Neither the signature nor a header can have one.
func checkCredentials(c aws.Credentials) error {
	for _, part := range []struct{ name, value string }{
		{"access key id", c.AccessKeyID}, {"secret access key", c.SecretAccessKey}, {"session token", c.SessionToken},
	} {
		if strings.ContainsAny(part.value, "\r\n") {
			return fmt.Errorf("the %s has a line break in it: remove it", part.name)
		}
	}
	return nil
}

// A credentialsError says where credentials should have come from, and why they did not.
type credentialsError struct {
	phase string
	err   error
}

func (e *credentialsError) Error() string { return e.phase + ": " + e.err.Error() }
func (e *credentialsError) Unwrap() error { return e.err }
