package file_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqlsecrets/sqlsecrets/secretcache/file"
)

// versions makes the n-th version of a secret's files. Versions differ in length and
// in the files that they have.
func versions(n int) files {
	fs := files{
		"username": fmt.Sprintf("user-%d", n),
		"password": fmt.Sprintf("%d%s", n, strings.Repeat("p", n%50*100)),
		"host":     fmt.Sprintf("host-%d", n),
	}
	if n%2 == 0 {
		fs["only-in-even"] = fmt.Sprint(n)
	}
	return fs
}

// oneVersion returns which version a value is of, and an error if it is of none as a
// whole.
func oneVersion(value string) (n int, err error) {
	var got map[string]string
	if err := json.Unmarshal([]byte(value), &got); err != nil {
		return 0, err
	}
	if _, err := fmt.Sscanf(got["username"], "user-%d", &n); err != nil {
		return 0, fmt.Errorf("%w in %d keys", err, len(got))
	}
	want := versions(n)
	for key, v := range want {
		if got[key] != v {
			return 0, fmt.Errorf("user of version %d, but %s is %.20q", n, key, got[key])
		}
	}
	if len(got) != len(want) {
		return 0, fmt.Errorf("%d keys of version %d, want %d", len(got), n, len(want))
	}
	return n, nil
}

// A volume is swapped all the time while it is read, by any of its paths: each read is
// of one version, and none fails.
func TestASwapNeverMixes(t *testing.T) {
	const (
		reads    = 300    // at least, by each reader,
		distinct = 20     // until it has seen so many versions,
		most     = 50_000 // and no more reads than these
	)
	for _, tt := range []struct {
		name   string
		source func(dir string) *file.Source
		id     string
		files  func(n int) files
	}{
		{"keys", func(dir string) *file.Source { return file.NewKeys(dir) }, "", versions},
		{"keys by id", func(dir string) *file.Source { return file.New(filepath.Dir(dir)) }, "volume", versions},
		{"keys in it by id", func(dir string) *file.Source { return file.New(dir) }, "prod/app",
			func(n int) files { return under("prod_app", versions(n)) }},
		{"keys in it by path", func(dir string) *file.Source { return file.NewKeys(filepath.Join(dir, "prod_app")) }, "",
			func(n int) files { return under("prod_app", versions(n)) }},
		{"a file by id", func(dir string) *file.Source { return file.New(dir) }, "prod/app",
			func(n int) files { return files{"prod_app": value(versions(n))} }},
		{"a file by path", func(dir string) *file.Source { return file.New(filepath.Join(dir, "prod_app")) }, "",
			func(n int) files { return files{"prod_app": value(versions(n))} }},
		{"a file in a directory", func(dir string) *file.Source {
			return file.New(dir, func(o *file.Options) { o.PathTranslation = "False" })
		}, "prod/app", func(n int) files { return files{"prod/app": value(versions(n))} }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := newVolume(t, filepath.Join(t.TempDir(), "volume"), tt.files(1))
			s := tt.source(v.dir)
			stop := make(chan struct{})
			swapped := make(chan error, 1)
			go func() {
				for n := 2; ; n++ {
					select {
					case <-stop:
						swapped <- nil
						return
					default:
					}
					if err := v.write(tt.files(n)); err != nil {
						swapped <- err
						return
					}
				}
			}()

			var readers sync.WaitGroup
			for range 3 {
				readers.Go(func() {
					last, seen := 0, map[int]bool{}
					for i := 0; i < reads || len(seen) < distinct; i++ {
						if i == most {
							t.Errorf("%d reads saw %d versions: they prove nothing", i, len(seen))
							return
						}
						secret, err := s.Fetch(t.Context(), tt.id, current)
						if err != nil {
							t.Error(err)
							return
						}
						n, err := oneVersion(secret.Reveal())
						if err != nil || n < last {
							t.Errorf("read version %d after %d: %v", n, last, err)
							return
						}
						last, seen[n] = n, true
					}
				})
			}
			readers.Wait()
			close(stop)
			if err := <-swapped; err != nil {
				t.Fatalf("swap: %v", err)
			}
		})
	}
}

