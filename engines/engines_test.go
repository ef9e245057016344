package engines_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm/awssmtest"
)

func credentials(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "example")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_CONFIG_FILE", t.TempDir()+"/none")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", t.TempDir()+"/none")
}

// get reads a secret from the default cache of a location.
func get(t *testing.T, loc driver.Location, id string) (*secretcache.Cache, *secretcache.Secret) {
	t.Helper()
	c, err := engines.Cache(loc)
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.Get(t.Context(), id, "")
	if err != nil {
		t.Fatal(err)
	}
	return c, s
}

func TestCacheFetchesFromItsLocation(t *testing.T) {
	credentials(t)
	sm := awssmtest.NewServer(t)
	sm.Put("prod/app", "value")
	_, s := get(t, driver.Location{Region: "eu-central-1", Endpoint: sm.URL()}, "prod/app")
	if got := s.Reveal(); got != "value" {
		t.Errorf("Get = %q, want %q", got, "value")
	}
	if got := sm.Requests()[0].Region; got != "eu-central-1" {
		t.Errorf("the request is signed for %q, want eu-central-1", got)
	}
}

const role = "arn:aws:iam::123456789012:role/app"

func TestOneCacheForEachLocation(t *testing.T) {
	at := func(l driver.Location) *secretcache.Cache {
		t.Helper()
		c, err := engines.Cache(l)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	zero := at(driver.Location{})
	for _, tt := range []struct {
		name string
		loc  driver.Location
		same bool
	}{
		{"again", driver.Location{}, true},
		{"the default source by name", driver.Location{Source: engines.SourceAWS}, true},
		{"another region", driver.Location{Region: "us-east-2"}, false},
		{"a profile", driver.Location{Profile: "p"}, false},
		{"a role", driver.Location{RoleARN: role}, false},
		{"a role and a profile", driver.Location{RoleARN: role, Profile: "p"}, false},
		{"a role and an external id", driver.Location{RoleARN: role, ExternalID: "id"}, false},
		{"a role for the API after a file", driver.Location{Source: "file:/a,aws", RoleARN: role}, false},
		{"another endpoint", driver.Location{Endpoint: "https://vpce.example.com"}, false},
	} {
		if got := at(tt.loc) == zero; got != tt.same {
			t.Errorf("%s: the same cache: %v, want %v", tt.name, got, tt.same)
		}
	}
}

func TestWrongSettingsAreAnErrorOfCache(t *testing.T) {
	for _, tt := range []struct {
		name, env, value string
		loc              driver.Location
		want             []string
	}{
		{"duration", engines.EnvTTL, "soon", driver.Location{Region: "ttl-1"}, []string{engines.EnvTTL, `"soon"`, "15m"}},
		{"source of the environment", engines.EnvSource, "carrier-pigeon", driver.Location{}, []string{engines.EnvSource, `"carrier-pigeon"`, "aws"}},
		{"source of the data source name", "", "", driver.Location{Source: "carrier-pigeon"}, []string{`"carrier-pigeon"`, "aws"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.env != "" {
				t.Setenv(tt.env, tt.value)
			}
			_, err := engines.Cache(tt.loc)
			if err == nil {
				t.Fatal("Cache succeeded")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not contain %q", err, want)
				}
			}
		})
	}
	// A later call succeeds.
	if _, err := engines.Cache(driver.Location{Region: "ttl-1"}); err != nil {
		t.Errorf("Cache once the environment is right: %v", err)
	}
}

func TestTTLOfTheEnvironment(t *testing.T) {
	credentials(t)
	t.Setenv(engines.EnvTTL, "-1s") // fetches every time
	sm := awssmtest.NewServer(t)
	sm.Put("prod/app", "value")
	c, err := engines.Cache(driver.Location{Region: "us-west-1", Endpoint: sm.URL()})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := c.Get(t.Context(), "prod/app", ""); err != nil {
			t.Fatal(err)
		}
	}
	if got := sm.Calls("GetSecretValue"); got != 3 {
		t.Errorf("%d calls of GetSecretValue, want 3", got)
	}
}

// A program's own CheckLocation is called first: it may return an error for a location that the
// default caches could use.
func TestOptionsAskTheCallersCheckFirst(t *testing.T) {
	refused := errors.New("refused")
	check := engines.Options(&driver.Options{CheckLocation: func(loc driver.Location) error {
		if loc.RoleARN != "" {
			return refused
		}
		return nil
	}}).CheckLocation
	for _, tt := range []struct {
		loc  driver.Location
		want string
	}{
		{driver.Location{}, ""},
		{driver.Location{RoleARN: role}, "refused"},
		{driver.Location{Source: "carrier-pigeon"}, `source "carrier-pigeon" is unknown`},
	} {
		if err := check(tt.loc); (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: got %v, want %q", tt.loc, err, tt.want)
		}
	}
}

func TestOptionsKeepWhatIsSet(t *testing.T) {
	cache := secretcache.New(awssmtest.NewServer(t).Source(), nil)
	own := func(driver.Location) (driver.Secrets, error) { return nil, errors.New("own") }
	given := &driver.Options{ConnectTimeout: time.Minute}
	if got := engines.Options(given); got.SecretsAt == nil || got.ConnectTimeout != time.Minute {
		t.Errorf("Options = %+v, want the default caches and the timeout", got)
	}
	if given.SecretsAt != nil {
		t.Error("Options changed what it was given")
	}
	if got := engines.Options(nil); got.SecretsAt == nil {
		t.Error("Options(nil) has no caches")
	}
	if got := engines.Options(&driver.Options{Secrets: cache}); got.SecretsAt != nil {
		t.Error("Options set SecretsAt besides Secrets")
	}
	got := engines.Options(&driver.Options{SecretsAt: own})
	if _, err := got.SecretsAt(driver.Location{}); err == nil || err.Error() != "own" {
		t.Errorf("SecretsAt = %v, want the caller's own", err)
	}
}
