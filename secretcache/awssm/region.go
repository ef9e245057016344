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
		"put regions to fall back on into Options.Regions (region= in a data source name)")
)

// A route is where a secret is asked for first.
type route struct {
	cfg    *aws.Config // nil with Options.Client
	region string      // "" if there is an Options.Client and the id is a name
}

// arn returns a copy of the ARN in an answer, with the route's region.
func (rt route) arn(p *string) string { return secretid.InRegion(str(p), rt.region) }

// route finds the first region of a secret. If it returns no error, the id is valid.
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

// routeTo returns the configuration with a region. If region is empty, it is the region for
// ids that are names.
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
	// instanceTimeout bounds the request for the region of the EC2 instance. If there is no
	// answer, the next request comes after instancePause at the earliest.
	instanceTimeout = time.Second
	instancePause   = 10 * time.Second
)

// onInstance is the last way to find a region. It asks the EC2 instance, and returns the
// configuration with its region, or cfg and "". It does not ask if an endpoint is
// configured. With AWS_EC2_METADATA_DISABLED the SDK does not ask either.
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
		// Load again, because the providers of credentials may need the region.
		var with aws.Config
		if with, err = s.loadConfig(ctx, out.Region); err == nil {
			with.Region = out.Region
			cfg = &with
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		if ctx.Err() == nil { // the instance had its time to answer
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
	first  bool // it is the route's own region, not a replica's
	// transport is the client's; nil for Options.Client.
	transport *transport
	// failing is for this region and operation. With Options.Client it is always new and says
	// no, because that client retries itself.
	failing *httpfetch.Failing
}

// id returns the id that the secret has in this region.
func (p *place) id(id string) string {
	if p.first {
		return id
	}
	return secretid.InRegion(id, p.region)
}

const (
	// stickFor is how long a fall-back region is used before the first region is tried again.
	stickFor = 30 * time.Second
	// minShare is the smallest share of the time that a region gets.
	minShare = 2 * time.Second
)

// failovers remembers for each first region which fall-back region is in use.
type failovers struct {
	mu sync.Mutex
	in map[string]*failover
}

type failover struct {
	region string
	until  time.Time // when the first region is tried again
	trying bool      // a fetch is trying it
}

// order returns the regions to try, in order. If again is true, the caller is the fetch that
// tries the first region again. It must call tried at the end.
func (f *failovers) order(primary string, regions []string) (order []string, again bool) {
	order = append(order, primary)
	f.mu.Lock()
	if fo := f.in[primary]; fo != nil {
		if again = !fo.trying && !time.Now().Before(fo.until); again {
			fo.trying = true
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
	return order, again
}

// moved reports whether a region other than r is in use in place of primary.
func (f *failovers) moved(primary, r string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	fo := f.in[primary]
	return fo != nil && fo.region != r
}

// worked notes that r answered. If r is the first region, the failover ends. Otherwise a
// failover to r begins, or r replaces a region that did not answer.
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

// tried notes that the fetch that tried the first region again has ended. failed says that
// the first region was asked and did not answer. If failed is false, for example because the
// caller gave up, the next fetch may try it again.
func (f *failovers) tried(primary string, failed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fo := f.in[primary]; fo != nil {
		fo.trying = false
		if failed {
			fo.until = time.Now().Add(stickFor)
		}
	}
}

// versions remembers, for each id and stage, when the last returned version was created. So
// a replica that is behind cannot bring an older version back.
type versions struct {
	mu sync.Mutex
	at map[versionKey]time.Time
}

type versionKey struct{ id, stage string }

// maxVersions bounds the memory. If an entry is forgotten, an older version is not noticed
// until the secret is fetched again.
const maxVersions = 10_000

// current reports whether an answer may be returned, and remembers it. An answer of the first
// region may always be returned: if it is older, the stage was moved back.
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