func value(fs files) string {
	b, err := json.Marshal(fs)
	if err != nil {
		panic(err) // they are strings
	}
	return string(b)
}

// replace puts a file that was written some time ago in the place of another, at the
// time of the bubble.
func replace(t *testing.T, path, content string, ago time.Duration) {
	t.Helper()
	then := time.Now().Add(-ago)
	check(t, os.WriteFile(path+".tmp", []byte(content), 0o600))
	check(t, os.Chtimes(path+".tmp", then, then))
	check(t, os.Rename(path+".tmp", path))
	check(t, os.Chtimes(filepath.Dir(path), time.Now(), time.Now()))
}

// ASCP replaces one file after the other. Who comes between two of them waits.
func TestFilesThatAreReplacedOneByOneSettle(t *testing.T) {
	for _, tt := range []struct {
		name   string
		source func(dir string) *file.Source
		ago    time.Duration
	}{
		{"keys", func(dir string) *file.Source { return file.NewKeys(filepath.Join(dir, "keys")) }, 0},
		{"keys by id", func(dir string) *file.Source { return file.New(dir) }, 0},
		{"old files, moved", func(dir string) *file.Source { return file.New(dir) }, time.Hour},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := write(t, t.TempDir(), under("keys", files{"username": "old", "password": "old"}))
			synctest.Test(t, func(t *testing.T) {
				s := tt.source(dir)
				start := time.Now()
				replace(t, filepath.Join(dir, "keys", "username"), "new", tt.ago)
				got := make(chan string)
				go func() { got <- fetch(t, s, "keys").Reveal() }()
				time.Sleep(file.Settled * 9 / 10) // of the bubble
				synctest.Wait()
				select {
				case v := <-got:
					t.Fatalf("value = %s between the two files", v)
				default:
				}
				replace(t, filepath.Join(dir, "keys", "password"), "new", tt.ago)
				if v := <-got; v != `{"password":"new","username":"new"}` {
					t.Errorf("value = %s", v)
				}
				if d := time.Since(start); d < file.Settled*19/10 || d > 2*file.Settled {
					t.Errorf("it took %v, want until %v after the last file", d, file.Settled)
				}
				time.Sleep(file.Settled)
				start = time.Now()
				fetch(t, s, "keys")
				if d := time.Since(start); d != 0 {
					t.Errorf("it took %v when all was old", d)
				}
			})
		})
	}
}

// A file that is written in place is read when it is complete.
func TestAFileThatIsBeingWrittenSettles(t *testing.T) {
	path := filepath.Join(write(t, t.TempDir(), files{"db.json": whole}), "db.json")
	for _, half := range []string{"", `{"username":"a`} {
		synctest.Test(t, func(t *testing.T) {
			inPlace := func(content string) {
				check(t, os.WriteFile(path, []byte(content), 0o600))
				check(t, os.Chtimes(path, time.Now(), time.Now()))
			}
			inPlace(half)
			got := make(chan string)
			go func() { got <- fetch(t, file.New(path), "x").Reveal() }()
			synctest.Wait()
			inPlace(other)
			if v := <-got; v != other {
				t.Errorf("value = %q, want what is complete", v)
			}
		})
	}
}

// What never settles is given up with the context, and says why.
func TestFilesThatNeverSettle(t *testing.T) {
	dir := write(t, t.TempDir(), keys)
	synctest.Test(t, func(t *testing.T) {
		s := file.NewKeys(dir)
		replace(t, filepath.Join(dir, "username"), "first", 0)
		stop := make(chan struct{})
		go func() {
			tick := time.NewTicker(file.Settled * 6 / 10) // never when a look is due
			defer tick.Stop()
			for n := 0; ; n++ {
				select {
				case <-tick.C:
					replace(t, filepath.Join(dir, "username"), fmt.Sprint(n), 0)
				case <-stop:
					return
				}
			}
		}()
		_, err := s.Fetch(t.Context(), "x", current)
		close(stop)
		if err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "changes all the time") {
			t.Errorf("Fetch = %v, want that it changes all the time", err)
		}
	})
}

