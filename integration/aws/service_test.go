//go:build aws

package aws_test

import (
	"context"
	"database/sql"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	_ "github.com/sqlsecrets/sqlsecrets/engines/all"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm/awssmtest"
)

// The service gives the same answers as awssmtest. The test makes the secret that it needs, and
// deletes it at the end.
func TestSecretsManager(t *testing.T) {
	cfg, err := config.LoadDefaultConfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	compare(t, run(t, cfg), run(t, awssmtest.NewServer(t).Config()))
}

// No query fails while the secret of an RDS instance rotates. SQLSECRETS_AWS_SECRET names the
// secret. Its rotation has to be set up, and the instance has to be reachable from here. The test
// rotates it once.
func TestRotationOnRDS(t *testing.T) {
	id := os.Getenv("SQLSECRETS_AWS_SECRET")
	if id == "" {
		t.Skip("SQLSECRETS_AWS_SECRET does not name a secret")
	}
	cfg, err := config.LoadDefaultConfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("secretsmanager", id)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetConnMaxLifetime(time.Second)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := db.PingContext(t.Context()); err != nil {
					t.Errorf("Ping: %v", err)
				}
				time.Sleep(100 * time.Millisecond)
			}
		})
	}
	api := secretsmanager.NewFromConfig(cfg)
	out, err := api.RotateSecret(t.Context(), &secretsmanager.RotateSecretInput{SecretId: &id})
	if err != nil {
		t.Error(err)
	} else {
		waitForRotation(t, api, id, aws.ToString(out.VersionId))
		time.Sleep(10 * time.Second) // for connections with the new password
	}
	stop()
	wg.Wait()
}

// waitForRotation waits until a version is the current one.
func waitForRotation(t *testing.T, api *secretsmanager.Client, id, version string) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); time.Now().Before(deadline); time.Sleep(2 * time.Second) {
		out, err := api.GetSecretValue(t.Context(), &secretsmanager.GetSecretValueInput{SecretId: &id})
		if err == nil && aws.ToString(out.VersionId) == version {
			return
		}
	}
	t.Errorf("version %s of %s is not current after 5 minutes", version, id)
}
