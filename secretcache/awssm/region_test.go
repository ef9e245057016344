package awssm_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/smithy-go"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm/awssmtest"
)

const (
	west  = "us-west-2"
	east  = "us-east-1"
	south = "eu-south-1"

	westARN = "arn:aws:secretsmanager:us-west-2:123456789012:secret:x-a1b2c3"
	eastARN = "arn:aws:secretsmanager:us-east-1:123456789012:secret:x-a1b2c3"
)

func fallback(regions ...string) func(*awssm.Options) {
	return func(o *awssm.Options) { o.Regions = regions }
}

func fetchWithin(t *testing.T, src *awssm.Source, d time.Duration, id string) (*secretcache.Secret, time.Duration, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	start := time.Now()
	sec, err := src.Fetch(ctx, id, "")
	return sec, time.Since(start), err
}

func TestFallbackRegions(t *testing.T) {
	good := secretAnswer("v", time.Unix(1, 0))
	down := errorAnswer(500, "InternalServiceError", "down")
	none := errorAnswer(400, "ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
	noStage := errorAnswer(400, "ResourceNotFoundException", "Secrets Manager can't find the specified secret value for staging label: AWSCURRENT")
	denied := errorAnswer(400, "AccessDeniedException", "no")
	throttled := errorAnswer(400, "ThrottlingException", "slow")
	for _, tt := range []struct {
		name              string
		west, east, south answer
		regions           []string
		timeout           time.Duration
		calls             [3]int
		took              time.Duration // at least this, and at most 1 s more
		is                []error
		text              string // part of the error; empty if the fetch succeeds
	}{
		{name: "not needed", west: good, east: good, regions: []string{east}, timeout: 10 * time.Second, calls: [3]int{1, 0, 0}},
		{name: "5xx", west: down, east: good, regions: []string{east}, timeout: 10 * time.Second, calls: [3]int{3, 1, 0}},
		{name: "connection breaks", west: broken, east: good, regions: []string{west, east}, timeout: 10 * time.Second, calls: [3]int{3, 1, 0}},
		{name: "hangs", west: hang, east: good, regions: []string{east}, timeout: 10 * time.Second, calls: [3]int{3, 1, 0}, took: 5 * time.Second},
		{name: "hangs, no deadline", west: hang, east: good, regions: []string{east}, calls: [3]int{3, 1, 0}, took: 6 * time.Second},
		{name: "hangs, three regions", west: hang, east: hang, south: good, regions: []string{east, south}, timeout: 12 * time.Second, calls: [3]int{2, 2, 1}, took: 8 * time.Second},
		{name: "hangs, time for two of three", west: hang, east: good, south: good, regions: []string{east, south}, timeout: 5 * time.Second, calls: [3]int{2, 1, 0}, took: 2500 * time.Millisecond},
		{
			name: "hangs, time for one", west: hang, east: good, regions: []string{east}, timeout: 3 * time.Second, calls: [3]int{2, 0, 0}, took: 3 * time.Second,
			is: []error{context.DeadlineExceeded}, text: `GetSecretValue "x" in us-west-2: context deadline exceeded; before that: no answer within 1.5s`,
		},
		{name: "breaks, time for one", west: broken, east: good, regions: []string{east}, timeout: 3 * time.Second, calls: [3]int{3, 1, 0}},
		{name: "both broken, third works", west: broken, east: down, south: good, regions: []string{east, south}, timeout: 10 * time.Second, calls: [3]int{3, 3, 1}},
		{
			name: "all down", west: down, east: broken, regions: []string{east}, timeout: 10 * time.Second, calls: [3]int{3, 3, 0},
			text: `GetSecretValue "x" in us-west-2: InternalServiceError: down (3 attempts); in us-east-1: unexpected EOF (3 attempts)`,
		},
		{
			name: "all hang", west: hang, east: hang, regions: []string{east}, timeout: 10 * time.Second, calls: [3]int{3, 3, 0}, took: 10 * time.Second,
			is: []error{context.DeadlineExceeded}, text: `GetSecretValue "x" in us-east-1: context deadline exceeded; before that: no answer within 2s`,
		},
		{
			name: "an error 4xx is final", west: none, east: good, regions: []string{east}, timeout: 10 * time.Second, calls: [3]int{1, 0, 0},
			is: []error{secretcache.ErrNotFound}, text: `GetSecretValue "x" in us-west-2: secret not found: ResourceNotFoundException: Secrets Manager can't find the specified secret.`,
		},
		{
			name: "access denied is final", west: denied, east: good, regions: []string{east}, timeout: 10 * time.Second, calls: [3]int{1, 0, 0},
			is: []error{secretcache.ErrAccessDenied}, text: `GetSecretValue "x" in us-west-2: access to the secret denied: AccessDeniedException: no`,
		},
		{
			name: "throttling is final", west: throttled, east: good, regions: []string{east}, timeout: 10 * time.Second, calls: [3]int{3, 0, 0},
			is: []error{secretcache.ErrThrottled}, text: `GetSecretValue "x" in us-west-2: too many requests for secrets: ThrottlingException: slow (3 attempts)`,
		},
		{
			name: "not replicated", west: down, east: none, regions: []string{east}, timeout: 10 * time.Second, calls: [3]int{3, 1, 0},
			text: `GetSecretValue "x" in us-west-2: InternalServiceError: down (3 attempts); in us-east-1: secret not found: ResourceNotFoundException: Secrets Manager can't find the specified secret.`,
		},
		{
			name: "denied there", west: down, east: denied, regions: []string{east}, timeout: 10 * time.Second, calls: [3]int{3, 1, 0},
			text: `GetSecretValue "x" in us-west-2: InternalServiceError: down (3 attempts); in us-east-1: access to the secret denied: AccessDeniedException: no`,
		},
		{name: "not replicated in the second region, but in the third", west: down, east: none, south: good, regions: []string{east, south}, timeout: 10 * time.Second, calls: [3]int{3, 1, 1}},
		{
			name: "no such stage in the replica", west: down, east: noStage, south: good, regions: []string{east, south}, timeout: 10 * time.Second, calls: [3]int{3, 1, 0},
			is: []error{secretcache.ErrNoVersion}, text: `GetSecretValue "x" in us-east-1: secret has no version with this stage: ResourceNotFoundException: Secrets Manager can't find the specified secret value for staging label: AWSCURRENT`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				f.set(west, tt.west)
				f.set(east, tt.east)
				f.set(south, tt.south)
				src := f.source(fallback(tt.regions...))
				ctx := t.Context()
				if tt.timeout > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, tt.timeout)
					defer cancel()
				}
				start := time.Now()
				sec, err := src.Fetch(ctx, "x", "")
				took := time.Since(start)
				if got := [3]int{f.count(west), f.count(east), f.count(south)}; got != tt.calls {
					t.Errorf("calls %v, want %v", got, tt.calls)
				}
				if took < tt.took || took > tt.took+time.Second {
					t.Errorf("took %s, want %s", took, tt.took)
				}
				if tt.text == "" {
					if err != nil || sec.VersionID() != "v" || sec.ARN() != westARN {
						t.Errorf("%v, %v", sec, err)
					}
					return
				}
				if err == nil || err.Error() != tt.text {
					t.Errorf("error\n got %v\nwant %s", err, tt.text)
				}
				for _, sentinel := range append(sentinels, context.DeadlineExceeded) {
					if got, want := errors.Is(err, sentinel), slices.Contains(tt.is, sentinel); got != want {
						t.Errorf("errors.Is(%v, %v) = %t", err, sentinel, got)
					}
				}
			})
		})
	}
}

func TestTheRegionOfAnARNIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.set(west, broken)
		f.set(east, secretAnswer("v", time.Unix(1, 0)))
		f.set(south, secretAnswer("w", time.Unix(1, 0)))
		src := f.source(fallback(east))
		for _, id := range []string{westARN, "x"} {
			sec, _, err := fetchWithin(t, src, 10*time.Second, id)
			if err != nil || sec.ID() != id || sec.ARN() != westARN {
				t.Errorf("%v, %v, %v", sec, sec.ARN(), err)
			}
		}
		// The region of another ARN has its own failover.
		sec, _, err := fetchWithin(t, src, 10*time.Second, strings.Replace(westARN, west, south, 1))
		if err != nil || sec.VersionID() != "w" {
			t.Errorf("%v, %v", sec, err)
		}
		want := []string{
			west + " " + westARN, west + " " + westARN, west + " " + westARN, east + " " + eastARN,
			east + " x", south + " " + strings.Replace(westARN, west, south, 1),
		}
		if !slices.Equal(f.ids, want) {
			t.Errorf("calls\n got %q\nwant %q", f.ids, want)
		}
	})
}

func TestAFailoverSticks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		good := secretAnswer("v", time.Unix(1, 0))
		f := newFake()
		f.set(west, hang)
		f.set(east, good)
		src := f.source(fallback(east))
		fetch := func(want time.Duration) {
			t.Helper()
			if _, took, err := fetchWithin(t, src, 10*time.Second, "x"); err != nil || took < want || took > want+time.Second {
				t.Errorf("%v after %s, want %s", err, took, want)
			}
		}
		expect := func(w, e int) {
			t.Helper()
			if f.count(west) != w || f.count(east) != e {
				t.Errorf("calls %d and %d, want %d and %d", f.count(west), f.count(east), w, e)
			}
		}
		fetch(5 * time.Second)
		for range 9_999 {
			fetch(0)
		}
		expect(3, 10_000)

		// After 30 s one fetch tries the first region again, with one attempt. The others do not.
		time.Sleep(30 * time.Second)
		var wg sync.WaitGroup
		wg.Go(func() { fetch(2 * time.Second) })
		synctest.Wait()
		for range 10 {
			fetch(0)
		}
		wg.Wait()
		expect(4, 10_011)
		fetch(0)
		expect(4, 10_012)

		// If the caller gives up, the next fetch tries the first region again.
		time.Sleep(30 * time.Second)
		if _, _, err := fetchWithin(t, src, 100*time.Millisecond, "x"); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		expect(5, 10_012)
		fetch(2 * time.Second)
		expect(6, 10_013)

		// An error with status 4xx is an answer too.
		time.Sleep(30 * time.Second)
		f.set(west, errorAnswer(400, "AccessDeniedException", "no"))
		if _, _, err := fetchWithin(t, src, 10*time.Second, "x"); !errors.Is(err, secretcache.ErrAccessDenied) {
			t.Error(err)
		}
		f.set(west, good)
		for range 10 {
			fetch(0)
		}
		expect(17, 10_013)

		// If the fall-back region fails, the first region is asked again at once.
		f.set(west, broken)
		fetch(0)
		expect(20, 10_014)
		f.set(west, good)
		f.set(east, broken)
		fetch(0)
		expect(21, 10_017)
		fetch(0)
		expect(22, 10_017)
	})
}

