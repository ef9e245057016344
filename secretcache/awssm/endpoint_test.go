package awssm_test

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/sqlsecrets/sqlsecrets/internal/standin/awsrecorder"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm"
)

// Hosts are from these documents (docs/aws.md says where each is):
//
//   - AWS Secrets Manager User Guide, "AWS Secrets Manager endpoints": the endpoints of each
//     region, and FIPS. According to it, all of them are dual-stack endpoints; "the naming
//     differs from the typical dual-stack naming convention" (no api.aws).
//   - Getting Started with AWS in China, "Beijing Region Endpoints".
//   - AWS PrivateLink Guide: the names of interface endpoints.
//   - AWS SDKs and Tools Reference Guide, "Service-specific endpoints" and "Dual-stack
//     and FIPS endpoints": the settings, and which of them takes precedence.
//   - IAM User Guide, "AWS STS Regions and endpoints".
const (
	usWest = "https://secretsmanager.us-west-2.amazonaws.com/"
	vpce   = "https://vpce-0a1b2c3d4e5f67890-abcdefgh.secretsmanager.us-west-2.vpce.amazonaws.com"

	vpceSTS = "https://vpce-0a1b2c3d4e5f67890-ijklmnop.sts.us-west-2.vpce.amazonaws.com"

	cnARN  = "arn:aws-cn:secretsmanager:cn-north-1:123456789012:secret:prod/app-a1b2c3"
	govARN = "arn:aws-us-gov:secretsmanager:us-gov-west-1:123456789012:secret:prod/app-a1b2c3"
	// otherARN is in another account than the credentials.
	otherARN = "arn:aws:secretsmanager:us-east-1:999988887777:secret:shared/app-d4e5f6"
)

// static returns the variables for the credentials that the recorder knows.
func static(more ...string) map[string]string {
	vars := map[string]string{"AWS_ACCESS_KEY_ID": awsrecorder.KeyID, "AWS_SECRET_ACCESS_KEY": awsrecorder.SecretKey}
	for i := 0; i < len(more); i += 2 {
		vars[more[i]] = more[i+1]
	}
	return vars
}

// recorded makes an environment in which the SDK trusts the recorder. It has the given
// variables and the given text of the shared config file.
func recorded(t *testing.T, vars map[string]string, file string) {
	t.Helper()
	dir := t.TempDir()
	ca, cfg := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "config")
	for name, text := range map[string][]byte{ca: recorder.CA(), cfg: []byte(file)} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	all := map[string]string{"AWS_CA_BUNDLE": ca, "AWS_CONFIG_FILE": cfg}
	maps.Copy(all, vars)
	env(t, all)
	recorder.Take()
}

var staticCredentials = credentials.NewStaticCredentialsProvider(awsrecorder.KeyID, awsrecorder.SecretKey, "")

// inMemory returns a configuration that a program has loaded.
func inMemory(region string, more ...func(*config.LoadOptions) error) func(*awssm.Options) {
	return func(o *awssm.Options) {
		cfg, err := config.LoadDefaultConfig(context.Background(), append([]func(*config.LoadOptions) error{
			config.WithRegion(region), config.WithCredentialsProvider(staticCredentials),
		}, more...)...)
		if err != nil {
			panic(err)
		}
		o.Config = &cfg
	}
}

func endpoint(u string) func(*awssm.Options) { return func(o *awssm.Options) { o.Endpoint = u } }

