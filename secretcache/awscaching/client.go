package awscaching

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm"
)

// SecretsManagerAPIClient is what a client of the program's own has to implement,
// as *secretsmanager.Client does. A [Cache] calls GetSecretValue only.
type SecretsManagerAPIClient interface {
	GetSecretValue(ctx context.Context, params *secretsmanager.GetSecretValueInput, optFns ...func(*secretsmanager.Options)) (*secretsmanager.GetSecretValueOutput, error)
	CreateSecret(ctx context.Context, params *secretsmanager.CreateSecretInput, optFns ...func(*secretsmanager.Options)) (*secretsmanager.CreateSecretOutput, error)
	DeleteSecret(ctx context.Context, params *secretsmanager.DeleteSecretInput, optFns ...func(*secretsmanager.Options)) (*secretsmanager.DeleteSecretOutput, error)
	DescribeSecret(ctx context.Context, params *secretsmanager.DescribeSecretInput, optFns ...func(*secretsmanager.Options)) (*secretsmanager.DescribeSecretOutput, error)
	ListSecrets(ctx context.Context, params *secretsmanager.ListSecretsInput, optFns ...func(*secretsmanager.Options)) (*secretsmanager.ListSecretsOutput, error)
	UpdateSecret(ctx context.Context, params *secretsmanager.UpdateSecretInput, optFns ...func(*secretsmanager.Options)) (*secretsmanager.UpdateSecretOutput, error)
}

// source returns the source of secrets for a client. made is the client that New
// made, which fetches nothing: package awssm's own do, with its time-outs, its
// retries and the region that an ARN names.
func source(c SecretsManagerAPIClient, made *secretsmanager.Client) secretcache.Source {
	if c == nil || c == SecretsManagerAPIClient(made) {
		return awssm.New()
	}
	return awssm.New(func(o *awssm.Options) { o.Client = single{c} })
}

// A single is a client as package awssm wants it, without batches.
type single struct{ SecretsManagerAPIClient }

func (single) BatchGetSecretValue(context.Context, *secretsmanager.BatchGetSecretValueInput, ...func(*secretsmanager.Options)) (*secretsmanager.BatchGetSecretValueOutput, error) {
	return nil, errors.ErrUnsupported
}

var (
	_ SecretsManagerAPIClient = (*secretsmanager.Client)(nil)
	_ awssm.Client            = single{}
)
