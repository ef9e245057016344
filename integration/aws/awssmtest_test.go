package aws_test

import (
	"testing"

	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm/awssmtest"
)

// The scenario runs on awssmtest, as far as that is possible here. A second server gives the same
// answers, except for random values.
func TestScenarioOnAwssmtest(t *testing.T) {
	first := run(t, awssmtest.NewServer(t).Config())
	compare(t, first, run(t, awssmtest.NewServer(t).Config()))
	for _, answer := range first {
		t.Log(answer)
	}
}