func TestEndpoints(t *testing.T) {
	const settings = "[default]\nregion = us-west-2\naws_access_key_id = " + awsrecorder.KeyID + "\naws_secret_access_key = " + awsrecorder.SecretKey + "\n"
	services := func(url string) string {
		return settings + "services = mine\n[services mine]\nsecrets_manager =\n  endpoint_url = " + url + "\n"
	}
	for _, tt := range []struct {
		name   string
		env    map[string]string
		file   string // text of the shared configuration
		opts   func(*awssm.Options)
		id     string // empty means "prod/app"
		url    string
		region string // empty means us-west-2
	}{
		{name: "us-west-2", env: static("AWS_REGION", "us-west-2"), url: usWest},
		{name: "us-west-2 by the older variable", env: static("AWS_DEFAULT_REGION", "us-west-2"), url: usWest},
		{name: "region of the config file", file: settings, url: usWest},
		{name: "region of the option", env: static("AWS_REGION", "eu-west-1"), opts: func(o *awssm.Options) { o.Region = "us-west-2" }, url: usWest},
		{name: "region of the JDBC library's variable", env: static("AWS_REGION", "eu-west-1", awssm.RegionEnv, "us-west-2"), url: usWest},
		{name: "China", env: static("AWS_REGION", "cn-north-1"), url: "https://secretsmanager.cn-north-1.amazonaws.com.cn/", region: "cn-north-1"},
		{name: "GovCloud", env: static("AWS_REGION", "us-gov-west-1"), url: "https://secretsmanager.us-gov-west-1.amazonaws.com/", region: "us-gov-west-1"},
		{name: "aws.Config", opts: inMemory("us-west-2"), url: usWest},
		{name: "aws.Config made by hand, with an HTTP client", opts: func(o *awssm.Options) {
			o.Config = &aws.Config{Region: "us-west-2", Credentials: staticCredentials, HTTPClient: recorder}
		}, url: usWest},

		// The region of an ARN decides before all other settings. The partition follows from it.
		{name: "ARN in China", env: static(), id: cnARN, url: "https://secretsmanager.cn-north-1.amazonaws.com.cn/", region: "cn-north-1"},
		{name: "ARN in China, another region set", env: static("AWS_REGION", "us-west-2", awssm.RegionEnv, "us-east-1"), id: cnARN, url: "https://secretsmanager.cn-north-1.amazonaws.com.cn/", region: "cn-north-1"},
		{name: "ARN in GovCloud", env: static("AWS_REGION", "us-west-2"), id: govARN, url: "https://secretsmanager.us-gov-west-1.amazonaws.com/", region: "us-gov-west-1"},
		{name: "ARN in GovCloud, aws.Config", opts: inMemory("us-west-2"), id: govARN, url: "https://secretsmanager.us-gov-west-1.amazonaws.com/", region: "us-gov-west-1"},
		{name: "ARN of another account", env: static("AWS_REGION", "us-west-2"), id: otherARN, url: "https://secretsmanager.us-east-1.amazonaws.com/", region: "us-east-1"},
		{name: "ARN without its suffix", env: static(), id: strings.TrimSuffix(otherARN, "-d4e5f6"), url: "https://secretsmanager.us-east-1.amazonaws.com/", region: "us-east-1"},

		{name: "FIPS, environment", env: static("AWS_REGION", "us-west-2", "AWS_USE_FIPS_ENDPOINT", "true"), url: "https://secretsmanager-fips.us-west-2.amazonaws.com/"},
		{name: "FIPS, config file", file: settings + "use_fips_endpoint = true\n", url: "https://secretsmanager-fips.us-west-2.amazonaws.com/"},
		{name: "FIPS, aws.Config", opts: inMemory("us-west-2", config.WithUseFIPSEndpoint(aws.FIPSEndpointStateEnabled)), url: "https://secretsmanager-fips.us-west-2.amazonaws.com/"},
		{name: "FIPS, the environment takes precedence over the file", env: map[string]string{"AWS_USE_FIPS_ENDPOINT": "false"}, file: settings + "use_fips_endpoint = true\n", url: usWest},
		{name: "FIPS in GovCloud", env: static("AWS_USE_FIPS_ENDPOINT", "true"), id: govARN, url: "https://secretsmanager-fips.us-gov-west-1.amazonaws.com/", region: "us-gov-west-1"},

		{name: "dual-stack, environment", env: static("AWS_REGION", "us-west-2", "AWS_USE_DUALSTACK_ENDPOINT", "true"), url: usWest},
		{name: "dual-stack, config file", file: settings + "use_dualstack_endpoint = true\n", url: usWest},
		{name: "dual-stack, aws.Config", opts: inMemory("us-west-2", config.WithUseDualStackEndpoint(aws.DualStackEndpointStateEnabled)), url: usWest},
		{name: "dual-stack in China", env: static("AWS_USE_DUALSTACK_ENDPOINT", "true"), id: cnARN, url: "https://secretsmanager.cn-north-1.amazonaws.com.cn/", region: "cn-north-1"},
		{name: "dual-stack and FIPS", env: static("AWS_REGION", "us-west-2", "AWS_USE_DUALSTACK_ENDPOINT", "true", "AWS_USE_FIPS_ENDPOINT", "true"), url: "https://secretsmanager-fips.us-west-2.amazonaws.com/"},

		{name: "URL of the service", env: static("AWS_REGION", "us-west-2", "AWS_ENDPOINT_URL_SECRETS_MANAGER", vpce), url: vpce + "/"},
		{name: "URL of all services", env: static("AWS_REGION", "us-west-2", "AWS_ENDPOINT_URL", "https://all.example.com"), url: "https://all.example.com/"},
		{name: "the URL of the service takes precedence", env: static("AWS_REGION", "us-west-2", "AWS_ENDPOINT_URL_SECRETS_MANAGER", vpce, "AWS_ENDPOINT_URL", "https://all.example.com"), url: vpce + "/"},
		{name: "URL of the config file", file: settings + "endpoint_url = https://all.example.com\n", url: "https://all.example.com/"},
		{name: "URL of the service in the config file", file: services(vpce), url: vpce + "/"},
		{name: "in the config file as well", file: strings.Replace(services(vpce), "services =", "endpoint_url = https://all.example.com\nservices =", 1), url: vpce + "/"},
		{name: "the environment takes precedence over the config file", env: map[string]string{"AWS_ENDPOINT_URL": "https://all.example.com"}, file: services(vpce), url: "https://all.example.com/"},
		{name: "URLs ignored", env: static("AWS_REGION", "us-west-2", "AWS_ENDPOINT_URL_SECRETS_MANAGER", vpce, "AWS_ENDPOINT_URL", vpce, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true"), url: usWest},
		{name: "URLs of the config file ignored", file: services(vpce), env: map[string]string{"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}, url: usWest},
		{name: "aws.Config's URL", opts: inMemory("us-west-2", config.WithBaseEndpoint(vpce)), url: vpce + "/"},

		{name: "option", env: static("AWS_REGION", "us-west-2"), opts: endpoint(vpce), url: vpce + "/"},
		{name: "the option takes precedence over the environment", env: static("AWS_REGION", "us-west-2", "AWS_ENDPOINT_URL_SECRETS_MANAGER", "https://other.example.com"), opts: endpoint(vpce), url: vpce + "/"},
		{name: "option is not ignored", env: static("AWS_REGION", "us-west-2", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true"), opts: endpoint(vpce), url: vpce + "/"},
		{name: "option with a slash", env: static("AWS_REGION", "us-west-2"), opts: endpoint(vpce + "/"), url: vpce + "/"},
		{name: "option with a path", env: static("AWS_REGION", "us-west-2"), opts: endpoint("https://gateway.example.com/aws/secrets"), url: "https://gateway.example.com/aws/secrets"},
		{name: "option with a port and without TLS", env: static("AWS_REGION", "us-west-2"), opts: endpoint("http://localstack.example.com:4566"), url: "http://localstack.example.com:4566/"},
		// The host is the endpoint's. The request is signed for the secret's region.
		{name: "option and an ARN", env: static("AWS_REGION", "eu-west-1"), opts: endpoint(vpce), id: strings.Replace(otherARN, "us-east-1", "us-west-2", 1), url: vpce + "/"},

		// The reference guide says about FIPS: "Service-specific endpoints … override this
		// setting". The SDK itself returns an error for the two together.
		{name: "option and FIPS", env: static("AWS_REGION", "us-west-2", "AWS_USE_FIPS_ENDPOINT", "true"), opts: endpoint(vpce), url: vpce + "/"},
		{name: "option and dual-stack", env: static("AWS_REGION", "us-west-2", "AWS_USE_DUALSTACK_ENDPOINT", "true"), opts: endpoint(vpce), url: vpce + "/"},
		{name: "URL of the service and FIPS", env: static("AWS_REGION", "us-west-2", "AWS_USE_FIPS_ENDPOINT", "true", "AWS_ENDPOINT_URL_SECRETS_MANAGER", vpce), url: vpce + "/"},
		{name: "URL ignored and FIPS", env: static("AWS_REGION", "us-west-2", "AWS_USE_FIPS_ENDPOINT", "true", "AWS_ENDPOINT_URL_SECRETS_MANAGER", vpce, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true"), url: "https://secretsmanager-fips.us-west-2.amazonaws.com/"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			recorded(t, tt.env, tt.file)
			if tt.id == "" {
				tt.id = "prod/app"
			}
			if tt.region == "" {
				tt.region = "us-west-2"
			}
			want := awsrecorder.Request{
				URL: tt.url, Action: "GetSecretValue", Params: map[string]string{"SecretId": tt.id, "VersionStage": "AWSPREVIOUS"},
				KeyID: awsrecorder.KeyID, Region: tt.region, Service: "secretsmanager",
			}
			_, err := awssm.New(tt.opts).Fetch(t.Context(), tt.id, "AWSPREVIOUS")
			if err != nil {
				t.Fatal(err)
			}
			checkSent(t, recorder.Take(), want)
		})
	}
}

// checkSent compares the requests that were sent.
func checkSent(t *testing.T, got []awsrecorder.Request, want ...awsrecorder.Request) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d requests, want %d: %+v", len(got), len(want), got)
	}
	for i, g := range got {
		if w := want[i].Action; w == "GetSecretValue" && !strings.Contains(g.UserAgent, " sqlsecrets/") {
			t.Errorf("user agent %q does not name us", g.UserAgent)
		}
		g.UserAgent = ""
		params := g.Params
		g.Params = map[string]string{}
		for name := range want[i].Params { // requests to STS have more parameters
			g.Params[name] = params[name]
		}
		if want[i].Action == "GetSecretValue" && len(params) != len(want[i].Params) {
			t.Errorf("parameters %v, want %v", params, want[i].Params)
		}
		if g.URL != want[i].URL || g.Action != want[i].Action || !maps.Equal(g.Params, want[i].Params) || g.Token != want[i].Token ||
			g.KeyID != want[i].KeyID || g.Region != want[i].Region || g.Service != want[i].Service || g.SignatureErr != nil {
			t.Errorf("request %d\n got %+v\nwant %+v", i, g, want[i])
		}
	}
}

// Credentials of a role come from the security token service of the region. Requests to Secrets
// Manager are signed with them.
func TestAssumedRoles(t *testing.T) {
	const roleARN = "arn:aws:iam::123456789012:role/app"
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("token of the web identity"), 0o600); err != nil {
		t.Fatal(err)
	}
	const source = "[profile base]\naws_access_key_id = " + awsrecorder.KeyID + "\naws_secret_access_key = " + awsrecorder.SecretKey + "\n"
	const profile = source + "[profile app]\nregion = us-west-2\nrole_arn = " + roleARN + "\nsource_profile = base\n"
	identity := map[string]string{"AWS_ROLE_ARN": roleARN, "AWS_WEB_IDENTITY_TOKEN_FILE": token, "AWS_ROLE_SESSION_NAME": "pod"}
	with := func(vars map[string]string, more ...string) map[string]string {
		vars = maps.Clone(vars)
		for i := 0; i < len(more); i += 2 {
			vars[more[i]] = more[i+1]
		}
		return vars
	}
	// assume returns the request to STS. It is signed with the source's key, or not at all.
	assume := func(url, region string) awsrecorder.Request {
		return awsrecorder.Request{
			URL: url, Action: "AssumeRole", Params: map[string]string{"RoleArn": roleARN},
			KeyID: awsrecorder.KeyID, Region: region, Service: "sts",
		}
	}
	web := func(url, role string) awsrecorder.Request {
		return awsrecorder.Request{
			URL: url, Action: "AssumeRoleWithWebIdentity",
			Params: map[string]string{"RoleArn": role, "WebIdentityToken": "token of the web identity", "RoleSessionName": "pod"},
		}
	}
	get := func(url, region, id string) awsrecorder.Request {
		return awsrecorder.Request{
			URL: url, Action: "GetSecretValue", Params: map[string]string{"SecretId": id, "VersionStage": "AWSCURRENT"},
			KeyID: awsrecorder.RoleKeyID, Token: awsrecorder.RoleToken, Region: region, Service: "secretsmanager",
		}
	}
	asRole := func(o *awssm.Options) { o.RoleARN = roleARN }
	const cnRole = "arn:aws-cn:iam::123456789012:role/app"
	for _, tt := range []struct {
		name string
		env  map[string]string
		file string
		opts func(*awssm.Options)
		id   string
		want []awsrecorder.Request
	}{
		{
			name: "profile with role_arn and source_profile", env: map[string]string{"AWS_PROFILE": "app"}, file: profile, id: "prod/app",
			want: []awsrecorder.Request{assume("https://sts.us-west-2.amazonaws.com/", "us-west-2"), get(usWest, "us-west-2", "prod/app")},
		},
		{
			name: "keys in the environment take precedence over a profile", env: static("AWS_PROFILE", "app"), file: profile, id: "prod/app",
			want: []awsrecorder.Request{{
				URL: usWest, Action: "GetSecretValue", Params: map[string]string{"SecretId": "prod/app", "VersionStage": "AWSCURRENT"},
				KeyID: awsrecorder.KeyID, Region: "us-west-2", Service: "secretsmanager",
			}},
		},
		{
			name: "profile, secret of another account and region", env: map[string]string{"AWS_PROFILE": "app"}, file: profile, id: otherARN,
			want: []awsrecorder.Request{assume("https://sts.us-west-2.amazonaws.com/", "us-west-2"), get("https://secretsmanager.us-east-1.amazonaws.com/", "us-east-1", otherARN)},
		},
		{
			name: "profile, FIPS", env: map[string]string{"AWS_PROFILE": "app", "AWS_USE_FIPS_ENDPOINT": "true"}, file: profile, id: "prod/app",
			want: []awsrecorder.Request{assume("https://sts-fips.us-west-2.amazonaws.com/", "us-west-2"), get("https://secretsmanager-fips.us-west-2.amazonaws.com/", "us-west-2", "prod/app")},
		},
		{
			// IAM User Guide, "Dual-stack endpoint support".
			name: "profile, dual-stack", env: map[string]string{"AWS_PROFILE": "app", "AWS_USE_DUALSTACK_ENDPOINT": "true"}, file: profile, id: "prod/app",
			want: []awsrecorder.Request{assume("https://sts.us-west-2.api.aws/", "us-west-2"), get(usWest, "us-west-2", "prod/app")},
		},
		{
			// The endpoint of the data source name is for Secrets Manager only.
			name: "profile, endpoint of the option", env: map[string]string{"AWS_PROFILE": "app"}, file: profile, opts: endpoint(vpce), id: "prod/app",
			want: []awsrecorder.Request{assume("https://sts.us-west-2.amazonaws.com/", "us-west-2"), get(vpce+"/", "us-west-2", "prod/app")},
		},
		{
			name: "profile, URLs of both services", file: profile, id: "prod/app",
			env:  map[string]string{"AWS_PROFILE": "app", "AWS_ENDPOINT_URL_STS": vpceSTS, "AWS_ENDPOINT_URL_SECRETS_MANAGER": vpce},
			want: []awsrecorder.Request{assume(vpceSTS+"/", "us-west-2"), get(vpce+"/", "us-west-2", "prod/app")},
		},
		{
			name: "role of the option", env: static("AWS_REGION", "us-west-2"), opts: asRole, id: "prod/app",
			want: []awsrecorder.Request{assume("https://sts.us-west-2.amazonaws.com/", "us-west-2"), get(usWest, "us-west-2", "prod/app")},
		},
		{
			name: "role of the option, where only the ARN says the region", env: static(), opts: asRole, id: otherARN,
			want: []awsrecorder.Request{assume("https://sts.us-east-1.amazonaws.com/", "us-east-1"), get("https://secretsmanager.us-east-1.amazonaws.com/", "us-east-1", otherARN)},
		},
		{
			name: "role of the option by a profile, with other settings in the environment", env: map[string]string{"AWS_ACCESS_KEY_ID": "AKIDOTHER", "AWS_SECRET_ACCESS_KEY": "x", "AWS_REGION": "us-west-2"}, file: profile,
			opts: func(o *awssm.Options) { o.Profile, o.RoleARN = "base", roleARN }, id: "prod/app",
			want: []awsrecorder.Request{assume("https://sts.us-west-2.amazonaws.com/", "us-west-2"), get(usWest, "us-west-2", "prod/app")},
		},
		{
			name: "profile of the option with a role of its own", env: static(), file: profile, opts: func(o *awssm.Options) { o.Profile = "app" }, id: "prod/app",
			want: []awsrecorder.Request{assume("https://sts.us-west-2.amazonaws.com/", "us-west-2"), get(usWest, "us-west-2", "prod/app")},
		},
		{
			name: "role of the option, FIPS", env: static("AWS_REGION", "us-west-2", "AWS_USE_FIPS_ENDPOINT", "true"), opts: asRole, id: "prod/app",
			want: []awsrecorder.Request{assume("https://sts-fips.us-west-2.amazonaws.com/", "us-west-2"), get("https://secretsmanager-fips.us-west-2.amazonaws.com/", "us-west-2", "prod/app")},
		},
		{
			name: "role of the option, URL of STS and FIPS", env: static("AWS_REGION", "us-west-2", "AWS_ENDPOINT_URL_STS", vpceSTS, "AWS_USE_FIPS_ENDPOINT", "true"), opts: asRole, id: "prod/app",
			want: []awsrecorder.Request{assume(vpceSTS+"/", "us-west-2"), get("https://secretsmanager-fips.us-west-2.amazonaws.com/", "us-west-2", "prod/app")},
		},
		{
			name: "role of the option, URL of all services", env: static("AWS_REGION", "us-west-2", "AWS_ENDPOINT_URL", "https://all.example.com"), opts: asRole, id: "prod/app",
			want: []awsrecorder.Request{assume("https://all.example.com/", "us-west-2"), get("https://all.example.com/", "us-west-2", "prod/app")},
		},
		{
			name: "web identity", env: with(identity, "AWS_REGION", "us-west-2"), id: "prod/app",
			want: []awsrecorder.Request{web("https://sts.us-west-2.amazonaws.com/", roleARN), get(usWest, "us-west-2", "prod/app")},
		},
		{
			name: "web identity in China, where only the ARN says so", env: with(identity, "AWS_ROLE_ARN", cnRole), id: cnARN,
			want: []awsrecorder.Request{web("https://sts.cn-north-1.amazonaws.com.cn/", cnRole), get("https://secretsmanager.cn-north-1.amazonaws.com.cn/", "cn-north-1", cnARN)},
		},
		{
			name: "stscreds", id: "prod/app",
			opts: func(o *awssm.Options) {
				inMemory("us-west-2")(o)
				o.Config.Credentials = aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(sts.NewFromConfig(*o.Config), roleARN))
			},
			want: []awsrecorder.Request{assume("https://sts.us-west-2.amazonaws.com/", "us-west-2"), get(usWest, "us-west-2", "prod/app")},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			recorded(t, tt.env, tt.file)
			src := awssm.New(tt.opts)
			for range 3 { // the role is assumed only once
				if _, err := src.Fetch(t.Context(), tt.id, ""); err != nil {
					t.Fatal(err)
				}
			}
			last := tt.want[len(tt.want)-1]
			checkSent(t, recorder.Take(), append(slices.Clone(tt.want), last, last)...)
		})
	}
}

// The profile or the role is wrong, or may not read the secret.
func TestErrorsNameTheProfileAndTheRole(t *testing.T) {
	const roleARN, file = "arn:aws:iam::123456789012:role/app", "[profile app]\naws_access_key_id = " + awsrecorder.KeyID + "\naws_secret_access_key = " + awsrecorder.SecretKey + "\n"
	for _, tt := range []struct {
		name, refuse string
		opts         func(*awssm.Options)
		want         []string
	}{
		{"no such profile", "", func(o *awssm.Options) { o.Profile = "nosuch" }, []string{`with profile "nosuch": load the SDK's configuration: `, "profile"}},
		{"role that cannot be assumed", "sts.us-west-2.amazonaws.com", func(o *awssm.Options) { o.RoleARN = roleARN }, []string{"with role " + roleARN + ": get AWS credentials from AssumeRole of AWS STS: "}},
		{"service", "secretsmanager.us-west-2.amazonaws.com", func(o *awssm.Options) { o.Profile, o.RoleARN = "app", roleARN }, []string{"in us-west-2 with role " + roleARN + `, profile "app": status 503`}},
		{"neither", "secretsmanager.us-west-2.amazonaws.com", nil, []string{"in us-west-2: status 503"}},
		{"external id alone", "", func(o *awssm.Options) { o.ExternalID = "id" }, []string{"ExternalID has no effect without Options.RoleARN"}},
		{"the program's own client", "", func(o *awssm.Options) { o.Client, o.RoleARN = little{}, roleARN }, []string{"no effect on Options.Client"}},
		{"configuration in code", "", func(o *awssm.Options) { inMemory("us-west-2")(o); o.RoleARN = roleARN }, []string{"no effect on Options.Config"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			recorded(t, static("AWS_REGION", "us-west-2", "AWS_MAX_ATTEMPTS", "1"), file)
			recorder.Refuse(tt.refuse)
			t.Cleanup(func() { recorder.Refuse("") })
			_, err := awssm.New(tt.opts).Fetch(t.Context(), "prod/app", "")
			for _, want := range tt.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want …%s…", err, want)
				}
			}
		})
	}
}

