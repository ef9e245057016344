package awscaching

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm"
)

// SecretsManagerAPIClient is the interface of the program's own client. *secretsmanager.Client
// implements it. A [Cache] calls only GetSecretValue.
type SecretsManagerAPIClient interface {
	GetSecretValue(ctx context.Context, params *secretsmanager.GetSecretValueInput, optFns ...func(*secretsmanager.Options)) (*secretsmanager.GetSecretValueOutput, error)
	CreateSecret(ctx context.Context, params *secretsmanager.CreateSecretInput, optFns ...func(*secretsmanager.Options)) (*secretsmanager.CreateSecretOutput, error)
	DeleteSecret(ctx context.Context, params *secretsmanager.DeleteSecretInput, optFns ...func(*secretsmanager.Options)) (*secretsmanager.DeleteSecretOutput, error)
	DescribeSecret(ctx context.Context, params *secretsmanager.DescribeSecretInput, optFns ...func(*secretsmanager.Options)) (*secretsmanager.DescribeSecretOutput, error)
	ListSecrets(ctx context.Context, params *secretsmanager.ListSecretsInput, optFns ...func(*secretsmanager.Options)) (*secretsmanager.ListSecretsOutput, error)
	UpdateSecret(ctx context.Context, params *secretsmanager.UpdateSecretInput, optFns ...func(*secretsmanager.Options)) (*secretsmanager.UpdateSecretOutput, error)
}

// source returns the source of secrets for a client. made is the client that New made. It fetches
// nothing: the clients of package awssm fetch in its place, with that package's timeouts and
// retries, and in the region that an ARN names.
func source(c SecretsManagerAPIClient, made *secretsmanager.Client) secretcache.Source {
	if c == nil || c == SecretsManagerAPIClient(made) {
		return awssm.New()
	}
	return awssm.New(func(o *awssm.Options) { o.Client = single{c} })
}

// A single is a client for package awssm that does not fetch in batches.
type single struct{ SecretsManagerAPIClient }

func (single) BatchGetSecretValue(context.Context, *secretsmanager.BatchGetSecretValueInput, ...func(*secretsmanager.Options)) (*secretsmanager.BatchGetSecretValueOutput, error) {
	return nil, errors.ErrUnsupported
}

var (
	_ SecretsManagerAPIClient = (*secretsmanager.Client)(nil)
	_ awssm.Client            = single{}
)
