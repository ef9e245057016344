// Package secretcache keeps secrets, such as passwords and API keys, in memory. A [Cache]
// stands between a program and the service that stores the secrets; that service is the
// [Source]. The cache asks the source once, no matter how many goroutines want the same
// secret. While it renews a secret, it serves the copy that it has. If the source fails, it
// goes on serving that copy for a bounded time.
//
// A program that only opens databases by the name of a secret does not need this package:
// the packages engines/<db> make a cache themselves. Use this package to set how long secrets
// are kept, to read them from another place, or to read secrets that are not for a database.
//
// The package needs the standard library only.
//
// # Secrets, versions and stages
//
// A secret has an id. In AWS Secrets Manager that is its name, such as "prod/app/db", or its
// Amazon Resource Name (ARN), which also says the region and the account. A name and an ARN
// of one secret share one entry of the cache.
//
// A rotation replaces the password in a secret. Each value that the secret had is a version,
// with a version id of its own. A version stage is a label that is on one version at a time:
// AWSCURRENT is on the version to use, AWSPREVIOUS on the one before it, and AWSPENDING on
// the one that a rotation is making. Callers ask for a stage, and an empty stage means
// AWSCURRENT.
//
// # Read a secret
//
// [New] makes a cache of a source. [Cache.Get] returns a [Secret], and [Secret.Reveal] its
// value; no printed form of a Secret shows the value. The example of the package has these
// steps. The caller who made a cache calls [Cache.Close] when nothing uses it any more.
// A Secret needs no closing, stays valid after that, and may be shared.
//
// # Choose a source
//
// The sources of this module are in packages of their own:
//
//   - secretcache/awssm asks the API of AWS Secrets Manager.
//   - secretcache/agent asks the Secrets Manager Agent or the Lambda extension on the same machine.
//   - secretcache/file reads files and environment variables, for example those of Kubernetes.
//
// [Chain] asks several sources in order until one has the secret. A source of your own is a
// func; see the example of New. To open a database with the secrets of such a cache, set
// Options.Secrets of package driver. The connector does not close the cache.
//
// # How long a secret is served
//
// With the defaults of [Options]:
//
//   - Younger than its time to live (TTL): Get returns the cached copy. The TTL is drawn from
//     30 to 60 min at each fetch.
//   - Older than that: Get returns the cached copy, and one fetch in the background renews it.
//   - 2 h or older: Get first waits for that fetch, for up to 1 s.
//   - Older than 25 h, which is TTL + MaxStale: Get does not serve the copy any more. It waits for
//     the fetch, and returns its error if the fetch fails.
//
// The ages 2 h and 25 h are counted with Options.TTL, not with the drawn time. Any error of the
// source counts as a failure: with the defaults the copy of a secret that was deleted, or that
// the program may no longer read, is served for up to 25 h. Options.StopOn changes that.
//
// After a fetch that failed, the cache does not ask the source again for 1 s, then 2 s,
// doubling up to 55 s. During this pause Get returns the cached copy, or the error of that
// fetch if there is no copy to serve. [Cache.Read] also tells whether the source fails and
// until when the copy is served.
//
// # When the cached copy may be wrong
//
//   - A server rejected the password: call [Cache.Refresh]. It fetches a newer version.
//   - The database cannot be reached and may have moved: call [Cache.Recheck]. It fetches, but rarely.
//   - A message says that the secret has changed: call [Cache.Invalidate]. The next Get fetches.
//
// # More
//
// [Cache.Prefetch] fetches many secrets before they are needed. [Trace] and [Cache.Stats]
// show what the cache does. A [Hook] keeps values encrypted in memory.
//
// # Errors
//
// Match them with [errors.Is]: [ErrNotFound], [ErrNoVersion], [ErrAccessDenied] and
// [ErrThrottled] come from the source, and [ErrClosed] after Close. If the caller's context ends
// first, the error matches [context.DeadlineExceeded] or [context.Canceled], and says why the
// last attempt failed. No error holds a value.
package secretcache