// The first id is a name without a region, so its fetch fails. The role is then assumed in the
// region of the first secret that has one.
func TestARoleIsAssumedAfterANameWithoutARegion(t *testing.T) {
	const roleARN = "arn:aws:iam::123456789012:role/app"
	for name, tt := range map[string]struct {
		file string
		opts func(*awssm.Options)
	}{
		"role of the option": {"", func(o *awssm.Options) { o.RoleARN = roleARN }},
		"role of a profile":  {"[profile app]\nrole_arn = " + roleARN + "\ncredential_source = Environment\n", func(o *awssm.Options) { o.Profile = "app" }},
	} {
		t.Run(name, func(t *testing.T) {
			recorded(t, static(), tt.file)
			src := awssm.New(tt.opts)
			if _, err := src.Fetch(t.Context(), "prod/app", ""); err == nil || !strings.Contains(err.Error(), "no AWS region") {
				t.Fatalf("without a region: %v", err)
			}
			if _, err := src.Fetch(t.Context(), otherARN, ""); err != nil {
				t.Error(err)
			}
			if sent := recorder.Take(); len(sent) != 2 || sent[0].Action != "AssumeRole" || sent[0].Region != "us-east-1" {
				t.Errorf("sent %+v, want AssumeRole in us-east-1 first", sent)
			}
		})
	}
}

