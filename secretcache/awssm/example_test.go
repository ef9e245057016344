package awssm_test

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm"
)

// A program reads a secret. Regions, credentials and endpoints come from the SDK's default
// configuration.
func ExampleNew() {
	cache := secretcache.New(awssm.New(), nil)
	defer cache.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	secret, err := cache.Get(ctx, "prod/app/db", secretcache.StageCurrent)
	if err != nil {
		fmt.Println(err) // GetSecretValue "prod/app/db" in us-west-2: secret not found: …
		return
	}
	fmt.Println(secret.ARN(), secret.VersionID()) // and secret.Reveal()
}

// A program reads a secret that is replicated to a second region, and gives its own
// configuration of the SDK.
func ExampleNew_replicas() {
	ctx := context.Background()
	cfg, err := config.LoadDefaultConfig(ctx, config.WithSharedConfigProfile("app"))
	if err != nil {
		fmt.Println(err)
		return
	}
	source := awssm.New(func(o *awssm.Options) {
		o.Config = &cfg
		o.Region = "us-west-2"
		o.Regions = []string{"us-east-1"} // the secrets are replicated to this region
	})
	secret, err := source.Fetch(ctx, "prod/app/db", secretcache.StageCurrent)
	fmt.Println(secret, err)
}

// A program reads secrets of another account. It assumes a role there with the credentials of
// a profile.
func ExampleNew_role() {
	cache := secretcache.New(awssm.New(func(o *awssm.Options) {
		o.Region = "us-west-2"
		o.Profile = "base"
		o.RoleARN = "arn:aws:iam::999988887777:role/reader"
		o.ExternalID = "4711"
	}), nil)
	defer cache.Close()
}
