//go:build awscaching

package main

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-secretsmanager-caching-go/v2/secretcache"
)

func read(ctx context.Context, cfg aws.Config, id string) (string, error) {
	cache, err := secretcache.New(func(c *secretcache.Cache) { c.Client = secretsmanager.NewFromConfig(cfg) })
	if err != nil {
		return "", err
	}
	return cache.GetSecretStringWithContext(ctx, id)
}
