//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd || solaris || illumos

package gosqldriver

// hasConnCheck says that the driver looks at a socket before it is used again: the
// systems are those of conncheck.go in go-sql-driver/mysql v1.10.1. On the others its
// connCheck does nothing, and nobody asks a netConn.
const hasConnCheck = true
