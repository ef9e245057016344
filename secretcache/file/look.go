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
	// dataLink is the symbolic link that Kubernetes swaps when it has written all
	// files of a volume anew, into another directory; the files that are seen are
	// links through it. Its AtomicWriter names it.
	dataLink = "..data"
	// settled is how long what is not behind a dataLink must not have changed.
	settled = 100 * time.Millisecond
	// maxLooks is how often files that change are looked at.
	maxLooks = 100
	// minWait is the least time between two looks.
	minWait = time.Millisecond
)

// between is called between the steps of a look. Tests change files there.
var between = func() {}

// A finding is what was found of a secret.
type finding struct {
	data     []byte
	modified time.Time
	events   []any // for Source.report, also with an error
}

// A place is a file or directory.
type place struct {
	path  string // by which it is opened
	shown string // in errors and traces
	// whole says that it is behind a dataLink, and so there as a whole.
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

// errorf returns an error about p, which what describes.
func (p place) errorf(what, format string, args ...any) error {
	return fmt.Errorf("%s %q "+format, append([]any{what, p.shown}, args...)...)
}

// fail returns the error of a call about p. It drops the path in err, which may be
// what a variable holds.
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

// vanished is fail for what was there a moment ago: it may be on its way from one
// version to the next.
func (p place) vanished(what string, err error) error {
	failed := p.fail(what, err)
	if !errors.Is(err, fs.ErrNotExist) {
		return failed
	}
	return &changing{err: fmt.Errorf("%w (is it a symbolic link that leads nowhere?)", failed)}
}

// notFollowed is vanished for the entry of a name in root, which may be a symbolic link.
func (p place) notFollowed(root *os.Root, name string, err error) error {
	if !isLink(root.Lstat(name)) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return p.vanished("file", err)
	}
	reason := "a symbolic link may not lead out of the directory of the secrets"
	// This only chooses the words: root has refused to follow the link.
	dir, err2 := filepath.EvalSymlinks(root.Name())
	target, err3 := filepath.EvalSymlinks(filepath.Join(root.Name(), name))
	switch {
	case errors.Is(err, syscall.ELOOP):
		reason = "its symbolic links form a loop"
	case err2 == nil && err3 == nil && strings.HasPrefix(target, dir+string(filepath.Separator)):
		reason = "make the symbolic link relative: an absolute one is not followed, also if it leads into the directory of the secrets"
	}
	return fmt.Errorf("%w (%s)", p.fail("file", err), reason)
}

// changed is the error of what changed while it was read.
func (p place) changed(what string) error {
	return &changing{err: p.errorf(what, "changes faster than it can be read: replace it as a whole, by a rename or a symbolic link")}
}

// settle returns an error if p changed so recently that it may be about to change
// again.
func (p place) settle(what string, modified time.Time) error {
	if age := time.Since(modified); !p.whole && age >= 0 && age < settled {
		return &changing{settled - age, p.errorf(what, "changes all the time: replace it as a whole, by a symbolic link")}
	}
	return nil
}

// A changing error says that something changed while it was read. It is read again after
// wait; after the last try err is returned.
type changing struct {
	wait time.Duration
	err  error
}

func (c *changing) Error() string { return c.err.Error() }

// isLink reports whether a call of Lstat found a symbolic link.
func isLink(fi fs.FileInfo, err error) bool { return err == nil && fi.Mode()&fs.ModeSymlink != 0 }

// isThroughData reports whether a call of Readlink found a link through a dataLink.
func isThroughData(target string, err error) bool { return err == nil && first(target) == dataLink }

// first is the first element of a path.
func first(path string) string {
	path, _, _ = strings.Cut(filepath.ToSlash(path), "/")
	return path
}

// look reads the secret of an id once.
func (s *Source) look(at place, id string) (finding, error) {
	at.whole = isThroughData(os.Readlink(at.path))
	fi, err := os.Stat(at.path)
	switch {
	case err != nil && isLink(os.Lstat(at.path)):
		return finding{}, at.vanished("file", err)
	case err != nil && s.kind == fromEnvFile:
		return finding{}, fmt.Errorf("%w (a variable that holds the secret itself is read with source=env:%s, file.NewEnv)",
			at.fail("file", err), s.arg)
	case err != nil:
		return finding{}, at.fail("file", err)
	}
	if s.kind == fromKeys && !fi.IsDir() {
		return finding{}, at.errorf("path", "is not a directory with a file for each key; a file that is the secret is read with source=file:, file.New")
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
	return s.lookIn(at, root, id)
}

// lookIn reads the entry of an id in a directory.
func (s *Source) lookIn(at place, root *os.Root, id string) (finding, error) {
	names := entries(id, s.slash)
	for _, name := range names {
		// Of a path with more than one element, the first may be a link that is being
		// swapped.
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
		return finding{}, at.changed("directory") // this one may have been half removed
	case len(names) == 0:
		return finding{}, at.errorf("directory", "cannot have an entry for such an id: %w", secretcache.ErrNotFound)
	}
	return finding{}, at.errorf("directory", "has no entry %q%s: %w", shown(id, names[0]), hint(root, id), secretcache.ErrNotFound)
}

// hint says what else could be meant by an id that has no entry.
func hint(root *os.Root, id string) string {
	_, end := cutEnd(id)
	if end != "" && strings.HasPrefix(id, "arn:") && !strings.ContainsFunc(end, digitOrCapital) && secretid.Check(id) == nil {
		return ` (if "-` + end + `" is not part of the secret's name, use the secret's name as its id)`
	}
	if _, err := root.Lstat("password"); err == nil {
		return " (a directory that is itself one secret, with a file for each key, is read with source=keys:, file.NewKeys)"
	}
	return ""
}

// shown returns the name of an id's entry as errors and traces have it: an id that may
// be a database's URL is not shown.
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
	// Half a secret would take the place of a whole one that is cached.
	if start := bytes.TrimLeft(data, " \t\r\n"); len(start) > 0 && start[0] == '{' && !json.Valid(data) {
		return f, at.errorf("file", "begins with a brace and is no JSON: it may be half written; write a new file and rename it")
	}
	return f, nil
}

// readFile reads a regular file, which fi describes, of at most limit bytes. It opens
// nothing else, for a device may do something when it is opened.
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
