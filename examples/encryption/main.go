// Command encryption keeps the secrets in a cache encrypted. It uses a [secretcache.Hook], which is
// in sealer.go. To show the effect, the program looks for passwords in its own memory, without the
// hook and with it.
//
//	go -C examples run ./encryption
//
// # What it protects against
//
// It protects against a person who sees a part of the memory, for example pages in the swap, or some
// kilobytes of the heap that a bug discloses. It also protects against a person who searches a memory
// dump for text that looks like a password. Secrets that the process has fetched but rarely uses are
// then not plain text.
//
// # What it does not protect against
//
// It does not protect against a person who has all memory of the process and knows what to look for,
// or who runs code in the process: the key is in the same memory.
//
// Secrets in use are plain text as long as they are used:
//
//   - the secret that [secretcache.Cache.Get] returned, and copies of it until the garbage collector
//     frees them
//   - the last version in each driver.Connector
//   - the password in the open connections of the vendor's driver
//
// Go cannot wipe strings. The hook wipes the byte slices that it made itself. The answer of Secrets
// Manager is not wiped on its way into the cache either.
//
// It is worth more to turn off swap and core dumps (RLIMIT_CORE, prctl PR_SET_DUMPABLE). The library
// does not do that.
//
// # What it costs
//
// Measured with go test -bench . -cpu 1 ./encryption, for a value of 167 bytes, with Go 1.26 on a
// shared core of linux/amd64 that has AES instructions:
//
//	                                              without the hook     with the hook
//	Get of a secret in the cache                  67 ns, 0 allocs      380 ns, 7 allocs
//	Connect call, with logins that do nothing     1.2 µs, 6 allocs     4.6 µs, 51 allocs
//	Put of a fetched secret into the cache        —                    360 ns, 7 allocs
//
// With the hook, each Get returns a new Secret. So a Connect call pays for the decryption and for
// parsing the JSON again. A login to a database takes milliseconds.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

func main() {
	if err := run(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "encryption:", err)
		os.Exit(1)
	}
}

func run(out io.Writer) error {
	sealer, err := newSealer()
	if err != nil {
		return err
	}
	for _, way := range []struct {
		name string
		opts *secretcache.Options
	}{
		{"without a hook", nil},
		{"with the hook", &secretcache.Options{Hook: sealer}},
	} {
		cache := secretcache.New(secretcache.SourceFunc(fetch), way.opts)
		found, err := keep(cache)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%-14s  %d secrets are in the cache; %d of their passwords were found in the memory\n", way.name, cache.Stats().Entries, found)
		_ = cache.Close()
	}
	return nil
}

var ids = []string{"prod/app/db", "prod/reports/db", "prod/search/db"}

// keep reads the secrets into the cache, and returns how many of their passwords are then in the
// memory as plain text.
func keep(cache *secretcache.Cache) (found int, err error) {
	for _, id := range ids {
		if _, err := cache.Get(context.Background(), id, ""); err != nil {
			return 0, err
		}
	}
	dump, err := heap()
	if err != nil {
		return 0, err
	}
	for _, id := range ids {
		if bytes.Contains(dump, password(id)) {
			found++
		}
	}
	runtime.KeepAlive(cache)
	return found, nil
}

// fetch stands in for Secrets Manager, which is another process. It makes the password anew for each
// call, so that the only copy in the memory is in the cache.
func fetch(_ context.Context, id, stage string) (*secretcache.Secret, error) {
	value := append([]byte(`{"engine":"postgres","host":"db.example.com","port":5432,"dbname":"app","username":"app","password":"`), password(id)...)
	value = append(value, `"}`...)
	return secretcache.NewSecret(secretcache.Value{ID: id, VersionID: "v1", Stages: []string{stage}, String: string(value)}), nil
}

func password(id string) []byte {
	sum := sha256.Sum256([]byte("password of " + id))
	return hex.AppendEncode(nil, sum[:])
}

// heap returns the process's memory without garbage: the heap, the stacks of goroutines and the
// global variables, as runtime/debug dumps them.
func heap() ([]byte, error) {
	f, err := os.CreateTemp("", "heap")
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	runtime.GC()
	runtime.GC() // the second call frees what sync.Pools hold
	debug.WriteHeapDump(f.Fd())
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return io.ReadAll(f)
}
