package file_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/sqlserver/mssqldb"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/tdsserver"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/file"
)

// A cache over a volume: it serves what it has, and Refresh sees the swap.
func TestACacheSeesASwap(t *testing.T) {
	v := newVolume(t, t.TempDir(), under("prod_app", files{"username": "app", "password": "one"}))
	cache := secretcache.New(file.New(v.dir), nil)
	defer cache.Close()
	get := func() *secretcache.Secret {
		t.Helper()
		s, err := cache.Get(t.Context(), "prod/app", "")
		check(t, err)
		return s
	}
	refresh := func(rejected *secretcache.Secret) *secretcache.Secret {
		t.Helper()
		s, err := cache.Refresh(t.Context(), "prod/app", "", rejected)
		check(t, err)
		return s
	}
	first := get()
	check(t, v.write(under("prod_app", files{"username": "app", "password": "two"})))
	if got := get(); got.VersionID() != first.VersionID() {
		t.Errorf("Get = %v before the TTL, want %v", got, first)
	}
	second := refresh(first)
	if want := `{"password":"two","username":"app"}`; second.Reveal() != want || second.VersionID() == first.VersionID() {
		t.Errorf("Refresh = %q of version %q, want %q of another than %q", second.Reveal(), second.VersionID(), want, first.VersionID())
	}
	if got := get(); got.VersionID() != second.VersionID() {
		t.Errorf("Get = %v, want %v", got, second)
	}

	// Written anew with the same values: that is no other version.
	check(t, v.write(under("prod_app", files{"username": "app", "password": "two"})))
	if got := refresh(second); got.VersionID() != second.VersionID() {
		t.Errorf("Refresh = %v of the same value, want %v", got, second)
	}
	// And rotated back: that is the version that it was.
	check(t, v.write(under("prod_app", files{"username": "app", "password": "one"})))
	if got := refresh(nil); got.VersionID() != first.VersionID() {
		t.Errorf("Refresh = %v, want %v", got, first)
	}
}

// The whole way: a server that checks passwords, a volume of files for each key, and
// rotations of both under queries that each log in. No query fails.
func TestRotationOfADatabaseLogin(t *testing.T) {
	server, err := tdsserver.Start(tdsserver.Options{Databases: []string{"app"}})
	check(t, err)
	defer server.Close()
	volumeOf := func(user, password string) files {
		return under("prod_app_db", files{
			"host": server.Host, "port": strconv.Itoa(server.Port) + "\n", "dbname": "app",
			"username": user + "\n", "password": password + "\n",
		})
	}
	jsonOf := func(user, password string) files {
		b, err := json.Marshal(map[string]any{"host": server.Host, "port": server.Port, "dbname": "app", "username": user, "password": password})
		check(t, err)
		return files{"prod_app_db": string(b) + "\n"}
	}
	for _, tt := range []struct {
		name      string
		files     func(user, password string) files
		alternate bool // two users
	}{
		{"a file for each key", volumeOf, false},
		{"a file for each key, two users", volumeOf, true},
		{"one file", jsonOf, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			user := func(n int) string {
				if tt.alternate {
					return fmt.Sprint("app_", n%2)
				}
				return "app"
			}
			password := func(n int) string { return fmt.Sprintf("pässwörd %d \\\"'", n) }
			server.SetPassword(user(0), password(0))
			v := newVolume(t, t.TempDir(), tt.files(user(0), password(0)))
			fetches := 0
			cache := secretcache.New(file.New(v.dir), &secretcache.Options{Trace: &secretcache.Trace{
				FetchDone: func(i secretcache.FetchInfo) { fetches++ },
			}})
			defer cache.Close()
			connector, err := driver.NewConnector(mssqldb.Engine{}, "prod/app/db", &driver.Options{Secrets: cache})
			check(t, err)
			db := sql.OpenDB(connector)
			defer db.Close()
			db.SetMaxIdleConns(-1) // each query logs in

			query := func(want string) {
				t.Helper()
				var got string
				if err := db.QueryRowContext(t.Context(), "SELECT SUSER_SNAME()").Scan(&got); err != nil || got != want {
					t.Errorf("query = %q, %v, want %q", got, err, want)
				}
			}
			query(user(0))
			const rotations = 5
			for n := 1; n <= rotations; n++ {
				server.SetPassword(user(n), password(n))
				check(t, v.write(tt.files(user(n), password(n))))
				if tt.alternate {
					server.Drop(user(n - 1)) // as if two rotations had come
				}
				var burst sync.WaitGroup
				for range 10 {
					burst.Go(func() { query(user(n)) })
				}
				burst.Wait()
			}
			if fetches != 1+rotations {
				t.Errorf("%d reads of the secret, want one, and one after each of %d rotations", fetches, rotations)
			}
		})
	}
}

// While the files are behind the database, the error says so, and a later connect
// finds what they have by then.
func TestFilesThatAreBehindTheDatabase(t *testing.T) {
	server, err := tdsserver.Start(tdsserver.Options{Databases: []string{"app"}})
	check(t, err)
	defer server.Close()
	secret := func(password string) files {
		return files{"host": server.Host, "port": strconv.Itoa(server.Port), "dbname": "app", "username": "app", "password": password}
	}
	server.SetPassword("app", "two")
	v := newVolume(t, filepath.Join(t.TempDir(), "secret"), secret("one"))
	cache := secretcache.New(file.NewKeys(v.dir), nil)
	defer cache.Close()
	connector, err := driver.NewConnector(mssqldb.Engine{}, "prod/app/db", &driver.Options{Secrets: cache})
	check(t, err)
	db := sql.OpenDB(connector)
	defer db.Close()
	if err := db.PingContext(t.Context()); err == nil || !strings.Contains(err.Error(), "AWSPENDING") {
		t.Errorf("Ping = %v, want that AWSPENDING was looked for, too", err)
	}
	check(t, v.write(secret("two")))
	if err := db.PingContext(t.Context()); err != nil {
		t.Errorf("Ping = %v, after the files have the new password", err)
	}
}
