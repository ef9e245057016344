// Package otelsqlsecrets tells OpenTelemetry what sqlsecrets does: metrics and spans of Connect
// calls, logins, refreshes and fetches, and the counts of caches.
//
// A program that only calls [database/sql.Open] needs it once, before its first connection:
//
//	o, err := otelsqlsecrets.New(nil)
//	…
//	err = engines.SetDefaults(engines.Defaults{Trace: o.ConnectorTrace(), Cache: secretcache.Options{Trace: o.CacheTrace()}})
//
// # Metrics
//
// All durations are histograms in seconds.
//
//   - db.client.connection.create_time: Connect calls. The name is OpenTelemetry's, see
//     https://opentelemetry.io/docs/specs/semconv/db/database-metrics/.
//   - sqlsecrets.login.duration: logins, by "sqlsecrets.outcome": accepted, rejected, failed.
//   - sqlsecrets.refresh.duration: readings of the secret after a rejection, by outcome: found,
//     unchanged, no_version, failed.
//   - sqlsecrets.fetch.duration: calls of the source, by outcome: changed, unchanged, no_version,
//     failed.
//   - sqlsecrets.secret.stale: how often a Connect call got a secret that is older than its TTL
//     because the source failed.
//   - sqlsecrets.cache.requests, by "sqlsecrets.cache.result": hit, stale, miss; and
//     sqlsecrets.cache.secrets, the secrets kept. They need [Instrumentation.ObserveCache].
//
// # Attributes
//
// "aws.secretsmanager.secret.arn" is the id in the data source name if that is an ARN, and
// "sqlsecrets.secret.id" if it is a name; "sqlsecrets.secret.stage" a staging label;
// "server.address" and "server.port" the database's; "error.type" the condition of an error,
// such as auth_failed. Versions are attributes of spans only: their number grows.
//
// # Spans
//
// A Connect call is a span, and logins, refreshes and fetches are spans in it. There is none
// where the call's context has no span: a pool that connects in the background makes no traces
// of its own.
package otelsqlsecrets
