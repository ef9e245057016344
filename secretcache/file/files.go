package file

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/sqlsecrets/sqlsecrets/internal/secretid"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

const (
	// dataLink is a symbolic link in a volume of Kubernetes. When Kubernetes changes the
	// volume, it writes all files to another directory and then makes the link point there.
	// The files that a container sees are links through it. Kubernetes' AtomicWriter has this
	// name.
	dataLink = "..data"
	// A file that is not behind a dataLink must have been unchanged for this time.
	settled = 100 * time.Millisecond
	// maxReads is how often files that change are read before the read fails.
	maxReads = 100
	// minWait is the shortest pause between two reads.
	minWait = time.Millisecond
)

// between is called between the steps of a read. Tests change files there.
var between = func() {}

// A finding is the result of one read of a secret.
type finding struct {
	data     []byte
	modified time.Time
	events   []any // for Source.report; used even if the read fails
}

// A place is a file or directory.
type place struct {
	path  string // opens it
	shown string // its name in errors and traces
	// whole says that it is behind a dataLink, so all its files are of one version.
	whole bool
}

func (p place) in(name string, whole bool) place {
	return place{filepath.Join(p.path, name), filepath.Join(p.shown, name), p.whole || whole}
}

// is reports whether p is still the directory that was opened as root.
func (p place) is(root *os.Root) bool {
	now, err := os.Stat(p.path)
	dir, err2 := root.Stat(".")
	return err == nil && err2 == nil && os.SameFile(now, dir)
}

// errorf returns an error about p. what is the kind of p, such as "file".
func (p place) errorf(what, format string, args ...any) error {
	return fmt.Errorf("%s %q "+format, append([]any{what, p.shown}, args...)...)
}

// fail returns an error about p for the error of a system call. It drops the path in err,
// because that path may be the value of a variable.
func (p place) fail(what string, err error) error {
	var in *fs.PathError
	for errors.As(err, &in) {
		err = in.Err
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s %q: %w: %w", what, p.shown, err, secretcache.ErrNotFound)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s %q: let the user of this process (uid %d) read it: %w: %w",
			what, p.shown, os.Getuid(), err, secretcache.ErrAccessDenied)
	}
	return fmt.Errorf("%s %q: %w", what, p.shown, err)
}

// vanished is fail for a file that existed a moment ago. If it is gone, a new version may
// be about to replace it, so the error is a changing error.
func (p place) vanished(what string, err error) error {
	failed := p.fail(what, err)
	if !errors.Is(err, fs.ErrNotExist) {
		return failed
	}
	return &changing{err: fmt.Errorf("%w (is it a symbolic link to a file that does not exist?)", failed)}
}

// notFollowed is vanished for an entry of root that may be a symbolic link.
func (p place) notFollowed(root *os.Root, name string, err error) error {
	if !isLink(root.Lstat(name)) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return p.vanished("file", err)
	}
	reason := "a symbolic link may not lead out of the directory of the secrets"
	// This only chooses the text: root did not follow the link.
	dir, err2 := filepath.EvalSymlinks(root.Name())
	target, err3 := filepath.EvalSymlinks(filepath.Join(root.Name(), name))
	switch {
	case errors.Is(err, syscall.ELOOP):
		reason = "its symbolic links form a loop"
	case err2 == nil && err3 == nil && strings.HasPrefix(target, dir+string(filepath.Separator)):
		reason = "an absolute symbolic link is not followed, even into the directory of the secrets: make it relative"
	}
	return fmt.Errorf("%w (%s)", p.fail("file", err), reason)
}

// changed returns the error for a file or directory that changed during the read.
func (p place) changed(what string) error {
	return &changing{err: p.errorf(what, "changes faster than it can be read: replace it as a whole, by a rename or a symbolic link")}
}

// settle returns an error if p changed so recently that it may change again.
func (p place) settle(what string, modified time.Time) error {
	if age := time.Since(modified); !p.whole && age >= 0 && age < settled {
		return &changing{settled - age, p.errorf(what, "changes all the time: replace it as a whole, by a symbolic link")}
	}
	return nil
}

// A changing error says that a file or directory changed during the read. The secret is
// read again after wait. After the last of maxReads, err is returned.
type changing struct {
	wait time.Duration
	err  error
}

func (c *changing) Error() string { return c.err.Error() }

// isLink reports whether a call of Lstat found a symbolic link.
func isLink(fi fs.FileInfo, err error) bool { return err == nil && fi.Mode()&fs.ModeSymlink != 0 }

// isThroughData reports whether a call of Readlink found a link through a dataLink.
func isThroughData(target string, err error) bool { return err == nil && first(target) == dataLink }

// first returns the first element of a path.
func first(path string) string {
	path, _, _ = strings.Cut(filepath.ToSlash(path), "/")
	return path
}

// readPath reads the secret of an id once.
func (s *Source) readPath(at place, id string) (finding, error) {
	at.whole = isThroughData(os.Readlink(at.path))
	fi, err := os.Stat(at.path)
	switch {
	case err != nil && isLink(os.Lstat(at.path)):
		return finding{}, at.vanished("file", err)
	case err != nil && s.kind == fromEnvFile:
		return finding{}, fmt.Errorf("%w (if the variable holds the secret itself, use source=env:%s or file.NewEnv)",
			at.fail("file", err), s.arg)
	case err != nil:
		return finding{}, at.fail("file", err)
	}
	if s.kind == fromKeys && !fi.IsDir() {
		return finding{}, at.errorf("path", "is not a directory with a file for each key (for a file that is the secret, use source=file: or file.New)")
	}
	if !fi.IsDir() {
		return readWhole(at, fi, func() (*os.File, error) { return os.OpenFile(at.path, os.O_RDONLY|nonblock, 0) })
	}
	root, err := os.OpenRoot(at.path)
	if err != nil {
		return finding{}, at.vanished("directory", err)
	}
	defer root.Close()
	between()
	if s.kind == fromKeys {
		return readKeys(at, root)
	}
	return s.readIn(at, root, id)
}

