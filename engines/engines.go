// Package engines holds the process's default caches of secrets, one for each
// location, which the packages engines/<db> use for programs that only call
// [database/sql.Open].
//
// Two environment variables change them:
//
//   - SQLSECRETS_TTL is how long a secret is served before it is fetched again, as
//     a Go duration ("15m"); see [secretcache.Options].
//   - SQLSECRETS_SOURCE is where secrets come from unless the data source name has
//     a "source" key. The only one so far, and the default, is "aws": the Secrets
//     Manager API.
package engines

import (
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/internal/awsregion"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm"
)

// Environment variables that set defaults.
const (
	EnvTTL    = "SQLSECRETS_TTL"
	EnvSource = "SQLSECRETS_SOURCE"
)

// SourceAWS is the source that is the Secrets Manager API.
const SourceAWS = "aws"

var (
	mu     sync.Mutex
	caches = map[driver.Location]*secretcache.Cache{}
)

// Cache returns the process's default cache of a location: for Prefetch,
// Invalidate and Stats. The zero Location is the one of data source names that
// say nothing; one with several regions is theirs that list the same in the same
// order. A cache is made at its first use; an environment variable or a
// source that cannot be used is an error, and the next call tries again.
func Cache(loc driver.Location) (*secretcache.Cache, error) {
	if loc.Source == "" {
		loc.Source = os.Getenv(EnvSource)
	}
	if loc.Source == "" {
		loc.Source = SourceAWS
	}
	mu.Lock()
	defer mu.Unlock()
	if c := caches[loc]; c != nil {
		return c, nil
	}
	c, err := newCache(loc)
	if err != nil {
		return nil, err
	}
	caches[loc] = c
	return c, nil
}

func newCache(loc driver.Location) (*secretcache.Cache, error) {
	var opts secretcache.Options
	if s := os.Getenv(EnvTTL); s != "" {
		ttl, err := time.ParseDuration(s)
		if err != nil {
			return nil, fmt.Errorf(`environment variable %s is %q, not a duration as "15m" is`, EnvTTL, s)
		}
		opts.TTL = ttl
	}
	if loc.Source != SourceAWS {
		return nil, fmt.Errorf("secrets come from %q, which is none of the sources known: %q (set by the data source name's \"source\" or by %s)",
			loc.Source, SourceAWS, EnvSource)
	}
	return secretcache.New(awssm.New(func(o *awssm.Options) {
		o.Region, o.Regions = awsregion.Split(loc.Region)
		o.Endpoint = loc.Endpoint
	}), &opts), nil
}

// Options returns a copy of opts, which may be nil, with the process's default
// caches where opts has neither Secrets nor SecretsAt.
func Options(opts *driver.Options) *driver.Options {
	var o driver.Options
	if opts != nil {
		o = *opts
	}
	if o.Secrets == nil && o.SecretsAt == nil {
		o.SecretsAt = secretsAt
	}
	return &o
}

func secretsAt(loc driver.Location) (driver.Secrets, error) {
	c, err := Cache(loc)
	if err != nil {
		return nil, err // not a nil *Cache in an interface
	}
	return c, nil
}
