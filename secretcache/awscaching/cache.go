package awscaching

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/sqlsecrets/sqlsecrets/internal/secretid"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// A Cache keeps secrets of AWS Secrets Manager. [New] makes it; one that New has
// not made returns an [InvalidConfigError]. Its methods may be called from several
// goroutines at once.
//
// Its fields are read at the first call of a method; a later change of them does
// nothing.
type Cache struct {
	CacheConfig

	// Client makes the calls. If it is the one that New made, or nil, package awssm
	// fetches with clients of its own, which have the SDK's default configuration,
	// and this one is for the program's own calls.
	Client SecretsManagerAPIClient

	// open returns the secrets: it makes them at the first call.
	open func() (*secrets, error)
}

// secrets are what a Cache has fetched. Those of the default stage are apart, so
// that RefreshNow renews these without holding up their getters, and other stages
// take no room from them.
type secrets struct {
	stage    string // the default stage
	ofStage  *secretcache.Cache
	ofOthers *secretcache.Cache
}

// New returns a cache with the default configuration, which the optFns may change.
// If they set no Client it loads the SDK's default configuration and makes one.
//
// Its errors are an [InvalidConfigError], and that the SDK's configuration cannot
// be loaded. The cache is not nil then: its getters return the former, and try to
// load the configuration again.
func New(optFns ...func(*Cache)) (*Cache, error) {
	c := &Cache{CacheConfig: CacheConfig{
		MaxCacheSize: DefaultMaxCacheSize,
		CacheItemTTL: DefaultCacheItemTTL,
		VersionStage: DefaultVersionStage,
	}}
	for _, fn := range optFns {
		if fn != nil {
			fn(c)
		}
	}
	var made *secretsmanager.Client
	c.open = sync.OnceValues(func() (*secrets, error) { return newSecrets(c.CacheConfig, source(c.Client, made)) })

	if err := c.check(); err != nil {
		return c, err
	}
	if c.Client == nil {
		cfg, err := config.LoadDefaultConfig(context.Background())
		if err != nil {
			return c, fmt.Errorf("load the SDK's configuration: %w", err)
		}
		made = secretsmanager.NewFromConfig(cfg)
		c.Client = made
	}
	return c, nil
}

func (c *CacheConfig) check() error {
	if c.CacheItemTTL < 0 {
		return &InvalidConfigError{baseError{
			Message: fmt.Sprintf("CacheItemTTL is %d: it is a time in nanoseconds and cannot be negative", c.CacheItemTTL),
		}}
	}
	return nil
}

func newSecrets(c CacheConfig, src secretcache.Source) (*secrets, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	// Zero means the same there.
	o := &secretcache.Options{MaxSize: c.MaxCacheSize, TTL: time.Duration(c.CacheItemTTL)}
	if c.Hook != nil {
		o.Hook = hook{c.Hook}
	}
	s := &secrets{stage: c.VersionStage, ofStage: secretcache.New(src, o), ofOthers: secretcache.New(src, o)}
	if s.stage == "" {
		s.stage = DefaultVersionStage
	}
	return s, nil
}

// GetSecretString returns the text of the secret's version that bears
// CacheConfig.VersionStage. secretID is a name or an ARN. It waits for a fetch if
// the secret is not cached; a fetch is given up after 10 s.
//
// An [InvalidOperationError] says that the version is binary or has no value, a
// [VersionNotFoundError] that there is no such version.
func (c *Cache) GetSecretString(secretID string) (string, error) {
	return c.GetSecretStringWithContext(context.Background(), secretID)
}

// GetSecretStringWithContext is [Cache.GetSecretString] for a caller that waits no
// longer than ctx. The fetch goes on without it.
func (c *Cache) GetSecretStringWithContext(ctx context.Context, secretID string) (string, error) {
	return c.GetSecretStringWithStageWithContext(ctx, secretID, "")
}

// GetSecretStringWithStage is [Cache.GetSecretString] for another version stage;
// empty means CacheConfig.VersionStage.
func (c *Cache) GetSecretStringWithStage(secretID, versionStage string) (string, error) {
	return c.GetSecretStringWithStageWithContext(context.Background(), secretID, versionStage)
}

