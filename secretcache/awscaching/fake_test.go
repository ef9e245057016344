package awscaching_test

import (
	"context"
	"errors"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	"github.com/sqlsecrets/sqlsecrets/secretcache/awscaching"
)

const (
	current  = "AWSCURRENT"
	previous = "AWSPREVIOUS"
	pending  = "AWSPENDING"
)

// A fake is the program's own client. It uses no network, so it works in a synctest bubble.
// Every call except GetSecretValue panics.
type fake struct {
	awscaching.SecretsManagerAPIClient

	mu      sync.Mutex
	secrets map[[2]string]*secretsmanager.GetSecretValueOutput // by id and stage
	err     error                                              // the error of every call
	wait    time.Duration                                      // how long a call takes
	hang    bool                                               // a call ends only with its context
	ids     []string                                           // the id in each call
}

func newFake() *fake {
	return &fake{secrets: map[[2]string]*secretsmanager.GetSecretValueOutput{}}
}

// put makes a text the value of the version with the stage.
func (f *fake) put(id, stage, value string) {
	f.set(id, stage, &secretsmanager.GetSecretValueOutput{
		Name: aws.String(id), VersionId: aws.String("version of " + value), VersionStages: []string{stage},
		SecretString: aws.String(value),
	})
}

func (f *fake) set(id, stage string, out *secretsmanager.GetSecretValueOutput) {
	f.change(func(f *fake) { f.secrets[[2]string{id, stage}] = out })
}

// change changes the behavior of calls that begin later.
func (f *fake) change(how func(*fake)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	how(f)
}

func (f *fake) fail(err error) { f.change(func(f *fake) { f.err = err }) }

// calls returns how many calls began.
func (f *fake) calls() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.ids)
}

func (f *fake) GetSecretValue(ctx context.Context, in *secretsmanager.GetSecretValueInput, _ ...func(*secretsmanager.Options)) (*secretsmanager.GetSecretValueOutput, error) {
	f.mu.Lock()
	f.ids = append(f.ids, *in.SecretId)
	out, ok := f.secrets[[2]string{*in.SecretId, *in.VersionStage}]
	err, wait, hang := f.err, f.wait, f.hang
	f.mu.Unlock()
	if hang {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	select {
	case <-time.After(wait):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	switch {
	case err != nil:
		return nil, err
	case !ok:
		return nil, &types.ResourceNotFoundException{
			Message: aws.String("Secrets Manager can't find the specified secret value for staging label: " + *in.VersionStage),
		}
	}
	return out, nil
}

// errDown is the error of a client whose service is down.
var errDown = errors.New("service is down")

// newCache returns a cache of f.
func newCache(t *testing.T, f *fake, optFns ...func(*awscaching.Cache)) *awscaching.Cache {
	t.Helper()
	c, err := awscaching.New(append([]func(*awscaching.Cache){func(c *awscaching.Cache) { c.Client = f }}, optFns...)...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// clientOf1 returns a client whose secret "a" has the value "1", and a cache of it.
func clientOf1(t *testing.T, optFns ...func(*awscaching.Cache)) (*fake, *awscaching.Cache) {
	t.Helper()
	f := newFake()
	f.put("a", current, "1")
	return f, newCache(t, f, optFns...)
}

// cacheOf1 is clientOf1 after the cache has fetched "1".
func cacheOf1(t *testing.T, optFns ...func(*awscaching.Cache)) (*fake, *awscaching.Cache) {
	t.Helper()
	f, c := clientOf1(t, optFns...)
	want(t, c, "a", "1")
	return f, c
}

// impatient returns a context that ends almost at once.
func impatient(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

// inBubble runs a subtest in a synctest bubble.
func inBubble(t *testing.T, name string, test func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
}

func ttl(d time.Duration) func(*awscaching.Cache) {
	return func(c *awscaching.Cache) { c.CacheItemTTL = int64(d) }
}

// want calls GetSecretString and checks the value.
func want(t *testing.T, c *awscaching.Cache, id, value string) {
	t.Helper()
	if got, err := c.GetSecretString(id); got != value || err != nil {
		t.Errorf("GetSecretString(%q) = %q, %v, want %q", id, got, err, value)
	}
}

// wantStage calls GetSecretStringWithStage and checks the value.
func wantStage(t *testing.T, c *awscaching.Cache, id, stage, value string) {
	t.Helper()
	if got, err := c.GetSecretStringWithStage(id, stage); got != value || err != nil {
		t.Errorf("GetSecretStringWithStage(%q, %q) = %q, %v, want %q", id, stage, got, err, value)
	}
}

// wantErr calls GetSecretString and checks that it returns target.
func wantErr(t *testing.T, c *awscaching.Cache, id string, target error) {
	t.Helper()
	if got, err := c.GetSecretString(id); got != "" || !errors.Is(err, target) {
		t.Errorf("GetSecretString(%q) = %q, %v, want %v", id, got, err, target)
	}
}

// wantAs checks that err is of type E.
func wantAs[E error](t *testing.T, err error) {
	t.Helper()
	if e := *new(E); !errors.As(err, &e) {
		t.Errorf("the error is %v of type %T, want a %T", err, err, e)
	}
}

// wantCalls checks how many calls began, in a synctest bubble.
func wantCalls(t *testing.T, f *fake, n int) {
	t.Helper()
	synctest.Wait() // a renewal begins in the background
	if got := f.calls(); got != n {
		t.Errorf("%d calls, want %d", got, n)
	}
}

// took checks how long f takes, in a synctest bubble.
func took(t *testing.T, want time.Duration, f func()) {
	t.Helper()
	start := time.Now()
	f()
	if got := time.Since(start); got != want {
		t.Errorf("it took %v, want %v", got, want)
	}
}

// together calls f n times at once and waits for all calls.
func together(n int, f func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}

// environment sets the variables that the SDK reads its configuration from, as on a machine without
// files, and the given variables. It is for tests of a cache without a client.
func environment(t *testing.T, variables ...string) {
	t.Helper()
	for k, v := range map[string]string{
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull, "AWS_PROFILE": "",
		"AWS_EC2_METADATA_DISABLED": "true", "AWS_REGION": "us-west-2", "AWS_SECRET_JDBC_REGION": "",
		"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "example", "AWS_SESSION_TOKEN": "",
	} {
		t.Setenv(k, v)
	}
	for i := 0; i < len(variables); i += 2 {
		t.Setenv(variables[i], variables[i+1])
	}
}
