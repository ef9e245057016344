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
	// A fetch waits for credentials for credentialsWait at least, and without a deadline for
	// as long as the SDK lets a credential_process run.
	credentialsWait, credentialsWaitMax = 8 * time.Second, time.Minute
	// credentialsReport is after which time a caller that gives up is told what it waits for.
	credentialsReport = 500 * time.Millisecond
)

// sources says where credentials are from, by the SDK's last word on it.
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

// credentials bound the time of a provider, and name the phase in their errors.
type credentials struct {
	provider aws.CredentialsProvider
	from     string
}

// newCredentials returns p with its phase named. It leaves anonymous ones as they are: the
// SDK knows them by their type.
func newCredentials(p aws.CredentialsProvider) aws.CredentialsProvider {
	if aws.IsCredentialsProvider(p, (*aws.AnonymousCredentials)(nil)) {
		return p
	}
	c := &credentials{provider: p, from: inCode}
	if s, ok := p.(aws.CredentialProviderSource); ok {
		for _, source := range s.ProviderSources() {
			c.from = cmp.Or(sources[source], c.from) // the last that we know
		}
	}
	return c
}

// waitFor returns how long a fetch waits for credentials: less than FetchTimeout of package
// secretcache is by default, and 4/5 of a longer one, so that the error is ours and names the
// phase. The SDK's request for them goes on, and serves the next fetch.
func waitFor(ctx context.Context) time.Duration {
	if end, ok := ctx.Deadline(); ok {
		return max(credentialsWait, time.Until(end)*4/5)
	}
	return credentialsWaitMax
}

// Retrieve returns the provider's credentials.
func (c *credentials) Retrieve(ctx context.Context) (aws.Credentials, error) {
	if c.provider == nil {
		return aws.Credentials{}, &credentialsError{noCredentials, errors.New("Options.Config has none")}
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
		phase = noCredentials // the last of the SDK's default chain has none
	}
	if err != nil {
		return creds, &credentialsError{phase, err}
	}
	return creds, nil
}

// begin notes that credentials are fetched, and has the callers told if that takes long. done
// says that it has ended, and whether there are credentials.
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

// checkCredentials finds a line break, for example of a file that an editor wrote: neither
// the signature nor a header can have one.
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

// A credentialsError says in which phase credentials did not come.
type credentialsError struct {
	phase string
	err   error
}

func (e *credentialsError) Error() string { return e.phase + ": " + e.err.Error() }
func (e *credentialsError) Unwrap() error { return e.err }
