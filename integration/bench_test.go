package integration_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	awscache "github.com/aws/aws-secretsmanager-caching-go/v2/secretcache"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm/awssmtest"
)

// awsClient is AWS's own caching client for Go on the same Secrets Manager.
func awsClient(b *testing.B, sm *awssmtest.Server, size int) *awscache.Cache {
	b.Helper()
	client := secretsmanager.NewFromConfig(aws.Config{
		Region: "us-west-2", BaseEndpoint: aws.String(sm.URL()),
		Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "example", ""),
	})
	c, err := awscache.New(func(c *awscache.Cache) {
		c.Client = client
		c.CacheConfig.MaxCacheSize = size
		c.CacheConfig.CacheItemTTL = int64(time.Hour)
	})
	if err != nil {
		b.Fatal(err)
	}
	return c
}

const exampleSecret = `{"engine":"postgres","host":"app.cluster-abcdefghijkl.us-west-2.rds.amazonaws.com","port":5432,` +
	`"username":"app","password":"0123456789abcdef0123456789abcdef","dbname":"app"}`

// BenchmarkCacheHit compares a cached secret's way out with that of AWS's own
// caching client. Run it with -cpu 1,2.
func BenchmarkCacheHit(b *testing.B) {
	sm := awssmtest.NewServer(b)
	sm.Put("prod/app/db", exampleSecret)
	ours := secretcache.New(sm.Source(), nil)
	defer ours.Close()
	theirs := awsClient(b, sm, 1024)
	for _, c := range []struct {
		name string
		get  func(context.Context) error
	}{
		{"sqlsecrets", func(ctx context.Context) error { _, err := ours.Get(ctx, "prod/app/db", ""); return err }},
		{"aws", func(ctx context.Context) error {
			_, err := theirs.GetSecretStringWithContext(ctx, "prod/app/db")
			return err
		}},
	} {
		ctx := context.Background()
		if err := c.get(ctx); err != nil {
			b.Fatal(err)
		}
		b.Run(c.name+"/serial", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = c.get(ctx)
			}
		})
		b.Run(c.name+"/parallel", func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					_ = c.get(ctx)
				}
			})
		})
	}
}

// BenchmarkMemoryPerSecret reports the heap that a cached secret takes, all
// included, as B/secret.
func BenchmarkMemoryPerSecret(b *testing.B) {
	const secrets = 500
	sm := awssmtest.NewServer(b)
	ids := make([]string, secrets)
	for i := range ids {
		ids[i] = fmt.Sprintf("prod/service-%03d/db", i)
		sm.Put(ids[i], exampleSecret)
	}
	measure := func(b *testing.B, fill func() any) {
		for b.Loop() {
			before := heap()
			kept := fill()
			sm.ResetCalls() // the server's record of requests is not the cache's
			b.ReportMetric(float64(heap()-before)/secrets, "B/secret")
			runtime.KeepAlive(kept)
		}
	}
	b.Run("sqlsecrets", func(b *testing.B) {
		source := sm.Source()
		_, _ = source.Fetch(b.Context(), ids[0], "AWSCURRENT") // the client is not the cache's
		measure(b, func() any {
			c := secretcache.New(source, nil)
			for _, id := range ids {
				if _, err := c.Get(b.Context(), id, ""); err != nil {
					b.Fatal(err)
				}
			}
			return c
		})
	})
	b.Run("aws", func(b *testing.B) {
		measure(b, func() any {
			c := awsClient(b, sm, 1024)
			for _, id := range ids {
				if _, err := c.GetSecretString(id); err != nil {
					b.Fatal(err)
				}
			}
			return c
		})
	})
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
