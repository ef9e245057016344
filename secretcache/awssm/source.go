// Package awssm is the [secretcache.Source] that fetches secrets from AWS
// Secrets Manager. No other package of this module imports the AWS SDK but
// awscaching, whose API has the SDK's types in it.
//
// It needs one permission, secretsmanager:GetSecretValue (and kms:Decrypt for a
// secret that is encrypted with a customer managed key). FetchBatch uses
// secretsmanager:BatchGetSecretValue where that is allowed.
//
// Regions, endpoints and roles are the SDK's own configuration; docs/aws.md says how to
// set each without code, and what is signed and sent.
//
// # Retries
//
// A Source retries by itself and switches the SDK's retries off, so that there
// is one place that knows how many calls are made and how much time is left. One
// Fetch makes at most Options.MaxAttempts calls in each region it tries. Retried
// are throttling, the statuses 500, 502, 503 and 504, connections that break,
// answers that cannot be read, and attempts without an answer within
// Options.AttemptTimeout. After a fetch that failed in a region for one of these reasons,
// except the last, fetches in the next two minutes make one attempt each there, until the region answers.
// The cache's next fetch is the retry then, and an outage meets a third of the calls. An
// attempt without an answer is repeated all the same: it may be one bad connection.
// The SDK's retry quota is not used: after some failures it answers "failed to get rate
// limit token" to callers that want to know what is wrong with the service.
//
// # Connections
//
// Every request has a connection of its own. Secrets are fetched hours apart, and a
// connection that was idle for long is the one that a firewall has forgotten or that a
// frozen Lambda function wakes up with. Its buffers hold the last answer, and net/http
// writes to the standard logger what comes on an idle connection. An Options.Config with
// an *http.Client as its HTTPClient decides that for itself.
//
// # Credentials
//
// They are those of the SDK's configuration. An error while they are fetched begins with
// "get AWS credentials from" and where that is. They are the same in all regions, so such
// an error asks no other region. A fetch waits for them for 4/5 of its time, but for 8 s at
// least, and for 1 min if it has no deadline. [Source.RDSToken] signs tokens for logins to
// databases of Amazon RDS with them.
//
// # Errors
//
// Every error is an [*Error]. It matches the sentinels of package secretcache:
//
//	ErrNotFound      ResourceNotFoundException "… can't find the specified secret.",
//	                 InvalidRequestException for a secret marked for deletion
//	ErrNoVersion     ResourceNotFoundException "… can't find the specified secret value for …"
//	ErrAccessDenied  AccessDeniedException, DecryptionFailure
//	ErrThrottled     ThrottlingException and what else the SDK counts as throttling, status 429
//
// Credentials that are missing, expired or wrong match none of them: they say
// nothing about the secret. [errors.As] finds the service's error
// (*types.ResourceNotFoundException, [smithy.APIError]), the response's status
// and request id (*http.ResponseError of the SDK, without the response's body and
// the request), network errors and the caller's context error. What the SDK's
// errors hold besides, such as a snapshot of a body that did not parse, is
// dropped, for it may be the secret.
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

// RegionEnv is the environment variable that names the region of secrets which
// are not named by ARN. It is the one of AWS's JDBC library.
const RegionEnv = "AWS_SECRET_JDBC_REGION"

// A Client makes the two calls of the Secrets Manager API that a [Source] needs.
// *secretsmanager.Client implements it.
type Client interface {
	GetSecretValue(ctx context.Context, in *secretsmanager.GetSecretValueInput, optFns ...func(*secretsmanager.Options)) (*secretsmanager.GetSecretValueOutput, error)
	// BatchGetSecretValue is called by FetchBatch only. One that returns an error
	// which matches errors.ErrUnsupported makes it fetch one by one.
	BatchGetSecretValue(ctx context.Context, in *secretsmanager.BatchGetSecretValueInput, optFns ...func(*secretsmanager.Options)) (*secretsmanager.BatchGetSecretValueOutput, error)
}

