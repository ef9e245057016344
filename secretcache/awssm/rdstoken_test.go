package awssm_test

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm"
)

// signer returns a source whose configuration has a region and credentials.
func signer(creds aws.CredentialsProvider, optFns ...func(*awssm.Options)) *awssm.Source {
	return awssm.New(append([]func(*awssm.Options){func(o *awssm.Options) {
		o.Config = &aws.Config{Region: "eu-north-1", Credentials: creds}
	}}, optFns...)...)
}

func fixedCredentials(c aws.Credentials) aws.CredentialsProvider {
	return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return c, nil })
}

var someCredentials = aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: canary, SessionToken: "session"}

func TestRDSTokenIsASignedURLWithoutItsScheme(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the bubble's date is 2000-01-01
		token, expires, err := signer(fixedCredentials(someCredentials)).RDSToken(t.Context(), "us-west-2", "db.example.com", 5432, "app user&x")
		if err != nil {
			t.Fatal(err)
		}
		rest, ok := strings.CutPrefix(token, "db.example.com:5432/?")
		query, err := url.ParseQuery(rest)
		if !ok || err != nil {
			t.Fatalf("the token does not begin with the address, or does not parse: %v", err)
		}
		for name, want := range map[string]string{
			"Action": "connect", "DBUser": "app user&x", "X-Amz-Expires": "900", "X-Amz-Date": "20000101T000000Z",
			"X-Amz-Algorithm": "AWS4-HMAC-SHA256", "X-Amz-Credential": "AKIDEXAMPLE/20000101/us-west-2/rds-db/aws4_request",
			"X-Amz-Security-Token": "session", "X-Amz-SignedHeaders": "host",
		} {
			if got := query.Get(name); got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
		if len(query.Get("X-Amz-Signature")) != 64 || len(query) != 9 {
			t.Errorf("the query has the keys %q", query)
		}
		if want := time.Now().Add(15 * time.Minute); !expires.Equal(want) {
			t.Errorf("it expires at %v, want %v", expires, want)
		}
	})
}

func TestRDSTokenEndsWithTheCredentials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for left, want := range map[time.Duration]time.Duration{
			time.Hour: 15 * time.Minute, 15 * time.Minute: 15 * time.Minute, 4 * time.Minute: 4 * time.Minute,
		} {
			c := someCredentials
			c.CanExpire, c.Expires = true, time.Now().Add(left)
			_, expires, err := signer(fixedCredentials(c)).RDSToken(t.Context(), "", "db.example.com", 5432, "app")
			if got := time.Until(expires); err != nil || got != want {
				t.Errorf("with credentials for %v: it expires in %v, want %v (%v)", left, got, want, err)
			}
		}
	})
}

func TestRDSTokenIsForTheRegionOfTheHost(t *testing.T) {
	env(t, map[string]string{awssm.RegionEnv: ""})
	for _, tt := range []struct{ host, region, option, want string }{
		{"db.c1a2b3d4.us-west-2.rds.amazonaws.com", "us-east-1", "us-east-2", "us-west-2"},
		{"DB.c1a2b3d4.US-WEST-2.rds.amazonaws.com.", "us-east-1", "", "us-west-2"},
		{"db.cluster-ro-c1a2b3d4.us-gov-west-1.rds.amazonaws.com", "", "", "us-gov-west-1"},
		{"proxy.proxy-c1a2b3d4.ap-southeast-12.rds.amazonaws.com", "", "", "ap-southeast-12"},
		{"db.c1a2b3d4.rds.cn-north-1.amazonaws.com.cn", "us-east-1", "", "cn-north-1"},
		{"db.c1a2b3d4.eusc-de-east-1.rds.amazonaws.eu", "us-east-1", "", "eusc-de-east-1"},
		{"db.us-west-2.rds.example.com", "us-east-1", "", "us-east-1"},
		{"us-west-2.rds.amazonaws.com.example.com", "us-east-1", "", "us-east-1"},
		{"rds.us-west-2.amazonaws.com", "us-east-1", "", "us-east-1"},
		{"10.0.0.1", "us-east-1", "us-east-2", "us-east-1"},
		{"::1", "", "us-east-2", "us-east-2"},
		{"db.example.com", "", "", "eu-north-1"},
	} {
		src := signer(fixedCredentials(someCredentials), func(o *awssm.Options) { o.Region = tt.option })
		token, _, err := src.RDSToken(t.Context(), tt.region, tt.host, 5432, "app")
		if err != nil || !strings.Contains(token, "%2F"+tt.want+"%2Frds-db%2F") {
			t.Errorf("host %q, region %q, Options.Region %q: not signed for %s (%v)", tt.host, tt.region, tt.option, tt.want, err)
		}
	}
}

