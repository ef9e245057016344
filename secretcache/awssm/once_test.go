package awssm_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm"
)

// fetches makes a fetch. It checks whether the fetch succeeds, and how many calls it makes in
// each region.
func (f *fakeService) fetches(t *testing.T, src *awssm.Source, works bool, calls map[string]int) {
	t.Helper()
	before := map[string]int{}
	for region := range calls {
		before[region] = f.count(region)
	}
	if _, err := src.Fetch(t.Context(), "x", ""); works != (err == nil) {
		t.Errorf("Fetch() = %v, want it to work: %t", err, works)
	}
	for region, want := range calls {
		if got := f.count(region) - before[region]; got != want {
			t.Errorf("%d calls in %s, want %d", got, region, want)
		}
	}
}

// While a region fails, a fetch there makes one call. Otherwise a fleet whose caches fetch
// again and again until the end of the outage would make three times as many calls.
func TestOneAttemptWhileFetchesFail(t *testing.T) {
	good := secretAnswer("v", time.Unix(1, 0))
	for name, bad := range map[string]answer{
		"throttled":            errorAnswer(400, "ThrottlingException", "slow"),
		"503":                  errorAnswer(503, "ServiceUnavailable", "down"),
		"connection breaks":    broken,
		"an unreadable answer": func(string, string, string) (int, string) { return 200, "{" },
	} {
		for ending, end := range map[string]struct {
			answer
			works bool
		}{
			"an answer":    {good, true},
			"an error 400": {errorAnswer(400, "AccessDeniedException", "no"), false},
		} {
			t.Run(name+", ended by "+ending, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := newFake()
					src := f.source()
					fetches := func(a answer, works bool, calls int) {
						t.Helper()
						f.set("us-west-2", a)
						f.fetches(t, src, works, map[string]int{"us-west-2": calls})
					}
					fetches(bad, false, 3)
					fetches(bad, false, 1)
					fetches(bad, false, 1)
					fetches(end.answer, end.works, 1)
					fetches(first(2, bad, good), true, 3)
				})
			})
		}
	}
}

// An attempt that hangs may be one bad connection, even while fetches fail.
func TestHangsAreRepeatedWhileFetchesFail(t *testing.T) {
	good, fail := secretAnswer("v", time.Unix(1, 0)), errorAnswer(503, "ServiceUnavailable", "down")
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		src := f.source()
		fetches := func(a answer, works bool, calls int) {
			t.Helper()
			f.set("us-west-2", a)
			f.fetches(t, src, works, map[string]int{"us-west-2": calls})
		}
		fetches(hang, false, 3)
		fetches(hang, false, 3) // attempts that hang do not show that the region fails
		fetches(fail, false, 3)
		fetches(hang, false, 3) // and do not show that it works
		fetches(first(1, hang, fail), false, 2)
		fetches(first(1, hang, good), true, 2)
	})
}

// Each region is counted alone. The next region is asked after one attempt as well as after three.
func TestFallbackRegionsAreAskedWhileFetchesFail(t *testing.T) {
	good, fail := secretAnswer("v", time.Unix(1, 0)), errorAnswer(503, "ServiceUnavailable", "down")
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		src := f.source(func(o *awssm.Options) { o.Regions = []string{"us-east-1"} })
		f.set("us-west-2", fail)
		f.set("us-east-1", fail)
		f.fetches(t, src, false, map[string]int{"us-west-2": 3, "us-east-1": 3})
		f.fetches(t, src, false, map[string]int{"us-west-2": 1, "us-east-1": 1})
		f.set("us-east-1", good)
		f.fetches(t, src, true, map[string]int{"us-west-2": 1, "us-east-1": 1})
		f.set("us-east-1", first(2, fail, good)) // this region is asked first now
		f.fetches(t, src, true, map[string]int{"us-west-2": 0, "us-east-1": 3})
	})
}

// An old failure does not count for the next fetch.
func TestThreeAttemptsAgainAfterAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		src := f.source()
		f.set("us-west-2", errorAnswer(503, "ServiceUnavailable", "down"))
		f.fetches(t, src, false, map[string]int{"us-west-2": 3})
		time.Sleep(time.Minute)
		f.fetches(t, src, false, map[string]int{"us-west-2": 1})
		time.Sleep(3 * time.Minute)
		f.fetches(t, src, false, map[string]int{"us-west-2": 3})
	})
}
