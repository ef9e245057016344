package secretid_test

import (
	"strings"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/internal/secretid"
)

const arn = "arn:aws:secretsmanager:us-west-2:123456789012:secret:prod/app-a1b2c3"

func TestCheck(t *testing.T) {
	for _, test := range []struct{ id, want string }{
		{"prod/app", ""},
		{"A_z0/+=.@-!", ""},
		{arn, ""},
		{strings.Repeat("a", 512), ""},
		{"", "empty"},
		{strings.Repeat("a", 513), "longer"},
		{arn + strings.Repeat("a", 2048), "longer"},
		{"postgres://user:pw@host", "URL"},
		{"host=h Password=pw", "connection string"},
		{"prod:app", "the character ':'"},
		{"prod app", "a space"},
		{"arn:aws:s3:us-west-2:1:secret:x", "ARN"},
		{"arn:aws:secretsmanager:us-west-2:1:secret", "ARN"},
		{"arn:", "ARN"},
		{"arn:aws:secretsmanager::1:secret:x", "ARN"},
		{"arn:aws:secretsmanager:a.b:1:secret:x", "region"},
		{"arn:aws:secretsmanager:-ab:1:secret:x", "region"},
		{"arn:aws:secretsmanager:us-west2:1:secret:x", `did you mean "us-west-2"?`},
		{arn + ":password::", "cut off what follows"},
		{"\"prod/app\"", "a quotation mark"},
		{"prod/app\n", "cannot be printed"},
	} {
		err := secretid.Check(test.id)
		switch {
		case test.want == "" && err != nil, test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
			t.Errorf("Check(%.80q) = %v, want %q", test.id, err, test.want)
		case err != nil && strings.Contains(err.Error(), "pw"):
			t.Errorf("Check(%q) quotes it: %v", test.id, err)
		}
	}
}

func TestInRegion(t *testing.T) {
	for _, test := range []struct{ id, region, want string }{
		{"prod/app", "eu-west-1", "prod/app"},
		{arn, "", arn},
		{"arn:aws", "eu-west-1", "arn:aws"},
		{arn, "eu-west-1", strings.Replace(arn, "us-west-2", "eu-west-1", 1)},
	} {
		if got := secretid.InRegion(test.id, test.region); got != test.want {
			t.Errorf("InRegion(%q, %q) = %q, want %q", test.id, test.region, got, test.want)
		}
	}
}
