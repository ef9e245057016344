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

// ErrNotAWS says that a location asks the Secrets Manager API for nothing.
var ErrNotAWS = errors.New("the source is not the Secrets Manager API")

// SourceOf returns the name of a location's source, or those of a chain with commas between: what
// the data source name says, then the environment, then "aws".
func SourceOf(loc driver.Location) string {
	return cmp.Or(loc.Source, os.Getenv(EnvSource), SourceAWS)
}

// Identity returns as whom the process asks for a secret of a location, see [awssm.Source.Identity].
// The error is ErrNotAWS where it asks the Secrets Manager Agent, files or environment variables.
func Identity(ctx context.Context, loc driver.Location, secretID string) (awssm.Identity, error) {
	if !slices.Contains(strings.Split(SourceOf(loc), ","), SourceAWS) {
		return awssm.Identity{}, ErrNotAWS
	}
	return awsSource(loc).Identity(ctx, secretID)
}
