package agenttest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/agent/agenttest"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm/awssmtest"
)

// An agent in front of a Secrets Manager, both in process. In a test, use NewServer(t, …),
// which closes itself at the end.
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

	// After a rotation the agent's cache has the old version. Refresh bypasses that cache.
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

// The extension has no secrets before the function's first invocation. FailTimes makes
// requests fail, and the source tries again.
func ExampleNewExtension() {
	secretsManager := awssmtest.NewServer(nil)
	defer secretsManager.Close()
	secretsManager.Put("prod/app", "first")

	server := agenttest.NewExtension(nil, secretsManager.Source(), func(o *agenttest.Options) { o.TTL = -1 }) // keeps nothing
	defer server.Close()
	cache := secretcache.New(server.Source(), nil)
	defer cache.Close()

	for _, fault := range []agenttest.Fault{
		agenttest.NotReady,
		agenttest.CloseConn,
		agenttest.Truncate,
		agenttest.Delay(time.Millisecond),
		agenttest.Exception(http.StatusBadRequest, "ThrottlingException", "Rate exceeded"),
	} {
		server.FailTimes(1, fault)
		cache.Invalidate("prod/app")
		_, err := cache.Get(context.Background(), "prod/app", "")
		fmt.Println(err)
	}
	// After these the source does not try again. The cache serves its copy of prod/app, so
	// ask for another secret.
	for _, fault := range []agenttest.Fault{
		agenttest.Answer(http.StatusTeapot, "no"),
		agenttest.Redirect("https://example.com/"),
	} {
		server.FailTimes(1, fault)
		_, err := cache.Get(context.Background(), "prod/other", "")
		fmt.Println(err != nil)
	}
	// Output:
	// <nil>
	// <nil>
	// <nil>
	// <nil>
	// <nil>
	// true
	// true
}

// The server hangs. The caller waits until its own deadline.
func ExampleHang() {
	secretsManager := awssmtest.NewServer(nil)
	defer secretsManager.Close()
	server := agenttest.NewServer(nil, secretsManager.Source())
	defer server.Close()
	server.Fail(agenttest.Hang)
	defer server.Heal()

	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_, err := server.Source().Fetch(ctx, "prod/app", "")
	fmt.Println(errors.Is(err, context.DeadlineExceeded))
	// Output: true
}
