package engines_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm/awssmtest"
)

// The region of a token comes from the name of the host, the data source name, the ARN of the
// secret or the configuration, in this order.
func TestRegionOfAToken(t *testing.T) {
	credentials(t)
	t.Setenv("AWS_REGION", "eu-north-1")
	const (
		host  = "db.c1a2b3d4.us-west-2.rds.amazonaws.com"
		alias = "db.example.com"
		arn   = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/app-a1b2c3"
	)
	for _, tt := range []struct {
		host, region, secret, want string
	}{
		{host, "eu-central-1", arn, "us-west-2"},
		{alias, "eu-central-1", arn, "eu-central-1"},
		{alias, "eu-central-1,us-east-1", "prod/app", "eu-central-1"},
		{alias, "", arn, "eu-west-1"},
		{alias, "", "prod/app", "eu-north-1"},
	} {
		token, err := engines.Options(nil).IAMToken(t.Context(), driver.TokenRequest{
			Host: tt.host, Port: 5432, User: "app", Location: driver.Location{Region: tt.region}, SecretID: tt.secret})
		if err != nil || !strings.Contains(token.Password.Reveal(), "%2F"+tt.want+"%2Frds-db%2F") {
			t.Errorf("host %q, region %q, secret %q: the token is not for %s (%v)", tt.host, tt.region, tt.secret, tt.want, err)
		}
		if left := time.Until(token.Expires); left > 15*time.Minute || left < 14*time.Minute {
			t.Errorf("the token expires in %v", left)
		}
	}
}

// Secrets and tokens of a location use the same credentials, which are fetched once.
func TestATokenIsSignedWithTheLocationsCredentials(t *testing.T) {
	var asked atomic.Int32
	container := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, `{"AccessKeyId":"ASIA%d","SecretAccessKey":"example","Token":"session","Expiration":%q}`,
			asked.Add(1), time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	}))
	defer container.Close()
	credentials(t)
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", container.URL)
	sm := awssmtest.NewServer(t)
	sm.Put("prod/app", "value")
	loc := driver.Location{Region: "us-east-2", Endpoint: sm.URL()}
	get(t, loc, "prod/app")
	loc.Source = "aws"
	for range 2 {
		token, err := engines.Options(nil).IAMToken(t.Context(), driver.TokenRequest{Host: "db.example.com", Port: 5432, User: "app", Location: loc})
		if err != nil || !strings.Contains(token.Password.Reveal(), "Credential=ASIA1%2F") {
			t.Errorf("the token is not signed with the first credentials (%v)", err)
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("credentials were fetched %d times, want once", n)
	}
}

func TestATokenNeedsCredentials(t *testing.T) {
	credentials(t)
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	loc := driver.Location{Region: "us-east-2", Source: "file:/mnt/secrets"} // its own source has none
	_, err := engines.Options(nil).IAMToken(t.Context(), driver.TokenRequest{Host: "db.example.com", Port: 5432, User: "app", Location: loc})
	const want = "sign RDS token in us-east-2: no AWS credentials found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile (AWS_PROFILE), or give this machine a role: "
	if err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got  %v\nwant %s…", err, want)
	}
}

func TestOptionsKeepAnIAMTokenOfTheirOwn(t *testing.T) {
	own := driver.Options{IAMToken: func(context.Context, driver.TokenRequest) (driver.Token, error) {
		return driver.Token{User: "own"}, nil
	}}
	if token, _ := engines.Options(&own).IAMToken(t.Context(), driver.TokenRequest{}); token.User != "own" {
		t.Error("Options replaced IAMToken")
	}
}
