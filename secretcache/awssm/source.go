package awssm

import (
	"cmp"
	"context"
	"errors"
	"net/url"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/sqlsecrets/sqlsecrets/internal/awsregion"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// Defaults of [Options].
const (
	DefaultAttemptTimeout = 2 * time.Second
	DefaultMaxAttempts    = 3
)

// RegionEnv is the environment variable with the region of secrets whose id is a name. An
// id that is an ARN names its own region. AWS's JDBC library uses the same variable.
const RegionEnv = "AWS_SECRET_JDBC_REGION"

// A Client makes the two calls of the Secrets Manager API that a [Source] needs.
// *secretsmanager.Client implements it.
type Client interface {
	GetSecretValue(ctx context.Context, in *secretsmanager.GetSecretValueInput, optFns ...func(*secretsmanager.Options)) (*secretsmanager.GetSecretValueOutput, error)
	// BatchGetSecretValue is called only by FetchBatch. If it returns an error that matches
	// errors.ErrUnsupported, FetchBatch fetches the secrets one by one.
	BatchGetSecretValue(ctx context.Context, in *secretsmanager.BatchGetSecretValueInput, optFns ...func(*secretsmanager.Options)) (*secretsmanager.BatchGetSecretValueOutput, error)
}

// Options change what a [Source] does. The zero value means the defaults.
type Options struct {
	// Region is the region of secrets whose id is a name. An id that is an ARN names its own
	// region. It is one region; a list is an error. If it is empty, the first of these that is set
	// is the region:
	//
	//  1. the environment variable AWS_SECRET_JDBC_REGION
	//  2. the region of Config or, if Config is nil, of the SDK's default configuration
	//     (AWS_REGION, AWS_DEFAULT_REGION, the shared config file)
	//  3. the first of Regions
	//  4. the region of the EC2 instance, if Config is nil and no endpoint is configured. The
	//     instance metadata have 1 s to answer.
	Region string

	// Endpoint is the URL of the API in every region, for example a VPC endpoint or a server
	// of package awssmtest. Requests are still signed for the secret's region. Empty means the
	// endpoint of the SDK's configuration (AWS_ENDPOINT_URL_SECRETS_MANAGER,
	// AWS_ENDPOINT_URL, the shared config file). If that has none, it means the region's
	// public endpoint; with AWS_USE_FIPS_ENDPOINT that is the FIPS endpoint. A configured
	// endpoint takes precedence over AWS_USE_FIPS_ENDPOINT.
	Endpoint string

	// Regions are the regions to which the secrets are replicated. The source asks them in this
	// order if the first region (see Region) cannot be reached, does not answer, or answers
	// with a status of 500 or more. If the first region answers with another error, such as
	// access denied, no other region is asked. Regions may include the first region. If the id
	// is an ARN, the source replaces the region in it.
	//
	// The time until the context's deadline is divided equally among the regions, but into
	// shares of at least 2 s. If less than 4 s are left, the first region may use them all. The
	// next region then gets time only if the first one fails sooner.
	//
	// After a failover the region that worked is asked first for 30 s. Then one fetch at a
	// time tries the first region again, with one attempt.
	//
	// A replica may be behind. The source does not return a replica's version if it is older
	// than one that it has returned before for the same id and stage; see ErrReplicaBehind. If
	// a replica answers that the secret is not found or that access is denied, the error does
	// not match the sentinels, because the secret may not be replicated there. Only
	// ErrNoVersion of a replica counts.
	Regions []string

	// Profile is the profile of the shared AWS configuration to use for credentials, region
	// and other settings. It takes precedence over credentials in the environment;
	// AWS_PROFILE does not. A region in the environment takes precedence over the profile's
	// region. Empty means the SDK's default.
	Profile string

	// RoleARN is a role to assume for all calls. The source assumes it with the credentials
	// that it would use without this option. It asks the security token service of Region or
	// of the configuration's region; if neither is set, of the first secret's region. Empty
	// means no role.
	RoleARN string
	// ExternalID is the external id that the role's trust policy may require. It is an error
	// without RoleARN.
	ExternalID string

	// Config is the SDK's configuration. New copies it. It is an error together with Profile
	// or RoleARN. Nil means that the first fetch loads the SDK's default configuration; if
	// that failed, or no region was known, the next fetch loads it again.
	//
	// Of its retry settings only RetryMaxAttempts is used, and its Retryer is not. Its
	// Logger never gets the body of a response, even if ClientLogMode asks for it. Of an
	// error that may quote a body the Logger gets only the type. Without a Config the SDK
	// logs nothing.
	Config *aws.Config

	// Client makes all calls. Region, Endpoint and Regions are then not used, Config only by
	// RDSToken, and Profile and RoleARN are errors. The client has its own retries, so the
	// source does not retry after an error; it only repeats a call that takes longer than
	// AttemptTimeout. Errors match the sentinels as usual. Nil means that the source makes a
	// client for each region when it needs one.
	Client Client

	// AttemptTimeout is the longest time of one attempt, from sending the request to the end of
	// the answer. The source then gives the attempt up and makes another. If less than twice
	// this time is left until the context's deadline, the first attempt gets half of what is
	// left, but at least 250 ms. Getting credentials is not part of an attempt. Zero means
	// DefaultAttemptTimeout (2 s). Negative means that only the context ends an attempt.
	AttemptTimeout time.Duration

	// MaxAttempts is the largest number of calls that one fetch makes in one region. Zero
	// means the SDK's setting (AWS_MAX_ATTEMPTS, max_attempts), or DefaultMaxAttempts (3) if
	// that is not set. Negative means 1.
	MaxAttempts int
}

// A Source fetches secrets from Secrets Manager. Its methods may be called from several
// goroutines at once. It has goroutines only while a fetch is under way, and needs no
// closing.
type Source struct {
	o      Options
	optErr error // what is wrong with the options; every fetch returns it

	mu      sync.Mutex
	cfg     *aws.Config          // nil until loaded
	loading *load                // the loading under way, or nil
	clients map[string]*regional // by region
	noBatch map[string]time.Time // by region: BatchGetSecretValue is not tried until then
	// noInstance is the time until which the EC2 instance is not asked for its region.
	noInstance time.Time
	failover   failovers
	seen       versions
}

var (
	_ secretcache.Source      = (*Source)(nil)
	_ secretcache.BatchSource = (*Source)(nil)
	_ Client                  = (*secretsmanager.Client)(nil)
)

// New returns a Source. Each func of optFns may change the options; a nil func is skipped.
// New does nothing that can fail or take time: wrong options and a missing configuration are
// errors of the first fetch.
func New(optFns ...func(*Options)) *Source {
	var o Options
	for _, fn := range optFns {
		if fn != nil {
			fn(&o)
		}
	}
	s := &Source{
		clients: map[string]*regional{},
		noBatch: map[string]time.Time{},
	}
	s.failover.in, s.seen.at = map[string]*failover{}, map[versionKey]time.Time{}
	o.Regions = slices.Clone(o.Regions)
	if o.Config != nil {
		c := o.Config.Copy()
		o.Config = &c
	}
	o.AttemptTimeout = cmp.Or(o.AttemptTimeout, DefaultAttemptTimeout)
	if o.Client != nil {
		o.Regions = nil // not used
		s.optErr = checkIdentity(&o)
	} else {
		s.optErr = check(&o)
	}
	s.o = o
	return s
}

// check returns what is wrong with the options. It does not quote an endpoint, because an
// endpoint may hold credentials.
func check(o *Options) error {
	for _, r := range append([]string{o.Region}, o.Regions...) {
		if r != "" && !awsregion.Valid(r) {
			return errInvalidRegion
		}
	}
	if slices.Contains(o.Regions, "") {
		return errors.New("one of Options.Regions is empty")
	}
	if o.Endpoint != "" {
		u, err := url.Parse(o.Endpoint)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
			return errors.New("endpoint is not a URL like https://host")
		}
	}
	return checkIdentity(o)
}

