package integration_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/integration/testdb"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/file"
)

// TestRotationsInFiles: the files and the database change while queries run, each with its own
// login. No query fails, and each rotation is read once.
func TestRotationsInFiles(t *testing.T) {
	for _, c := range []struct {
		name  string
		make  func(dir string) (*file.Source, func(value string) error)
		users int // that take turns
	}{
		{"a file for each key", keysIn, 1},
		{"a file for each key, two users", keysIn, 2},
		{"one file", fileIn, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := newEnv(t, engineNamed("sqlserver stand-in"), testdb.Options{})
			source, write := c.make(t.TempDir())
			user := func(n int) string { return v.user + "_" + fmt.Sprint(n%c.users) }
			for n := range c.users {
				v.CreateUser(user(n), "password of nobody")
			}
			rotate := func(n int) {
				t.Helper()
				password := fmt.Sprintf("pässwörd %d \\\"'", n)
				if err := v.SetPassword(t.Context(), user(n), password); err != nil {
					t.Fatal(err)
				}
				if err := write(v.secret(user(n), password)); err != nil {
					t.Fatal(err)
				}
				if c.users > 1 { // as after two rotations
					if err := v.SetPassword(t.Context(), user(n+1), fmt.Sprint("password of nobody ", n)); err != nil {
						t.Fatal(err)
					}
				}
			}
			rotate(0)
			cache := secretcache.New(source, nil)
			t.Cleanup(func() { _ = cache.Close() })
			db := v.open(t, "", &driver.Options{Secrets: cache})
			db.SetMaxIdleConns(-1) // each query logs in
			mustPing(t, db)
			const rotations = 5
			for n := 1; n <= rotations; n++ {
				rotate(n)
				before := v.Logins(user(n))
				var burst sync.WaitGroup
				for range 10 {
					burst.Go(func() {
						if err := db.PingContext(t.Context()); err != nil {
							t.Errorf("rotation %d: %v", n, err)
						}
					})
				}
				burst.Wait()
				if got := v.Logins(user(n)) - before; got != 10 {
					t.Errorf("rotation %d: %d logins of %s, want 10", n, got, user(n))
				}
			}
			if got := cache.Stats().Fetches; got != 1+rotations {
				t.Errorf("%d reads of the secret, want one, and one after each of %d rotations", got, rotations)
			}
		})
	}
}

func keysIn(dir string) (*file.Source, func(value string) error) {
	volume := filepath.Join(dir, "volume")
	return file.NewKeys(volume), func(value string) error { return replaceVolume(volume, value) }
}

func fileIn(dir string) (*file.Source, func(value string) error) {
	path := filepath.Join(dir, "secret.json")
	return file.New(path), func(value string) error { return replace(path, value+"\n") }
}

// TestFilesThatLagBehindTheDatabase: while the files have the former password, the error says so. A
// later Connect call finds what the files have by then.
func TestFilesThatLagBehindTheDatabase(t *testing.T) {
	v := newEnv(t, engineNamed("sqlserver stand-in"), testdb.Options{})
	source, write := keysIn(t.TempDir())
	if err := write(v.secret(v.user, "the password before")); err != nil {
		t.Fatal(err)
	}
	cache := secretcache.New(source, nil)
	t.Cleanup(func() { _ = cache.Close() })
	db := v.open(t, "", &driver.Options{Secrets: cache})
	if err := db.PingContext(t.Context()); err == nil || !strings.Contains(err.Error(), "AWSPENDING") {
		t.Errorf("Ping = %v, want an error that names AWSPENDING, too", err)
	}
	if err := write(v.secret(v.user, v.password)); err != nil {
		t.Fatal(err)
	}
	mustPing(t, db)
}
