package awscaching_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/aws/smithy-go"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awscaching"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm/awssmtest"
)

// caches runs a test with each way in which a program makes a cache for a server.
func caches(t *testing.T, test func(t *testing.T, server *awssmtest.Server, c *awscaching.Cache)) {
	t.Run("own client", func(t *testing.T) {
		server := awssmtest.NewServer(t)
		client := secretsmanager.NewFromConfig(server.Config())
		c, err := awscaching.New(func(c *awscaching.Cache) { c.Client = client })
		if err != nil {
			t.Fatal(err)
		}
		test(t, server, c)
	})
	t.Run("default client", func(t *testing.T) {
		server := awssmtest.NewServer(t)
		environment(t, "AWS_ENDPOINT_URL_SECRETS_MANAGER", server.URL())
		c, err := awscaching.New()
		if err != nil {
			t.Fatal(err)
		}
		test(t, server, c)
	})
}

func TestRotation(t *testing.T) {
	caches(t, func(t *testing.T, server *awssmtest.Server, c *awscaching.Cache) {
		server.Put("a", "1")
		server.Put("a", "2")
		want(t, c, "a", "2")
		want(t, c, server.ARN("a"), "2")
		wantStage(t, c, "a", previous, "1")
		server.Put("a", "3")
		want(t, c, "a", "2")
		c.RefreshNow(server.ARN("a"))
		want(t, c, "a", "3")
		wantStage(t, c, "a", previous, "2")
	})
}

func TestBinary(t *testing.T) {
	caches(t, func(t *testing.T, server *awssmtest.Server, c *awscaching.Cache) {
		value := "\x00\xff\x01bytes"
		server.PutBinary("a", []byte(value))
		for range 2 {
			if got, err := c.GetSecretBinary("a"); string(got) != value || err != nil {
				t.Errorf("GetSecretBinary = %q, %v, want %q", got, err, value)
			}
		}
		_, err := c.GetSecretString("a")
		wantAs[*awscaching.InvalidOperationError](t, err)
	})
}

func TestGetSecretValueIsTheOnlyCall(t *testing.T) {
	caches(t, func(t *testing.T, server *awssmtest.Server, c *awscaching.Cache) {
		server.Put("a", "1")
		want(t, c, "a", "1")
		c.RefreshNow("a")
		want(t, c, "a", "1")
		_, _ = c.GetSecretStringWithStage("a", pending)
		_, _ = c.GetSecretString("missing")
		for _, r := range server.Requests() {
			if r.Op != "GetSecretValue" || r.Stage == "" {
				t.Errorf("%s of %q stage %q, want GetSecretValue of a stage", r.Op, r.SecretIDs, r.Stage)
			}
		}
		if n := server.Calls("GetSecretValue"); n != 4 {
			t.Errorf("%d calls, want 4", n)
		}
	})
}

func TestErrorsOfTheService(t *testing.T) {
	caches(t, func(t *testing.T, server *awssmtest.Server, c *awscaching.Cache) {
		server.Put("a", "1")
		server.Put("denied", "1")
		server.Fail(awssmtest.Denied.Secret("denied"))

		_, err := c.GetSecretStringWithStage("a", previous)
		wantAs[*awscaching.VersionNotFoundError](t, err)
		wantAs[*types.ResourceNotFoundException](t, err)

		_, err = c.GetSecretString("missing")
		wantAs[*types.ResourceNotFoundException](t, err)
		if !errors.Is(err, secretcache.ErrNotFound) {
			t.Errorf("%v is not secretcache.ErrNotFound", err)
		}

		_, err = c.GetSecretString("denied")
		if api := smithy.APIError(nil); !errors.As(err, &api) || api.ErrorCode() != "AccessDeniedException" {
			t.Errorf("%v has no code AccessDeniedException", err)
		}
	})
}

// Neither a printed form of a cache nor an error shows a value.
func TestNothingPrintsAValue(t *testing.T) {
	const canary = "hunter2-canary"
	caches(t, func(t *testing.T, server *awssmtest.Server, c *awscaching.Cache) {
		server.Put("text", canary)
		server.PutBinary("bytes", []byte(canary))
		var printed []any
		_, err := c.GetSecretBinary("text")
		printed = append(printed, err)
		_, err = c.GetSecretString("bytes")
		printed = append(printed, err)
		_, err = c.GetSecretStringWithStage("text", previous)
		printed = append(printed, err, c, *c)
		for _, v := range printed {
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
				if text := fmt.Sprintf(verb, v); strings.Contains(text, canary) || strings.Contains(text, fmt.Sprintf("%x", canary)) {
					t.Errorf("%s of a %T shows the value: %s", verb, v, text)
				}
			}
		}
	})
}

// The client that New makes is for the program's own calls.
func TestClientOfNew(t *testing.T) {
	server := awssmtest.NewServer(t)
	server.Put("a", "1")
	environment(t, "AWS_ENDPOINT_URL_SECRETS_MANAGER", server.URL())
	c, err := awscaching.New()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.Client.DescribeSecret(t.Context(), &secretsmanager.DescribeSecretInput{SecretId: aws.String("a")})
	if err != nil || aws.ToString(out.Name) != "a" {
		t.Errorf("DescribeSecret: %v", err)
	}
	want(t, c, "a", "1")
	for _, r := range server.Requests() {
		if ours := strings.Contains(r.UserAgent, "sqlsecrets/"); ours != (r.Op == "GetSecretValue") {
			t.Errorf("%s with the user agent %q", r.Op, r.UserAgent)
		}
	}
}

// If a program ignores the error of New, its cache loads the configuration again.
func TestConfigurationThatDoesNotLoad(t *testing.T) {
	server := awssmtest.NewServer(t)
	server.Put("a", "1")
	file := filepath.Join(t.TempDir(), "config")
	environment(t, "AWS_ENDPOINT_URL_SECRETS_MANAGER", server.URL(), "AWS_CONFIG_FILE", file, "AWS_PROFILE", "app")
	c, err := awscaching.New()
	if err == nil || !strings.Contains(err.Error(), "app") {
		t.Errorf("the error of New is %v, want one that names the profile", err)
	}
	if c == nil {
		t.Fatal("the cache is nil")
	}
	if err := os.WriteFile(file, []byte("[profile app]\nregion = us-west-2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	want(t, c, "a", "1")
}
