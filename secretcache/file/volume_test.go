package file_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// files has the contents of files by their paths in a directory, with slashes.
type files map[string]string

// write writes files as an administrator would, with times of an hour ago.
func write(tb testing.TB, dir string, fs files) string {
	tb.Helper()
	for name, content := range fs {
		path := filepath.Join(dir, name)
		check(tb, os.MkdirAll(filepath.Dir(path), 0o700))
		check(tb, os.WriteFile(path, []byte(content), 0o600))
	}
	age(tb, dir)
	return dir
}

// age makes all files in a directory an hour old.
func age(tb testing.TB, dir string) {
	tb.Helper()
	then := time.Now().Add(-time.Hour)
	check(tb, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type()&fs.ModeSymlink == 0 {
			err = os.Chtimes(path, then, then)
		}
		return err
	}))
}

func check(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// A volume is a directory that is written as the AtomicWriters of kubelet and of the Secrets Store
// CSI driver write it.
type volume struct {
	dir  string
	mode fs.FileMode // the mode of the files; 0 means 0644, the default of both
	n    int
	half string // the directory that is half removed
}

// write replaces all files of the volume. It writes them to a directory with the time in its name,
// makes ..data a link to that directory, and removes the old directory. It removes the last of the
// old files only at the next write, because removing may take time.
func (v *volume) write(fs files) error {
	v.n++
	old, _ := os.Readlink(filepath.Join(v.dir, "..data"))
	now := fmt.Sprintf("..2026_11_24_19_59_%02d.%09d", v.n%60, v.n)
	if err := os.Mkdir(filepath.Join(v.dir, now), 0o755); err != nil {
		return err
	}
	mode := v.mode
	if mode == 0 {
		mode = 0o644
	}
	for name, content := range fs {
		path := filepath.Join(v.dir, now, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			return err
		}
		if err := os.Chmod(path, mode); err != nil {
			return err
		}
	}
	if err := os.Symlink(now, filepath.Join(v.dir, "..data_tmp")); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(v.dir, "..data_tmp"), filepath.Join(v.dir, "..data")); err != nil {
		return err
	}
	for name := range fs {
		name, _, _ = strings.Cut(name, "/")
		if err := os.Symlink(filepath.Join("..data", name), filepath.Join(v.dir, name)); err != nil && !os.IsExist(err) {
			return err
		}
	}
	if old == "" {
		return nil
	}
	if err := os.RemoveAll(v.half); err != nil {
		return err
	}
	v.half = filepath.Join(v.dir, old)
	for name := range fs {
		return os.RemoveAll(filepath.Join(v.half, name))
	}
	return nil
}

func newVolume(tb testing.TB, dir string, fs files) *volume {
	tb.Helper()
	check(tb, os.MkdirAll(dir, 0o755))
	v := &volume{dir: dir}
	check(tb, v.write(fs))
	return v
}
