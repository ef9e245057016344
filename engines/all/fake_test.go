package all_test

import (
	"context"
	sqldriver "database/sql/driver"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// optionsFor returns options with one secret.
func optionsFor(t *testing.T, value string) *driver.Options {
	t.Helper()
	cache := secretcache.New(secretcache.SourceFunc(func(_ context.Context, id, stage string) (*secretcache.Secret, error) {
		return secretcache.NewSecret(secretcache.Value{ID: id, Name: id, VersionID: "v1", Stages: []string{stage}, String: value}), nil
	}), nil)
	t.Cleanup(func() { _ = cache.Close() })
	return &driver.Options{Secrets: cache, FallbackStages: []string{}}
}

type fakeConn struct{ sqldriver.Conn }

func (fakeConn) Close() error { return nil }
