//go:build unix

package file_test

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/file"
)

// A pipe may have no writer, and a device may have no end, so neither is opened.
func TestPipesAndDevicesDoNotHang(t *testing.T) {
	dir := t.TempDir()
	check(t, syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600))
	check(t, os.Symlink("pipe", filepath.Join(dir, "link")))
	check(t, os.MkdirAll(filepath.Join(dir, "keys"), 0o700))
	check(t, syscall.Mkfifo(filepath.Join(dir, "keys", "password"), 0o600))
	l, err := net.Listen("unix", filepath.Join(dir, "socket"))
	check(t, err)
	defer l.Close()
	for _, tt := range []struct {
		source *file.Source
		id     string
		path   string
		says   string
	}{
		{file.New(filepath.Join(dir, "pipe")), "app", filepath.Join(dir, "pipe"), "named pipe"},
		{file.New(filepath.Join(dir, "link")), "app", filepath.Join(dir, "link"), "named pipe"},
		{file.New(dir), "pipe", filepath.Join(dir, "pipe"), "named pipe"},
		{file.New(dir), "socket", filepath.Join(dir, "socket"), "socket"},
		{file.New("/dev/zero"), "app", "/dev/zero", "device"},
		{file.New(dir), "keys", filepath.Join(dir, "keys", "password"), "named pipe"},
		{file.NewKeys(filepath.Join(dir, "keys")), "app", filepath.Join(dir, "keys", "password"), "named pipe"},
	} {
		_, err := tt.source.Fetch(t.Context(), tt.id, current)
		if err == nil || !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), tt.path) {
			t.Errorf("Fetch(%q) of %q = %v, want %q", tt.id, tt.path, err, tt.says)
		}
	}
}

// asNobody runs f as a user who may read only files that all users may read.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	if os.Getuid() == 0 {
		check(t, syscall.Seteuid(65534))
		defer func() { check(t, syscall.Seteuid(0)) }()
	}
	f()
}

func TestDenied(t *testing.T) {
	dir := t.TempDir()
	check(t, os.Chmod(filepath.Dir(dir), 0o755)) // the directory of the test, which has 0700
	write(t, dir, files{"file": whole, "keys/password": "p", "dir/app": whole, "open": other})
	for _, name := range []string{"file", "keys/password", "dir"} {
		check(t, os.Chmod(filepath.Join(dir, name), 0))
	}
	check(t, os.Chmod(filepath.Join(dir, "keys"), 0o755))
	check(t, os.Chmod(filepath.Join(dir, "open"), 0o644))
	defer func() { check(t, os.Chmod(filepath.Join(dir, "dir"), 0o700)) }()

	asNobody(t, func() {
		if got := fetch(t, file.New(dir), "open").Reveal(); got != other {
			t.Errorf("value = %q", got)
		}
		for _, tt := range []struct {
			source *file.Source
			id     string
			path   string
		}{
			{file.New(filepath.Join(dir, "file")), "app", filepath.Join(dir, "file")},
			{file.New(dir), "file", filepath.Join(dir, "file")},
			{file.New(dir), "keys", filepath.Join(dir, "keys", "password")},
			{file.New(dir), "dir", filepath.Join(dir, "dir")},
			{file.New(filepath.Join(dir, "dir")), "app", filepath.Join(dir, "dir")},
			{file.New(filepath.Join(dir, "dir", "app")), "x", filepath.Join(dir, "dir", "app")},
			{file.NewKeys(filepath.Join(dir, "keys")), "app", filepath.Join(dir, "keys", "password")},
			{file.NewKeys(filepath.Join(dir, "dir")), "app", filepath.Join(dir, "dir")},
		} {
			_, err := tt.source.Fetch(t.Context(), tt.id, current)
			if !errors.Is(err, secretcache.ErrAccessDenied) || errors.Is(err, secretcache.ErrNotFound) {
				t.Errorf("Fetch(%q) of %q = %v, want ErrAccessDenied", tt.id, tt.path, err)
			} else if !strings.Contains(err.Error(), tt.path+`"`) || !strings.Contains(err.Error(), "uid") {
				t.Errorf("error %q does not say to make %q readable for the user", err, tt.path)
			}
		}
	})
}

// A recorder keeps the events of a Trace.
type recorder struct {
	permissions []string
	skipped     []string
}

func (r *recorder) options(o *file.Options) {
	o.Trace = &file.Trace{
		Permissions: func(i file.PermissionsInfo) {
			r.permissions = append(r.permissions, i.Path+" "+strconv.FormatUint(uint64(i.Mode.Perm()), 8)+" "+strconv.FormatBool(i.Mode.IsDir()))
		},
		Skipped: func(i file.SkippedInfo) { r.skipped = append(r.skipped, i.Path+": "+i.Reason) },
	}
}

