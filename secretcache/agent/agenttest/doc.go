// Package agenttest is a Secrets Manager Agent and a Parameters and Secrets Lambda Extension in
// process, for tests and demos. [NewServer] starts an agent and [NewExtension] an extension. They
// get their secrets from any [secretcache.Source], for example from a server of package
// awssmtest, and speak HTTP on the loopback interface. With Options.InMemory they work in a
// [testing/synctest] bubble.
//
// [Server.Source] returns a source of package agent that asks the server; the example of
// NewServer puts a cache before it. To open a database, set Options.Secrets of package driver to
// that cache. [Server.Fail] makes requests fail, [Server.Heal] ends that, and
// [Server.Requests] shows the requests that came.
//
// # What is as in the real servers
//
// The agent follows the source of the real agent (aws/aws-secretsmanager-agent, Apache License
// 2.0):
//
//   - It checks a request in the same order, and has the same parameters, texts and statuses.
//   - Its cache tells ids, versions and stages apart by their spelling. It serves expired secrets
//     while the service fails, but not while the service throttles. It is empty after a restart.
//   - It counts a connection when it accepts it, and closes it after 61 s.
//
// The extension follows recorded answers, because its source is not public. What the real
// extension does with a parameter that it does not know is unknown; this one ignores it.
//
// # What is different
//
//   - An expired version is fetched again. The real agent calls DescribeSecret first.
//   - The cache has no bound, and nothing is prefetched.
//   - The servers need no AWS credentials: the Source decides what it needs.
//   - There is no Parameter Store.
package agenttest
