package engines

import (
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// Defaults are for programs that only call [database/sql.Open]. A zero field keeps the default that
// its comment names.
type Defaults struct {
	// Logger gets the records of connectors that have no [driver.Options.Logger]. Nil means
	// what SQLSECRETS_LOG says, and silence without it.
	Logger *slog.Logger
	// Trace is called by connectors that have no [driver.Options.Trace]. Nil calls nothing.
	Trace *driver.Trace
	// Cache has the options of the default caches. A TTL of zero is SQLSECRETS_TTL, or the
	// source's default.
	Cache secretcache.Options
}

// errTooLate is the error of a SetDefaults that some connector would not follow.
var errTooLate = errors.New("the defaults are in use: call SetDefaults before the first connection, and before Cache")

// defaults are set until they are used. mu guards them.
var defaults struct {
	Defaults
	used bool
}

// SetDefaults sets the defaults of the process, instead of those that were set before. It is an
// error once a connector has begun to connect, or a default cache was made. This line turns the
// log on:
//
//	engines.SetDefaults(engines.Defaults{Logger: slog.Default()})
func SetDefaults(d Defaults) error {
	mu.Lock()
	defer mu.Unlock()
	if defaults.used {
		return errTooLate
	}
	d.Trace, d.Cache.Trace = copyOf(d.Trace), copyOf(d.Cache.Trace)
	defaults.Defaults = d
	return nil
}

// copyOf returns a copy of what p points to, or nil.
func copyOf[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}

// observers are the defaults of a connector without a logger or a trace.
func observers() (*slog.Logger, *driver.Trace) {
	mu.Lock()
	defer mu.Unlock()
	defaults.used = true
	if defaults.Logger == nil {
		defaults.Logger = envLogger() // once, with its record of a wrong level
	}
	return defaults.Logger, defaults.Trace
}

// envLogger returns the logger that the environment asks for, or nil. An unknown
// level is reported by that logger: a typo must not keep a service from starting.
func envLogger() *slog.Logger {
	text := os.Getenv(EnvLog)
	if text == "" {
		return nil
	}
	var level slog.Level
	err := level.UnmarshalText([]byte(text))
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	if err != nil {
		log.Warn(fmt.Sprintf("environment variable %s is not debug, info, warn or error; info is used", EnvLog))
	}
	return log
}
