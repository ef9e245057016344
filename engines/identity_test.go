package engines_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines"
)

// Identity works only if the source is AWS, whether the data source name or the environment says
// so.
func TestIdentityIsKnownOnlyForAWS(t *testing.T) {
	credentials(t)
	sts := httptest.NewServer(http.NotFoundHandler())
	defer sts.Close()
	t.Setenv("AWS_ENDPOINT_URL_STS", sts.URL)
	for _, c := range []struct {
		environment, source string
		aws                 bool
	}{
		{"", "", true}, {"", "agent", false}, {"file:/x", "", false}, {"agent,aws", "", true}, {"agent", "aws", true},
	} {
		t.Setenv(engines.EnvSource, c.environment)
		who, err := engines.Identity(t.Context(), driver.Location{Source: c.source, Region: "eu-central-1"}, "prod/app")
		if is := !errors.Is(err, engines.ErrNotAWS); is != c.aws || is && who.Region != "eu-central-1" {
			t.Errorf("%s=%q, source %q: %+v, %v", engines.EnvSource, c.environment, c.source, who, err)
		}
	}
}
