// Package awscaching has the API of AWS's own caching client for Go,
// github.com/aws/aws-secretsmanager-caching-go/v2/secretcache, over
// [secretcache.Cache]. A program changes one import and keeps its code:
//
//	import secretcache "github.com/sqlsecrets/sqlsecrets/secretcache/awscaching"
//
// What it loses are that client's faults: a RefreshNow that sleeps, panics, an
// error of one caller's context that others get, and a second API call. What it
// gains is in package secretcache: one fetch for all who wait, renewal in the
// background, secrets that are served while the service is down.
//
// # What is different
//
// GetSecretValue is the only call and secretsmanager:GetSecretValue the only
// permission: the version is asked for by its stage, and DescribeSecret is never
// called. So a [CacheHook] sees GetSecretValue's output only.
//
// A secret older than CacheItemTTL is returned while a fetch in the background
// renews it; one older than twice that only after the fetch had up to a second.
// While the service fails, a secret is served for 24 h past its TTL. A fetch that
// failed is not repeated for 1 s, then 2 s, up to 55 s.
//
// CacheConfig.VersionStage is the default of every getter, and zero fields of
// CacheConfig are the defaults. docs/awscaching.md has the whole list.
//
// # Errors
//
// Those that are no [InvalidConfigError], [InvalidOperationError] or
// [VersionNotFoundError] are of package awssm: errors.As finds the service's
// (*types.ResourceNotFoundException, smithy.APIError) and what a client of the
// program's own returned, and errors.Is secretcache.ErrNotFound and its like.
package awscaching
