package awscaching_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/sqlsecrets/sqlsecrets/secretcache/awscaching"
)

// A locker is a hook that stores a value of its own type.
type locker struct {
	puts, gets int
	last       secretsmanager.GetSecretValueOutput // the last argument of Put
}

type locked struct{ text, bytes string }

func (h *locker) Put(data any) any {
	h.puts++
	h.last = *data.(*secretsmanager.GetSecretValueOutput)
	return &locked{aws.ToString(h.last.SecretString), string(h.last.SecretBinary)}
}

func (h *locker) Get(data any) any {
	h.gets++
	l := data.(*locked)
	if l.bytes != "" {
		return &secretsmanager.GetSecretValueOutput{SecretBinary: []byte(l.bytes)}
	}
	return &secretsmanager.GetSecretValueOutput{SecretString: &l.text}
}

func TestHookIsCalledForEachStoreAndRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.put("text", current, "1")
		f.set("bytes", current, &secretsmanager.GetSecretValueOutput{SecretBinary: []byte("2")})
		h := &locker{}
		c := newCache(t, f, ttl(time.Minute), func(c *awscaching.Cache) { c.Hook = h })
		check := func(puts, gets int) {
			t.Helper()
			if h.puts != puts || h.gets != gets {
				t.Errorf("%d puts and %d gets, want %d and %d", h.puts, h.gets, puts, gets)
			}
		}
		want(t, c, "text", "1")
		check(1, 1)
		want(t, c, "text", "1")
		check(1, 2)
		c.RefreshNow("text") // fetches the same version
		time.Sleep(2 * time.Minute)
		want(t, c, "text", "1")
		if h.puts != 1 {
			t.Errorf("%d puts of one version, want 1", h.puts)
		}
		f.put("text", current, "3")
		c.RefreshNow("text")
		want(t, c, "text", "3")
		if h.puts != 2 {
			t.Errorf("%d puts of two versions, want 2", h.puts)
		}
		if got, err := c.GetSecretBinary("bytes"); string(got) != "2" || err != nil {
			t.Errorf("GetSecretBinary = %q, %v, want %q", got, err, "2")
		}
		if h.puts != 3 {
			t.Errorf("%d puts of three versions, want 3", h.puts)
		}
	})
}

func TestHookSeesWhatTheClientReturned(t *testing.T) {
	created := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, out := range map[string]secretsmanager.GetSecretValueOutput{
		"text": {
			ARN: aws.String("arn:aws:secretsmanager:us-west-2:123456789012:secret:a-a1b2c3"), Name: aws.String("a"),
			CreatedDate: &created, VersionId: aws.String("v"), VersionStages: []string{current, "x"}, SecretString: aws.String("1"),
		},
		"bytes": {Name: aws.String("a"), VersionId: aws.String("v"), SecretBinary: []byte("1")},
		"none":  {Name: aws.String("a"), VersionId: aws.String("v")},
	} {
		inBubble(t, name, func(t *testing.T) {
			f := newFake()
			f.set("a", current, &out)
			h := &locker{}
			c := newCache(t, f, func(c *awscaching.Cache) { c.Hook = h })
			_, _ = c.GetSecretString("a")
			if got, want := show(h.last), show(out); got != want {
				t.Errorf("Put saw %s, want %s", got, want)
			}
		})
	}
}

// show returns the value behind a pointer.
func show(out secretsmanager.GetSecretValueOutput) string {
	p := func(s *string) string {
		if s == nil {
			return "nil"
		}
		return fmt.Sprintf("%q", *s)
	}
	return fmt.Sprintf("%s %s %v %s %q %s %q nil %v", p(out.ARN), p(out.Name), out.CreatedDate, p(out.VersionId),
		out.VersionStages, p(out.SecretString), out.SecretBinary, out.SecretBinary == nil)
}

// mirror is a hook that changes nothing. AWS's own tests have such a hook.
type mirror struct{}

func (mirror) Put(data any) any { return data }
func (mirror) Get(data any) any { return data }

func TestHookThatDoesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.put("a", current, "1")
		f.set("b", current, &secretsmanager.GetSecretValueOutput{SecretBinary: []byte("2")})
		c := newCache(t, f, func(c *awscaching.Cache) { c.Hook = mirror{} })
		for range 2 {
			want(t, c, "a", "1")
			_, err := c.GetSecretBinary("a")
			wantAs[*awscaching.InvalidOperationError](t, err)
			got, err := c.GetSecretBinary("b")
			if string(got) != "2" || err != nil {
				t.Errorf("GetSecretBinary = %q, %v, want %q", got, err, "2")
			}
			clear(got)
		}
	})
}
