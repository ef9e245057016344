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

// A Cache keeps secrets of AWS Secrets Manager. [New] makes it. The getters of a Cache that New
// did not make return an [InvalidConfigError]. The methods may be called from several goroutines
// at once. A Cache has goroutines only while it fetches, and needs no closing.
//
// The first call of a method reads the fields. Later changes of them have no effect.
type Cache struct {
	CacheConfig

	// Client makes the calls. If it is nil, or the client that New made, package awssm fetches
	// with clients of its own. They have the SDK's default configuration. The client that New
	// made is then only for the program's own calls.
	Client SecretsManagerAPIClient

	// open returns the secrets. Its first call makes them.
	open func() (*secrets, error)
}

// secrets has the secrets that a Cache has fetched. The versions with the default stage are in
// a cache of their own. So RefreshNow can renew them while getters go on, and versions with other
// stages do not evict them.
type secrets struct {
	stage    string // the default stage
	ofStage  *secretcache.Cache
	ofOthers *secretcache.Cache
}

// New returns a cache with the default configuration, which the optFns may change. If they do
// not set Client, New loads the SDK's default configuration and makes a client.
//
// New has two errors, and the cache is never nil:
//
//   - An [InvalidConfigError]. The getters then return the same error.
//   - The SDK's configuration cannot be loaded. The program may go on with the cache: each
//     getter that fetches tries to load the configuration again.
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
	// Zero means the same in secretcache.Options.
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

// GetSecretString returns the text of a secret, of the version that has the stage
// CacheConfig.VersionStage. secretID is a name or an ARN. If the secret is not cached,
// GetSecretString waits for a fetch. The cache gives a fetch up after 10 s.
//
// The error is an [InvalidOperationError] if the version is binary or has no value, and a
// [VersionNotFoundError] if no version has the stage.
func (c *Cache) GetSecretString(secretID string) (string, error) {
	return c.GetSecretStringWithContext(context.Background(), secretID)
}

// GetSecretStringWithContext is [Cache.GetSecretString], but waits only until ctx ends. The
// fetch goes on after that.
func (c *Cache) GetSecretStringWithContext(ctx context.Context, secretID string) (string, error) {
	return c.GetSecretStringWithStageWithContext(ctx, secretID, "")
}

// GetSecretStringWithStage is [Cache.GetSecretString] for another version stage. An empty stage
// means CacheConfig.VersionStage.
func (c *Cache) GetSecretStringWithStage(secretID, versionStage string) (string, error) {
	return c.GetSecretStringWithStageWithContext(context.Background(), secretID, versionStage)
}

// GetSecretStringWithStageWithContext is [Cache.GetSecretStringWithStage], but waits only until
// ctx ends.
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

// GetSecretBinary returns a copy of the bytes of a secret, of the version that has the stage
// CacheConfig.VersionStage. The error is an [InvalidOperationError] if the version is text or
// has no value. Otherwise it is like [Cache.GetSecretString].
func (c *Cache) GetSecretBinary(secretID string) ([]byte, error) {
	return c.GetSecretBinaryWithContext(context.Background(), secretID)
}

// GetSecretBinaryWithContext is [Cache.GetSecretBinary], but waits only until ctx ends. The
// fetch goes on after that.
func (c *Cache) GetSecretBinaryWithContext(ctx context.Context, secretID string) ([]byte, error) {
	return c.GetSecretBinaryWithStageWithContext(ctx, secretID, "")
}

// GetSecretBinaryWithStage is [Cache.GetSecretBinary] for another version stage. An empty stage
// means CacheConfig.VersionStage.
func (c *Cache) GetSecretBinaryWithStage(secretID, versionStage string) ([]byte, error) {
	return c.GetSecretBinaryWithStageWithContext(context.Background(), secretID, versionStage)
}

// GetSecretBinaryWithStageWithContext is [Cache.GetSecretBinaryWithStage], but waits only until
// ctx ends.
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

// RefreshNow fetches the secret, even if it is cached, and returns at the end of the fetch. It
// does not sleep. Callers that wait for one secret share a fetch that began after they called.
// During the fetch, getters return the cached copy. If the fetch fails, they go on returning it; if
// nothing is cached, they return the error. RefreshNow itself returns no error, as in AWS's
// client.
//
// RefreshNow fetches the version that has the stage CacheConfig.VersionStage. Versions with other
// stages are fetched by the next getter that asks for them.
func (c *Cache) RefreshNow(secretID string) {
	c.RefreshNowWithContext(context.Background(), secretID)
}

// RefreshNowWithContext is [Cache.RefreshNow], but waits only until ctx ends. The fetch goes on
// after that.
func (c *Cache) RefreshNowWithContext(ctx context.Context, secretID string) {
	if c.open == nil {
		return
	}
	all, err := c.open()
	if err != nil {
		return // getters return the error
	}
	all.ofOthers.Invalidate(secretID)
	_, _ = all.ofStage.Refresh(ctx, secretID, all.stage, nil) // getters return the error
}

// get returns the version of the secret that has the stage. An empty stage means the default
// stage.
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

// noValue is the text for a version that has neither text nor bytes, for example one that a
// rotation has made but not filled yet. The service stores no empty text (API reference of
// CreateSecret: SecretString has 1 character or more).
const noValue = "has no value"

// wrongKind returns the error for a secret of the wrong kind. It holds no part of the value.
func wrongKind(s *secretcache.Secret, is string) error {
	return &InvalidOperationError{baseError{
		Message: fmt.Sprintf("version %q of secret %s %s", s.VersionID(), secretid.Quote(s.ID()), is),
	}}
}
