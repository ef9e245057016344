// Package engines has the defaults of the process for programs that only call
// [database/sql.Open]: the caches of secrets, where secrets come from, the logger and the trace.
//
// A program opens databases with one of the packages below this one, such as engines/postgres, or
// engines/all for any database. These packages take their defaults from here, and most programs
// need nothing else of this package. What follows changes the defaults.
//
// # Environment variables
//
// Three environment variables set defaults without a change of code:
//
//   - SQLSECRETS_TTL is how long a secret is served before it is fetched again, as a Go duration
//     such as "15m": see TTL in [secretcache.Options].
//   - SQLSECRETS_SOURCE is where secrets come from, unless the data source name has the key
//     "source". The value is "aws" for the Secrets Manager API, which is the default; "agent" or
//     "extension" for a server on this machine that is asked over HTTP (package agent);
//     "file:PATH", "keys:DIR", "env:NAME" or "envfile:NAME" for files and environment variables
//     (package file). A list such as "agent,aws" is asked in its order ([secretcache.Chain]), so
//     a path cannot have a comma.
//   - SQLSECRETS_LOG is a level: "debug", "info", "warn" or "error". Connectors that have no logger
//     then write their records of that level and above to the standard error stream.
//
// Without SQLSECRETS_TTL the TTL depends on the source. It is [secretcache.DefaultTTL], 1 h, for
// "aws" and "env:NAME". It is a minute for "agent" and "extension", because they keep secrets for
// some time themselves. It is 10 s for "file:PATH", "keys:DIR" and "envfile:NAME". For a list it is
// the shortest of these.
//
// A value of SQLSECRETS_TTL or SQLSECRETS_SOURCE that cannot be used is an error of the first
// Connect call and of [Cache]. A wrong SQLSECRETS_LOG is one WARN, and the level is then info. The
// records are lines of text, as [slog.TextHandler] writes them.
//
// # SetDefaults, Cache and Options
//
// [SetDefaults] sets a logger, a trace and the options of the caches in code. They take precedence
// over the environment variables. Call it before the first connection. It does not set where secrets
// come from: use SQLSECRETS_SOURCE, the key "source", or Secrets in [driver.Options].
//
// [Cache] returns the cache that connectors without options use, for example to read secrets
// before the first request (Prefetch) or after an event says that a secret changed (Invalidate).
//
// [Options] adds the defaults to [driver.Options]. The packages below this one call it. A program
// calls it only if it gives an Engine to [driver.NewConnector] itself, for example to set a dialer:
//
//	engine := pgxv5.Engine{Configure: setDialer}
//	connector, err := driver.NewConnector(engine, "prod/app/db", engines.Options(nil))
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

// Environment variables that set defaults. The package documentation says what their values mean.
const (
	EnvTTL    = "SQLSECRETS_TTL"
	EnvSource = "SQLSECRETS_SOURCE"
	EnvLog    = "SQLSECRETS_LOG"
)

var (
	mu     sync.Mutex
	caches = map[driver.Location]*secretcache.Cache{}
)

// Cache returns the process's default cache of a location, for its methods Prefetch, Invalidate and
// Stats. The zero Location belongs to data source names that have no key of a location. Each
// combination of region, endpoint, source, profile, role and external id has a cache and a client
// of its own; a list of regions in another order is another combination.
//
// The first call for a location makes the cache, and later calls return the same one. An
// environment variable or a source that cannot be used is an error. The next call tries again.
//
// Do not close the cache: all connectors of the location use it, and they would get
// [secretcache.ErrClosed] from then on.
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
			return nil, fmt.Errorf(`environment variable %s is %q, which is not a duration: give one such as "15m"`, EnvTTL, s)
		}
	}
	opts := defaults.Cache
	opts.TTL = cmp.Or(opts.TTL, ttl)
	return secretcache.New(src, &opts), nil
}

// checkLocation returns an error if the source that a data source name gives cannot be used.
func checkLocation(loc driver.Location) error {
	if loc.Source == "" {
		return nil // the environment variable may be set later
	}
	_, err := parseLocation(loc)
	return err
}

// Options returns a copy of opts, which may be nil, with the defaults of the process in the fields
// that opts leaves zero:
//
//   - SecretsAt returns the default caches, if opts has neither Secrets nor SecretsAt.
//     CheckLocation then checks the source as well, after the CheckLocation of opts.
//   - IAMToken makes tokens for Amazon RDS.
//   - Defaults returns the Logger and the Trace of [SetDefaults].
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
