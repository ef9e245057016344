package awssm_test

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm/awssmtest"
)

func TestFetch(t *testing.T) {
	s := awssmtest.NewServer(t)
	src := s.Source()
	big := strings.Repeat("0123456789abcdef", 4096)
	old := s.Put("prod/app", "one")
	version := s.Put("prod/app", "two")
	pending := s.PutStage("prod/app", "three", "AWSPENDING")
	s.PutBinary("binary", []byte{0, 0xff})
	s.Put("big", big)
	s.Put("empty", "")
	s.PutBinary("empty/binary", nil)
	arn := s.ARN("prod/app")

	for _, tt := range []struct {
		id, stage, version, value string
		binary                    bool
		stages                    string
	}{
		{"prod/app", "", version, "two", false, "AWSCURRENT"},
		{"prod/app", "AWSCURRENT", version, "two", false, "AWSCURRENT"},
		{"prod/app", "AWSPREVIOUS", old, "one", false, "AWSPREVIOUS"},
		{"prod/app", "AWSPENDING", pending, "three", false, "AWSPENDING"},
		{arn, "", version, "two", false, "AWSCURRENT"},
		{arn[:len(arn)-7], "", version, "two", false, "AWSCURRENT"},
		{"binary", "", "", "\x00\xff", true, "AWSCURRENT"},
		{"big", "", "", big, false, "AWSCURRENT"},
		{"empty", "", "", "", false, "AWSCURRENT"},
		{"empty/binary", "", "", "", true, "AWSCURRENT"},
	} {
		sec, err := src.Fetch(t.Context(), tt.id, tt.stage)
		if err != nil {
			t.Errorf("%s %s: %v", tt.id, tt.stage, err)
			continue
		}
		if sec.ID() != tt.id || sec.Reveal() != tt.value || sec.IsBinary() != tt.binary || strings.Join(sec.Stages(), ",") != tt.stages ||
			tt.version != "" && (sec.VersionID() != tt.version || sec.ARN() != arn || sec.Name() != "prod/app") ||
			time.Since(sec.CreatedAt()).Abs() > time.Minute {
			t.Errorf("%s %s: %v, ARN %s, stages %v", tt.id, tt.stage, sec, sec.ARN(), sec.Stages())
		}
	}
	for _, r := range s.Requests() {
		if r.Stage == "" || !strings.Contains(r.UserAgent, "sqlsecrets/") {
			t.Errorf("request %+v", r)
		}
	}
	if n := s.Calls("GetSecretValue"); n != 10 {
		t.Errorf("%d calls", n)
	}
}

// An empty version has neither of the two members for a value.
func TestAVersionWithoutAValue(t *testing.T) {
	s := awssmtest.NewServer(t)
	s.Put("a", "1")
	s.Fail(awssmtest.Answer(200, `{"ARN":"arn:aws:secretsmanager:us-west-2:123456789012:secret:a-a1b2c3","Name":"a","VersionId":"v","VersionStages":null}`))
	src := s.Source()
	sec, err := src.Fetch(t.Context(), "a", "AWSPENDING")
	if err != nil || sec.Reveal() != "" || sec.IsBinary() || sec.VersionID() != "v" || sec.Stages() != nil {
		t.Errorf("%v, %v", sec, err)
	}
	s.Heal()
	s.PutEmpty("a", "AWSPENDING")
	if _, err := src.Fetch(t.Context(), "a", "AWSPENDING"); !errors.Is(err, secretcache.ErrNoVersion) {
		t.Errorf("got %v", err)
	}
}

func TestSourceInACache(t *testing.T) {
	s := awssmtest.NewServer(t)
	s.Put("a", "1")
	c := secretcache.New(s.Source(), nil)
	defer c.Close()
	for range 10 {
		if sec, err := c.Get(t.Context(), "a", ""); err != nil || sec.Reveal() != "1" {
			t.Errorf("%v, %v", sec, err)
		}
	}
	if n := s.Calls("GetSecretValue"); n != 1 {
		t.Errorf("%d calls, want 1", n)
	}
	if err := c.Prefetch(t.Context(), "a", "b"); !errors.Is(err, secretcache.ErrNotFound) {
		t.Errorf("prefetch: %v", err)
	}
}

func TestFetchesAtOnceShareOneClient(t *testing.T) {
	s := awssmtest.NewServer(t)
	s.Put("a", "1")
	src := s.Source()
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if _, err := src.Fetch(t.Context(), "a", ""); err != nil {
				t.Error(err)
			}
			src.FetchBatch(t.Context(), []string{"a", strings.Replace(s.ARN("a"), west, east, 1)})
		})
	}
	wg.Wait()
}

// env makes an environment without AWS settings except the given variables.
func env(t *testing.T, vars map[string]string) {
	home := t.TempDir()
	for _, kv := range os.Environ() {
		if k, _, _ := strings.Cut(kv, "="); strings.HasPrefix(k, "AWS_") {
			t.Setenv(k, "")
			os.Unsetenv(k)
		}
	}
	t.Setenv("HOME", home)
	t.Setenv("USERPROFILE", home)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	for k, v := range vars {
		t.Setenv(k, v)
	}
}

