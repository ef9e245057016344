package awscaching_test

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	secretcache "github.com/sqlsecrets/sqlsecrets/secretcache/awscaching"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm/awssmtest"
)

// A program that was written for AWS's client. Only one import was changed.
func Example() {
	server := awssmtest.NewServer(nil)
	defer server.Close()
	server.Put("prod/app/key", "first")
	client := secretsmanager.NewFromConfig(server.Config())

	cache, err := secretcache.New(
		func(c *secretcache.Cache) { c.CacheItemTTL = int64(10 * time.Minute) },
		func(c *secretcache.Cache) { c.Client = client }, // without it: the SDK's default configuration
	)
	if err != nil {
		log.Fatal(err)
	}
	for range 3 {
		key, err := cache.GetSecretString("prod/app/key")
		fmt.Println(key, err)
	}
	fmt.Println(server.Calls("GetSecretValue"), "call")
	// Output:
	// first <nil>
	// first <nil>
	// first <nil>
	// 1 call
}

func ExampleCache_RefreshNowWithContext() {
	server := awssmtest.NewServer(nil)
	defer server.Close()
	server.Put("prod/app/key", "first")
	client := secretsmanager.NewFromConfig(server.Config())
	cache, err := secretcache.New(func(c *secretcache.Cache) { c.Client = client })
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(cache.GetSecretString("prod/app/key"))
	server.Put("prod/app/key", "second")
	fmt.Println(cache.GetSecretString("prod/app/key"))

	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	cache.RefreshNowWithContext(ctx, "prod/app/key")
	fmt.Println(cache.GetSecretString("prod/app/key"))
	// Output:
	// first <nil>
	// first <nil>
	// second <nil>
}

func ExampleVersionNotFoundError() {
	server := awssmtest.NewServer(nil)
	defer server.Close()
	server.Put("prod/app/key", "first")
	client := secretsmanager.NewFromConfig(server.Config())
	cache, err := secretcache.New(func(c *secretcache.Cache) { c.Client = client })
	if err != nil {
		log.Fatal(err)
	}
	_, err = cache.GetSecretStringWithStage("prod/app/key", "AWSPENDING")
	if missing := (*secretcache.VersionNotFoundError)(nil); errors.As(err, &missing) {
		fmt.Println("no rotation is under way")
	}
	// Output: no rotation is under way
}

// sealed keeps texts encrypted with a key that lives as long as the process.
type sealed struct{ aead cipher.AEAD }

func (h sealed) Put(data interface{}) interface{} {
	out := data.(*secretsmanager.GetSecretValueOutput)
	return h.aead.Seal(nil, nil, []byte(*out.SecretString), nil)
}

func (h sealed) Get(data interface{}) interface{} {
	plain, err := h.aead.Open(nil, nil, data.([]byte), nil)
	if err != nil {
		return nil // the getter fails with an InvalidOperationError
	}
	text := string(plain)
	return &secretsmanager.GetSecretValueOutput{SecretString: &text}
}

func ExampleCacheHook() {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	block, err := aes.NewCipher(key)
	if err != nil {
		log.Fatal(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		log.Fatal(err)
	}

	server := awssmtest.NewServer(nil)
	defer server.Close()
	server.Put("prod/app/key", "first")
	client := secretsmanager.NewFromConfig(server.Config())
	cache, err := secretcache.New(
		func(c *secretcache.Cache) { c.Client = client },
		func(c *secretcache.Cache) { c.Hook = sealed{aead} },
	)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(cache.GetSecretString("prod/app/key"))
	// Output: first <nil>
}

// The configuration is the same as with AWS's client.
func ExampleNew() {
	cache, err := secretcache.New(func(c *secretcache.Cache) {
		c.MaxCacheSize = 100
		c.CacheItemTTL = int64(10 * time.Minute)
	})
	if err != nil {
		log.Fatal(err) // the SDK's configuration cannot be loaded
	}
	_ = cache
}
