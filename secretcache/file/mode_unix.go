//go:build unix

package file

import "syscall"

const (
	// nonblock keeps the opening of a named pipe from waiting for a writer.
	nonblock = syscall.O_NONBLOCK
	// modeBits says that a file's mode has the permissions of group and others.
	modeBits = true
)
