package file_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqlsecrets/sqlsecrets/secretcache/file"
)

// versions makes the nth version of a secret's files. Versions differ in their length and in
// their files.
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

// oneVersion returns the version of a value. It returns an error if the value is not whole, or is
// of more than one version.
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

// layouts are the forms that a secret may have in a volume.
var layouts = []struct {
	name   string
	source func(dir string) *file.Source
	id     string
	files  func(n int) files // the files of version n
}{
	{"keys", func(dir string) *file.Source { return file.NewKeys(dir) }, "", versions},
	{"keys by id", func(dir string) *file.Source { return file.New(filepath.Dir(dir)) }, "volume", versions},
	{"keys in it by id", func(dir string) *file.Source { return file.New(dir) }, "prod/app", keysInIt},
	{"keys in it by path", func(dir string) *file.Source { return file.NewKeys(filepath.Join(dir, "prod_app")) }, "", keysInIt},
	{"a file by id", func(dir string) *file.Source { return file.New(dir) }, "prod/app", fileInIt},
	{"a file by path", func(dir string) *file.Source { return file.New(filepath.Join(dir, "prod_app")) }, "", fileInIt},
	{"a file in a directory", func(dir string) *file.Source {
		return file.New(dir, func(o *file.Options) { o.PathTranslation = "False" })
	}, "prod/app", func(n int) files { return files{"prod/app": value(versions(n))} }},
}

func keysInIt(n int) files { return under("prod_app", versions(n)) }

func fileInIt(n int) files { return files{"prod_app": value(versions(n))} }

func value(fs files) string {
	b, err := json.Marshal(fs)
	if err != nil {
		panic(err) // cannot happen with strings
	}
	return string(b)
}

// A volume is swapped all the time while it is read by each of its paths. Every read is of one
// version, and no read fails.
func TestASwapNeverMixesTwoVersions(t *testing.T) {
	const (
		reads    = 300    // each reader reads at least so often,
		distinct = 20     // and until it has seen so many versions,
		most     = 50_000 // but not more often than this
	)
	for _, tt := range layouts {
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
							t.Errorf("%d reads saw %d versions: too few for this test", i, len(seen))
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

// replace replaces a file, at the bubble's time, with one that was written some time ago.
func replace(t *testing.T, path, content string, ago time.Duration) {
	t.Helper()
	then := time.Now().Add(-ago)
	check(t, os.WriteFile(path+".tmp", []byte(content), 0o600))
	check(t, os.Chtimes(path+".tmp", then, then))
	check(t, os.Rename(path+".tmp", path))
	check(t, os.Chtimes(filepath.Dir(path), time.Now(), time.Now()))
}

// ASCP replaces one file after the other. A read between two of them waits.
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
				time.Sleep(file.Settled * 9 / 10) // by the bubble's clock
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
					t.Errorf("the read took %v, although all files were old", d)
				}
			})
		})
	}
}

// A file that is written in place is read after it is complete.
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
				t.Errorf("value = %q, want the complete value", v)
			}
		})
	}
}

// If files never settle, the read ends with the context, and the error says why.
func TestFilesThatNeverSettleAreAnError(t *testing.T) {
	dir := write(t, t.TempDir(), keys)
	synctest.Test(t, func(t *testing.T) {
		s := file.NewKeys(dir)
		replace(t, filepath.Join(dir, "username"), "first", 0)
		stop := make(chan struct{})
		go func() {
			tick := time.NewTicker(file.Settled * 6 / 10) // never at the time of a read
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

// atEachStep reads with a change after the first step of the read, then with a change after the
// second step, and so on to the last. The bubble's clock is decades behind the times of the
// files, so that no file seems to be new.
func atEachStep(t *testing.T, scenario func(t *testing.T) (change, read func())) {
	t.Helper()
	for at, changed := 1, true; changed; at++ {
		changed = false
		t.Run(fmt.Sprint("step ", at), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				change, read := scenario(t)
				step := 0
				file.Between(t, func() {
					if step++; step == at {
						changed = true
						change()
					}
				})
				read()
			})
		})
	}
}

// The same swap, but at each step of a read in turn, not at a random one.
func TestASwapAtEachStep(t *testing.T) {
	byPath := layouts[4]
	byPath.name = "what the link leads to"
	byPath.source = func(dir string) *file.Source { return file.New(filepath.Join(dir, "..data")) }
	for _, tt := range append(slices.Clone(layouts), byPath) {
		for swaps := range 3 {
			t.Run(fmt.Sprint(tt.name, ", swaps: ", swaps+1), func(t *testing.T) {
				atEachStep(t, func(t *testing.T) (change, read func()) {
					v := newVolume(t, filepath.Join(t.TempDir(), "volume"), tt.files(1))
					s := tt.source(v.dir)
					change = func() {
						for n := range swaps + 1 { // the second swap removes the rest of the first version
							check(t, v.write(tt.files(2+n)))
						}
					}
					read = func() {
						if _, err := oneVersion(fetch(t, s, tt.id).Reveal()); err != nil {
							t.Errorf("mixed: %v", err)
						}
					}
					return change, read
				})
			})
		}
	}
}

// Files are replaced one by one. All values of a read were in the files at one moment. The
// password is written first, so the user is never newer than the password.
func TestAllValuesOfAReadAreOfOneMoment(t *testing.T) {
	atEachStep(t, func(t *testing.T) (change, read func()) {
		dir := write(t, t.TempDir(), files{"password": "1", "username": "1", "q": "between them"})
		change = func() {
			for _, key := range []string{"password", "username"} {
				check(t, os.WriteFile(dir+".tmp", []byte("2"), 0o600))
				check(t, os.Rename(dir+".tmp", filepath.Join(dir, key)))
			}
		}
		read = func() {
			var got struct{ Username, Password string }
			check(t, json.Unmarshal([]byte(fetch(t, file.NewKeys(dir), "x").Reveal()), &got))
			if got.Username > got.Password {
				t.Errorf("user of version %s with the password of version %s", got.Username, got.Password)
			}
		}
		return change, read
	})
}

// After the read has checked an entry, the entry becomes a link out of the directory, or something
// other than a file.
func TestAnEntryThatChangesItsKindDuringARead(t *testing.T) {
	for name, become := range map[string]func(path string) error{
		"a link to a file":      func(path string) error { return os.Symlink("../../outside", path) },
		"a link to a directory": func(path string) error { return os.Symlink("../..", path) },
		"a directory":           func(path string) error { return os.Mkdir(path, 0o700) },
		"nothing":               func(path string) error { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			for _, id := range []string{"file", "keys"} {
				t.Run(id, func(t *testing.T) {
					atEachStep(t, func(t *testing.T) (change, read func()) {
						top := write(t, t.TempDir(), files{"outside": "outside", "in/secrets/file": "inside", "in/secrets/keys/password": "inside"})
						dir := filepath.Join(top, "in", "secrets")
						change = func() {
							check(t, os.RemoveAll(filepath.Join(dir, id)))
							check(t, become(filepath.Join(dir, id)))
						}
						read = func() {
							s, err := file.New(dir).Fetch(t.Context(), id, current)
							if err == nil && !strings.Contains(s.Reveal(), "inside") {
								t.Errorf("value = %q", s.Reveal())
							}
						}
						return change, read
					})
				})
			}
		})
	}
}

// For a moment a link has no target, as on Windows, where a link is replaced in two steps. The
// read waits.
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
				time.Sleep(10 * time.Millisecond) // by the bubble's clock
				check(t, os.Symlink(to, link))
				if v := <-got; !strings.Contains(v, "p") {
					t.Errorf("value = %q", v)
				}
			})
		})
	}
}
