package db2_test

import (
	"strings"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/configtest"
)

// The meaning of the properties is tested in guide_test.go.
func TestParseURL(t *testing.T) {
	at := func(kv ...string) driver.URL {
		return driver.URL{SecretID: "id", Host: "h", Database: "SAMPLE", Params: params(kv...)}
	}
	configtest.ParseURL(t, fake, configtest.Own, []configtest.URLCase{
		{"db2://example.com:50000/SAMPLE:user=prod/app/db;", driver.URL{SecretID: "prod/app/db", Host: "example.com", Port: 50000, Database: "SAMPLE"}},
		{"db2://[::1]:50000/SAMPLE:user=id", driver.URL{SecretID: "id", Host: "::1", Port: 50000, Database: "SAMPLE"}},
		{"db2:SAMPLE:user=id;", driver.URL{SecretID: "id", Database: "SAMPLE"}},
		{"db2://h/:user=id;", driver.URL{SecretID: "id", Host: "h"}},
		{"db2://h/SAMPLE:user=arn:aws:secretsmanager:us-west-2:123456789012:secret:app-a1b2c3;", driver.URL{
			SecretID: "arn:aws:secretsmanager:us-west-2:123456789012:secret:app-a1b2c3", Host: "h", Database: "SAMPLE"}},
		{"db2://h/SAMPLE:user=id;;stage=A%20B;region=r;", at("stage", "A%20B", "region", "r")}, // not decoded
		{"db2://h/SAMPLE:sslConnection=true;user=id;currentSchema=b=c;", at("Security", "SSL", "CurrentSchema", "b=c")},
	})
}

func TestParseURLFails(t *testing.T) {
	configtest.ParseURLFails(t, fake, configtest.Own, []configtest.ErrorCase{
		{"db2://h/SAMPLE:user=id;password=a;CANARY=b;", `"password" is not allowed`},
		{"db2://h/SAMPLE:user=id;CANARY", "a property has no value"},
		{"db2://h/SAMPLE:user=id;CAN ARY=x", "an impossible name"},
		{"db2://h/SAMPLE?user=CANARY", "db2://host:port/database:name=value"},
		{"db2://h/SAMPLE;user=CANARY", "db2://host:port/database:name=value"},
		{"db2://h:user=CANARY", "db2://host:port/database:name=value"},
		{"db2://h/CANARY/x:user=id;", "database"},
		{"db2://h=CANARY:user=id;", "before its properties"},
		{"db2://h/SAMPLE:user=id;sslConnection=true;sslConnection=CANARY;", `"sslConnection" is given twice`},
		{"db2://h:CANARY/SAMPLE:user=id;", "port"},
	})
}

func TestCheckParams(t *testing.T) {
	for _, c := range []struct {
		params map[string]string
		want   string // of the error
	}{
		{nil, ""},
		{params("Security", "ssl"), `"Security": it has to be one of SSL`},
		{params("SECURITY", "SSL"), `did you mean "Security"`},
		{params("Authentication", "KERBEROS"), `"Authentication"`},
		{params("ConnectTimeout", "0"), `"ConnectTimeout"`},
		{params("ConnectTimeout", "+1"), `"ConnectTimeout"`},
		{params("CurrentSchema", "A;B"), `"CurrentSchema": it cannot be part`},
		{params("APIKey", "x"), `"APIKey" is not known`},
		{params("can ary", "x"), "a name that none has"},
	} {
		err := fake.CheckParams(c.params)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("CheckParams(%v) = %v, want %q", c.params, err, c.want)
		}
	}
}
