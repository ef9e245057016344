package engines

import (
	"cmp"
	"context"
	"sync"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/internal/awsregion"
	"github.com/sqlsecrets/sqlsecrets/internal/secretid"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm"
)

var (
	awsMu      sync.Mutex
	awsSources = map[driver.Location]*awssm.Source{}
)

// awsSource returns the process's source for the Secrets Manager API of a location. The location's
// cache fetches from it. Its credentials also sign tokens, even if the secrets of the location come
// from another source.
func awsSource(loc driver.Location) *awssm.Source {
	loc.Source = ""
	awsMu.Lock()
	defer awsMu.Unlock()
	s := awsSources[loc]
	if s == nil {
		s = awssm.New(func(o *awssm.Options) {
			o.Region, o.Regions = awsregion.Split(loc.Region)
			o.Endpoint = loc.Endpoint
			o.Profile, o.RoleARN, o.ExternalID = loc.Profile, loc.RoleARN, loc.ExternalID
		})
		awsSources[loc] = s
	}
	return s
}

// iamToken is the default of driver.Options.IAMToken.
func iamToken(ctx context.Context, r driver.TokenRequest) (driver.Token, error) {
	region, _ := awsregion.Split(r.Location.Region)
	region = cmp.Or(region, secretid.Region(r.SecretID))
	token, expires, err := awsSource(r.Location).RDSToken(ctx, region, r.Host, r.Port, r.User)
	return driver.Token{Password: driver.NewPassword(token), Expires: expires}, err
}
