// Package agent is the [secretcache.Source] that reads secrets from a server of AWS on the same
// machine: the AWS Secrets Manager Agent (from its version 3 on named AWS Workload Credentials
// Provider), or the AWS Parameters and Secrets Lambda Extension. Such a server has the
// credentials for Secrets Manager, keeps secrets in memory, and returns them over HTTP on the
// loopback interface to programs that know a token. The package needs the standard library
// only, so a program that uses it links no AWS SDK.
//
// Use it if the agent or the extension runs beside the program. [New] makes a source for the
// agent, [NewExtension] one for the extension, and a [secretcache.Cache] keeps what they
// return; see the example of New. A Source needs no closing. A program that only opens
// databases can also choose the agent without code: with the key source=agent of a data source
// name, or with SQLSECRETS_SOURCE=agent in the environment. How to install both servers is in
// https://github.com/sqlsecrets/sqlsecrets/blob/main/docs/agent.md.
//
// # Two caches
//
// Both servers keep a secret for 300 s by default. The time that a [secretcache.Cache] keeps
// it adds to that.
//
// The agent can be asked to bypass its cache, and FetchFresh does that. So a new version is
// found as soon as a database rejects the old one. The extension cannot bypass its cache, and
// FetchFresh returns [errors.ErrUnsupported]. A new version is then found when the
// extension's copy expires. To find it at once, use [secretcache.Chain] with the API as the
// second source.
//
// # Retries
//
// A fetch waits for a server that is not there yet: one that refuses connections or says that
// it is not ready, or whose token file is missing or empty. See Options.StartTimeout.
//
// A fetch makes up to Options.MaxAttempts attempts after
//
//   - too many requests or connections (status 429, ThrottlingException);
//   - statuses of 500 and more, broken connections, answers that cannot be read;
//   - attempts without an answer within Options.AttemptTimeout.
//
// After a fetch that failed for a reason in the first two lines, each fetch in the next two
// minutes makes one attempt, until the server answers again.
//
// If the server does not accept the token, the source reads the token again, and sends it if it has
// changed. After all other errors there is no retry. Pauses are random.
//
// # Connections
//
// Every request has a new connection. The agent closes a connection after 61 s. If the agent
// had too many connections when it accepted one, it answers all requests on it with an
// error, even later. And a Lambda function may be frozen between two requests. A new
// connection over loopback takes about 0.1 ms. The source uses no proxy, even if HTTP_PROXY is
// set, and follows no redirect.
//
// # Errors
//
// Every error is an [*Error]. It matches the sentinel errors of package secretcache:
//
//	ErrNotFound      ResourceNotFoundException "… can't find the specified secret.",
//	                 InvalidRequestException for a secret marked for deletion
//	ErrNoVersion     ResourceNotFoundException "… can't find the specified secret value for …"
//	ErrAccessDenied  AccessDeniedException, DecryptionFailure, a role that cannot be assumed
//	ErrThrottled     ThrottlingException, status 429
//
// Other errors say nothing about the secret and match none of them, so a [secretcache.Chain]
// asks its next source. Examples are an agent whose own credentials have expired, and a token
// that is not accepted (Error.Status is then 401 or 403). All errors of the extension about a
// secret are of this kind, because it has one text for all reasons: through the extension a
// missing secret is never ErrNotFound.
//
// [errors.As] finds network errors and the error of the caller's context. An error quotes no
// part of an answer except the text of an exception.
package agent
