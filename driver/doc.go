// Package driver connects to databases with credentials that it reads from
// secrets. A [Connector] is a [database/sql/driver.Connector]: for every new
// connection it takes host, port, database, user and password from the secret's
// JSON, and when the server rejects them because the secret was rotated, it reads
// the secret again and logs in once more.
//
// Most programs use one of the packages engines/<db> and [database/sql], and need
// this package for its [Options] and errors only.
//
// The package depends on the standard library and on secretcache only; an
// [Engine] adapts a vendor's driver to it.
package driver
