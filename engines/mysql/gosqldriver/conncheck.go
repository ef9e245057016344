//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd || solaris || illumos

package gosqldriver

// hasConnCheck says that the driver checks a socket before it uses the connection again. The
// systems are those of conncheck.go in go-sql-driver/mysql v1.10.1. On other systems connCheck does
// nothing, so a netConn has no effect.
const hasConnCheck = true
