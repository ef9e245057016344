package main

import (
	"context"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	awscache "github.com/aws/aws-secretsmanager-caching-go/v2/secretcache"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

const versionID = "0f5f2e2c-3c1c-4d51-9f5a-0b6b7e1d9a55"

// A backend is the source of all caches of a comparison. Its secrets have ids, names and values in
// memory of their own. It takes no time, unless before does.
type backend struct {
	// before is called at each API call, and may wait or fail. Nil does nothing.
	before func(ctx context.Context, id string) error
	// value returns the value of a secret; nil means newValue.
	value func(id string) string
	// bare leaves out the name and the ARN.
	bare  bool
	calls atomic.Int64 // API calls
}

// newValue returns JSON of 150 bytes.
func newValue(id string) string {
	password := strconv.Itoa(1e9 + len(id))
	return `{"engine":"postgres","host":"db.cluster-abcdefghijkl.eu-central-1.rds.amazonaws.com","port":5432,"username":"app","password":"` + password + password[:8] + `"}`
}

func (b *backend) call(ctx context.Context, id string) error {
	b.calls.Add(1)
	if b.before == nil {
		return nil
	}
	return b.before(ctx, id)
}

func (b *backend) valueOf(id string) string {
	if b.value == nil {
		return newValue(id)
	}
	return b.value(id)
}

// own returns a copy of a string, as an answer of the API would have.
func own(s string) string { return string([]byte(s)) }

func arnOf(id string) string {
	return "arn:aws:secretsmanager:eu-central-1:123456789012:secret:" + id + "-a1b2c3"
}

// Fetch implements [secretcache.Source]. It is one API call.
func (b *backend) Fetch(ctx context.Context, id, stage string) (*secretcache.Secret, error) {
	if err := b.call(ctx, id); err != nil {
		return nil, err
	}
	v := secretcache.Value{ID: id, VersionID: own(versionID), Stages: []string{stage}, CreatedAt: time.Now(), String: b.valueOf(id)}
	if !b.bare {
		v.ARN, v.Name = arnOf(id), own(id)
	}
	return secretcache.NewSecret(v), nil
}

// An api is the backend for AWS's client.
type api struct {
	awscache.SecretsManagerAPIClient // the operations that no cache calls
	*backend
}

func (a api) DescribeSecret(ctx context.Context, in *secretsmanager.DescribeSecretInput, _ ...func(*secretsmanager.Options)) (*secretsmanager.DescribeSecretOutput, error) {
	if err := a.call(ctx, *in.SecretId); err != nil {
		return nil, err
	}
	return &secretsmanager.DescribeSecretOutput{ARN: aws.String(arnOf(*in.SecretId)), Name: aws.String(own(*in.SecretId)),
		CreatedDate:        aws.Time(time.Now()),
		VersionIdsToStages: map[string][]string{own(versionID): {own(secretcache.StageCurrent)}}}, nil
}

func (a api) GetSecretValue(ctx context.Context, in *secretsmanager.GetSecretValueInput, _ ...func(*secretsmanager.Options)) (*secretsmanager.GetSecretValueOutput, error) {
	if err := a.call(ctx, *in.SecretId); err != nil {
		return nil, err
	}
	return &secretsmanager.GetSecretValueOutput{ARN: aws.String(arnOf(*in.SecretId)), Name: aws.String(own(*in.SecretId)),
		CreatedDate: aws.Time(time.Now()), VersionId: aws.String(own(versionID)), VersionStages: []string{own(secretcache.StageCurrent)},
		SecretString: aws.String(a.valueOf(*in.SecretId))}, nil
}

// names returns ids of secrets.
func names(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = nameOf(i)
	}
	return ids
}

func nameOf(n int) string { return "prod/service-" + strconv.Itoa(1e7+n) + "/database" }
