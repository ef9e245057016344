package aws_test

import (
	"testing"

	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm/awssmtest"
)

// The scenario works as far as it can be run here: on awssmtest. A second server answers as the
// first does, but for what is made by chance.
func TestScenarioOnAwssmtest(t *testing.T) {
	first := run(t, awssmtest.NewServer(t).Config())
	compare(t, first, run(t, awssmtest.NewServer(t).Config()))
	for _, answer := range first {
		t.Log(answer)
	}
}
