package engines

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/agent"
	"github.com/sqlsecrets/sqlsecrets/secretcache/file"
)

// Kinds of sources, as the key "source" of a data source name and SQLSECRETS_SOURCE spell them. A
// kind with a colon needs an argument after it.
const (
	SourceAWS       = "aws"       // the Secrets Manager API
	SourceAgent     = "agent"     // the Secrets Manager Agent
	SourceExtension = "extension" // the AWS Parameters and Secrets Lambda Extension
	SourceFile      = "file"      // file:PATH, a file or a directory of secrets; see file.New
	SourceKeys      = "keys"      // keys:DIR, a directory that is one secret; see file.NewKeys
	SourceEnv       = "env"       // env:NAME, a variable that holds the secret; see file.NewEnv
	SourceEnvFile   = "envfile"   // envfile:NAME, a variable that holds a path; see file.NewEnvFile
)

// Default TTLs, unless SQLSECRETS_TTL sets one. They are short because the agent and the extension
// keep a secret for 300 s themselves, and because reading a file costs almost nothing.
const (
	localTTL = time.Minute
	fileTTL  = 10 * time.Second
)

// A sourceKind describes one kind of source.
type sourceKind struct {
	name     string
	arg      string        // name of the argument after the colon, such as "PATH"; empty: it takes none
	ttl      time.Duration // zero: the default of the cache
	endpoint bool          // it asks a server, and a location may give its URL
	api      bool          // the server is the Secrets Manager API: it has a region and needs our credentials
	check    func(arg string) error
	// make makes the source. last is false if another source of a chain follows; then the
	// source does not wait for its server to start.
	make func(arg string, loc driver.Location, last bool) secretcache.Source
}

var sourceKinds = []sourceKind{
	{name: SourceAWS, endpoint: true, api: true, make: func(_ string, loc driver.Location, _ bool) secretcache.Source {
		return awsSource(loc)
	}},
	{name: SourceAgent, ttl: localTTL, endpoint: true, make: server(agent.New)},
	{name: SourceExtension, ttl: localTTL, endpoint: true, make: server(agent.NewExtension)},
	{name: SourceFile, arg: "PATH", ttl: fileTTL, check: file.CheckPath, make: local(file.New)},
	{name: SourceKeys, arg: "DIR", ttl: fileTTL, check: file.CheckPath, make: local(file.NewKeys)},
	{name: SourceEnv, arg: "NAME", check: file.CheckEnv, make: local(file.NewEnv)},
	{name: SourceEnvFile, arg: "NAME", ttl: fileTTL, check: file.CheckEnv, make: local(file.NewEnvFile)},
}

// server returns the make func of a source that asks a server on this machine.
func server(newSource func(...func(*agent.Options)) *agent.Source) func(string, driver.Location, bool) secretcache.Source {
	return func(_ string, loc driver.Location, last bool) secretcache.Source {
		return newSource(func(o *agent.Options) {
			o.Endpoint = loc.Endpoint
			if !last {
				o.StartTimeout = -1
			}
		})
	}
}

// local returns the make func of a source of files or environment variables.
func local(newSource func(string, ...func(*file.Options)) *file.Source) func(string, driver.Location, bool) secretcache.Source {
	return func(arg string, _ driver.Location, _ bool) secretcache.Source { return newSource(arg) }
}

// A spec is one source of a location, with its argument.
type spec struct {
	*sourceKind
	arg string
}

// newSource makes the source that a location names, and returns its default TTL as well. loc.Source
// is not empty. A list of sources becomes a chain, whose TTL is the shortest of its sources.
func newSource(loc driver.Location) (secretcache.Source, time.Duration, error) {
	specs, err := parseLocation(loc)
	if err != nil {
		return nil, 0, err
	}
	var sources []secretcache.Source
	ttl := specs[0].ttl
	for i, s := range specs {
		sources = append(sources, s.make(s.arg, loc, i == len(specs)-1))
		ttl = shorter(ttl, s.ttl)
	}
	if len(sources) == 1 {
		return sources[0], ttl, nil
	}
	return secretcache.Chain(sources...), ttl, nil
}

