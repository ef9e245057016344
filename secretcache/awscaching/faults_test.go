package awscaching_test

// Each test here is about a fault of AWS's client 2.2.0, which its comment describes.

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/sqlsecrets/sqlsecrets/secretcache/awscaching"
)

// AWS's client sleeps for 2.5 to 5 s before each refresh.
func TestRefreshNowDoesNotSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := cacheOf1(t)
		for i := range 5 {
			value := fmt.Sprint(i + 2)
			f.put("a", current, value)
			took(t, 0, func() { c.RefreshNow("a") })
			want(t, c, "a", value)
			wantCalls(t, f, i+2)
		}
	})
}

// After an error AWS's client takes the rest of the TTL, which is in nanoseconds, for
// milliseconds. With a TTL of an hour, RefreshNow sleeps for decades.
func TestRefreshNowAfterAnErrorReturnsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := clientOf1(t)
		f.fail(errDown)
		wantErr(t, c, "a", errDown)
		f.fail(nil)
		took(t, 0, func() { c.RefreshNow("a") })
		want(t, c, "a", "1")
		wantCalls(t, f, 2)
	})
}

// The second RefreshNow that fails sleeps for decades as well.
func TestRefreshNowThatFailsKeepsTheSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := cacheOf1(t)
		f.fail(errDown)
		for range 3 {
			took(t, 0, func() { c.RefreshNow("a") })
			want(t, c, "a", "1")
		}
		wantCalls(t, f, 4)
		f.fail(nil)
		f.put("a", current, "2")
		c.RefreshNow("a")
		want(t, c, "a", "2")
		wantCalls(t, f, 5)
	})
}

// AWS's client sleeps even after the end of the context.
func TestRefreshNowEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := cacheOf1(t)
		f.put("a", current, "2")
		f.change(func(f *fake) { f.wait = time.Second })
		took(t, time.Millisecond, func() { c.RefreshNowWithContext(impatient(t), "a") })
		took(t, 0, func() { want(t, c, "a", "1") })
		time.Sleep(time.Second)
		want(t, c, "a", "2") // the fetch has gone on
		wantCalls(t, f, 2)
	})
}

// AWS's client changes the secret's state without its lock, as go test -race reports.
func TestRefreshNowWithGetters(t *testing.T) {
	_, c := clientOf1(t, ttl(1))
	together(16, func(i int) {
		for range 200 {
			if i%4 == 0 {
				c.RefreshNow("a")
			} else {
				want(t, c, "a", "1")
			}
		}
	})
}

// AWS's client keeps the error of one caller's context and returns it to other callers.
func TestContextOfOneCallerDoesNotFailOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := clientOf1(t)
		f.change(func(f *fake) { f.wait = time.Second })
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := c.GetSecretStringWithContext(ended, "a"); !errors.Is(err, context.Canceled) {
			t.Errorf("the caller whose context had ended got %v", err)
		}
		want(t, c, "a", "1")
		wantCalls(t, f, 1)

		f.put("b", current, "2")
		together(3, func(i int) {
			if i > 0 {
				took(t, time.Second, func() { want(t, c, "b", "2") })
				return
			}
			took(t, time.Millisecond, func() {
				if _, err := c.GetSecretStringWithContext(impatient(t), "b"); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("the caller whose context ended got %v", err)
				}
			})
		})
		wantCalls(t, f, 2)
	})
}

// AWS's client holds a lock during the call. Other callers wait for the lock even after their
// contexts have ended.
func TestWaiterLeavesAtItsOwnDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.change(func(f *fake) { f.hang = true })
		c := newCache(t, f)
		together(2, func(i int) {
			if i == 0 {
				_, _ = c.GetSecretString("a")
				return
			}
			synctest.Wait() // until the other caller's call is under way
			took(t, time.Millisecond, func() {
				if _, err := c.GetSecretBinaryWithContext(impatient(t), "a"); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("the one that waited got %v", err)
				}
			})
		})
	})
}

// In AWS's client a call that hangs never ends, because there is no timeout.
func TestCallThatHangsIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.change(func(f *fake) { f.hang = true })
		c := newCache(t, f)
		took(t, 6*time.Second, func() { // three calls of 2 s
			if _, err := c.GetSecretString("a"); err == nil {
				t.Error("there is no error")
			}
		})
		wantCalls(t, f, 3)
		f.put("a", current, "1")
		f.change(func(f *fake) { f.hang = false })
		time.Sleep(time.Second)
		want(t, c, "a", "1")
	})
}

