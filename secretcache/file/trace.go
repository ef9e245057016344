package file

import (
	"io/fs"
	"os"
)

// A Trace is a set of funcs that a [Source] calls as it works. Each may be nil. They are
// called by the goroutine that called Fetch, without locks held, possibly from several
// goroutines at once. The fetches themselves are events of [secretcache.Trace].
type Trace struct {
	// Permissions is called for a file or directory of secrets that users other than its
	// owner may read or change. The file is read nevertheless: mounts of Kubernetes and Docker are
	// open to all users in their container, and must be so if the container does not run
	// as root. Permissions is called once for each path and mode. It is not called on
	// Windows and Plan 9, where a mode does not hold the permissions.
	Permissions func(PermissionsInfo)

	// Skipped is called for a file or directory in a directory of keys that is not part of the
	// secret. It is not called for names that begin with a dot. It is called once for each
	// path and reason.
	Skipped func(SkippedInfo)
}

// PermissionsInfo describes a file or directory with permissions for more users than its
// owner. For a file, every permission of the group or of others counts. For a directory, only
// the permission to write counts, unless the sticky bit is set: a user who has it can
// replace the file of the secret. For a symbolic link, the permissions of its target count.
type PermissionsInfo struct {
	Path string // as it was given, links not resolved; "$NAME/…" if a variable holds the path
	Mode fs.FileMode
}

// SkippedInfo describes a file or directory that is not part of a secret.
type SkippedInfo struct {
	Path   string // as in PermissionsInfo
	Reason string
}

func wideFile(at place, fi fs.FileInfo) []any { return wide(at, fi, 0o077) }

func wideDir(at place, root *os.Root) []any {
	fi, err := root.Stat(".")
	if err != nil || fi.Mode()&fs.ModeSticky != 0 {
		return nil
	}
	return wide(at, fi, 0o022)
}

func wide(at place, fi fs.FileInfo, bits fs.FileMode) []any {
	if !modeBits || fi.Mode().Perm()&bits == 0 {
		return nil
	}
	return []any{PermissionsInfo{at.shown, fi.Mode()}}
}

// report calls the Trace for events that it was not called for before.
func (s *Source) report(events []any) {
	for _, e := range events {
		s.mu.Lock()
		_, done := s.traced[e]
		s.traced[e] = struct{}{}
		s.mu.Unlock()
		if done {
			continue
		}
		switch e := e.(type) {
		case PermissionsInfo:
			if s.trace.Permissions != nil {
				s.trace.Permissions(e)
			}
		case SkippedInfo:
			if s.trace.Skipped != nil {
				s.trace.Skipped(e)
			}
		}
	}
}