func TestWidePermissionsAreReportedOnce(t *testing.T) {
	dir := t.TempDir()
	check(t, os.Chmod(dir, 0o700))
	write(t, dir, files{
		"owner": whole, "group": whole, "others": whole, "exec": whole, "k/username": "u", "k/password": "p",
		"open/app": whole, "shared/app": whole, "sticky/app": whole,
	})
	check(t, os.Symlink("group", filepath.Join(dir, "link")))
	for name, mode := range map[string]fs.FileMode{
		"owner": 0o600, "group": 0o640, "others": 0o444, "exec": 0o601, "k/password": 0o604,
		"open": 0o777, "shared": 0o755, "sticky": 0o777 | fs.ModeSticky,
	} {
		check(t, os.Chmod(filepath.Join(dir, name), mode))
	}
	v := newVolume(t, filepath.Join(dir, "volume"), keys)
	t.Setenv("DB_FILE", filepath.Join(dir, "others"))
	for _, tt := range []struct {
		name   string
		source func(...func(*file.Options)) *file.Source
		id     string
		want   []string // path below dir, mode, whether it is a directory
	}{
		{"the owner's", newAt(file.New, dir), "owner", nil},
		{"the group's", newAt(file.New, dir), "group", []string{dir + "/group 640 false"}},
		{"others'", newAt(file.New, dir, "others"), "x", []string{dir + "/others 444 false"}},
		{"others', to execute", newAt(file.New, dir), "exec", []string{dir + "/exec 601 false"}},
		{"behind a link", newAt(file.New, dir, "link"), "x", []string{dir + "/link 640 false"}},
		{"one key", newAt(file.New, dir), "k", []string{dir + "/k/password 604 false"}},
		{"keys", newAt(file.NewKeys, dir, "k"), "x", []string{dir + "/k/password 604 false"}},
		{"directory", newAt(file.New, dir, "open"), "app", []string{dir + "/open 777 true"}},
		{"directory that others may list", newAt(file.New, dir, "shared"), "app", nil},
		{"sticky directory", newAt(file.New, dir, "sticky"), "app", nil},
		{"directory of keys", newAt(file.NewKeys, dir, "open"), "x", []string{dir + "/open 777 true"}},
		{"Kubernetes", newAt(file.NewKeys, dir, "volume"), "x",
			[]string{dir + "/volume/host 644 false", dir + "/volume/password 644 false", dir + "/volume/username 644 false"}},
		{"path in a variable", newAt(file.NewEnvFile, "DB_FILE"), "x", []string{"$DB_FILE 444 false"}},
		{"variable", newAt(file.NewEnv, "DB_FILE"), "x", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var r recorder
			s := tt.source(r.options)
			for range 3 {
				fetch(t, s, tt.id)
				check(t, v.write(keys)) // into another directory each time
			}
			if !slices.Equal(r.permissions, tt.want) {
				t.Errorf("reported %q, want %q", r.permissions, tt.want)
			}
			if len(r.skipped) > 0 {
				t.Errorf("skipped %q", r.skipped)
			}
		})
	}

	t.Run("another mode", func(t *testing.T) {
		var r recorder
		s := file.New(dir, r.options)
		for _, mode := range []fs.FileMode{0o640, 0o600, 0o644, 0o640} {
			check(t, os.Chmod(filepath.Join(dir, "group"), mode))
			fetch(t, s, "group")
		}
		if want := []string{dir + "/group 640 false", dir + "/group 644 false"}; !slices.Equal(r.permissions, want) {
			t.Errorf("reported %q, want %q", r.permissions, want)
		}
	})
	t.Run("no funcs", func(t *testing.T) {
		fetch(t, file.New(dir, func(o *file.Options) { o.Trace = &file.Trace{} }), "group")
	})
}

// newAt returns a source that is made with the first argument of its constructor.
func newAt(f func(string, ...func(*file.Options)) *file.Source, arg ...string) func(...func(*file.Options)) *file.Source {
	return func(optFns ...func(*file.Options)) *file.Source { return f(filepath.Join(arg...), optFns...) }
}

func TestSkippedFilesAreReportedOnce(t *testing.T) {
	dir := write(t, t.TempDir(), files{"password": "p", ".hidden": "x", "d/x": "x", "store.jks": "\xff"})
	var r recorder
	s := file.NewKeys(dir, r.options)
	for range 3 {
		fetch(t, s, "x")
	}
	want := []string{dir + "/d: it is a directory", dir + "/store.jks: its content is not UTF-8"}
	if !slices.Equal(r.skipped, want) {
		t.Errorf("skipped %q, want %q", r.skipped, want)
	}
	if r.permissions != nil {
		t.Errorf("reported %q", r.permissions)
	}
}
