package agent_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/agent/agenttest"
)

// Some answers of the two servers end a chain; after the others the API is asked.
func TestNextInAChain(t *testing.T) {
	for name, tt := range map[string]struct {
		start startFunc
		next  map[error]bool // by the error of Secrets Manager: whether the next source is asked
	}{
		"agent": {agenttest.NewServer, map[error]bool{
			secretcache.ErrNotFound: false, secretcache.ErrNoVersion: false, secretcache.ErrAccessDenied: false, secretcache.ErrThrottled: true}},
		"extension": {agenttest.NewExtension, map[error]bool{
			secretcache.ErrNotFound: true, secretcache.ErrNoVersion: true, secretcache.ErrAccessDenied: true, secretcache.ErrThrottled: true}},
	} {
		for err, next := range tt.next {
			t.Run(name+" "+err.Error(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					server := tt.start(t, &store{err: err}, inMemory)
					asked := false
					api := secretcache.SourceFunc(func(context.Context, string, string) (*secretcache.Secret, error) {
						asked = true
						return nil, err
					})
					_, got := secretcache.Chain(server.Source(), api).Fetch(within(t, 10*time.Second), "a", "")
					if !errors.Is(got, err) || asked != next {
						t.Errorf("got %v; the next source was asked: %v, want %v", got, asked, next)
					}
				})
			})
		}
	}
}

// The first source of a chain has an older version in its cache than Refresh brought from the last
// source. At the TTL the first source is asked, and its older version is not taken. If the stage
// itself moved back, the older version is found when the server rejects the newer one, or after
// Invalidate.
func TestChainDoesNotGoBack(t *testing.T) {
	for _, ttl := range []time.Duration{time.Minute, 0} {
		t.Run(ttl.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sm := &store{version: "v1", created: time.Now()}
				server := agenttest.NewExtension(t, sm, inMemory)
				c := secretcache.New(secretcache.Chain(server.Source(), sm), &secretcache.Options{TTL: ttl})
				defer c.Close()
				v1, err := c.Get(t.Context(), "a", "")
				wantVersion(t, v1, err, "v1")
				sm.version, sm.created = "v2", time.Now().Add(time.Second)
				v2, err := c.Refresh(t.Context(), "a", "", v1)
				wantVersion(t, v2, err, "v2")
				asked := len(server.Requests())
				for range 2 * 3600 {
					time.Sleep(time.Second)
					s, err := c.Get(t.Context(), "a", "")
					wantVersion(t, s, err, "v2")
					synctest.Wait()
				}
				if len(server.Requests()) == asked {
					t.Error("the extension was not asked: nothing could come back")
				}

				sm.version, sm.created = "v1", v1.CreatedAt() // the secret was rolled back
				s, err := c.Refresh(t.Context(), "a", "", v2)
				wantVersion(t, s, err, "v1")
			})
		})
	}
}
