package awssm_test

import (
	"testing"

	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm"
)

// The credentials of a role end after 15 minutes, the shortest time that STS allows, so a
// stolen copy is of little use. SECURITY.md says so.
func TestARoleIsAssumedFor15Minutes(t *testing.T) {
	recorded(t, static("AWS_REGION", "us-west-2"), "")
	_, err := awssm.New(func(o *awssm.Options) { o.RoleARN = "arn:aws:iam::123456789012:role/app" }).Fetch(t.Context(), "prod/app", "")
	if err != nil {
		t.Fatal(err)
	}
	if sent := recorder.Take()[0].Params; sent["DurationSeconds"] != "900" {
		t.Errorf("sent %v, want DurationSeconds=900", sent)
	}
}