// All files of a read are those of one moment, also where the clocks of the machine
// and the file system differ, so that nothing seems to be new: the password is always
// written first, so no read has a newer user than password.
func TestAReadIsOfOneMoment(t *testing.T) {
	dir := t.TempDir()
	content := files{"password": "0", "username": "0"}
	for i := range 50 { // which are read between the two
		content[fmt.Sprint("q", i)] = "x"
	}
	write(t, dir, content)
	writeAll(t, 300, file.NewKeys(dir), "x", func(n int) error {
		for _, key := range []string{"password", "username"} {
			if err := os.WriteFile(dir+".tmp", []byte(fmt.Sprint(n)), 0o600); err != nil {
				return err
			}
			if err := os.Rename(dir+".tmp", filepath.Join(dir, key)); err != nil {
				return err
			}
		}
		return nil
	}, func(value string) error {
		var got struct {
			Username, Password int `json:",string"`
		}
		if err := json.Unmarshal([]byte(value), &got); err != nil {
			return err
		}
		if got.Username > got.Password {
			return fmt.Errorf("user of version %d with the password of version %d", got.Username, got.Password)
		}
		return nil
	})
}

// The path itself is a link that is swapped: what the directory before has lost is
// not missing.
func TestAPathThatIsSwapped(t *testing.T) {
	v := newVolume(t, t.TempDir(), files{"prod_app": "0"})
	last := 0
	writeAll(t, 2000, file.New(filepath.Join(v.dir, "..data")), "prod/app", func(n int) error {
		return v.write(files{"prod_app": fmt.Sprint(n)})
	}, func(value string) error {
		var n int
		if _, err := fmt.Sscan(value, &n); err != nil || n < last {
			return fmt.Errorf("version %q after %d: %w", value, last, err)
		}
		last = n
		return nil
	})
}

// writeAll writes while the source is read, and checks what each read has. Its clock
// is decades behind the files', so none of them seems to be new.
func writeAll(t *testing.T, reads int, s *file.Source, id string, write func(n int) error, check func(value string) error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		stop := make(chan struct{})
		written := make(chan error, 1)
		go func() {
			for n := 1; ; n++ {
				select {
				case <-stop:
					written <- nil
					return
				case <-time.After(3 * time.Millisecond): // of the bubble, as below
				}
				if err := write(n); err != nil {
					written <- err
					return
				}
			}
		}()
		for range reads {
			secret, err := s.Fetch(t.Context(), id, current)
			if err == nil {
				err = check(secret.Reveal())
			}
			if err != nil {
				t.Error(err)
				break
			}
			time.Sleep(time.Millisecond)
		}
		close(stop)
		if err := <-written; err != nil {
			t.Errorf("write: %v", err)
		}
	})
}

// A link that leads nowhere for a moment, as on Windows, where it is replaced in two
// steps, is waited for.
func TestALinkThatIsBeingReplaced(t *testing.T) {
	for _, tt := range []struct {
		name   string
		source func(dir string) *file.Source
		id     string
	}{
		{"keys", func(dir string) *file.Source { return file.NewKeys(dir) }, "x"},
		{"entry", func(dir string) *file.Source { return file.New(dir) }, "password"},
		{"file", func(dir string) *file.Source { return file.New(filepath.Join(dir, "password")) }, "x"},
		{"keys in it", func(dir string) *file.Source { return file.New(dir) }, "prod"},
		{"file in a directory", func(dir string) *file.Source {
			return file.New(dir, func(o *file.Options) { o.PathTranslation = "False" })
		}, "prod/app"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := newVolume(t, t.TempDir(), files{"password": "p", "prod/app": "p"})
			link := filepath.Join(v.dir, "..data")
			to, err := os.Readlink(link)
			check(t, err)
			check(t, os.Remove(link))
			synctest.Test(t, func(t *testing.T) {
				got := make(chan string)
				go func() { got <- fetch(t, tt.source(v.dir), tt.id).Reveal() }()
				time.Sleep(10 * time.Millisecond) // of the bubble
				check(t, os.Symlink(to, link))
				if v := <-got; !strings.Contains(v, "p") {
					t.Errorf("value = %q", v)
				}
			})
		})
	}
}
