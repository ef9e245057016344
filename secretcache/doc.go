// Package secretcache keeps secrets in memory between the calls that need them
// and the service that holds them. A [Cache] asks a [Source] once, however many
// goroutines want the same secret, serves what it has while it renews, and goes
// on serving it for a bounded time when the source is down.
//
// The package depends on the standard library only. Sources are in packages of
// their own: secretcache/awssm fetches from AWS Secrets Manager.
package secretcache
