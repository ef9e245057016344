package secretcache_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// fresh is a source of secrets like those of Secrets Manager. Each secret has its own memory.
var fresh = secretcache.SourceFunc(func(_ context.Context, id, stage string) (*secretcache.Secret, error) {
	own := func(format string, args ...any) string { return fmt.Sprintf(format, args...) }
	return secretcache.NewSecret(secretcache.Value{
		ID:        id,
		ARN:       own("arn:aws:secretsmanager:eu-central-1:123456789012:secret:%s-a1b2c3", id),
		Name:      own("%s", id),
		VersionID: own("%s", "0f5f2e2c-3c1c-4d51-9f5a-0b6b7e1d9a55"),
		Stages:    []string{own("%s", stage)},
		CreatedAt: time.Now(),
		String: own(`{"engine":"postgres","host":"db.cluster-abcdefghijkl.eu-central-1.rds.amazonaws.com",`+
			`"port":5432,"username":"app","password":"%022x"}`, len(id)),
	}), nil
})

func names(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("prod/service-%05d/database", i)
	}
	return ids
}

func filled(tb testing.TB, ids []string) *secretcache.Cache {
	tb.Helper()
	c := secretcache.New(fresh, &secretcache.Options{MaxSize: len(ids)})
	tb.Cleanup(func() { _ = c.Close() })
	if err := c.Prefetch(tb.Context(), ids...); err != nil {
		tb.Fatal(err)
	}
	return c
}

func TestHitAllocatesNothing(t *testing.T) {
	ids := names(10)
	c := filled(t, ids)
	for _, id := range append(ids, "arn:aws:secretsmanager:eu-central-1:123456789012:secret:"+ids[0]+"-a1b2c3") {
		if n := testing.AllocsPerRun(100, func() {
			if _, err := c.Get(t.Context(), id, ""); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("a hit on %q allocates %v times, want 0", id, n)
		}
	}
	if n := testing.AllocsPerRun(100, func() { _, _ = c.Read(t.Context(), ids[0], "") }); n != 0 {
		t.Errorf("a hit of Read allocates %v times, want 0", n)
	}
	if _, err := c.Get(t.Context(), ids[0], "AWSPREVIOUS"); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { _, _ = c.Get(t.Context(), ids[0], "AWSPREVIOUS") }); n != 0 {
		t.Errorf("a hit on another stage allocates %v times, want 0", n)
	}
}