// AWS's client panics if MaxCacheSize is not set (issue 12 of its repository).
func TestZeroFieldsOfTheConfigAreTheDefaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := clientOf1(t, func(c *awscaching.Cache) { c.CacheConfig = awscaching.CacheConfig{} })
		f.put("b", current, "2")
		for range 2 {
			want(t, c, "a", "1")
			want(t, c, "b", "2")
			wantStage(t, c, "a", "", "1")
		}
		wantCalls(t, f, 2)
		time.Sleep(30*time.Minute - 1)
		want(t, c, "a", "1")
		wantCalls(t, f, 2)
		time.Sleep(30*time.Minute + 1)
		want(t, c, "a", "1")
		wantCalls(t, f, 3)
	})
}

// AWS's client panics if a secret is evicted between its insertion and its use.
func TestMoreSecretsThanFit(t *testing.T) {
	f := newFake()
	const secrets = 50
	for i := range secrets {
		f.put(fmt.Sprint("s", i), current, fmt.Sprint("value ", i))
	}
	c := newCache(t, f, func(c *awscaching.Cache) { c.MaxCacheSize = 1 })
	together(16, func(g int) {
		for i := range 20 * secrets {
			n := (g*7 + i) % secrets
			id := fmt.Sprint("s", n)
			switch i % 10 {
			case 0:
				c.RefreshNow(id)
			case 1:
				if _, err := c.GetSecretBinary(id); err == nil {
					t.Errorf("GetSecretBinary(%q) of a text has no error", id)
				}
			default:
				want(t, c, id, fmt.Sprint("value ", n))
			}
		}
	})
}

// AWS's client panics if its own client returns nothing, or if a hook's Get returns another type.
func TestNothingFromTheClientIsAnError(t *testing.T) {
	for name, out := range map[string]*secretsmanager.GetSecretValueOutput{"nil": nil, "empty": {}} {
		inBubble(t, name, func(t *testing.T) {
			f := newFake()
			f.set("a", current, out)
			c := newCache(t, f)
			if _, err := c.GetSecretString("a"); err == nil {
				t.Error("GetSecretString has no error")
			}
			if _, err := c.GetSecretBinary("a"); err == nil {
				t.Error("GetSecretBinary has no error")
			}
		})
	}
}

// wrongHook is a hook whose Get returns a wrong value.
type wrongHook struct{ get any }

func (h wrongHook) Put(data any) any { return data }
func (h wrongHook) Get(any) any      { return h.get }

func TestWrongValueFromTheHookIsAnError(t *testing.T) {
	for _, get := range []any{
		nil, "text", (*secretsmanager.GetSecretValueOutput)(nil), secretsmanager.GetSecretValueOutput{},
		&secretsmanager.DescribeSecretOutput{},
	} {
		inBubble(t, fmt.Sprintf("%T", get), func(t *testing.T) {
			_, c := clientOf1(t, func(c *awscaching.Cache) { c.Hook = wrongHook{get} })
			_, err := c.GetSecretString("a")
			wantAs[*awscaching.InvalidOperationError](t, err)
			if err != nil && !strings.Contains(err.Error(), `"a"`) {
				t.Errorf("the error %q does not name the secret", err)
			}
		})
	}
}

// panicHook is a hook that panics.
type panicHook struct{}

func (panicHook) Put(any) any { panic("hunter2") }
func (panicHook) Get(any) any { panic("not called") }

func TestPanicOfTheHookIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.put("a", current, "hunter2")
		c := newCache(t, f, func(c *awscaching.Cache) { c.Hook = panicHook{} })
		if _, err := c.GetSecretString("a"); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error is %v", err)
		}
	})
}

// AWS's client counts the pause after a failed GetSecretValue in nanoseconds, so each getter
// makes a call.
func TestGettersThatFailAreOneCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := clientOf1(t)
		f.fail(errDown)
		for pause := time.Second; pause <= 4*time.Second; pause *= 2 {
			before := f.calls()
			for range 100 {
				wantErr(t, c, "a", errDown)
			}
			time.Sleep(pause / 2)
			wantErr(t, c, "a", errDown)
			wantCalls(t, f, before+1)
			time.Sleep(pause)
		}
		f.fail(nil)
		want(t, c, "a", "1")
	})
}

