package engines

import (
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// Defaults are the defaults of the process for connectors that do not set them. They are for
// programs that only call [database/sql.Open]. Every zero field has the meaning that its comment
// gives.
type Defaults struct {
	// Logger gets the records of connectors that have no [driver.Options.Logger]. Nil means a
	// logger to the standard error stream if SQLSECRETS_LOG is set, and no log otherwise.
	Logger *slog.Logger
	// Trace is the trace of connectors that have no [driver.Options.Trace]. Nil means none.
	Trace *driver.Trace
	// Cache has the options of the default caches. A TTL of zero means SQLSECRETS_TTL or, if that
	// is not set, the default of the source: 1 h, a minute for the agent and the extension, 10 s
	// for files. The other fields have the defaults of [secretcache.Options].
	Cache secretcache.Options
}

// errTooLate is the error of a SetDefaults call that comes after a connector has read the defaults.
var errTooLate = errors.New("the defaults are in use already: call SetDefaults before the first connection and before Cache")

// defaults can be set until they are used. mu guards them.
var defaults struct {
	Defaults
	used bool
}

// SetDefaults replaces all defaults of the process: a field that d leaves zero loses the value of
// an earlier call. Call it once at the start of the program. Once a Connect call has begun or a
// default cache was made, SetDefaults changes nothing and returns an error. It may be called from
// several goroutines at once. This line turns the log on:
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

// observers returns the logger and the trace for a connector that has none.
func observers() (*slog.Logger, *driver.Trace) {
	mu.Lock()
	defer mu.Unlock()
	defaults.used = true
	if defaults.Logger == nil {
		defaults.Logger = envLogger() // once, so a wrong level is logged once
	}
	return defaults.Logger, defaults.Trace
}

// envLogger returns the logger that SQLSECRETS_LOG asks for, or nil. An unknown level is a WARN of
// that logger and not an error, because a typo must not keep a service from starting.
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
