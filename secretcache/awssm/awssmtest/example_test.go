package awssmtest_test

import (
	"context"
	"fmt"

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