// A request or token that is signed with a role's credentials must arrive before they end, even if
// the server's clock is ahead. A token that the server rejects would count as a rejected password.
func TestARoleIsAssumedAgainBeforeItsCredentialsEnd(t *testing.T) {
	const roleARN = "arn:aws:iam::123456789012:role/app"
	for name, tt := range map[string]struct {
		file string
		opts func(*awssm.Options)
	}{
		"role of the option": {"", func(o *awssm.Options) { o.RoleARN = roleARN }},
		"role of a profile":  {"[profile app]\nrole_arn = " + roleARN + "\ncredential_source = Environment\n", func(o *awssm.Options) { o.Profile = "app" }},
	} {
		t.Run(name, func(t *testing.T) {
			recorded(t, static("AWS_REGION", "us-west-2"), tt.file)
			t.Cleanup(func() { recorder.SetRoleLife(time.Hour) })
			src := awssm.New(tt.opts)
			for i, step := range []struct {
				life    time.Duration // how long the role's credentials are valid
				assumed int
			}{{time.Minute, 1}, {time.Hour, 1}, {time.Hour, 0}} {
				recorder.SetRoleLife(step.life)
				if _, _, err := src.RDSToken(t.Context(), "", "db.example.com", 5432, "app"); err != nil {
					t.Fatal(err)
				}
				if n := len(recorder.Take()); n != step.assumed {
					t.Errorf("token %d: %d requests to STS, want %d", i+1, n, step.assumed)
				}
			}
		})
	}
}