// GetSecretStringWithStageWithContext is [Cache.GetSecretString] with both.
func (c *Cache) GetSecretStringWithStageWithContext(ctx context.Context, secretID, versionStage string) (string, error) {
	s, err := c.get(ctx, secretID, versionStage)
	if err != nil {
		return "", err
	}
	if s.IsBinary() {
		return "", wrongKind(s, "is binary: use GetSecretBinary")
	}
	v := s.Reveal()
	if v == "" {
		return "", wrongKind(s, noValue)
	}
	return v, nil
}

// GetSecretBinary returns a copy of the bytes of the secret's version that bears
// CacheConfig.VersionStage. It is otherwise like [Cache.GetSecretString]; an
// [InvalidOperationError] says that the version is text or has no value.
func (c *Cache) GetSecretBinary(secretID string) ([]byte, error) {
	return c.GetSecretBinaryWithContext(context.Background(), secretID)
}

// GetSecretBinaryWithContext is [Cache.GetSecretBinary] for a caller that waits no
// longer than ctx. The fetch goes on without it.
func (c *Cache) GetSecretBinaryWithContext(ctx context.Context, secretID string) ([]byte, error) {
	return c.GetSecretBinaryWithStageWithContext(ctx, secretID, "")
}

// GetSecretBinaryWithStage is [Cache.GetSecretBinary] for another version stage;
// empty means CacheConfig.VersionStage.
func (c *Cache) GetSecretBinaryWithStage(secretID, versionStage string) ([]byte, error) {
	return c.GetSecretBinaryWithStageWithContext(context.Background(), secretID, versionStage)
}

// GetSecretBinaryWithStageWithContext is [Cache.GetSecretBinary] with both.
func (c *Cache) GetSecretBinaryWithStageWithContext(ctx context.Context, secretID, versionStage string) ([]byte, error) {
	s, err := c.get(ctx, secretID, versionStage)
	if err != nil {
		return nil, err
	}
	switch {
	case s.IsBinary():
		return s.Bytes(), nil
	case s.Reveal() == "":
		return nil, wrongKind(s, noValue)
	}
	return nil, wrongKind(s, "is text: use GetSecretString")
}

// RefreshNow fetches the secret, whatever is cached, and returns when that is done
// or has failed. It does not sleep; callers that wait for one secret share a fetch
// that began after they called. Getters go on meanwhile with what they have. If the
// fetch fails, they do so after it, too, and return its error if they have nothing.
//
// It fetches the version that bears CacheConfig.VersionStage; those of other stages
// are fetched by their next getter.
func (c *Cache) RefreshNow(secretID string) {
	c.RefreshNowWithContext(context.Background(), secretID)
}

// RefreshNowWithContext is [Cache.RefreshNow] for a caller that waits no longer
// than ctx. The fetch goes on without it.
func (c *Cache) RefreshNowWithContext(ctx context.Context, secretID string) {
	if c.open == nil {
		return
	}
	all, err := c.open()
	if err != nil {
		return // getters say it
	}
	all.ofOthers.Invalidate(secretID)
	_, _ = all.ofStage.Refresh(ctx, secretID, all.stage, nil) // getters say it
}

// get returns the version of the secret that bears the stage, the default one if
// that is empty.
func (c *Cache) get(ctx context.Context, id, stage string) (*secretcache.Secret, error) {
	if c.open == nil {
		return nil, &InvalidConfigError{baseError{Message: "the cache was not made by New"}}
	}
	all, err := c.open()
	if err != nil {
		return nil, err
	}
	of := all.ofOthers
	if stage == "" || stage == all.stage {
		of, stage = all.ofStage, all.stage
	}
	s, err := of.Get(ctx, id, stage)
	if errors.Is(err, secretcache.ErrNoVersion) {
		return nil, &VersionNotFoundError{baseError{Message: err.Error(), cause: err}}
	}
	return s, err
}

// noValue is of a version that has neither text nor bytes, as one that a rotation
// has not filled yet. The service stores no empty text (API reference of
// CreateSecret: SecretString has 1 character or more).
const noValue = "has no value"

// wrongKind says what s is, of whose value it holds nothing.
func wrongKind(s *secretcache.Secret, is string) error {
	return &InvalidOperationError{baseError{
		Message: fmt.Sprintf("version %q of secret %s %s", s.VersionID(), secretid.Quote(s.ID()), is),
	}}
}