// checkIdentity returns what is wrong with the profile and the role.
func checkIdentity(o *Options) error {
	switch {
	case o.Client != nil && o.Profile+o.RoleARN != "":
		return errors.New("Options.Profile and RoleARN have no effect on Options.Client, which has its own credentials")
	case o.Config != nil && o.Profile+o.RoleARN != "":
		return errors.New("Options.Profile and RoleARN have no effect on Options.Config, which has its own credentials")
	case o.ExternalID != "" && o.RoleARN == "":
		return errors.New("Options.ExternalID has no effect without Options.RoleARN")
	}
	return nil
}

// as returns the role and the profile of the options, for error texts.
func (o *Options) as() string {
	var parts []string
	if o.RoleARN != "" {
		parts = append(parts, "role "+o.RoleARN)
	}
	if o.Profile != "" {
		parts = append(parts, "profile "+strconv.Quote(o.Profile))
	}
	return strings.Join(parts, ", ")
}

// String returns "awssm.Source". It shows none of the options.
func (s *Source) String() string { return "awssm.Source" }

// Fetch calls GetSecretValue for the version of the secret that has the stage. An empty
// stage means AWSCURRENT. id is the secret's name, or its full or partial ARN. The ARN of the
// returned secret has the region that id names, or else the first region, even if a replica
// answered. If the version has no value, the secret's value is empty.
//
// Errors are [*Error].
func (s *Source) Fetch(ctx context.Context, id, stage string) (*secretcache.Secret, error) {
	if stage == "" {
		stage = secretcache.StageCurrent
	}
	secret, err := s.fetch(ctx, id, stage)
	if err != nil {
		return nil, err
	}
	return secret, nil
}

