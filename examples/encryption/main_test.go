package main

import (
	"bytes"
	"context"
	sqldriver "database/sql/driver"
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

func newTestSealer(tb testing.TB) *sealer {
	tb.Helper()
	h, err := newSealer()
	if err != nil {
		tb.Fatal(err)
	}
	return h
}

func TestPasswordsInTheCacheAreNotInMemory(t *testing.T) {
	for _, tt := range []struct {
		name string
		hook secretcache.Hook
		want int
	}{
		{"without a hook", nil, len(ids)}, // proves that the search works
		{"with the hook", newTestSealer(t), 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cache := secretcache.New(secretcache.SourceFunc(fetch), &secretcache.Options{Hook: tt.hook})
			defer cache.Close()
			found, err := keep(cache)
			if err != nil {
				t.Fatal(err)
			}
			if found != tt.want {
				t.Errorf("%d of %d passwords are in the memory, want %d", found, len(ids), tt.want)
			}
			// The secrets come out of the cache unchanged.
			for _, id := range ids {
				s, err := cache.Get(t.Context(), id, "")
				if err != nil || !strings.Contains(s.Reveal(), string(password(id))) {
					t.Errorf("%s: %v, %v", id, s, err)
				}
			}
		})
	}
}

func TestProgram(t *testing.T) {
	var out strings.Builder
	if err := run(&out); err != nil {
		t.Fatal(err)
	}
	const want = "without a hook  3 secrets are in the cache; 3 of their passwords were found in the memory\n" +
		"with the hook   3 secrets are in the cache; 0 of their passwords were found in the memory\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

func secret(id, version, value string, binary []byte) *secretcache.Secret {
	return secretcache.NewSecret(secretcache.Value{ID: id, VersionID: version, String: value, Binary: binary})
}

func TestValuesComeBack(t *testing.T) {
	h := newTestSealer(t)
	for name, s := range map[string]*secretcache.Secret{
		"text":         secret("prod/app", "v1", `{"password":"hunter2"}`, nil),
		"empty text":   secret("prod/app", "v1", "", nil),
		"binary":       secret("prod/app", "v1", "", []byte{0, 0xff, 1}),
		"empty binary": secret("prod/app", "v1", "", []byte{}),
		"long":         secret("prod/app", "v1", strings.Repeat("0123456789abcdef", 4096), nil),
		"no ids":       secret("", "", "value", nil),
	} {
		sealed, err := h.Put(s)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if v := s.Bytes(); len(v) > 0 && bytes.Contains(sealed.Bytes(), v) {
			t.Errorf("%s: the stored secret contains the value", name)
		}
		again, err := h.Put(s)
		if err != nil || bytes.Equal(again.Bytes(), sealed.Bytes()) {
			t.Errorf("%s: two calls of Put gave the same bytes, %v", name, err)
		}
		got, err := h.Get(sealed)
		if err != nil || got.Reveal() != s.Reveal() || got.IsBinary() != s.IsBinary() || got.VersionID() != s.VersionID() {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
}

func TestAValueOpensOnlyForItsSecretAndVersion(t *testing.T) {
	h := newTestSealer(t)
	sealed, err := h.Put(secret("prod/app", "v1", "hunter2", nil))
	if err != nil {
		t.Fatal(err)
	}
	box := sealed.Bytes()
	changed := func(i int) []byte {
		b := bytes.Clone(box)
		b[i] ^= 1
		return b
	}
	for name, s := range map[string]*secretcache.Secret{
		"another secret":              secret("prod/other", "v1", "", box),
		"another of the same length":  secret("prod/ape", "v1", "", box),
		"another version":             secret("prod/app", "v2", "", box),
		"the id's end in the version": secret("prod/a", "ppv1", "", box),
		"another kind":                secret("prod/app", "v1", "", changed(0)),
		"another nonce":               secret("prod/app", "v1", "", changed(1)),
		"another tag":                 secret("prod/app", "v1", "", changed(len(box)-1)),
		"cut":                         secret("prod/app", "v1", "", box[:5]),
		"empty":                       secret("prod/app", "v1", "", []byte{}),
		"plain":                       secret("prod/app", "v1", "hunter2", nil),
	} {
		if got, err := h.Get(s); !errors.Is(err, errSealed) || got != nil {
			t.Errorf("%s: got %v, %v, want %v", name, got, err, errSealed)
		}
	}
	if _, err := newTestSealer(t).Get(sealed); !errors.Is(err, errSealed) {
		t.Errorf("with another key: %v", err)
	}
}

// An engine is an engine whose logins only reveal the password.
type engine struct{}

func (engine) Info() driver.Info {
	return driver.Info{Name: "none", Schemes: []string{"none"}, Accepts: func(string) bool { return true }, Port: 1}
}

func (engine) ParseURL(string, func(string) bool) (driver.URL, error) {
	return driver.URL{}, errors.New("no URLs")
}
func (engine) CheckParams(map[string]string) error           { return nil }
func (engine) Prepare(driver.Endpoint) (driver.Login, error) { return engine{}, nil }
func (engine) Rejected(error) bool                           { return false }
func (engine) NoDatabase(error) bool                         { return false }
func (engine) Connect(_ context.Context, c driver.Credentials) (sqldriver.Conn, error) {
	if len(c.Password.Reveal()) != len(password("")) {
		return nil, errors.New("not the password")
	}
	return struct{ sqldriver.Conn }{}, nil
}

// The documentation of the command says so.
func TestAConnectorKeepsTheLastVersionAsPlainText(t *testing.T) {
	cache := secretcache.New(secretcache.SourceFunc(fetch), &secretcache.Options{Hook: newTestSealer(t)})
	defer cache.Close()
	c, err := driver.NewConnector(engine{}, ids[0], &driver.Options{Secrets: cache})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	found, err := keep(cache)
	if err != nil {
		t.Fatal(err)
	}
	if found != 1 {
		t.Errorf("%d passwords are in the memory, want 1, the connector's", found)
	}
	runtime.KeepAlive(c)
}
