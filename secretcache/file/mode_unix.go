//go:build unix

package file

import "syscall"

const (
	// nonblock makes opening a named pipe return at once, without waiting for a writer.
	nonblock = syscall.O_NONBLOCK
	// modeBits says that a file's mode holds the permissions of the group and of others.
	modeBits = true
)