// readIn reads the entry of an id in a directory.
func (s *Source) readIn(at place, root *os.Root, id string) (finding, error) {
	names := entries(id, s.slash)
	for _, name := range names {
		// In a path with more than one element, the first element may be a link that is
		// being replaced.
		if _, err := root.Lstat(name); errors.Is(err, fs.ErrNotExist) && !isLink(root.Lstat(first(name))) {
			continue
		}
		entry := at.in(name, isThroughData(root.Readlink(first(name))))
		entry.shown = filepath.Join(at.shown, shown(id, name))
		f, err := readEntry(entry, root, name)
		f.events = append(f.events, wideDir(at, root)...)
		return f, err
	}

	switch {
	case !at.is(root):
		return finding{}, at.changed("directory") // root was replaced, and its files may be half removed
	case len(names) == 0:
		return finding{}, at.errorf("directory", "cannot have an entry for such an id: %w", secretcache.ErrNotFound)
	}
	return finding{}, at.errorf("directory", "has no entry %q%s: %w", shown(id, names[0]), hint(root, id), secretcache.ErrNotFound)
}

// hint returns advice for an id that has no entry, or "".
func hint(root *os.Root, id string) string {
	_, end := cutEnd(id)
	if end != "" && strings.HasPrefix(id, "arn:") && !strings.ContainsFunc(end, digitOrCapital) && secretid.Check(id) == nil {
		return ` (if "-` + end + `" is not part of the secret's name, use the secret's name as its id)`
	}
	if _, err := root.Lstat("password"); err == nil {
		return " (if the directory is one secret, with a file for each key, use source=keys: or file.NewKeys)"
	}
	return ""
}

// shown returns the name of an id's entry for errors and traces. It hides a name that comes from
// an id which may be a database's URL.
func shown(id, name string) string {
	if secretid.Check(id) != nil {
		return "(entry of an id that is not shown)"
	}
	return name
}

// readEntry reads an entry of a directory: a file, or a directory of keys.
func readEntry(at place, root *os.Root, name string) (finding, error) {
	fi, err := root.Stat(name)
	between()
	switch {
	case err != nil:
		return finding{}, at.notFollowed(root, name, err)
	case !fi.IsDir():
		return readWhole(at, fi, func() (*os.File, error) { return root.OpenFile(name, os.O_RDONLY|nonblock, 0) })
	}
	dir, err := root.OpenRoot(name)
	if err != nil {
		return finding{}, at.vanished("directory", err)
	}
	defer dir.Close()
	return readKeys(at, dir)
}

// readWhole reads a file that is the secret.
func readWhole(at place, fi fs.FileInfo, open func() (*os.File, error)) (finding, error) {
	data, fi, err := readFile(at, fi, open, MaxSize)
	if err != nil {
		return finding{}, err
	}
	f := finding{data, fi.ModTime(), wideFile(at, fi)}
	if err := at.settle("file", fi.ModTime()); err != nil {
		return f, err
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return f, at.errorf("file", "is empty or blank: the program that fills it has not done so")
	}
	// Half a secret must not replace a whole one in the cache.
	if start := bytes.TrimLeft(data, " \t\r\n"); len(start) > 0 && start[0] == '{' && !json.Valid(data) {
		return f, at.errorf("file", "begins with a brace and is not JSON, so it may be half written: write a new file and rename it")
	}
	return f, nil
}

// readFile reads a regular file of at most limit bytes. fi describes the file. It does not open
// other kinds of files, because a device may do something when it is opened.
func readFile(at place, fi fs.FileInfo, open func() (*os.File, error), limit int) ([]byte, fs.FileInfo, error) {
	if err := regular(at, fi); err != nil {
		return nil, nil, err
	}
	f, err := open()
	if err != nil {
		return nil, nil, at.vanished("file", err)
	}
	defer f.Close()
	if fi, err = f.Stat(); err != nil {
		return nil, nil, at.fail("file", err)
	}
	if regular(at, fi) != nil {
		return nil, nil, at.changed("file")
	}
	var b bytes.Buffer
	b.Grow(int(min(fi.Size(), int64(limit))) + bytes.MinRead)
	if _, err := b.ReadFrom(io.LimitReader(f, int64(limit)+1)); err != nil {
		return nil, nil, at.fail("file", err)
	}
	if b.Len() > limit {
		return nil, nil, at.errorf("file", "makes the secret larger than %d bytes: is it the right one?", MaxSize)
	}
	if fi, err = f.Stat(); err != nil { // again: it may have been written to meanwhile
		return nil, nil, at.fail("file", err)
	}
	between()
	return b.Bytes(), fi, nil
}

func regular(at place, fi fs.FileInfo) error {
	if fi.Mode().IsRegular() {
		return nil
	}
	what := "something else"
	switch mode := fi.Mode(); {
	case mode.IsDir():
		what = "a directory"
	case mode&fs.ModeNamedPipe != 0:
		what = "a named pipe"
	case mode&fs.ModeSocket != 0:
		what = "a socket"
	case mode&fs.ModeDevice != 0:
		what = "a device"
	}
	return at.errorf("path", "is %s, where a regular file should be", what)
}
