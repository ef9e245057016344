package awscaching

import (
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// A CacheHook transforms secrets on their way into the cache and out of it, for
// example to keep them encrypted in memory. It is called from several goroutines
// at once, also for one secret.
type CacheHook interface {
	// Put is called once for each version of a secret before it is stored. data is a
	// *secretsmanager.GetSecretValueOutput of the hook's own, without ResultMetadata.
	// What Put returns, whatever it is, is stored. If it panics, the fetch fails.
	Put(data interface{}) interface{}

	// Get is called once for each secret that a getter returns, with what Put
	// returned for it. It returns a *secretsmanager.GetSecretValueOutput, of which
	// SecretString and SecretBinary matter; the getter fails with an
	// [InvalidOperationError] otherwise.
	Get(data interface{}) interface{}
}

// A hook is a CacheHook as package secretcache wants it.
type hook struct{ CacheHook }

func (h hook) Put(s *secretcache.Secret) (*secretcache.Secret, error) {
	return s.WithHeld(h.CacheHook.Put(output(s))), nil
}

func (h hook) Get(s *secretcache.Secret) (*secretcache.Secret, error) {
	data := h.CacheHook.Get(s.Held())
	out, _ := data.(*secretsmanager.GetSecretValueOutput)
	switch {
	case out == nil:
		return nil, &InvalidOperationError{baseError{
			Message: fmt.Sprintf("Get of the cache hook returned a %T, want a *secretsmanager.GetSecretValueOutput", data),
		}}
	case out.SecretBinary != nil:
		return s.WithBinary(out.SecretBinary), nil
	}
	return s.WithString(aws.ToString(out.SecretString)), nil
}

// output returns s as GetSecretValue had it.
func output(s *secretcache.Secret) *secretsmanager.GetSecretValueOutput {
	out := &secretsmanager.GetSecretValueOutput{
		ARN: optional(s.ARN()), Name: optional(s.Name()),
		VersionId: optional(s.VersionID()), VersionStages: s.Stages(),
	}
	if t := s.CreatedAt(); !t.IsZero() {
		out.CreatedDate = &t
	}
	if s.IsBinary() {
		out.SecretBinary = s.Bytes()
	} else {
		out.SecretString = optional(s.Reveal())
	}
	return out
}

// optional returns nil for what the service left out.
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

var _ secretcache.Hook = hook{}
