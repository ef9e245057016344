// Package awssm is the [secretcache.Source] that fetches secrets from the API of AWS Secrets
// Manager.
//
// A program that only opens databases does not need this package: the packages engines/<db>
// use it by default. Use it to set the options of the source in code, or to read secrets that
// are not for a database. [New] makes a source, and a [secretcache.Cache] keeps what it
// fetches; the example of New has both. A Source needs no closing. To open a database with
// it, set Options.Secrets of package driver to the cache.
//
// # Permissions and configuration
//
// The source needs one permission, secretsmanager:GetSecretValue, and also kms:Decrypt for a
// secret that is encrypted with a customer managed key. FetchBatch uses
// secretsmanager:BatchGetSecretValue where that is allowed.
//
// Credentials, regions, endpoints and roles are those of the AWS SDK's own configuration, such
// as AWS_REGION and AWS_PROFILE. [Options] change them in code. How to set each of them
// without code, and what is signed and sent, is in
// https://github.com/sqlsecrets/sqlsecrets/blob/main/docs/aws.md.
//
// This is the only package that imports the AWS SDK to read secrets. Two other packages of the
// module import it because their API has the SDK's types in it: awscaching and awssmtest.
//
// # Retries
//
// A Source retries by itself and switches the SDK's retries off, so that one place knows how
// many calls are made and how much time is left. One Fetch makes at most Options.MaxAttempts
// calls in each region that it tries. It retries after
//
//   - throttling;
//   - the statuses 500, 502, 503 and 504;
//   - connections that break, and answers that cannot be read;
//   - attempts without an answer within Options.AttemptTimeout.
//
// If a fetch fails in a region for one of the first three reasons, each fetch in the next two
// minutes makes one attempt there, until the region answers again. The cache's next fetch is
// then the retry. This way an outage gets a third of the calls: one attempt and not three.
// After a fetch without an answer, fetches still make all attempts, because one bad connection
// may be the reason.
//
// The SDK's retry quota is not used. After some failures it makes calls fail with "failed to
// get rate limit token", and that hides what is wrong with the service.
//
// # How long a fetch takes
//
// A [secretcache.Cache] gives up a fetch after its FetchTimeout, 10 s by default. Without a
// deadline in the context, a fetch in one region takes at most about 6 s with the defaults
// (three attempts of 2 s). Loading the SDK's configuration takes at most 10 s more, and getting
// credentials at most 1 min more.
//
// # Connections
//
// Every request has a new connection. Secrets are fetched hours apart, and after such a time an
// idle connection often no longer works: a firewall has forgotten it, or a Lambda function
// was frozen. Also, the buffers of an idle connection hold the last answer, which is a secret,
// and net/http writes data that arrives on an idle connection to the standard logger. If
// Options.Config has an *http.Client as its HTTPClient, that client decides whether to keep
// connections. HTTP proxies are those of HTTPS_PROXY and NO_PROXY.
//
// # Credentials
//
// The credentials are those of the SDK's configuration. An error while they are fetched
// begins with "get AWS credentials from" and the place, such as "the EC2 instance metadata". The
// credentials are the same in all regions, so after such an error no other region is asked.
//
// A fetch waits for credentials for 8 s, or for 4/5 of the time until its deadline if that is
// longer. With the cache's default of 10 s, 2 s are left for the call. Without a deadline the
// fetch waits for up to 1 min. [Source.RDSToken] signs tokens for logins to databases of Amazon
// RDS with the same credentials.
//
// # Errors
//
// Every error is an [*Error]. It matches the sentinel errors of package secretcache:
//
//	ErrNotFound      ResourceNotFoundException "… can't find the specified secret.",
//	                 InvalidRequestException for a secret marked for deletion
//	ErrNoVersion     ResourceNotFoundException "… can't find the specified secret value for …"
//	ErrAccessDenied  AccessDeniedException, DecryptionFailure
//	ErrThrottled     ThrottlingException and the SDK's other codes for throttling, status 429
//
// Errors that say nothing about the secret match none of them. Examples are credentials that
// are missing, expired or wrong, and an unknown region. If the service answered,
// [errors.As] finds its error (*types.ResourceNotFoundException, [smithy.APIError] with a code
// such as "ExpiredTokenException"), and the status and request id of the response
// (*http.ResponseError of the SDK, without the body and the request). It also finds network
// errors and the error of the caller's context. Everything else in the SDK's errors is dropped,
// for example the snapshot of a body that did not parse, because it may hold the secret.
package awssm
