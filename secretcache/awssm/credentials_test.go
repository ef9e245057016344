package awssm_test

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go"

	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm/awssmtest"
)

// TestAnErrorOfCredentialsQuotesNoPassword: what the SDK says of credentials is kept, but for these.
func TestAnErrorOfCredentialsQuotesNoPassword(t *testing.T) {
	for name, tt := range map[string]struct {
		err  error
		want string
	}{
		"session token in the request that STS quotes": {
			&smithy.OperationError{ServiceID: "STS", OperationName: "AssumeRole", Err: &smithy.GenericAPIError{Code: "SignatureDoesNotMatch",
				Message: "The request signature we calculated does not match.\n\nThe Canonical String for this request should have been\n'POST\n/\n\nx-amz-security-token:" + canary + "'"}},
			"The request signature we calculated does not match.",
		},
		"password of a proxy": {
			&smithy.OperationError{ServiceID: "STS", OperationName: "AssumeRole", Err: &url.Error{Op: "Post", URL: "https://sts.us-west-2.amazonaws.com/",
				Err: fmt.Errorf("invalid proxy address %q: %w", "http://app:"+canary+"%@proxy", url.EscapeError("%@p"))}},
			"HTTPS_PROXY or HTTP_PROXY is not a URL",
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := awssmtest.NewServer(t).Config()
			cfg.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return aws.Credentials{}, tt.err })
			_, err := awssm.New(func(o *awssm.Options) { o.Config = &cfg }).Fetch(t.Context(), "a", "")
			if err == nil || !strings.Contains(err.Error(), "get AWS credentials from Options.Config: ") || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want …%s…", err, tt.want)
			}
			checkNoLeak(t, err)
		})
	}
}
