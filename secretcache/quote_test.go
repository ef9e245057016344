package secretcache_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// hideHook is a Hook that fails.
type hideHook struct{}

func (hideHook) Put(*secretcache.Secret) (*secretcache.Secret, error) { return nil, errors.New("no") }
func (hideHook) Get(*secretcache.Secret) (*secretcache.Secret, error) { return nil, nil }

func TestAnIDThatMayBeAPasswordIsNotShown(t *testing.T) {
	const password = "hunter2"
	const id = "postgres://app:" + password + "@db/prod"
	good := secretcache.SourceFunc(func(_ context.Context, id, _ string) (*secretcache.Secret, error) {
		return secretcache.NewSecret(secretcache.Value{ID: id, VersionID: "v", String: "x"}), nil
	})
	bad := secretcache.SourceFunc(func(context.Context, string, string) (*secretcache.Secret, error) { return nil, errors.New("down") })
	hangs := secretcache.SourceFunc(func(ctx context.Context, _, _ string) (*secretcache.Secret, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	var mu sync.Mutex
	var texts []string
	add := func(v any) {
		mu.Lock()
		defer mu.Unlock()
		texts = append(texts, fmt.Sprintf("%v %+v %#v %s", v, v, v, v))
	}
	traced := func(o *secretcache.Options) *secretcache.Options {
		o.Trace = &secretcache.Trace{
			FetchStart: func(_ context.Context, i secretcache.FetchInfo) { add(i) },
			FetchDone:  func(_ context.Context, i secretcache.FetchInfo) { add(i) },
		}
		return o
	}
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	for _, tt := range []struct {
		src secretcache.Source
		o   *secretcache.Options
	}{{bad, traced(&secretcache.Options{})}, {hangs, &secretcache.Options{}}, {good, traced(&secretcache.Options{Hook: hideHook{}})}} {
		c := secretcache.New(tt.src, tt.o)
		defer c.Close()
		_, err := c.Get(short, id, "")
		add(err)
		_, err = c.Refresh(short, id, "", nil)
		add(err)
		_, err = c.Recheck(short, id, "", nil)
		add(err)
		add(c.Prefetch(short, id))
		add(c.LastFailure(id, ""))
		_, err = secretcache.New(secretcache.Chain(tt.src, bad), nil).Get(short, id, "")
		add(err)
	}
	s, err := secretcache.New(good, nil).Get(t.Context(), id, "")
	if err != nil || s.ID() != id {
		t.Fatalf("Get() = %v, %v, want the secret of an id of another form", s, err)
	}
	add(s)
	v := secretcache.Value{ID: id}
	add(v)
	mu.Lock()
	defer mu.Unlock()
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "secret", s, "value", v)
	texts = append(texts, log.String())
	for _, m := range []any{s, v} {
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(b))
	}
	for _, text := range texts {
		if strings.Contains(text, password) {
			t.Errorf("the id is shown: %s", text)
		}
	}
}
