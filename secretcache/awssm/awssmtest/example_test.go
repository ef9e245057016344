package awssmtest_test

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm/awssmtest"
)

func ExampleNewServer() {
	ctx := context.Background()
	server := awssmtest.NewServer(nil) // in a test: NewServer(t), which closes itself
	defer server.Close()
	server.Put("prod/app/db", `{"username":"app","password":"first"}`)

	source := server.Source()
	secret, err := source.Fetch(ctx, "prod/app/db", secretcache.StageCurrent)
	fmt.Println(secret.Name(), secret.Stages(), err)

	server.Put("prod/app/db", `{"username":"app","password":"second"}`)
	secret, err = source.Fetch(ctx, "prod/app/db", "AWSPREVIOUS")
	fmt.Println(secret.Name(), secret.Stages(), err)

	server.Fail(awssmtest.Denied)
	_, err = source.Fetch(ctx, "prod/app/db", secretcache.StageCurrent)
	fmt.Println(err)
	fmt.Println(server.Calls("GetSecretValue"), "calls")
	// Output:
	// prod/app/db [AWSCURRENT] <nil>
	// prod/app/db [AWSPREVIOUS] <nil>
	// GetSecretValue "prod/app/db" in us-west-2: access to the secret denied: AccessDeniedException: User: arn:aws:sts::123456789012:assumed-role/app/session is not authorized to perform: secretsmanager:GetSecretValue on resource: prod/app/db because no identity-based policy allows the secretsmanager:GetSecretValue action
	// 3 calls
}

// A rotation, as in the service: the server calls the function for each of the four steps.
func ExampleServer_Rotate() {
	ctx := context.Background()
	server := awssmtest.NewServer(nil)
	defer server.Close()
	server.Put("prod/app/db", `{"username":"app","password":"first"}`)
	database := map[string]string{"app": "first"} // users and their passwords

	server.SetRotation(func(_ context.Context, e awssmtest.RotationEvent) error {
		fmt.Println(e.Step)
		switch e.Step {
		case awssmtest.CreateSecret:
			server.PutVersion(e.SecretID, e.ClientRequestToken, `{"username":"app","password":"second"}`, "AWSPENDING")
		case awssmtest.SetSecret:
			database["app"] = "second"
		case awssmtest.TestSecret:
			// log in with AWSPENDING
		case awssmtest.FinishSecret:
			server.MoveStage(e.SecretID, "AWSCURRENT", e.ClientRequestToken)
		}
		return nil
	})
	version, err := server.Rotate(ctx, "prod/app/db")
	fmt.Println(server.Stages("prod/app/db")["AWSCURRENT"] == version, err)
	// Output:
	// createSecret
	// setSecret
	// testSecret
	// finishSecret
	// true <nil>
}

// Faults make requests fail. A fault applies to all requests, unless its methods limit it.
func ExampleServer_Fail() {
	ctx := context.Background()
	server := awssmtest.NewServer(nil)
	defer server.Close()
	server.Put("prod/app/db", `{"username":"app","password":"first"}`)
	source := server.Source()

	// The source tries again after these two.
	server.Fail(awssmtest.Unavailable.Times(1))
	_, err := source.Fetch(ctx, "prod/app/db", "")
	fmt.Println(err)
	server.Fail(awssmtest.Delay(10 * time.Millisecond).Op("GetSecretValue").Times(1))
	_, err = source.Fetch(ctx, "prod/app/db", "")
	fmt.Println(err)

	server.Fail(awssmtest.Error(http.StatusBadRequest, "DecryptionFailure", "the key is disabled").Secret("prod/app/db"))
	_, err = source.Fetch(ctx, "prod/app/db", "")
	fmt.Println(err != nil)
	server.Heal()
	server.Fail(awssmtest.Answer(http.StatusForbidden, "<html>a proxy</html>"))
	_, err = source.Fetch(ctx, "prod/app/db", "")
	fmt.Println(err != nil)
	// Output:
	// <nil>
	// <nil>
	// true
	// true
}