// Options change what a [Source] does. The zero value means the defaults.
type Options struct {
	// Region is where secrets are that are named by name; an ARN's own region
	// decides for that ARN. Empty: the environment variable AWS_SECRET_JDBC_REGION
	// (one region, as AWS's JDBC library reads it), then the region of Config or of
	// the SDK's default chain (AWS_REGION, AWS_DEFAULT_REGION, the shared config file),
	// then the first of Regions, then, without a Config and an endpoint, that of the EC2
	// instance by its metadata, which has 1 s to answer.
	Region string

	// Endpoint is the URL of the API in every region, for example a VPC endpoint
	// or a server of package awssmtest; requests are signed for the secret's region
	// all the same. Empty: what the SDK's configuration says
	// (AWS_ENDPOINT_URL_SECRETS_MANAGER, AWS_ENDPOINT_URL, the shared config file),
	// else the region's public endpoint, which is a FIPS endpoint if the SDK's
	// configuration asks for one (AWS_USE_FIPS_ENDPOINT). An endpoint that is named
	// takes precedence over that.
	Endpoint string

	// Regions are those to which the secrets are replicated, in the order to fall
	// back on them when the first region (see Region) cannot be reached, does not
	// answer or answers with a status of 500 or more; a refusal of the first region
	// is never appealed. They may include it. In an ARN the region is replaced.
	//
	// Each region gets its share of the context's remaining time, but no less than
	// 2 s if there is more than one; so with less time the first one gets it all,
	// and another what the first one left when it failed sooner. The region that
	// worked is used first for the next 30 s; then one fetch at a time tries the
	// first region again, with one attempt.
	//
	// A replica may be behind. An older version than this Source has returned
	// before for the id and stage is not returned: see ErrReplicaBehind. Refusals
	// of a replica (not found, denied) do not match the sentinels, since the secret
	// may just not be replicated there; only ErrNoVersion counts.
	Regions []string

	// Profile is the profile of the shared AWS configuration whose credentials, region and
	// other settings are used. Unlike AWS_PROFILE it takes precedence over credentials of the
	// environment; a region of the environment takes precedence over its own. Empty: the
	// SDK's default.
	Profile string

	// RoleARN is a role to assume for all calls, with the credentials that there are without
	// it. The security token service is that of Region or the configuration's region, else of
	// the first secret's. Empty: none.
	RoleARN string
	// ExternalID is what the role's trust policy may ask for. It is an error without RoleARN.
	ExternalID string

	// Config is the SDK's configuration. New copies it. Profile and RoleARN are errors with it.
	// Nil: the SDK's default configuration is loaded at the first fetch, and again at the next
	// one if that failed or no region was known. Its Retryer is not used, of its retry settings
	// only RetryMaxAttempts. Its Logger gets no body of a response, whatever its ClientLogMode says, and of
	// errors that may quote one only the type. Without a Config the SDK logs nothing.
	Config *aws.Config

	// Client makes all calls, as it is: Region, Endpoint, Regions and Config are then not used, and
	// Profile and RoleARN are errors. Its errors are taken as final, since it has its own retries;
	// only a call that takes longer than AttemptTimeout is repeated. Nil: a client
	// per region, made when it is needed.
	Client Client

	// AttemptTimeout is how long one attempt may take from sending the request to
	// the end of the answer; it is then given up and made again. When the context has
	// less than twice that left, the first attempt gets half of it (at least 250 ms).
	// Getting credentials is not part of an attempt. Zero means DefaultAttemptTimeout (2 s); negative means that only the
	// context ends an attempt.
	AttemptTimeout time.Duration

	// MaxAttempts is how many calls one fetch makes in one region at most. Zero
	// means the SDK's setting (AWS_MAX_ATTEMPTS, max_attempts), and
	// DefaultMaxAttempts (3) where there is none; negative means 1.
	MaxAttempts int
}

// A Source fetches secrets from Secrets Manager. Its methods may be called from
// several goroutines at once. It has no goroutine but those of fetches.
type Source struct {
	o      Options
	optErr error // what is wrong with the options; every fetch returns it

	mu      sync.Mutex
	cfg     *aws.Config          // nil until loaded
	loading *load                // the one under way, or nil
	clients map[string]*regional // by region
	noBatch map[string]time.Time // by region: BatchGetSecretValue is not tried until then
	// noInstance is until when the EC2 instance is not asked for its region.
	noInstance time.Time
	failover   failovers
	seen       versions
}

var (
	_ secretcache.Source      = (*Source)(nil)
	_ secretcache.BatchSource = (*Source)(nil)
	_ Client                  = (*secretsmanager.Client)(nil)
)

// New returns a Source. It does nothing that can fail or take time: wrong options
// and missing configuration are errors of the first fetch.
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

// check says what is wrong with the options. It does not quote an endpoint, which
// may hold credentials.
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

// checkIdentity says what is wrong with the profile and the role.
func checkIdentity(o *Options) error {
	switch {
	case o.Client != nil && o.Profile+o.RoleARN != "":
		return errors.New("Options.Profile and RoleARN have no effect on Options.Client, which has credentials")
	case o.Config != nil && o.Profile+o.RoleARN != "":
		return errors.New("Options.Profile and RoleARN have no effect on Options.Config, which has credentials")
	case o.ExternalID != "" && o.RoleARN == "":
		return errors.New("Options.ExternalID has no effect without Options.RoleARN")
	}
	return nil
}

// as says whose credentials are used, as far as the options do.
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

// String returns the package's name. It shows nothing of the options.
func (s *Source) String() string { return "awssm.Source" }

// Fetch calls GetSecretValue for the version of the secret that bears the stage;
// an empty stage means AWSCURRENT. id is the secret's name or its full or partial
// ARN. The secret's ARN is in the region that id names, or the first region, also
// if a replica answered. A version without a value is a secret with an empty one.
//
// Its errors are [*Error].
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

// str returns a copy: the SDK cuts all strings of an answer from one block of
// memory, which the shortest of them would keep, and the value with it.
func str(p *string) string { return strings.Clone(aws.ToString(p)) }

func strs(in []string) []string {
	var out []string
	for _, s := range in {
		out = append(out, strings.Clone(s))
	}
	return out
}

// version is this module's in the running program.
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
