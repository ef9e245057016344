package awssm

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/sqlsecrets/sqlsecrets/internal/awsregion"
	"github.com/sqlsecrets/sqlsecrets/internal/secretid"
	"github.com/sqlsecrets/sqlsecrets/secretcache/internal/httpfetch"
)

var (
	errNoRegion = errors.New("no AWS region: set Options.Region (region= in a data source name), " +
		RegionEnv + ", AWS_REGION or the region of the shared config file's profile, or name the secret by its ARN")
	errInvalidRegion = errors.New("region is not an AWS region's name like us-west-2")
	errEnvRegion     = errors.New("environment variable " + RegionEnv + " is not the name of one AWS region like us-west-2; " +
		"regions to fall back on go into Options.Regions (region= in a data source name)")
)

// A route is where a secret is looked for first.
type route struct {
	cfg    *aws.Config // nil with Options.Client
	region string      // "" with Options.Client and a name
}

// arn returns the ARN of an answer in the route's region, a copy.
func (rt route) arn(p *string) string { return secretid.InRegion(str(p), rt.region) }

// route finds the first region of a secret. Without an error its id is valid.
func (s *Source) route(ctx context.Context, id string) (route, *failure) {
	if err := secretid.Check(id); err != nil {
		return route{}, &failure{class: local, cause: &cause{text: err.Error()}}
	}
	region := secretid.Region(id)
	if s.o.Client != nil && s.optErr == nil {
		return route{region: region}, nil
	}
	return s.routeTo(ctx, region)
}

// routeTo finds the configuration and, if region is empty, the region that it says.
func (s *Source) routeTo(ctx context.Context, region string) (route, *failure) {
	if s.optErr != nil {
		return route{}, &failure{class: local, cause: &cause{text: s.optErr.Error()}}
	}
	cfg, err := s.config(ctx, region)
	if err != nil {
		return route{region: region}, err
	}
	if region == "" {
		region = cmp.Or(s.o.Region, envRegion(), cfg.Region, first(s.o.Regions))
	}
	if region == "" {
		cfg, region = s.onInstance(ctx, cfg)
		if err := ctx.Err(); err != nil {
			return route{}, &failure{class: ended, cause: causeOf(err).with("get the AWS region of the EC2 instance: " + err.Error())}
		}
	}
	if !awsregion.Valid(region) {
		invalid := errInvalidRegion
		switch region {
		case "":
			invalid = errNoRegion
		case envRegion():
			invalid = errEnvRegion
		}
		return route{}, &failure{class: local, cause: &cause{text: invalid.Error()}}
	}
	return route{cfg: cfg, region: region}, nil
}

const (
	// instanceTimeout bounds the question for the region of an EC2 instance, and
	// instancePause is how long it is not asked again where there is no answer.
	instanceTimeout = time.Second
	instancePause   = 10 * time.Second
)

// onInstance returns the configuration with the region of the EC2 instance, as the last
// resort, or cfg and "". It asks for none where a server stands for the API, and the SDK
// refuses with AWS_EC2_METADATA_DISABLED.
func (s *Source) onInstance(ctx context.Context, cfg *aws.Config) (*aws.Config, string) {
	s.mu.Lock()
	ask := s.o.Config == nil && s.o.Endpoint == "" && !time.Now().Before(s.noInstance)
	s.mu.Unlock()
	if !ask || secretsmanager.NewFromConfig(*cfg).Options().BaseEndpoint != nil {
		return cfg, ""
	}
	short, cancel := context.WithTimeout(ctx, instanceTimeout)
	defer cancel()
	out, err := imds.NewFromConfig(*cfg).GetRegion(short, nil)
	if err == nil {
		// Once more: the providers of credentials may need the region.
		var with aws.Config
		if with, err = s.loadConfig(ctx, out.Region); err == nil {
			with.Region = out.Region
			cfg = &with
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		if ctx.Err() == nil { // it had the time
			s.noInstance = time.Now().Add(instancePause)
		}
		return cfg, ""
	}
	s.cfg = cfg
	return cfg, cfg.Region
}

func first(s []string) string {
	if len(s) == 0 {
		return ""
	}
	return s[0]
}

// A place is a region and the client that calls it.
type place struct {
	client Client
	region string
	first  bool // it is the route's own region, no replica's
	// transport is the client's; nil for Options.Client.
	transport *transport
	// failing is of the region and the operation; with Options.Client, which retries itself,
	// it says no.
	failing *httpfetch.Failing
}

// id returns the id by which the secret is known in this region.
func (p *place) id(id string) string {
	if p.first {
		return id
	}
	return secretid.InRegion(id, p.region)
}

const (
	// stickFor is how long a fall-back region is used before the first one is tried
	// again.
	stickFor = 30 * time.Second
	// minShare is the least time that a region gets while others wait for theirs.
	minShare = 2 * time.Second
)

// failovers remembers, by first region, which fall-back region is in use.
type failovers struct {
	mu sync.Mutex
	in map[string]*failover
}

type failover struct {
	region  string
	until   time.Time // when the first region is due to be probed
	probing bool      // a fetch is doing it
}

// order returns the regions to try. If probe, the caller is the one that probes
// the first region and must call probed when it is through.
func (f *failovers) order(primary string, regions []string) (order []string, probe bool) {
	order = append(order, primary)
	f.mu.Lock()
	if fo := f.in[primary]; fo != nil {
		if probe = !fo.probing && !time.Now().Before(fo.until); probe {
			fo.probing = true
			order = append(order, fo.region)
		} else {
			order = []string{fo.region, primary}
		}
	}
	f.mu.Unlock()
	for _, r := range regions {
		if !slices.Contains(order, r) {
			order = append(order, r)
		}
	}
	return order, probe
}

// moved reports whether another region than r is in use instead of primary.
func (f *failovers) moved(primary, r string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	fo := f.in[primary]
	return fo != nil && fo.region != r
}

// worked notes that r answered. The first region ends the failover; another one
// begins it, or replaces a region that did not answer.
func (f *failovers) worked(primary, r string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fo := f.in[primary]
	switch {
	case r == primary:
		delete(f.in, primary)
	case fo == nil:
		f.in[primary] = &failover{region: r, until: time.Now().Add(stickFor)}
	default:
		fo.region = r
	}
}

// probed ends a probe. failed says that the first region was asked and did not
// answer; else, as when the caller gave up, the next fetch may probe.
func (f *failovers) probed(primary string, failed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fo := f.in[primary]; fo != nil {
		fo.probing = false
		if failed {
			fo.until = time.Now().Add(stickFor)
		}
	}
}

// versions remembers when the version was created that was returned last for an
// id and stage, so that a replica that is behind does not bring an older one back.
type versions struct {
	mu sync.Mutex
	at map[versionKey]time.Time
}

type versionKey struct{ id, stage string }

// maxVersions bounds the memory; forgetting one costs no more than the protection
// until it is fetched again.
const maxVersions = 10_000

// current reports whether an answer may be returned, and remembers it. The first
// region's always may, also if it is older: the stage was moved back.
func (s *Source) current(id, stage string, created time.Time, p *place) bool {
	if len(s.o.Regions) == 0 {
		return true
	}
	k := versionKey{id, stage}
	v := &s.seen
	v.mu.Lock()
	defer v.mu.Unlock()
	last, known := v.at[k]
	if !p.first && known && created.Before(last) {
		return false
	}
	if !known && len(v.at) >= maxVersions {
		for old := range v.at {
			delete(v.at, old)
			break
		}
	}
	v.at[k] = created
	return true
}
