// Package engines holds the process's default caches of secrets, one for each
// location, which the packages engines/<db> use for programs that only call
// [database/sql.Open].
//
// A program can change them by [SetDefaults], and three environment variables do:
//
//   - SQLSECRETS_TTL is how long a secret is served before it is fetched again, as
//     a Go duration ("15m"); see [secretcache.Options].
//   - SQLSECRETS_SOURCE is where secrets come from unless the data source name has
//     a "source" key: "aws", the Secrets Manager API, which is the default; "agent" or
//     "extension", over local HTTP (package agent); "file:PATH", "keys:DIR",
//     "env:NAME" or "envfile:NAME" (package file). Several with commas between are
//     asked in their order, as "agent,aws" ([secretcache.Chain]).
//   - SQLSECRETS_LOG, a level ("debug", "info", "warn", "error"), has connectors without a
//     logger write their records of that level and above to the standard error stream.
//
// Without SQLSECRETS_TTL the TTL is [secretcache.DefaultTTL], 1 h; a minute for what
// comes from the agent or the extension, whose own TTL adds to it; and 10 s for files.
package engines

import (
	"cmp"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// Environment variables that set defaults.
const (
	EnvTTL    = "SQLSECRETS_TTL"
	EnvSource = "SQLSECRETS_SOURCE"
	EnvLog    = "SQLSECRETS_LOG"
)

var (
	mu     sync.Mutex
	caches = map[driver.Location]*secretcache.Cache{}
)

// Cache returns the process's default cache of a location: for Prefetch,
// Invalidate and Stats. The zero Location is the one of data source names that
// say nothing; one with several regions is theirs that list the same in the same
// order. Each combination of region, endpoint, source, profile, role and external id has a cache
// and a client of its own. A cache is made at its first use; an environment variable or a
// source that cannot be used is an error, and the next call tries again.
func Cache(loc driver.Location) (*secretcache.Cache, error) {
	loc.Source = SourceOf(loc)
	mu.Lock()
	defer mu.Unlock()
	if c := caches[loc]; c != nil {
		return c, nil
	}
	c, err := newCache(loc)
	if err != nil {
		return nil, err
	}
	defaults.used = true
	caches[loc] = c
	return c, nil
}

func newCache(loc driver.Location) (*secretcache.Cache, error) {
	src, ttl, err := newSource(loc)
	if err != nil {
		return nil, fmt.Errorf("%w (set by the data source name's \"source\" or by %s)", err, EnvSource)
	}
	if s := os.Getenv(EnvTTL); s != "" {
		if ttl, err = time.ParseDuration(s); err != nil {
			return nil, fmt.Errorf(`environment variable %s is %q, not a duration as "15m" is`, EnvTTL, s)
		}
	}
	opts := defaults.Cache
	opts.TTL = cmp.Or(opts.TTL, ttl)
	return secretcache.New(src, &opts), nil
}

// checkLocation says what is wrong with what a data source name says of the source.
func checkLocation(loc driver.Location) error {
	if loc.Source == "" {
		return nil // the environment's may be set later
	}
	_, err := parseLocation(loc)
	return err
}

// Options returns a copy of opts, which may be nil, with the process's default
// caches where opts has neither Secrets nor SecretsAt, with the tokens of
// Amazon RDS where it has no IAMToken, and with the process's Defaults. A CheckLocation that it
// has is asked first.
func Options(opts *driver.Options) *driver.Options {
	var o driver.Options
	if opts != nil {
		o = *opts
	}
	if o.Secrets == nil && o.SecretsAt == nil {
		o.SecretsAt = secretsAt
		own := o.CheckLocation
		o.CheckLocation = func(loc driver.Location) error {
			if own != nil {
				if err := own(loc); err != nil {
					return err
				}
			}
			return checkLocation(loc)
		}
	}
	if o.IAMToken == nil {
		o.IAMToken = iamToken
	}
	if o.Defaults == nil {
		o.Defaults = observers
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
