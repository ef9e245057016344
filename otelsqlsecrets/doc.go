// Package otelsqlsecrets sends metrics and spans of sqlsecrets to OpenTelemetry. It shows how long
// new connections take, when the password of a database rotates, and when a secret cannot be read.
//
// You need this package only if your program already uses OpenTelemetry. A program that writes logs
// gets the most important events from [driver.Options.Logger], without this package.
//
// # Start
//
// Set the global meter provider and tracer provider first, as for every program with OpenTelemetry.
// Then call [New] and give its traces to the library. For a program that calls [database/sql.Open],
// the traces are a part of the defaults of package [github.com/sqlsecrets/sqlsecrets/engines]. The
// package example has the whole program.
//
//	o, err := otelsqlsecrets.New(nil)
//	…
//	err = engines.SetDefaults(engines.Defaults{
//		Logger: logger,
//		Trace:  o.ConnectorTrace(),
//		Cache:  secretcache.Options{Trace: o.CacheTrace()},
//	})
//
// Call engines.SetDefaults once, before the first connection, with all your defaults: each call
// replaces what an earlier call set. A program that makes its own connectors and caches gives the
// same traces to [driver.Options] and [secretcache.Options] instead.
//
// A connector has one trace. If your program has a trace of its own, see the example of
// [Instrumentation.ConnectorTrace], which adds a func to the trace.
//
// # Counts of the cache
//
// The traces do not show the reads that the cache answers. [Instrumentation.ObserveCache] adds their
// counts. Call it after engines.SetDefaults, because engines.Cache makes the cache, and the defaults
// cannot change after that. Each location of secrets has a cache of its own, for example each region.
// Call ObserveCache once for each cache, with an attribute that names the cache.
//
// # Metrics
//
// A duration is a histogram, and its unit is the second. The metrics are recorded whether the
// context has a span or not. "id" in this list means "sqlsecrets.secret.id" or
// "aws.secretsmanager.secret.arn"; the next section explains both.
//
//   - db.client.connection.create_time is the duration of a Connect call: one call of
//     [driver.Connector.Connect], in which database/sql opens one connection. The name is OpenTelemetry's, see
//     https://opentelemetry.io/docs/specs/semconv/db/database-metrics/.
//     Attributes: id, error.type.
//   - sqlsecrets.login.duration is the duration of one login. The outcome is accepted, rejected (the
//     server did not accept the user or the password) or failed (any other error).
//     Attributes: id, sqlsecrets.secret.stage, sqlsecrets.outcome, server.address, server.port,
//     error.type.
//   - sqlsecrets.refresh.duration is the duration of one refresh: after a rejection, the library reads
//     the secret again. The outcome is found (another version), unchanged, no_version (no version has
//     the stage) or failed.
//     Attributes: id, sqlsecrets.secret.stage, sqlsecrets.outcome, error.type.
//   - sqlsecrets.fetch.duration is the duration of one call of the source, for example AWS Secrets
//     Manager. The outcome is changed, unchanged, no_version or failed.
//     Attributes: id, sqlsecrets.secret.stage, sqlsecrets.outcome, error.type.
//   - sqlsecrets.secret.stale is a counter with the unit {read}. It counts the reads in which a Connect
//     call got a secret older than its TTL, because the source failed.
//     Attributes: id, sqlsecrets.secret.stage.
//   - sqlsecrets.cache.requests is a counter with the unit {read}. It counts the reads of the cache by
//     "sqlsecrets.cache.result": hit, stale or miss. It needs ObserveCache.
//     Attributes: sqlsecrets.cache.result, and those given to ObserveCache.
//   - sqlsecrets.cache.secrets is a gauge with the unit {secret}: how many secrets the cache keeps. It
//     needs ObserveCache.
//     Attributes: those given to ObserveCache.
//
// # Attributes
//
// All metrics and spans have the attributes in [Options].
//
//   - "aws.secretsmanager.secret.arn" is the secret's id, if the data source name has an ARN.
//   - "sqlsecrets.secret.id" is the secret's id, if the data source name has the secret's name.
//   - "sqlsecrets.secret.stage" is the version stage, such as AWSCURRENT or AWSPENDING.
//   - "sqlsecrets.secret.version" is the id of the version. Only spans have it, because each rotation adds
//     a value.
//   - "sqlsecrets.logins" is how many logins a Connect call sent. Only the span of a Connect call has it.
//   - "server.address" and "server.port" are the database's host and port. A list of hosts or a Unix
//     socket is a server.address without a server.port.
//   - "error.type" is set if the event failed. Its values are auth_failed, malformed_secret,
//     engine_mismatch, bad_dsn, secret_not_found, no_version, access_denied, throttled, cache_closed,
//     timeout, canceled, and _OTHER for every other error. A rejected login has auth_failed.
//
// # Spans
//
// A Connect call is a span named sqlsecrets.connect. Inside it, each login, refresh and fetch is a
// span: sqlsecrets.login, sqlsecrets.refresh and sqlsecrets.fetch. There is a span only if the
// call's context has a span that is recorded. [database/sql] passes the context of a query, a Ping
// and so on to the Connect call that it needs. It has no such context when it opens a connection in
// the background, which happens when a query has to wait because of
// [database/sql.DB.SetMaxOpenConns]. Those Connect calls are in the metrics only.
package otelsqlsecrets
