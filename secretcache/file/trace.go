package file

import (
	"io/fs"
	"os"
)

// A Trace is a set of funcs that a [Source] calls as it works; each may be nil. They
// are called by the goroutine of the fetch, without locks held, possibly from several
// at once. The fetches themselves are events of [secretcache.Trace].
type Trace struct {
	// Permissions is called for a file or directory of secrets that is open to others
	// than its owner. It is read nevertheless: mounts of Kubernetes and Docker are open
	// to all of their container, and need to be where it does not run as root. It is
	// called once for each path and mode, and not on Windows and Plan 9, whose
	// permissions are not in a mode.
	Permissions func(PermissionsInfo)

	// Skipped is called for what is in a directory of keys and is not in the secret;
	// not for names that begin with a dot. It is called once for each path and reason.
	Skipped func(SkippedInfo)
}

// PermissionsInfo describes permissions that are wider than the owner's: of a file,
// any of the group's or others'; of a directory, that of writing, unless its sticky
// bit is set, for who has it may put another file in the place of the secret. Links
// have no permissions of their own, those of the file behind count.
type PermissionsInfo struct {
	Path string // as it was given, with a link unresolved; "$NAME/…" if a variable holds it
	Mode fs.FileMode
}

// SkippedInfo says what was left out of a secret.
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

// report calls the Trace for what it has not been told.
func (s *Source) report(events []any) {
	for _, e := range events {
		s.mu.Lock()
		_, told := s.traced[e]
		s.traced[e] = struct{}{}
		s.mu.Unlock()
		if told {
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