func (s *Source) fetch(ctx context.Context, id, stage string) (*secretcache.Secret, *Error) {
	rt, ferr := s.route(ctx, id)
	if ferr != nil {
		return nil, ferr.in(s, opGet, id, rt.region)
	}
	var secret *secretcache.Secret
	err := s.do(ctx, opGet, id, rt, func(ctx context.Context, p *place) error {
		out, err := p.client.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{
			SecretId:     aws.String(p.id(id)),
			VersionStage: aws.String(stage),
		})
		if err != nil {
			return err
		}
		if out == nil || out.ARN == nil && out.Name == nil && out.VersionId == nil &&
			out.SecretString == nil && out.SecretBinary == nil {
			return errEmptyAnswer
		}
		v := secretcache.Value{
			ID: id, ARN: rt.arn(out.ARN), Name: str(out.Name), VersionID: str(out.VersionId),
			Stages: strs(out.VersionStages), CreatedAt: aws.ToTime(out.CreatedDate),
			String: str(out.SecretString), Binary: out.SecretBinary,
		}
		if !s.current(id, stage, v.CreatedAt, p) {
			return ErrReplicaBehind
		}
		secret = secretcache.NewSecret(v)
		return nil
	})
	return secret, err
}

// str returns a copy. The SDK cuts all strings of an answer from one block of memory. Without
// the copy, the shortest of them would keep the whole block in memory, with the value in it.
func str(p *string) string { return strings.Clone(aws.ToString(p)) }

func strs(in []string) []string {
	var out []string
	for _, s := range in {
		out = append(out, strings.Clone(s))
	}
	return out
}

// version returns the version of this module in the running program.
var version = sync.OnceValue(func() string {
	const path = "github.com/sqlsecrets/sqlsecrets"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range append([]*debug.Module{&info.Main}, info.Deps...) {
			if m.Path == path && m.Version != "" && m.Version != "(devel)" {
				return m.Version
			}
		}
	}
	return "devel"
})

func envRegion() string { return strings.TrimSpace(os.Getenv(RegionEnv)) }
