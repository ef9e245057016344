package awscaching

import (
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// A CacheHook changes secrets on their way into the cache and out of it, for example to keep
// them encrypted in memory. It is called from several goroutines at once, even for one secret.
type CacheHook interface {
	// Put is called once for each version of a secret before it is stored. data is a
	// *secretsmanager.GetSecretValueOutput without ResultMetadata; the hook may keep and change
	// it. The cache stores the result of Put, which may be of any type. If Put panics, the
	// fetch fails.
	Put(data interface{}) interface{}

	// Get is called each time a getter returns a secret. data is the result of Put. Get must
	// return a *secretsmanager.GetSecretValueOutput. Only its SecretString and SecretBinary are
	// used. If it returns another type, the getter fails with an
	// [InvalidOperationError].
	Get(data interface{}) interface{}
}

// A hook makes a CacheHook a Hook of package secretcache.
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
			Message: fmt.Sprintf("Get of the cache hook returned a %T: it must return a *secretsmanager.GetSecretValueOutput", data),
		}}
	case out.SecretBinary != nil:
		return s.WithBinary(out.SecretBinary), nil
	}
	return s.WithString(aws.ToString(out.SecretString)), nil
}

// output returns s as the output of GetSecretValue.
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

// optional returns nil for an empty string, because the service leaves empty fields out.
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

var _ secretcache.Hook = hook{}