// A secret that is not replicated is found even while other secrets come from a replica.
func TestAFailoverDoesNotHideWhatIsNotReplicated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.set(west, broken)
		f.set(east, secretAnswer("v", time.Unix(1, 0)))
		src := f.source(fallback(east))
		if _, _, err := fetchWithin(t, src, 10*time.Second, "x"); err != nil {
			t.Fatal(err)
		}
		f.set(west, secretAnswer("w", time.Unix(1, 0)))
		f.set(east, errorAnswer(400, "ResourceNotFoundException", "Secrets Manager can't find the specified secret."))
		sec, _, err := fetchWithin(t, src, 10*time.Second, "y")
		if err != nil || sec.VersionID() != "w" {
			t.Errorf("%v, %v", sec, err)
		}
	})
}

// A fetch is between two attempts when another fetch finds a region that works. It goes there too.
func TestFetchesInFlightFollowAFailover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.set(west, hang)
		f.set(east, secretAnswer("v", time.Unix(1, 0)))
		src := f.source(fallback(east))
		var wg sync.WaitGroup
		for i := range 100 {
			time.Sleep(60 * time.Millisecond)
			wg.Go(func() {
				if _, _, err := fetchWithin(t, src, 10*time.Second, fmt.Sprint("x", i)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		// The first fetch needs 5 s. The 84 fetches that began until then made attempts of 2 s. No
		// attempt in the first region began after that.
		if n := f.count(west); n > 3*34+2*33+17 {
			t.Errorf("%d calls", n)
		}
	})
}

func TestAReplicaThatIsBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, now := secretAnswer("old", time.Unix(1000, 0)), secretAnswer("new", time.Unix(2000, 0))
		f := newFake()
		f.set(west, now)
		f.set(east, old)
		src := f.source(fallback(east))
		version := func(want string) {
			t.Helper()
			sec, _, err := fetchWithin(t, src, 10*time.Second, "x")
			if err != nil || sec.VersionID() != want {
				t.Errorf("got %v, %v, want %s", sec, err, want)
			}
		}
		isBehind := func(down string) {
			t.Helper()
			sec, _, err := fetchWithin(t, src, 10*time.Second, "x")
			var api smithy.APIError
			if !errors.Is(err, awssm.ErrReplicaBehind) || !errors.As(err, &api) || api.ErrorCode() != "InternalServiceError" {
				t.Errorf("got %v, %v", sec, err)
			}
			if want := `GetSecretValue "x" in us-west-2: InternalServiceError: ` + down + `; in us-east-1: replica is behind: it has an older version than was fetched before`; err != nil && err.Error() != want {
				t.Errorf("text\n got %v\nwant %s", err, want)
			}
		}
		down := errorAnswer(500, "InternalServiceError", "down")
		version("new")
		f.set(west, down)
		isBehind("down (3 attempts)")
		isBehind("down")
		// For another stage, and for another secret, no newer version is known.
		if sec, err := src.Fetch(t.Context(), "x", "AWSPREVIOUS"); err != nil || sec.VersionID() != "old" {
			t.Errorf("%v, %v", sec, err)
		}
		// That region is in use now and is asked first. If the first region works, it answers.
		f.set(west, now)
		version("new")
		f.set(west, down)
		f.set(east, now)
		version("new")

		// The stage moved back: the first region returns the older version, and then a replica
		// may too.
		f.set(west, old)
		f.set(east, broken)
		version("old")
		f.set(west, down)
		f.set(east, old)
		version("old")
	})
}

