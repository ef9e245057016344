package agenttest_test

import (
	"context"
	"fmt"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/agent/agenttest"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm/awssmtest"
)

// An agent in front of a Secrets Manager, both in process. In a test: NewServer(t, …),
// which closes itself.
func ExampleNewServer() {
	ctx := context.Background()
	secretsManager := awssmtest.NewServer(nil)
	defer secretsManager.Close()
	secretsManager.PutVersion("prod/app", "11111111-1111-1111-1111-111111111111", "first", "AWSCURRENT")

	server := agenttest.NewServer(nil, secretsManager.Source())
	defer server.Close()
	cache := secretcache.New(server.Source(), nil)
	defer cache.Close()

	secret, err := cache.Get(ctx, "prod/app", "")
	fmt.Println(secret, err)

	// A rotation: the agent has the old version, and is asked past its cache.
	secretsManager.PutVersion("prod/app", "22222222-2222-2222-2222-222222222222", "second", "AWSCURRENT")
	secret, err = cache.Refresh(ctx, "prod/app", "", secret)
	fmt.Println(secret, err)

	server.Stop()
	secret, err = cache.Get(ctx, "prod/app", "")
	fmt.Println(secret, err)
	fmt.Println(len(server.Requests()), "requests")
	// Output:
	// secret "prod/app" version "11111111-1111-1111-1111-111111111111" [redacted] <nil>
	// secret "prod/app" version "22222222-2222-2222-2222-222222222222" [redacted] <nil>
	// secret "prod/app" version "22222222-2222-2222-2222-222222222222" [redacted] <nil>
	// 2 requests
}