func TestRDSTokenSaysWhatIsMissing(t *testing.T) {
	env(t, map[string]string{awssm.RegionEnv: ""})
	failing := func(text string) aws.CredentialsProvider {
		return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return aws.Credentials{}, errors.New(text) })
	}
	for name, tt := range map[string]struct {
		src                *awssm.Source
		region, host, want string
	}{
		"no credentials": {signer(nil), "us-west-2", "db.example.com",
			"sign RDS token in us-west-2: no AWS credentials found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile (AWS_PROFILE), or give this machine a role: Options.Config has no credentials"},
		"credentials fail": {signer(failing("no such profile")), "us-west-2", "db.example.com",
			"sign RDS token in us-west-2: get AWS credentials from Options.Config: no such profile"},
		"anonymous": {signer(aws.AnonymousCredentials{}), "us-west-2", "db.example.com",
			"sign RDS token in us-west-2: the AnonymousCredentials is not a valid credential provider, and cannot be used to sign AWS requests with"},
		"no region": {awssm.New(func(o *awssm.Options) { o.Config = &aws.Config{Credentials: fixedCredentials(someCredentials)} }), "", "db.example.com",
			"sign RDS token: no AWS region: set Options.Region"},
		"no region's name": {signer(fixedCredentials(someCredentials)), "US WEST", "db.example.com",
			"sign RDS token: region is not an AWS region's name like us-west-2"},
		"several hosts": {signer(fixedCredentials(someCredentials)), "us-west-2", "a,b",
			"sign RDS token in us-west-2: a token is for one host with a name or an address"},
		"several addresses": {signer(fixedCredentials(someCredentials)), "us-west-2", "a:1,b:2",
			"sign RDS token in us-west-2: a token is for one host with a name or an address"},
		"a socket": {signer(fixedCredentials(someCredentials)), "us-west-2", "/run/postgresql",
			"sign RDS token in us-west-2: a token is for one host with a name or an address"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := tt.src.RDSToken(t.Context(), tt.region, tt.host, 5432, "app")
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
			if e := (*awssm.Error)(nil); !errors.As(err, &e) {
				t.Errorf("%T is no *awssm.Error", err)
			}
			checkNoLeak(t, err)
		})
	}
}

func TestRDSTokenEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := signer(aws.CredentialsProviderFunc(func(ctx context.Context) (aws.Credentials, error) {
			<-ctx.Done()
			return aws.Credentials{}, errors.New("canceled")
		}))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, _, err := src.RDSToken(ctx, "us-west-2", "db.example.com", 5432, "app")
		want := "sign RDS token in us-west-2: get AWS credentials from Options.Config: context deadline exceeded"
		if !errors.Is(err, context.DeadlineExceeded) || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
		// With more time the error is our own: no credentials came.
		ctx, cancel = context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		began := time.Now()
		_, _, err = src.RDSToken(ctx, "us-west-2", "db.example.com", 5432, "app")
		if want := "no answer within 24s"; err == nil || !strings.HasSuffix(err.Error(), want) || time.Since(began) != 24*time.Second {
			t.Errorf("got %v after %v, want …%s", err, time.Since(began), want)
		}
	})
}
