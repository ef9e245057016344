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

// Kinds of sources, as a data source name's "source" key and SQLSECRETS_SOURCE name
// them.
const (
	SourceAWS       = "aws"       // the Secrets Manager API
	SourceAgent     = "agent"     // the Secrets Manager Agent
	SourceExtension = "extension" // the AWS Parameters and Secrets Lambda Extension
	SourceFile      = "file"      // file:PATH, a file or a directory of secrets; see [file.New]
	SourceKeys      = "keys"      // keys:DIR, a directory that is one secret; see [file.NewKeys]
	SourceEnv       = "env"       // env:NAME, a variable that holds the secret; see [file.NewEnv]
	SourceEnvFile   = "envfile"   // envfile:NAME, a variable that holds a path; see [file.NewEnvFile]
)

// Default TTLs where SQLSECRETS_TTL sets none. The agent and the extension keep a
// secret for 300 s themselves; a file costs next to nothing to read.
const (
	localTTL = time.Minute
	fileTTL  = 10 * time.Second
)

// A sourceKind is what is behind a name.
type sourceKind struct {
	name     string
	arg      string        // what stands behind a colon: "PATH"; empty for none
	ttl      time.Duration // zero is the cache's default
	endpoint bool          // it asks a server, whose URL may be given
	api      bool          // the server is the API: it is asked in a region, with credentials of ours
	check    func(arg string) error
	// make makes the source. One that is not the last of a chain does not wait for a
	// server to start.
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

// server makes a source that asks a server of this machine.
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

// local makes a source of files or variables.
func local(newSource func(string, ...func(*file.Options)) *file.Source) func(string, driver.Location, bool) secretcache.Source {
	return func(arg string, _ driver.Location, _ bool) secretcache.Source { return newSource(arg) }
}

// A spec is one source of a location.
type spec struct {
	*sourceKind
	arg string
}

// newSource makes the source that a location names, which is not empty, and returns
// its default TTL as well. Several with commas between are a chain, whose TTL is the
// shortest of theirs.
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

// parseLocation returns the sources that a location names. It makes none.
func parseLocation(loc driver.Location) ([]spec, error) {
	var specs []spec
	var names []string
	for _, text := range strings.Split(loc.Source, ",") {
		kind, arg, err := parseSource(text)
		if err != nil {
			return nil, err
		}
		if slices.Contains(names, kind.name) && kind.arg == "" {
			return nil, fmt.Errorf("source %q is named twice", kind.name)
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

// checkEffect returns an error if a part of a location has no effect on its sources. In a chain
// a region and an endpoint are for the source that takes them. A profile and a role are an error
// if another server is asked as well, because that one has credentials of its own.
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
			"AWS_ENDPOINT_URL_SECRETS_MANAGER sets the API's", names, servers)
	}
	return nil
}

// shorter returns the shorter of two TTLs, of which zero is the cache's default.
func shorter(a, b time.Duration) time.Duration {
	d := min(cmp.Or(a, secretcache.DefaultTTL), cmp.Or(b, secretcache.DefaultTTL))
	if d == secretcache.DefaultTTL {
		return 0
	}
	return d
}

// parseSource finds the kind of a source that is given as text. Its error does not
// quote what may be a secret by mistake.
func parseSource(spec string) (*sourceKind, string, error) {
	name, arg, hasArg := strings.Cut(spec, ":")
	for i := range sourceKinds {
		kind := &sourceKinds[i]
		switch {
		case kind.name != name:
		case kind.arg == "" && hasArg:
			return nil, "", fmt.Errorf("source %q takes nothing behind a colon", name)
		case kind.arg != "" && arg == "":
			return nil, "", fmt.Errorf("source %q needs more: %s:%s", name, name, kind.arg)
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
	return nil, "", errors.New("secrets come from " + strings.Join(known, ", ") +
		", or several of these with commas between, which a path cannot have; " + unknownSource(name))
}

// unknownSource quotes a name that is a word.
func unknownSource(name string) string {
	if name == "" {
		return "one is empty"
	}
	if len(name) > 20 || strings.ContainsFunc(name, func(r rune) bool { return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r != '-' }) {
		return "one is none of these"
	}
	return fmt.Sprintf("%q is none of these", name)
}
