// Package driver connects to databases with credentials that it reads from
// secrets. A [Connector] is a [database/sql/driver.Connector]: for every new
// connection it takes host, port, database, user and password from the secret's
// JSON, and when the server rejects them because the secret was rotated, it reads
// the secret again and logs in once more.
//
// Most programs use one of the packages engines/<db> and [database/sql], and need
// this package for its [Options] and errors only.
//
// How a Connect call, the resolution that finds a working version, and the gate that
// holds logins back work together is drawn in docs/state-machine.md.
//
// The package depends on the standard library and on secretcache only; an
// [Engine] adapts a vendor's driver to it.
package driver
