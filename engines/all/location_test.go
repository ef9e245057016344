package all_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	_ "github.com/sqlsecrets/sqlsecrets/engines/all"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/awsrecorder"
)

// envOpen makes the test binary a program that opens the data source name in envDSN with the driver
// of this name, pings, and prints where it failed.
const (
	envOpen = "ALL_TEST_OPEN"
	envDSN  = "ALL_TEST_DSN"
)

func open(name, dsn string) {
	db, err := sql.Open(name, dsn)
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		err = db.PingContext(ctx)
	}
	var e *driver.Error
	if errors.As(err, &e) {
		fmt.Println(e.Op)
	}
	fmt.Println(err)
}

// TestWhereADataSourceNameLeads opens each data source name in a process of its own, which has only
// database/sql and its environment. It checks what the process sends to AWS. Later the process
// finds no database.
func TestWhereADataSourceNameLeads(t *testing.T) {
	const (
		arn   = "arn:aws:secretsmanager:us-west-2:123456789012:secret:prod/app-a1b2c3"
		cnARN = "arn:aws-cn:secretsmanager:cn-north-1:123456789012:secret:prod/app-a1b2c3"
		other = "arn:aws:secretsmanager:us-east-1:999988887777:secret:shared/app-d4e5f6"
		vpce  = "https://vpce-0a1b2c3d4e5f67890-abcdefgh.secretsmanager.us-west-2.vpce.amazonaws.com"
		west  = "https://secretsmanager.us-west-2.amazonaws.com/"
		east  = "https://secretsmanager.us-east-1.amazonaws.com/"
		role  = "arn:aws:iam::123456789012:role/app"
	)
	in := func(arn, region string) string {
		part := strings.SplitN(arn, ":", 5)
		return strings.Join([]string{part[0], part[1], part[2], region, part[4]}, ":")
	}
	get := func(url, region, id string) awsrecorder.Request {
		return awsrecorder.Request{
			URL: url, Action: "GetSecretValue", Params: map[string]string{"SecretId": id, "VersionStage": "AWSCURRENT"},
			KeyID: awsrecorder.KeyID, Region: region, Service: "secretsmanager",
		}
	}
	withRole := func(r awsrecorder.Request) awsrecorder.Request {
		r.KeyID, r.Token = awsrecorder.RoleKeyID, awsrecorder.RoleToken
		return r
	}
	assume := func(region string, more map[string]string) awsrecorder.Request {
		params := map[string]string{"RoleArn": role}
		maps.Copy(params, more)
		return awsrecorder.Request{URL: "https://sts." + region + ".amazonaws.com/", Action: "AssumeRole", Params: params, KeyID: awsrecorder.KeyID, Region: region, Service: "sts"}
	}
	const profiles = "[profile app]\nregion = us-west-2\naws_access_key_id = " + awsrecorder.KeyID + "\naws_secret_access_key = " + awsrecorder.SecretKey + "\n"
	type env map[string]string
	tests := []struct {
		name   string
		driver string // of MySQL if empty
		dsn    string
		env    env
		file   string // of shared configuration
		refuse string // a host that is down
		want   []awsrecorder.Request
	}{
		{name: "name", dsn: "prod/app", env: env{"AWS_REGION": "us-west-2"}, want: []awsrecorder.Request{get(west, "us-west-2", "prod/app")}},
		{name: "region of the environment", dsn: "prod/app", env: env{"AWS_REGION": "eu-west-1", "AWS_SECRET_JDBC_REGION": "us-west-2"}, want: []awsrecorder.Request{get(west, "us-west-2", "prod/app")}},
		{name: "region", dsn: "prod/app?region=us-west-2", env: env{"AWS_REGION": "eu-west-1", "AWS_SECRET_JDBC_REGION": "eu-west-1"}, want: []awsrecorder.Request{get(west, "us-west-2", "prod/app")}},
		{name: "region in China", dsn: "prod/app?region=cn-north-1", want: []awsrecorder.Request{get("https://secretsmanager.cn-north-1.amazonaws.com.cn/", "cn-north-1", "prod/app")}},
		{name: "ARN", dsn: arn, env: env{"AWS_REGION": "eu-west-1"}, want: []awsrecorder.Request{get(west, "us-west-2", arn)}},
		{name: "ARN in China", dsn: cnARN, env: env{"AWS_REGION": "us-west-2"}, want: []awsrecorder.Request{get("https://secretsmanager.cn-north-1.amazonaws.com.cn/", "cn-north-1", cnARN)}},
		{name: "ARN of another account", dsn: other, env: env{"AWS_REGION": "us-west-2"}, want: []awsrecorder.Request{get(east, "us-east-1", other)}},
		{name: "ARN and region", dsn: arn + "?region=us-east-1", env: env{"AWS_REGION": "eu-west-1"}, want: []awsrecorder.Request{get(east, "us-east-1", in(arn, "us-east-1"))}},
		{name: "endpoint", dsn: "prod/app?endpoint=" + vpce, env: env{"AWS_REGION": "us-west-2", "AWS_ENDPOINT_URL_SECRETS_MANAGER": "https://other.example.com"}, want: []awsrecorder.Request{get(vpce+"/", "us-west-2", "prod/app")}},
		{name: "endpoint and ARN", dsn: arn + "?endpoint=" + strings.ReplaceAll(vpce, ":", "%3A"), env: env{"AWS_REGION": "eu-west-1"}, want: []awsrecorder.Request{get(vpce+"/", "us-west-2", arn)}},
		{name: "endpoint in a process that asks for FIPS", dsn: arn + "?endpoint=" + vpce, env: env{"AWS_USE_FIPS_ENDPOINT": "true"}, want: []awsrecorder.Request{get(vpce+"/", "us-west-2", arn)}},
		{name: "FIPS", dsn: arn, env: env{"AWS_USE_FIPS_ENDPOINT": "true"}, want: []awsrecorder.Request{get("https://secretsmanager-fips.us-west-2.amazonaws.com/", "us-west-2", arn)}},
		{
			name: "role of a profile", dsn: other + "?endpoint=https://vpce.example.com", env: env{"AWS_PROFILE": "app", "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""},
			file: "[profile app]\nregion = us-west-2\nrole_arn = " + role + "\nsource_profile = base\n" +
				"[profile base]\naws_access_key_id = " + awsrecorder.KeyID + "\naws_secret_access_key = " + awsrecorder.SecretKey + "\n",
			want: []awsrecorder.Request{
				{URL: "https://sts.us-west-2.amazonaws.com/", Action: "AssumeRole", Params: map[string]string{"RoleArn": role}, KeyID: awsrecorder.KeyID, Region: "us-west-2", Service: "sts"},
				withRole(get("https://vpce.example.com/", "us-east-1", other)),
			},
		},

		{name: "profile", dsn: "prod/app?profile=app", file: profiles, env: env{"AWS_ACCESS_KEY_ID": "AKIDOTHER", "AWS_PROFILE": "none"}, want: []awsrecorder.Request{get(west, "us-west-2", "prod/app")}},
		{name: "role", dsn: "prod/app?region=us-west-2&roleArn=" + role, want: []awsrecorder.Request{assume("us-west-2", nil), withRole(get(west, "us-west-2", "prod/app"))}},
		{
			name: "role with a profile and an external id", dsn: arn + "?profile=app&externalId=the-id&roleArn=" + role, file: profiles, env: env{"AWS_ACCESS_KEY_ID": "AKIDOTHER"},
			want: []awsrecorder.Request{assume("us-west-2", map[string]string{"ExternalId": "the-id"}), withRole(get(west, "us-west-2", arn))},
		},
		{name: "role and an ARN, which alone says the region", dsn: other + "?roleArn=" + role, want: []awsrecorder.Request{assume("us-east-1", nil), withRole(get(east, "us-east-1", other))}},
		{name: "role in a URL", dsn: "jdbc-secretsmanager:mysql://127.0.0.1:1/db?user=prod/app&region=us-west-2&roleArn=" + role, want: []awsrecorder.Request{assume("us-west-2", nil), withRole(get(west, "us-west-2", "prod/app"))}},
		{name: "role by the driver of all engines", driver: "secretsmanager", dsn: "prod/app?region=us-west-2&roleArn=" + role, want: []awsrecorder.Request{assume("us-west-2", nil), withRole(get(west, "us-west-2", "prod/app"))}},
		{
			name: "role in two regions, the first is down", dsn: "prod/app?region=us-west-2,us-east-1&roleArn=" + role, refuse: "secretsmanager.us-west-2.amazonaws.com",
			want: []awsrecorder.Request{assume("us-west-2", nil), withRole(get(west, "us-west-2", "prod/app")), withRole(get(east, "us-east-1", "prod/app"))},
		},
		{name: "role and an endpoint", dsn: "prod/app?region=us-west-2&endpoint=" + vpce + "&roleArn=" + role, want: []awsrecorder.Request{assume("us-west-2", nil), withRole(get(vpce+"/", "us-west-2", "prod/app"))}},

		{name: "regions, the first answers", dsn: "prod/app?region=us-west-2,us-east-1", want: []awsrecorder.Request{get(west, "us-west-2", "prod/app")}},
		{
			name: "regions, the first is down", dsn: "prod/app?region=us-west-2,us-east-1", refuse: "secretsmanager.us-west-2.amazonaws.com",
			want: []awsrecorder.Request{get(west, "us-west-2", "prod/app"), get(east, "us-east-1", "prod/app")},
		},
		{
			name: "ARN and regions, the first is down", dsn: arn + "?region=us-west-2,us-east-1", env: env{"AWS_REGION": "eu-west-1"}, refuse: "secretsmanager.us-west-2.amazonaws.com",
			want: []awsrecorder.Request{get(west, "us-west-2", arn), get(east, "us-east-1", in(arn, "us-east-1"))},
		},
		{
			name: "ARN and other regions", dsn: arn + "?region=us-east-1,us-west-2", refuse: "secretsmanager.us-east-1.amazonaws.com",
			want: []awsrecorder.Request{get(east, "us-east-1", in(arn, "us-east-1")), get(west, "us-west-2", arn)},
		},
		{name: "driver of all engines", driver: "secretsmanager", dsn: "prod/app?region=us-west-2,us-east-1", want: []awsrecorder.Request{get(west, "us-west-2", "prod/app")}},
	}
	for scheme, url := range map[string]string{
		"postgresql": "postgresql://127.0.0.1:1/db?user=%s&region=us-west-2,us-east-1",
		"redshift":   "redshift://127.0.0.1:1/db?user=%s&region=us-west-2,us-east-1",
		"mysql":      "mysql://127.0.0.1:1/db?user=%s&region=us-west-2,us-east-1",
		"mariadb":    "mariadb://127.0.0.1:1/db?user=%s&region=us-west-2,us-east-1",
		"oracle":     "oracle:thin:@//127.0.0.1:1/db?user=%s&region=us-west-2,us-east-1",
		"sqlserver":  "sqlserver://127.0.0.1:1;databaseName=db;user=%s;region=us-west-2,us-east-1",
		"db2":        "db2://127.0.0.1:1/db:user=%s;region=us-west-2,us-east-1;",
	} {
		test := tests[len(tests)-1]
		test.name, test.dsn = "URL for "+scheme, "jdbc-secretsmanager:"+fmt.Sprintf(url, arn)
		test.refuse = "secretsmanager.us-west-2.amazonaws.com"
		test.want = []awsrecorder.Request{get(west, "us-west-2", arn), get(east, "us-east-1", in(arn, "us-east-1"))}
		tests = append(tests, test)

		separator := "&"
		if strings.Contains(url, ";") {
			separator = ";"
		}
		test.name, test.dsn = "URL for "+scheme+" with a role", strings.TrimSuffix(test.dsn, ";")+separator+"roleArn="+role
		test.want = []awsrecorder.Request{assume("us-west-2", nil), withRole(test.want[0]), withRole(test.want[1])}
		tests = append(tests, test)
	}

	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := awsrecorder.Start()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			r.SetSecret(`{"engine":"mysql","host":"127.0.0.1","port":1,"dbname":"db","username":"u","password":"p"}`)
			if strings.HasPrefix(tt.name, "URL for ") {
				r.SetSecret(`{"username":"u","password":"p"}`)
			}
			r.Refuse(tt.refuse)

			dir := t.TempDir()
			ca, file := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "config")
			if err := errors.Join(os.WriteFile(ca, r.CA(), 0o600), os.WriteFile(file, []byte(tt.file), 0o600)); err != nil {
				t.Fatal(err)
			}
			vars := env{
				"AWS_ACCESS_KEY_ID": awsrecorder.KeyID, "AWS_SECRET_ACCESS_KEY": awsrecorder.SecretKey, "AWS_MAX_ATTEMPTS": "1",
				"AWS_CA_BUNDLE": ca, "AWS_CONFIG_FILE": file, "AWS_SHARED_CREDENTIALS_FILE": filepath.Join(dir, "none"),
				envOpen: "secretsmanager-mysql", envDSN: tt.dsn,
				"GORACE": "atexit_sleep_ms=0", // not a second for each
			}
			if tt.driver != "" {
				vars[envOpen] = tt.driver
			}
			maps.Copy(vars, tt.env)
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = r.Environment(os.Environ())
			for key, value := range vars {
				cmd.Env = append(cmd.Env, key+"="+value)
			}
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.HasPrefix(string(out), "connect with secret\n") {
				t.Errorf("%v, %s\nwant a secret, and no database", err, out)
			}

			got := r.Take()
			for i := range got {
				if got[i].UserAgent == "" {
					t.Errorf("request %d has no user agent", i)
				}
				got[i].UserAgent = ""
				if got[i].Action == "AssumeRole" {
					maps.DeleteFunc(got[i].Params, func(name, _ string) bool { return name != "RoleArn" && name != "ExternalId" })
				}
			}
			if !slices.EqualFunc(got, tt.want, func(g, w awsrecorder.Request) bool { return fmt.Sprint(g) == fmt.Sprint(w) }) {
				t.Errorf("requests\n got %+v\nwant %+v", got, tt.want)
			}
		})
	}
}
