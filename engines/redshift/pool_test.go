package redshift_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/redshift"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// A pool has the query mode and the settings of Redshift.
func TestNewPool(t *testing.T) {
	s := start(t, nil)
	s.SetPassword(t, "u", "p")
	value := secret(s, nil)
	cache := secretcache.New(secretcache.SourceFunc(func(_ context.Context, id, _ string) (*secretcache.Secret, error) {
		return secretcache.NewSecret(secretcache.Value{ID: id, VersionID: "v1", String: value}), nil
	}), nil)
	t.Cleanup(func() { _ = cache.Close() })
	p, err := redshift.NewPool(t.Context(), "prod/app/db?query_group=nightly&pool_max_conns=1", &driver.Options{Secrets: cache}, func(c *pgxpool.Config) error {
		if got := c.ConnConfig.RuntimeParams["query_group"]; got != "nightly" {
			t.Errorf("query_group = %q", got)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	var n int
	if err := p.QueryRow(t.Context(), "SELECT $1::int", 1).Scan(&n); err != nil || n != 1 {
		t.Errorf("query = %d, %v", n, err)
	}
	if mode := p.Config().ConnConfig.DefaultQueryExecMode; mode != pgx.QueryExecModeExec {
		t.Errorf("query mode %v", mode)
	}
	seen := s.Seen()
	if login := seen[len(seen)-1]; len(seen) != 1 || login.Params["query_group"] != "nightly" {
		t.Errorf("%d logins, the last with %v", len(seen), login.Params)
	}
}