// parseLocation returns the sources that a location names. It checks them and makes none.
func parseLocation(loc driver.Location) ([]spec, error) {
	var specs []spec
	var names []string
	for _, text := range strings.Split(loc.Source, ",") {
		kind, arg, err := parseSource(text)
		if err != nil {
			return nil, err
		}
		if slices.Contains(names, kind.name) && kind.arg == "" {
			return nil, fmt.Errorf("source %q is given twice: leave one out", kind.name)
		}
		if kind.check != nil {
			if err := kind.check(arg); err != nil {
				return nil, fmt.Errorf("source %q: %w", kind.name, err)
			}
		}
		specs, names = append(specs, spec{kind, arg}), append(names, kind.name)
	}
	return specs, checkEffect(loc, specs, names)
}

// checkEffect returns an error if a part of a location has no effect on its sources. In a chain, a
// region and an endpoint apply to the source that takes them. A profile and a role are an error if
// the chain also asks another server, because that server has credentials of its own.
func checkEffect(loc driver.Location, specs []spec, names []string) error {
	servers, apis := 0, 0
	for _, s := range specs {
		if s.endpoint {
			servers++
		}
		if s.api {
			apis++
		}
	}
	for _, p := range []struct {
		name, value string
		effect      bool
	}{
		{"region", loc.Region, apis > 0},
		{"endpoint", loc.Endpoint, servers > 0},
		{"profile", loc.Profile, apis > 0},
		{"roleArn", loc.RoleARN, apis > 0},
	} {
		if p.value != "" && !p.effect {
			return fmt.Errorf("parameter %q has no effect on source %q: leave it out", p.name, names)
		}
	}
	switch {
	case loc.Profile+loc.RoleARN != "" && servers > apis:
		return fmt.Errorf(`parameters "profile" and "roleArn" are for source "aws" alone, and source %q also asks a server with credentials of its own`, names)
	case loc.Endpoint != "" && servers > 1:
		return fmt.Errorf(`parameter "endpoint" is for one server, and source %q asks %d: `+
			"set the endpoint of the API by AWS_ENDPOINT_URL_SECRETS_MANAGER", names, servers)
	}
	return nil
}

// shorter returns the shorter of two TTLs. Zero means the default of the cache, in a and b and in
// the result.
func shorter(a, b time.Duration) time.Duration {
	d := min(cmp.Or(a, secretcache.DefaultTTL), cmp.Or(b, secretcache.DefaultTTL))
	if d == secretcache.DefaultTTL {
		return 0
	}
	return d
}

// parseSource parses one source, such as "file:PATH". Its error does not quote an argument or a
// long name, because a user may have put a secret there by mistake.
func parseSource(spec string) (*sourceKind, string, error) {
	name, arg, hasArg := strings.Cut(spec, ":")
	for i := range sourceKinds {
		kind := &sourceKinds[i]
		switch {
		case kind.name != name:
		case kind.arg == "" && hasArg:
			return nil, "", fmt.Errorf("source %q takes nothing after a colon: leave that out", name)
		case kind.arg != "" && arg == "":
			return nil, "", fmt.Errorf("source %q needs an argument: give %s:%s", name, name, kind.arg)
		default:
			return kind, arg, nil
		}
	}
	var known []string
	for _, kind := range sourceKinds {
		if kind.arg != "" {
			kind.name += ":" + kind.arg
		}
		known = append(known, kind.name)
	}
	return nil, "", errors.New(unknownSource(name) + ": give one of " + strings.Join(known, ", ") +
		", or a list of them with commas, which a path cannot have")
}

// unknownSource returns the cause for an unknown source. It quotes the name only if that is a short
// word.
func unknownSource(name string) string {
	if name == "" {
		return "a source is empty"
	}
	if len(name) > 20 || strings.ContainsFunc(name, func(r rune) bool { return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r != '-' }) {
		return "a source is unknown"
	}
	return fmt.Sprintf("source %q is unknown", name)
}
