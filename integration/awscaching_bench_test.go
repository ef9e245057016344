package integration_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	awscache "github.com/aws/aws-secretsmanager-caching-go/v2/secretcache"

	"github.com/sqlsecrets/sqlsecrets/secretcache/awscaching"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm/awssmtest"
)

// A cachingClient is AWS's caching client or ours with the same API.
type cachingClient interface {
	GetSecretString(secretID string) (string, error)
	GetSecretStringWithContext(ctx context.Context, secretID string) (string, error)
	RefreshNow(secretID string)
}

// cachingClients makes either of a client of the SDK for the same server.
var cachingClients = []struct {
	name string
	new  func(b *testing.B, sm *awssmtest.Server, size int) cachingClient
}{
	{"aws", func(b *testing.B, sm *awssmtest.Server, size int) cachingClient { return awsClient(b, sm, size) }},
	{"sqlsecrets", func(b *testing.B, sm *awssmtest.Server, size int) cachingClient {
		client := awsClient(b, sm, size).Client
		c, err := awscaching.New(func(c *awscaching.Cache) {
			c.Client, c.MaxCacheSize, c.CacheItemTTL = client, size, int64(time.Hour)
		})
		if err != nil {
			b.Fatal(err)
		}
		return c
	}},
}

var (
	_ cachingClient = (*awscache.Cache)(nil)
	_ cachingClient = (*awscaching.Cache)(nil)
)

// BenchmarkCachingClient compares package awscaching with AWS's caching client, on
// the same server; calls/op is what the server counted. Compare with
// benchstat -col /client.
func BenchmarkCachingClient(b *testing.B) {
	const id = "prod/app/db"
	each := func(name string, size int, measure func(b *testing.B, sm *awssmtest.Server, c cachingClient)) {
		for _, client := range cachingClients {
			b.Run(name+"/client="+client.name, func(b *testing.B) {
				sm := awssmtest.NewServer(b)
				sm.Put(id, exampleSecret)
				c := client.new(b, sm, size)
				if _, err := c.GetSecretString(id); err != nil {
					b.Fatal(err)
				}
				b.ReportAllocs()
				measure(b, sm, c)
			})
		}
	}
	counted := func(b *testing.B, sm *awssmtest.Server, op func(n int)) {
		sm.ResetCalls()
		n := 0
		for b.Loop() {
			op(n)
			n++
		}
		b.ReportMetric(float64(sm.Calls("GetSecretValue")+sm.Calls("DescribeSecret"))/float64(n), "calls/op")
	}

	each("hit", 1024, func(b *testing.B, sm *awssmtest.Server, c cachingClient) {
		counted(b, sm, func(int) { _, _ = c.GetSecretString(id) })
	})
	each("parallel_hit", 1024, func(b *testing.B, _ *awssmtest.Server, c cachingClient) {
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				_, _ = c.GetSecretString(id)
			}
		})
	})
	// Two secrets take turns in a cache that has room for one.
	each("miss", 1, func(b *testing.B, sm *awssmtest.Server, c cachingClient) {
		ids := [2]string{"prod/other/db", id}
		sm.Put(ids[0], exampleSecret)
		counted(b, sm, func(n int) {
			if _, err := c.GetSecretString(ids[n%2]); err != nil {
				b.Fatal(err)
			}
		})
	})
	// The first getter after a rotation, which RefreshNow was told of.
	each("refresh", 1024, func(b *testing.B, sm *awssmtest.Server, c cachingClient) {
		counted(b, sm, func(n int) {
			b.StopTimer()
			value := fmt.Sprintf(`{"username":"app","password":"%d"}`, n)
			sm.Put(id, value)
			b.StartTimer()
			c.RefreshNow(id)
			if got, err := c.GetSecretString(id); got != value || err != nil {
				b.Fatalf("got %q, %v after RefreshNow, want %q", got, err, value)
			}
		})
	})
}

// BenchmarkCachingClientMemory reports the heap that a cached secret takes, all
// included, as B/secret.
func BenchmarkCachingClientMemory(b *testing.B) {
	const secrets = 500
	for _, client := range cachingClients {
		b.Run("client="+client.name, func(b *testing.B) {
			sm := awssmtest.NewServer(b)
			ids := make([]string, secrets)
			for i := range ids {
				ids[i] = fmt.Sprintf("prod/service-%03d/db", i)
				sm.Put(ids[i], exampleSecret)
			}
			for b.Loop() {
				c := client.new(b, sm, 1024)
				_, _ = c.GetSecretString("missing") // what the client takes is not the secrets'
				sm.ResetCalls()
				before := heap()
				for _, id := range ids {
					if _, err := c.GetSecretStringWithContext(b.Context(), id); err != nil {
						b.Fatal(err)
					}
				}
				sm.ResetCalls() // the server's record of requests is not the cache's
				b.ReportMetric(float64(heap()-before)/secrets, "B/secret")
				runtime.KeepAlive(c)
			}
		})
	}
}
