package secretcache_test

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"
	"time"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// A cache asks its source once for three Gets.
func Example() {
	source := secretcache.SourceFunc(func(ctx context.Context, id, stage string) (*secretcache.Secret, error) {
		fmt.Println("fetch", id, stage)
		return secretcache.NewSecret(secretcache.Value{ID: id, VersionID: "v1", String: `{"username":"app","password":"hunter2"}`}), nil
	})
	cache := secretcache.New(source, nil)
	defer cache.Close()

	for range 3 {
		secret, err := cache.Get(context.Background(), "prod/app", "")
		if err != nil {
			log.Fatal(err)
		}
		var credentials struct{ Username, Password string }
		if err := json.Unmarshal([]byte(secret.Reveal()), &credentials); err != nil {
			log.Fatal(err)
		}
		fmt.Println("user", credentials.Username, "of version", secret.VersionID())
	}
	// Output:
	// fetch prod/app AWSCURRENT
	// user app of version v1
	// user app of version v1
	// user app of version v1
}

// A server rejects the credentials in a cached secret because the secret was rotated.
func ExampleCache_Refresh() {
	version := "v1"
	cache := secretcache.New(secretcache.SourceFunc(func(_ context.Context, id, stage string) (*secretcache.Secret, error) {
		return secretcache.NewSecret(secretcache.Value{ID: id, VersionID: version, String: "password of " + version}), nil
	}), nil)
	defer cache.Close()
	login := func(s *secretcache.Secret) bool { return s.Reveal() == "password of "+version }

	ctx := context.Background()
	secret, err := cache.Get(ctx, "prod/app", "")
	if err != nil {
		log.Fatal(err)
	}
	version = "v2" // the rotation

	if !login(secret) {
		newer, err := cache.Refresh(ctx, "prod/app", "", secret)
		switch {
		case err != nil:
			log.Fatal(err)
		case newer.VersionID() == secret.VersionID():
			fmt.Println("rejected, and there is no other version")
		default:
			fmt.Println(newer.VersionID(), "accepted:", login(newer))
		}
	}
	// Output: v2 accepted: true
}

// A database has moved, and another caller has already fetched the new host.
func ExampleCache_Recheck() {
	host := "old.example.com"
	cache := secretcache.New(secretcache.SourceFunc(func(_ context.Context, id, stage string) (*secretcache.Secret, error) {
		fmt.Println("fetch", id)
		return secretcache.NewSecret(secretcache.Value{ID: id, VersionID: "of " + host, String: host}), nil
	}), nil)
	defer cache.Close()
	dial := func(s *secretcache.Secret) bool { return s.Reveal() == host }

	ctx := context.Background()
	secret, err := cache.Get(ctx, "prod/app", "")
	if err != nil {
		log.Fatal(err)
	}
	host = "new.example.com"
	if _, err := cache.Refresh(ctx, "prod/app", "", nil); err != nil { // the other caller
		log.Fatal(err)
	}

	if !dial(secret) {
		now, err := cache.Recheck(ctx, "prod/app", "", secret)
		switch {
		case err != nil:
			log.Fatal(err)
		case now.VersionID() == secret.VersionID():
			fmt.Println("unreachable, and the secret has no other host")
		default:
			fmt.Println("version", now.VersionID(), "reached:", dial(now))
		}
	}
	// Output:
	// fetch prod/app
	// fetch prod/app
	// version of new.example.com reached: true
}

// A program sets how long secrets are served, and logs fetches that fail.
func ExampleOptions() {
	secretcache.New(secretcache.SourceFunc(nil), &secretcache.Options{
		TTL:      15 * time.Minute, // fetch a secret again after this time
		MaxStale: 2 * time.Hour,    // serve the old copy this much longer while the source is down
		Trace: &secretcache.Trace{FetchDone: func(_ context.Context, i secretcache.FetchInfo) {
			if i.Err != nil {
				slog.Warn("secret not fetched", "id", i.ID, "error", i.Err, "served until", i.StaleUntil)
			}
		}},
	})
}

// No printed form of a secret shows its value.
func ExampleSecret() {
	secret := secretcache.NewSecret(secretcache.Value{ID: "prod/app", VersionID: "v1", String: "hunter2"})

	fmt.Printf("%v\n%+v\n", secret, []any{secret})
	_ = json.NewEncoder(os.Stdout).Encode(map[string]any{"secret": secret})
	slog.New(slog.NewTextHandler(os.Stdout, timeless)).Info("read", "secret", secret)
	fmt.Println(secret.Reveal())
	// Output:
	// secret "prod/app" version "v1" [redacted]
	// [secret "prod/app" version "v1" [redacted]]
	// {"secret":{"id":"prod/app","versionId":"v1","value":"[redacted]"}}
	// level=INFO msg=read secret.id=prod/app secret.version=v1
	// hunter2
}

