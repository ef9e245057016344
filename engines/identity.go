package engines

import (
	"cmp"
	"context"
	"errors"
	"os"
	"slices"
	"strings"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm"
)

// ErrNotAWS is the error of [Identity] if the location's source is not the Secrets Manager API.
var ErrNotAWS = errors.New("the source is not the Secrets Manager API")

// SourceOf returns where the secrets of a location come from, such as "aws", or a list such as
// "agent,aws" or "file:/mnt/secrets". It does not check the value. The source of the location takes
// precedence over SQLSECRETS_SOURCE. Without both it is "aws".
func SourceOf(loc driver.Location) string {
	return cmp.Or(loc.Source, os.Getenv(EnvSource), SourceAWS)
}

// Identity returns the AWS identity with which the process reads a secret of a location: see
// [awssm.Source.Identity]. It calls AWS STS. The error is ErrNotAWS if the location asks only the
// Secrets Manager Agent, the extension, files or environment variables.
func Identity(ctx context.Context, loc driver.Location, secretID string) (awssm.Identity, error) {
	if !slices.Contains(strings.Split(SourceOf(loc), ","), SourceAWS) {
		return awssm.Identity{}, ErrNotAWS
	}
	return awsSource(loc).Identity(ctx, secretID)
}
