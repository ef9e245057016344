// Package awssmtest is an AWS Secrets Manager in process, for tests and demos. It speaks the
// service's protocol (AWS JSON 1.1) over HTTP on the loopback interface, so clients of AWS's
// SDKs can use it as well as package awssm.
//
// # Test a program
//
// [NewServer] starts a server, and [Server.Put] stores a secret. There are two ways to open a
// database with the secrets of the server:
//
//   - The program takes driver.Options: set Secrets to secretcache.New(server.Source(), nil).
//     The program examples/repository does this.
//   - The program only calls sql.Open: set the environment variable
//     AWS_ENDPOINT_URL_SECRETS_MANAGER to [Server.URL], AWS_REGION to [Region], and
//     AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to any text. The process reads them once. If
//     each test has a server of its own, put the URL into the data source name as the parameter
//     endpoint.
//
// [Server.Fail] makes requests fail, and [Server.Heal] ends that. [Server.Requests] and
// [Server.Calls] show the requests that came.
//
// # Rotate a secret
//
// In AWS, a rotation is a Lambda function that the service calls four times, once for each step:
//
//  1. [CreateSecret]: make a new password, and store it as a version with the stage AWSPENDING.
//  2. [SetSecret]: change the password in the database.
//  3. [TestSecret]: log in with the new password.
//  4. [FinishSecret]: move the stage AWSCURRENT to the new version.
//
// [Server.SetRotation] sets such a function, and [Server.Rotate] rotates; see its example.
//
// # What is as in the service
//
//   - Version stages. A new AWSCURRENT makes the version that had it AWSPREVIOUS. A stage is on one
//     version at a time. RotateSecret puts AWSPENDING on a version without a value.
//   - Idempotency by ClientRequestToken, and errors with their texts.
//   - The limits: 65,536 bytes for a value, 20 stages on a secret, 100 versions. Above 100, versions
//     without a stage are dropped, the oldest first. The service keeps those that are younger than a
//     day; this server does not.
//   - Ids. A secret is found by its name, by its ARN, and by the ARN without its suffix of six
//     characters. An ARN is not found if the request is signed for another region.
//
// # What is different
//
//   - Signatures are not verified. A request must be signed for Secrets Manager with AWS Signature
//     Version 4, and the server takes the region from the signature. Every access key is accepted.
//   - Every secret is in all regions at once, unless [Server.FreezeReplica] stops that for
//     a region. It can be changed in its own region only. The regions of its replicas are stored and
//     returned, but have no other effect.
//   - KMS keys and the rules of a rotation schedule are stored and returned. Nothing is encrypted
//     with the keys, and no secret is rotated by the rules.
//   - BatchGetSecretValue takes a list of ids and no filters. ListSecrets filters by name,
//     description and tags.
//   - There are no policies.
//
// For an operation, a parameter or a filter that the server does not have, it answers with an
// error that names awssmtest.
package awssmtest