// sealed keeps secrets encrypted with a key that exists only in this process. The program
// examples/encryption has more, and shows the cost.
type sealed struct{ aead cipher.AEAD }

func (h sealed) Put(s *secretcache.Secret) (*secretcache.Secret, error) {
	return s.WithBinary(h.aead.Seal(nil, nil, s.Bytes(), nil)), nil
}

func (h sealed) Get(s *secretcache.Secret) (*secretcache.Secret, error) {
	plain, err := h.aead.Open(nil, nil, s.Bytes(), nil)
	return s.WithString(string(plain)), err
}

// A hook keeps the values in the cache encrypted.
func ExampleHook() {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	block, err := aes.NewCipher(key)
	if err != nil {
		log.Fatal(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		log.Fatal(err)
	}
	hook := sealed{aead}

	secret := secretcache.NewSecret(secretcache.Value{ID: "prod/app", String: "hunter2"})
	stored, err := hook.Put(secret)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("stored in clear:", bytes.Contains(stored.Bytes(), []byte("hunter2")))

	cache := secretcache.New(secretcache.SourceFunc(func(context.Context, string, string) (*secretcache.Secret, error) {
		return secret, nil
	}), &secretcache.Options{Hook: hook})
	defer cache.Close()
	got, err := cache.Get(context.Background(), "prod/app", "")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("read:", got.Reveal())
	// Output:
	// stored in clear: false
	// read: hunter2
}

// Secrets come from the Secrets Manager Agent, and from the API if the agent does not answer.
func ExampleChain() {
	agent := secretcache.SourceFunc(func(context.Context, string, string) (*secretcache.Secret, error) {
		return nil, errors.New("connection refused") // agent.New() in a program
	})
	api := secretcache.SourceFunc(func(_ context.Context, id, stage string) (*secretcache.Secret, error) {
		fmt.Println("the API is asked for", id) // awssm.New() in a program
		return secretcache.NewSecret(secretcache.Value{ID: id, VersionID: "v1", String: "hunter2"}), nil
	})
	cache := secretcache.New(secretcache.Chain(agent, api), nil)
	defer cache.Close()

	secret, err := cache.Get(context.Background(), "prod/app", "")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("version", secret.VersionID())
	// Output:
	// the API is asked for prod/app
	// version v1
}

// A source makes several attempts. If a caller's deadline comes earlier, its error says why the
// last attempt failed.
func ExampleAttemptFailed() {
	cache := secretcache.New(secretcache.SourceFunc(func(ctx context.Context, id, stage string) (*secretcache.Secret, error) {
		for {
			err := errors.New("vault: connection refused") // of an attempt
			secretcache.AttemptFailed(ctx, err)
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
				return nil, err
			}
		}
	}), nil)
	defer cache.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	_, err := cache.Get(ctx, "prod/app", "")
	fmt.Println(err)
	// Output:
	// wait for secret "prod/app": context deadline exceeded; the last attempt failed: vault: connection refused
}

// A program has a source of its own, for any store of secrets.
func ExampleNew() {
	vault := map[string]string{"prod/app": "hunter2"}
	cache := secretcache.New(secretcache.SourceFunc(func(_ context.Context, id, stage string) (*secretcache.Secret, error) {
		value, ok := vault[id]
		if !ok {
			return nil, secretcache.ErrNotFound
		}
		return secretcache.NewSecret(secretcache.Value{ID: id, Stages: []string{stage}, String: value}), nil
	}), nil)
	defer cache.Close()

	secret, err := cache.Get(context.Background(), "prod/app", "")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(secret.Reveal())
	_, err = cache.Get(context.Background(), "prod/other", "")
	fmt.Println(errors.Is(err, secretcache.ErrNotFound))
	// Output:
	// hunter2
	// true
}

// A service fetches its secrets before it takes requests. It reads the counts for its metrics.
// When an event says that a secret has changed, the next Get fetches the secret.
func ExampleCache_Prefetch() {
	cache := secretcache.New(secretcache.SourceFunc(func(_ context.Context, id, stage string) (*secretcache.Secret, error) {
		return secretcache.NewSecret(secretcache.Value{ID: id, Stages: []string{stage}, VersionID: "v1", String: "hunter2"}), nil
	}), nil)
	defer cache.Close()

	ctx := context.Background()
	if err := cache.Prefetch(ctx, "prod/app", "prod/reports"); err != nil {
		log.Print(err) // the first Get tries again
	}
	for range 3 {
		if _, err := cache.Get(ctx, "prod/app", ""); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println(cache.Stats().Fetches, "fetches,", cache.Stats().Hits, "hits")
	cache.Invalidate("prod/app") // the event
	if _, err := cache.Get(ctx, "prod/app", ""); err != nil {
		log.Fatal(err)
	}
	fmt.Println(cache.Stats().Fetches, "fetches")
	// Output:
	// 2 fetches, 3 hits
	// 3 fetches
}