// The external id is sent, and so is the name of the session, which CloudTrail records.
func TestTheExternalIDIsSent(t *testing.T) {
	recorded(t, static("AWS_REGION", "us-west-2"), "")
	_, err := awssm.New(func(o *awssm.Options) {
		o.RoleARN, o.ExternalID = "arn:aws:iam::123456789012:role/app", "the-id"
	}).Fetch(t.Context(), "prod/app", "")
	if err != nil {
		t.Fatal(err)
	}
	if sent := recorder.Take()[0].Params; sent["ExternalId"] != "the-id" || sent["RoleSessionName"] != "sqlsecrets" {
		t.Errorf("sent %v", sent)
	}
}

// Fall-back regions have their own endpoints, of the same kind.
func TestEndpointsOfFallbackRegions(t *testing.T) {
	recorded(t, static("AWS_USE_FIPS_ENDPOINT", "true"), "")
	recorder.Refuse("secretsmanager-fips.us-east-1.amazonaws.com")
	t.Cleanup(func() { recorder.Refuse("") })
	src := awssm.New(func(o *awssm.Options) { o.Regions, o.MaxAttempts = []string{"us-west-2"}, -1 })
	if _, err := src.Fetch(t.Context(), otherARN, ""); err != nil {
		t.Fatal(err)
	}
	get := func(region string) awsrecorder.Request {
		return awsrecorder.Request{
			URL: "https://secretsmanager-fips." + region + ".amazonaws.com/", Action: "GetSecretValue",
			Params: map[string]string{"SecretId": strings.Replace(otherARN, "us-east-1", region, 1), "VersionStage": "AWSCURRENT"},
			KeyID:  awsrecorder.KeyID, Region: region, Service: "secretsmanager",
		}
	}
	checkSent(t, recorder.Take(), get("us-east-1"), get("us-west-2"))
}

// The policies in docs/aws.md are valid JSON.
func TestPoliciesInTheDocumentationAreJSON(t *testing.T) {
	text, err := os.ReadFile("../../docs/aws.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(text), "```json\n")[1:]
	if len(blocks) < 5 {
		t.Errorf("%d policies", len(blocks))
	}
	for _, b := range blocks {
		policy, _, _ := strings.Cut(b, "```")
		if !json.Valid([]byte(policy)) {
			t.Errorf("not JSON:\n%s", policy)
		}
	}
}