func TestTheRegionOrder(t *testing.T) {
	s := awssmtest.NewServer(t)
	s.Put("x", "v")
	arn := strings.Replace(s.ARN("x"), west, "ap-south-1", 1)
	for _, tt := range []struct {
		name, id, option, env, config string
		regions                       []string
		want                          string
	}{
		{"ARN", arn, "a-1", "b-1", "c-1", []string{"d-1"}, "ap-south-1"},
		{"option", "x", "a-1", "b-1", "c-1", []string{"d-1"}, "a-1"},
		{"environment", "x", "", " b-1 ", "c-1", []string{"d-1"}, "b-1"},
		{"configuration", "x", "", "", "c-1", []string{"d-1"}, "c-1"},
		{"first of Regions", "x", "", "", "", []string{"d-1", "e-1"}, "d-1"},
		{"none", "x", "", "", "", nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv(awssm.RegionEnv, tt.env)
			s.ResetCalls()
			cfg := s.Config()
			cfg.Region = tt.config
			src := s.Source(func(o *awssm.Options) { o.Region, o.Regions, o.Config = tt.option, tt.regions, &cfg })
			_, err := src.Fetch(t.Context(), tt.id, "")
			if tt.want == "" {
				const want = `GetSecretValue "x": no AWS region: set Options.Region (region= in a data source name), AWS_SECRET_JDBC_REGION, AWS_REGION or the region of the shared config file's profile, or name the secret by its ARN`
				if err == nil || err.Error() != want {
					t.Errorf("error\n got %v\nwant %s", err, want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := s.Requests()[0].Region; got != tt.want {
				t.Errorf("signed for %q, want %q", got, tt.want)
			}
		})
	}
}

func TestInvalidOptionsAreErrorsOfTheFirstFetch(t *testing.T) {
	s := awssmtest.NewServer(t)
	for name, tt := range map[string]struct {
		opts func(*awssm.Options)
		want string
	}{
		"region":           {func(o *awssm.Options) { o.Region = "us west" }, `GetSecretValue "x": region is not an AWS region's name like us-west-2`},
		"regions":          {fallback("us-east-1", "a/b"), `GetSecretValue "x": region is not an AWS region's name like us-west-2`},
		"empty region":     {fallback("us-east-1", ""), `GetSecretValue "x": one of Options.Regions is empty`},
		"scheme":           {func(o *awssm.Options) { o.Endpoint = "localhost:4566" }, `GetSecretValue "x": endpoint is not a URL like https://host`},
		"host":             {func(o *awssm.Options) { o.Endpoint = "https:///x" }, `GetSecretValue "x": endpoint is not a URL like https://host`},
		"user":             {func(o *awssm.Options) { o.Endpoint = "https://a:" + canary + "@host" }, `GetSecretValue "x": endpoint is not a URL like https://host`},
		"not a URL at all": {func(o *awssm.Options) { o.Endpoint = "https://%" + canary }, `GetSecretValue "x": endpoint is not a URL like https://host`},
	} {
		t.Run(name, func(t *testing.T) {
			src := s.Source(tt.opts, nil)
			for range 2 {
				_, err := src.Fetch(t.Context(), "x", "")
				if err == nil || err.Error() != tt.want {
					t.Errorf("got  %v\nwant %s", err, tt.want)
				}
				checkNoLeak(t, err)
			}
		})
	}
	cfg := s.Config()
	cfg.Region = ""
	for _, value := range []string{"not a region", "us-west-2,us-east-1", "US-WEST-2"} {
		t.Setenv(awssm.RegionEnv, value)
		src := s.Source(func(o *awssm.Options) { o.Region, o.Config = "", &cfg })
		const want = `GetSecretValue "x": environment variable AWS_SECRET_JDBC_REGION is not the name of one AWS region like us-west-2; ` +
			`put regions to fall back on into Options.Regions (region= in a data source name)`
		if _, err := src.Fetch(t.Context(), "x", ""); err == nil || err.Error() != want {
			t.Errorf("%s\n got %v\nwant %s", value, err, want)
		}
	}
	// It does not matter if a region is given.
	s.Put("x", "v")
	if _, err := s.Source().Fetch(t.Context(), "x", ""); err != nil {
		t.Error(err)
	}
	if _, err := s.Source(func(o *awssm.Options) { o.Region, o.Config = "", &cfg }).Fetch(t.Context(), s.ARN("x"), ""); err != nil {
		t.Error(err)
	}
}