func TestTheSDKsConfigurationIsLoadedAtTheFirstFetch(t *testing.T) {
	s := awssmtest.NewServer(t)
	s.Put("a", "1")
	arn := strings.Replace(s.ARN("a"), west, "ap-south-1", 1)

	env(t, map[string]string{"AWS_PROFILE": "nobody"})
	src := awssm.New()
	for range 2 {
		_, err := src.Fetch(t.Context(), "a", "")
		if err == nil || !strings.HasPrefix(err.Error(), `GetSecretValue "a": load the SDK's configuration: `) || !strings.Contains(err.Error(), "nobody") {
			t.Errorf("got %v", err)
		}
		if r := src.FetchBatch(t.Context(), []string{"a"}); r[0].Err == nil {
			t.Error("batch: no error")
		}
	}

	// The next fetch works after the reason is gone.
	file := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(file, []byte("[profile nobody]\nregion = eu-central-1\naws_access_key_id = a\naws_secret_access_key = b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_CONFIG_FILE", file)
	t.Setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", s.URL())
	for _, id := range []string{"a", arn} {
		if _, err := src.Fetch(t.Context(), id, ""); err != nil {
			t.Fatal(err)
		}
	}
	// The loaded configuration is kept.
	t.Setenv("AWS_PROFILE", "nobody else")
	if _, err := src.Fetch(t.Context(), "a", ""); err != nil {
		t.Error(err)
	}
	// The environment's region takes precedence over the file's, and Options.Region over both.
	t.Setenv("AWS_PROFILE", "nobody")
	t.Setenv(awssm.RegionEnv, "sa-east-1")
	for _, opt := range []func(*awssm.Options){nil, func(o *awssm.Options) { o.Region = "us-east-2" }} {
		if _, err := awssm.New(opt).Fetch(t.Context(), "a", ""); err != nil {
			t.Error(err)
		}
	}
	var got []string
	for _, r := range s.Requests() {
		got = append(got, r.Region)
	}
	if want := "eu-central-1 ap-south-1 eu-central-1 sa-east-1 us-east-2"; strings.Join(got, " ") != want {
		t.Errorf("regions %q, want %q", got, want)
	}
}

func TestNoRegionInTheEnvironment(t *testing.T) {
	s := awssmtest.NewServer(t)
	s.Put("a", "1")
	env(t, map[string]string{"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"})
	src := awssm.New(func(o *awssm.Options) { o.Endpoint = s.URL() })
	if _, err := src.Fetch(t.Context(), s.ARN("a"), ""); err != nil {
		t.Errorf("by ARN: %v", err)
	}
	if _, err := src.Fetch(t.Context(), "a", ""); err == nil || !strings.Contains(err.Error(), "no AWS region: set ") {
		t.Errorf("by name: %v", err)
	}
	src = awssm.New(func(o *awssm.Options) { o.Endpoint, o.Regions = s.URL(), []string{east} })
	if _, err := src.Fetch(t.Context(), "a", ""); err != nil {
		t.Errorf("with Regions: %v", err)
	}
}

func TestNoCredentials(t *testing.T) {
	s := awssmtest.NewServer(t)
	env(t, map[string]string{"AWS_REGION": west})
	_, err := awssm.New(func(o *awssm.Options) { o.Endpoint = s.URL() }).Fetch(t.Context(), "a", "")
	if err == nil || !strings.HasPrefix(err.Error(), `GetSecretValue "a" in us-west-2: no AWS credentials found: set `) {
		t.Errorf("got %v", err)
	}
	if len(s.Requests()) != 0 {
		t.Errorf("%+v", s.Requests())
	}
}

// The TLS settings of the SDK's configuration apply to our connections too.
func TestTheConfigurationsCertificateAuthorities(t *testing.T) {
	s := awssmtest.NewServer(t)
	s.Put("a", "1")
	ts := httptest.NewUnstartedServer(s)
	ts.Config.ErrorLog = discard
	ts.StartTLS()
	defer ts.Close()
	vars := map[string]string{"AWS_REGION": west, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_ENDPOINT_URL": ts.URL}
	env(t, vars)
	if _, err := awssm.New().Fetch(t.Context(), "a", ""); !errors.As(err, new(x509.UnknownAuthorityError)) {
		t.Errorf("got %v", err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ts.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_CA_BUNDLE", file)
	if _, err := awssm.New().Fetch(t.Context(), "a", ""); err != nil {
		t.Error(err)
	}
}

// The SDK gets the credentials of a role from the security token service. For that it needs a
// region, even if only the secret's ARN has one.
func TestCredentialsOfARole(t *testing.T) {
	s := awssmtest.NewServer(t)
	s.Put("a", "1")
	hang := make(chan struct{})
	done := make(chan struct{})
	sts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-hang:
		default:
			<-done
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = fmt.Fprintf(w, `<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult><Credentials>
			<AccessKeyId>ROLE</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken><Expiration>%s</Expiration>
			</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	}))
	defer sts.Close()
	defer close(done)
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("token"), 0o600); err != nil {
		t.Fatal(err)
	}
	env(t, map[string]string{
		"AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/app", "AWS_WEB_IDENTITY_TOKEN_FILE": token,
		"AWS_ENDPOINT_URL_STS": sts.URL, "AWS_ENDPOINT_URL_SECRETS_MANAGER": s.URL(),
	})

	// While the request for credentials hangs, the caller's context ends the wait, and no
	// attempt is made.
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := awssm.New().Fetch(ctx, s.ARN("a"), "")
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > time.Second || len(s.Requests()) != 0 {
		t.Errorf("after %s: %v", time.Since(start), err)
	}
	close(hang)
	if _, err := awssm.New().Fetch(t.Context(), s.ARN("a"), ""); err != nil {
		t.Error(err)
	}
}

func TestNewDoesNothing(t *testing.T) {
	env(t, map[string]string{"AWS_PROFILE": "nobody"})
	src := awssm.New(nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := src.Fetch(ctx, "a", ""); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
