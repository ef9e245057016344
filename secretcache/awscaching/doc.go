// Package awscaching has the API of AWS's own caching client for Go,
// github.com/aws/aws-secretsmanager-caching-go/v2/secretcache, on top of [secretcache.Cache].
// It is for programs that use that client: they change one import and keep their code. New
// programs should use package secretcache.
//
//	import secretcache "github.com/sqlsecrets/sqlsecrets/secretcache/awscaching"
//
// [New] makes a [Cache], and [Cache.GetSecretString] returns the text of a secret; the example
// of the package has both. A Cache needs no closing. The guide for the move, with a list of all
// differences, is https://github.com/sqlsecrets/sqlsecrets/blob/main/docs/awscaching.md.
//
// AWS's client has faults that this package does not have: RefreshNow sleeps, some inputs cause
// a panic, the error of one caller's context goes to other callers, and each fetch makes a
// second API call. Package secretcache adds one fetch for all callers that wait, renewal in the
// background, and secrets that are served while the service is down.
//
// # What is different
//
// GetSecretValue is the only API call, and secretsmanager:GetSecretValue the only permission.
// The cache asks for a version by its stage and never calls DescribeSecret. So a [CacheHook]
// gets only the output of GetSecretValue.
//
// A secret older than CacheItemTTL is returned while a fetch in the background renews it. If it
// is older than twice that, the getter first waits for the fetch, for up to 1 s. While the
// service fails, a secret is served for 24 h after its TTL. After a fetch that failed, there is
// a pause of 1 s, then 2 s, doubling up to 55 s, before the next fetch.
//
// CacheConfig.VersionStage is the default of every getter. Zero fields of CacheConfig mean the
// defaults.
//
// # Errors
//
// Errors are an [InvalidConfigError], an [InvalidOperationError], a [VersionNotFoundError], or
// an error of package awssm. In an error of package awssm, errors.As finds the service's error
// (*types.ResourceNotFoundException, smithy.APIError) or the error that the program's own
// client returned. errors.Is matches the errors of package secretcache, such as ErrNotFound.
package awscaching
