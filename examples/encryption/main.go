// Command encryption keeps the secrets in a cache encrypted, with a
// [secretcache.Hook] that is in sealer.go, and shows what that is good for: it looks
// for a password in the process's own memory, with the hook and without.
//
//	go -C examples run ./encryption
//
// # What it protects against
//
// Against who sees a part of the memory: pages in the swap, a bug that discloses some
// kilobytes of the heap. And against who searches a dump for what looks like a
// password. The secrets that a process has fetched and rarely uses are then no plain
// text.
//
// # What it does not protect against
//
// Against who has all memory of the process and knows what to look for, or runs code
// in it: the key is there, too. What is in use is plain text as well, for as long as
// it is used: the secret that [secretcache.Cache.Get] returned, a copy of it that the
// garbage collector has not taken yet, the last version in each driver.Connector, and
// the password in the vendor's connections that are open. Go cannot wipe strings; the
// hook wipes the bytes it has made itself. The answer of Secrets Manager on its way
// into the cache is not wiped either. Turning swap and core dumps off (RLIMIT_CORE,
// prctl PR_SET_DUMPABLE) is worth more, and is no code of this library's.
//
// # What it costs
//
// Measured with go test -bench . -cpu 1 ./encryption, for a value of 167 bytes, with
// Go 1.26 on a shared core of linux/amd64 that has AES instructions:
//
//	                                            without the hook        with it
//	a Get that the cache answers                67 ns, 0 allocs         380 ns, 7 allocs
//	a connect, to an engine that does nothing   1.2 µs, 6 allocs        4.6 µs, 51 allocs
//	storing what was fetched                                            360 ns, 7 allocs
//
// A connect pays for the decryption and for reading the JSON, which the connector does
// again for each secret that it has not seen before: with a hook, each Get returns a new
// one. A login to a database takes milliseconds.
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
		fmt.Fprintf(out, "%-14s  %d secrets in the cache, passwords of them found in the heap: %d\n", way.name, cache.Stats().Entries, found)
		_ = cache.Close()
	}
	return nil
}

var ids = []string{"prod/app/db", "prod/reports/db", "prod/search/db"}

// keep uses secrets and returns how many of their passwords are in the heap then.
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

// fetch stands for Secrets Manager, which is another process: the password is made
// for each answer, so that no copy of it is here but what the cache keeps.
func fetch(_ context.Context, id, stage string) (*secretcache.Secret, error) {
	value := append([]byte(`{"engine":"postgres","host":"db.example.com","port":5432,"dbname":"app","username":"app","password":"`), password(id)...)
	value = append(value, `"}`...)
	return secretcache.NewSecret(secretcache.Value{ID: id, VersionID: "v1", Stages: []string{stage}, String: string(value)}), nil
}

func password(id string) []byte {
	sum := sha256.Sum256([]byte("password of " + id))
	return hex.AppendEncode(nil, sum[:])
}

// heap returns what is in the process's memory and not garbage: the heap, the
// goroutines' stacks and the global variables, as runtime/debug dumps them.
func heap() ([]byte, error) {
	f, err := os.CreateTemp("", "heap")
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	runtime.GC()
	runtime.GC() // what sync.Pools held is let go by the second
	debug.WriteHeapDump(f.Fd())
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return io.ReadAll(f)
}