// AWS's client returns this error from each getter, after a call.
func TestNegativeTTLIsAnErrorOfNew(t *testing.T) {
	f := newFake()
	c, err := awscaching.New(func(c *awscaching.Cache) { c.Client, c.CacheItemTTL = f, -1 })
	wantAs[*awscaching.InvalidConfigError](t, err)
	// Many programs ignore the error of New.
	_, err = c.GetSecretString("a")
	wantAs[*awscaching.InvalidConfigError](t, err)
	_, err = c.GetSecretBinary("a")
	wantAs[*awscaching.InvalidConfigError](t, err)
	c.RefreshNow("a")
	if n := f.calls(); n != 0 {
		t.Errorf("%d calls, want none", n)
	}
}

// GetSecretString and GetSecretBinary of AWS's client ignore VersionStage and ask for AWSCURRENT.
func TestVersionStageIsThatOfEveryGetter(t *testing.T) {
	type cache = awscaching.Cache
	text := func(v string, err error) ([]byte, error) { return []byte(v), err }
	getters := map[string]func(context.Context, *cache) ([]byte, error){
		"GetSecretString": func(_ context.Context, c *cache) ([]byte, error) { return text(c.GetSecretString("text")) },
		"GetSecretStringWithContext": func(ctx context.Context, c *cache) ([]byte, error) {
			return text(c.GetSecretStringWithContext(ctx, "text"))
		},
		"GetSecretStringWithStage": func(_ context.Context, c *cache) ([]byte, error) { return text(c.GetSecretStringWithStage("text", "")) },
		"GetSecretStringWithStageWithContext": func(ctx context.Context, c *cache) ([]byte, error) {
			return text(c.GetSecretStringWithStageWithContext(ctx, "text", ""))
		},
		"GetSecretBinary":            func(_ context.Context, c *cache) ([]byte, error) { return c.GetSecretBinary("bytes") },
		"GetSecretBinaryWithContext": func(ctx context.Context, c *cache) ([]byte, error) { return c.GetSecretBinaryWithContext(ctx, "bytes") },
		"GetSecretBinaryWithStage":   func(_ context.Context, c *cache) ([]byte, error) { return c.GetSecretBinaryWithStage("bytes", "") },
		"GetSecretBinaryWithStageWithContext": func(ctx context.Context, c *cache) ([]byte, error) {
			return c.GetSecretBinaryWithStageWithContext(ctx, "bytes", "")
		},
	}
	for name, get := range getters {
		for stage, value := range map[string]string{"": current, current: current, pending: pending} {
			inBubble(t, name+"/"+stage, func(t *testing.T) {
				f := newFake()
				for _, stage := range []string{current, pending} {
					f.put("text", stage, stage)
					f.set("bytes", stage, &secretsmanager.GetSecretValueOutput{SecretBinary: []byte(stage)})
				}
				c := newCache(t, f, func(c *cache) { c.VersionStage = stage })
				got, err := get(t.Context(), c)
				if string(got) != value || err != nil {
					t.Errorf("got %q, %v, want %q", got, err, value)
				}
			})
		}
	}
}

// AWS's client returns its own bytes, not a copy.
func TestBytesAreACopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		stored := []byte("bytes")
		f.set("a", current, &secretsmanager.GetSecretValueOutput{SecretBinary: stored})
		c := newCache(t, f)
		for range 3 {
			got, err := c.GetSecretBinary("a")
			if string(got) != "bytes" || err != nil {
				t.Fatalf("got %q, %v", got, err)
			}
			clear(got)
			clear(stored)
		}
	})
}

// AWS's client panics. It also panics if the error of New, which comes with a nil cache, is
// ignored; see TestConfigurationThatDoesNotLoad.
func TestCacheWithoutNewReturnsAnError(t *testing.T) {
	for name, c := range map[string]*awscaching.Cache{"zero": {}, "literal": {Client: newFake()}} {
		t.Run(name, func(t *testing.T) {
			_, err := c.GetSecretString("a")
			wantAs[*awscaching.InvalidConfigError](t, err)
			_, err = c.GetSecretBinaryWithStage("a", pending)
			wantAs[*awscaching.InvalidConfigError](t, err)
			c.RefreshNow("a")
		})
	}
}
