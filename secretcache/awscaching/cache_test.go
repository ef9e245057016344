package awscaching_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awscaching"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm"
)

func TestManyGettersAreOneCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := clientOf1(t)
		f.put("b", current, "2")
		f.change(func(f *fake) { f.wait = time.Second })
		together(100, func(int) { took(t, time.Second, func() { want(t, c, "a", "1") }) })
		wantCalls(t, f, 1)
		for range 100 {
			took(t, 0, func() { want(t, c, "a", "1") })
		}
		wantCalls(t, f, 1)
		want(t, c, "b", "2")
		wantCalls(t, f, 2)
	})
}

func TestTTLIsInNanoseconds(t *testing.T) {
	for _, d := range []time.Duration{time.Second, 5 * time.Minute, 24 * time.Hour} {
		inBubble(t, d.String(), func(t *testing.T) {
			f, c := cacheOf1(t, ttl(d))
			f.put("a", current, "2")
			time.Sleep(d/2 - 1)
			want(t, c, "a", "1")
			wantCalls(t, f, 1)
			time.Sleep(d/2 + 1)
			want(t, c, "a", "1") // during the renewal
			wantCalls(t, f, 2)
			want(t, c, "a", "2")
			wantCalls(t, f, 2)
		})
	}
}

func TestExpiredIsReturnedWhileOneFetchRenewsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := cacheOf1(t, ttl(time.Minute))
		f.put("a", current, "2")
		f.change(func(f *fake) { f.wait = time.Second / 2 })

		time.Sleep(time.Minute)
		for range 3 {
			took(t, 0, func() { want(t, c, "a", "1") })
		}
		wantCalls(t, f, 2)
		time.Sleep(time.Second / 2)
		synctest.Wait()
		want(t, c, "a", "2")

		// The last getter was so long ago that the next one waits for the renewal.
		f.put("a", current, "3")
		time.Sleep(2 * time.Minute)
		took(t, time.Second/2, func() { want(t, c, "a", "3") })
		wantCalls(t, f, 3)

		f.fail(errDown)
		time.Sleep(24 * time.Hour)
		want(t, c, "a", "3")
		time.Sleep(3 * time.Minute)
		wantErr(t, c, "a", errDown)
	})
}

func TestStages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.put("a", current, "2")
		f.put("a", previous, "1")
		c := newCache(t, f)
		for range 2 {
			want(t, c, "a", "2")
			wantStage(t, c, "a", "", "2")
			wantStage(t, c, "a", current, "2")
			wantStage(t, c, "a", previous, "1")
			_, err := c.GetSecretStringWithStage("a", pending)
			wantAs[*awscaching.VersionNotFoundError](t, err)
			if !errors.Is(err, secretcache.ErrNoVersion) {
				t.Errorf("%v is not secretcache.ErrNoVersion", err)
			}
			_, err = c.GetSecretBinaryWithStage("a", pending)
			wantAs[*awscaching.VersionNotFoundError](t, err)
		}
		wantCalls(t, f, 3)
	})
}

func TestOtherStagesTakeNoRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.put("a", current, "2")
		f.put("a", previous, "1")
		c := newCache(t, f, func(c *awscaching.Cache) { c.MaxCacheSize = 1 })
		for range 3 {
			want(t, c, "a", "2")
			wantStage(t, c, "a", previous, "1")
		}
		wantCalls(t, f, 2)
	})
}

func TestMaxCacheSize(t *testing.T) {
	for _, size := range []int{1, 2, 5} {
		inBubble(t, fmt.Sprint(size), func(t *testing.T) {
			f := newFake()
			c := newCache(t, f, func(c *awscaching.Cache) { c.MaxCacheSize = size })
			for i := range size + 1 {
				id := fmt.Sprint("s", i)
				f.put(id, current, id)
				want(t, c, id, id)
			}
			for i := size; i > 0; i-- {
				want(t, c, fmt.Sprint("s", i), fmt.Sprint("s", i))
			}
			wantCalls(t, f, size+1)
			want(t, c, "s0", "s0") // s0 was used least recently
			wantCalls(t, f, size+2)
		})
	}
}

func TestRefreshNowFetchesTheVersionStage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.put("a", pending, "1")
		c := newCache(t, f, func(c *awscaching.Cache) { c.VersionStage = pending })
		c.RefreshNow("a")
		wantCalls(t, f, 1)
		want(t, c, "a", "1")
		wantCalls(t, f, 1)
	})
}

func TestRefreshNowOfManyIsOneFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := clientOf1(t)
		f.change(func(f *fake) { f.wait = time.Second })
		want(t, c, "a", "1")
		f.put("a", current, "2")
		together(200, func(int) {
			c.RefreshNow("a")
			want(t, c, "a", "2")
		})
		// One fetch was under way when the other callers called, and one is for them.
		wantCalls(t, f, 3)
	})
}

func TestRefreshNowIsForAllStages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.put("a", current, "2")
		f.put("a", previous, "1")
		c := newCache(t, f)
		want(t, c, "a", "2")
		wantStage(t, c, "a", previous, "1")
		f.put("a", current, "3")
		f.put("a", previous, "2")
		c.RefreshNow("a")
		wantCalls(t, f, 3)
		want(t, c, "a", "3")
		wantStage(t, c, "a", previous, "2")
		wantCalls(t, f, 4)
	})
}

func TestGettersGoOnDuringRefreshNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := cacheOf1(t)
		f.change(func(f *fake) { f.hang = true })
		together(2, func(i int) {
			if i == 0 {
				c.RefreshNow("a")
				return
			}
			synctest.Wait()
			took(t, 0, func() { want(t, c, "a", "1") })
		})
		took(t, 0, func() { want(t, c, "a", "1") })
	})
}

func TestWrongKindIsAnError(t *testing.T) {
	const value = "hunter2"
	for name, tt := range map[string]struct {
		out           secretsmanager.GetSecretValueOutput
		text, isBytes bool
		says          string
	}{
		"text":        {secretsmanager.GetSecretValueOutput{SecretString: aws.String(value)}, true, false, "is text"},
		"bytes":       {secretsmanager.GetSecretValueOutput{SecretBinary: []byte(value)}, false, true, "is binary"},
		"empty bytes": {secretsmanager.GetSecretValueOutput{SecretBinary: []byte{}}, false, true, "is binary"},
		"neither":     {secretsmanager.GetSecretValueOutput{Name: aws.String("a"), VersionId: aws.String("v")}, false, false, "has no value"},
		"empty text":  {secretsmanager.GetSecretValueOutput{SecretString: aws.String("")}, false, false, "has no value"},
	} {
		inBubble(t, name, func(t *testing.T) {
			f := newFake()
			f.set("a", current, &tt.out)
			c := newCache(t, f)
			text, textErr := c.GetSecretString("a")
			bytes, bytesErr := c.GetSecretBinary("a")
			for _, got := range []struct {
				what  string
				value string
				ok    bool
				err   error
			}{{"GetSecretString", text, tt.text, textErr}, {"GetSecretBinary", string(bytes), tt.isBytes, bytesErr}} {
				if got.ok {
					if wantValue := aws.ToString(tt.out.SecretString) + string(tt.out.SecretBinary); got.value != wantValue || got.err != nil {
						t.Errorf("%s = %q, %v, want %q", got.what, got.value, got.err, wantValue)
					}
					continue
				}
				wantAs[*awscaching.InvalidOperationError](t, got.err)
				if got.value != "" || got.err == nil || !strings.Contains(got.err.Error(), `"a"`) ||
					!strings.Contains(got.err.Error(), tt.says) || strings.Contains(got.err.Error(), value) {
					t.Errorf("%s = %q, %v, want an error that names the secret and %q", got.what, got.value, got.err, tt.says)
				}
			}
			wantCalls(t, f, 1)
		})
	}
}

func TestErrorsOfTheClientAreReachable(t *testing.T) {
	denied := &types.InvalidRequestException{Message: aws.String("You can't perform this operation on the secret because it was marked for deletion.")}
	missing := &types.ResourceNotFoundException{Message: aws.String("Secrets Manager can't find the specified secret.")}
	for name, tt := range map[string]struct{ err, is error }{
		"the client's own": {errDown, errDown},
		"not found":        {missing, secretcache.ErrNotFound},
		"deleted":          {denied, secretcache.ErrNotFound},
	} {
		inBubble(t, name, func(t *testing.T) {
			f := newFake()
			f.fail(tt.err)
			c := newCache(t, f)
			_, err := c.GetSecretString("a")
			if !errors.Is(err, tt.is) {
				t.Errorf("%v is not %v", err, tt.is)
			}
			wantAs[*awssm.Error](t, err)
			if e := (*awscaching.VersionNotFoundError)(nil); errors.As(err, &e) {
				t.Errorf("%v is a VersionNotFoundError", err)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.fail(missing)
		_, err := newCache(t, f).GetSecretString("a")
		wantAs[*types.ResourceNotFoundException](t, err)
	})
}

func TestFieldsMayBeSetUntilTheFirstUse(t *testing.T) {
	environment(t)
	c, err := awscaching.New()
	if err != nil {
		t.Fatal(err)
	}
	f := newFake()
	f.put("a", pending, "1")
	c.Client, c.VersionStage = f, pending
	want(t, c, "a", "1")
	c.Client, c.VersionStage = nil, current
	want(t, c, "a", "1")
}

// A zero field of CacheConfig means the default of package secretcache.
func TestDefaultsAreThoseOfTheCache(t *testing.T) {
	if awscaching.DefaultMaxCacheSize != secretcache.DefaultMaxSize {
		t.Errorf("DefaultMaxCacheSize is %d, of package secretcache %d", awscaching.DefaultMaxCacheSize, secretcache.DefaultMaxSize)
	}
	if awscaching.DefaultCacheItemTTL != secretcache.DefaultTTL {
		t.Errorf("DefaultCacheItemTTL is %v, of package secretcache %v", time.Duration(awscaching.DefaultCacheItemTTL), secretcache.DefaultTTL)
	}
	if awscaching.DefaultVersionStage != secretcache.StageCurrent {
		t.Errorf("DefaultVersionStage is %q, of package secretcache %q", awscaching.DefaultVersionStage, secretcache.StageCurrent)
	}
}

func TestNilOptionIsNone(t *testing.T) {
	f := newFake()
	f.put("a", current, "1")
	want(t, newCache(t, f, nil), "a", "1")
}

func TestValuesOf64KiB(t *testing.T) {
	f := newFake()
	long := strings.Repeat("x", 65536)
	f.put("a", current, long)
	want(t, newCache(t, f), "a", long)
}
