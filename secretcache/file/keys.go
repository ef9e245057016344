package file

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// maxKeys is how many files a directory of keys may have.
const maxKeys = 1000

// readKeys reads a directory with a file for each key. All values are of one version.
func readKeys(at place, root *os.Root) (finding, error) {
	dir, in := root, at
	if link, err := root.Lstat(dataLink); err == nil {
		in = at.in(dataLink, isLink(link, nil))
		if dir, err = root.OpenRoot(dataLink); err != nil {
			return finding{}, at.vanished("directory", err)
		}
		defer dir.Close()
	}
	between()
	l, err := list(at, dir)
	if err != nil {
		return finding{}, err
	}
	between()
	values, err := l.read(at, dir)
	f := finding{modified: l.modified, events: l.events}
	if err != nil {
		return f, err
	}
	f.events = append(append(f.events, wideDir(at, root)...), wideDir(at, dir)...)
	if err := l.unchanged(at, in, dir); err != nil {
		return f, err
	}
	if len(values) == 0 {
		return f, at.errorf("directory", "has no files for keys: %w", secretcache.ErrNotFound)
	}
	f.data, err = json.Marshal(values)
	return f, err
}

// A key is a file in a directory of keys.
type key struct {
	name string
	info fs.FileInfo // of the file that a symbolic link leads to
}

// same reports whether a key's file did not change between two listings.
func (k key) same(l key) bool {
	return k.name == l.name && os.SameFile(k.info, l.info) && k.info.Size() == l.info.Size() && k.info.ModTime().Equal(l.info.ModTime())
}

// A listing has the keys in a directory.
type listing struct {
	keys     []key     // sorted by name
	modified time.Time // when the newest file was modified
	settling time.Time // the newest time of a file or the directory that is not in the future
	events   []any
}

// list lists the keys in a directory.
func list(at place, root *os.Root) (listing, error) {
	dir, err := root.Open(".")
	if err != nil {
		return listing{}, at.vanished("directory", err)
	}
	defer dir.Close()
	fi, err := dir.Stat()
	if err != nil {
		return listing{}, at.vanished("directory", err)
	}
	var l listing
	now := time.Now()
	l.settle(fi, now)
	names, err := dir.Readdirnames(maxKeys + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return listing{}, at.vanished("directory", err)
	}
	if len(names) > maxKeys {
		return listing{}, at.errorf("directory", "has more than %d entries: it cannot be a secret with a file for each key", maxKeys)
	}
	slices.Sort(names)
	for _, name := range names {
		if strings.HasPrefix(name, ".") {
			continue
		}
		if err := l.add(at, root, name, now); err != nil {
			return listing{}, err
		}
	}
	return l, nil
}

// add adds the entry with that name, if it is a key.
func (l *listing) add(at place, root *os.Root, name string, now time.Time) error {
	file := at.in(name, false)
	fi, err := root.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !isLink(root.Lstat(name)):
		return at.changed("directory")
	case err != nil:
		return file.notFollowed(root, name, err)
	case fi.IsDir():
		l.events = append(l.events, SkippedInfo{file.shown, "it is a directory"})
	case !utf8.ValidString(name):
		l.events = append(l.events, SkippedInfo{file.shown, "its name is not UTF-8"})
	default:
		l.keys = append(l.keys, key{name, fi})
		l.settle(fi, now)
		if fi.ModTime().After(l.modified) {
			l.modified = fi.ModTime()
		}
	}
	return nil
}

// settle notes when a file or the directory was modified.
func (l *listing) settle(fi fs.FileInfo, now time.Time) {
	if modified := fi.ModTime(); modified.After(l.settling) && !modified.After(now) {
		l.settling = modified
	}
}

// read reads the values of the keys. Together they have at most MaxSize bytes.
func (l *listing) read(at place, dir *os.Root) (map[string]string, error) {
	values, left := map[string]string{}, MaxSize
	for _, k := range l.keys {
		file := at.in(k.name, false)
		data, fi, err := readFile(file, k.info, func() (*os.File, error) { return dir.OpenFile(k.name, os.O_RDONLY|nonblock, 0) }, left)
		if err != nil {
			return nil, err
		}
		left -= len(data)
		l.events = append(l.events, wideFile(file, fi)...)
		if utf8.Valid(data) {
			values[k.name] = trim(string(data))
		} else {
			l.events = append(l.events, SkippedInfo{file.shown, "its content is not UTF-8"})
		}
	}
	return values, nil
}

// unchanged returns an error unless in is still the directory dir, with the same files. If
// the directory was replaced, its files may be half removed.
func (l *listing) unchanged(at, in place, dir *os.Root) error {
	if !in.is(dir) {
		return at.changed("directory")
	}
	after, err := list(at, dir)
	if err != nil {
		return err
	}
	if !slices.EqualFunc(l.keys, after.keys, key.same) {
		return at.changed("directory")
	}
	return in.settle("directory", after.settling)
}

// trim removes one line ending from the end of s. If s has only blanks, it returns "".
func trim(s string) string {
	if strings.TrimSpace(s) == "" {
		return ""
	}
	if t, ok := strings.CutSuffix(s, "\n"); ok {
		return strings.TrimSuffix(t, "\r")
	}
	return s
}
