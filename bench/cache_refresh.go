package main

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	awscache "github.com/aws/aws-secretsmanager-caching-go/v2/secretcache"

	"github.com/sqlsecrets/sqlsecrets/bench/internal/report"
	"github.com/sqlsecrets/sqlsecrets/bench/internal/turns"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awscaching"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm/awssmtest"
)

const refreshText = `The SDK's real clients call a Secrets Manager in the same process (awssmtest), which counts the API calls.

* forced refresh: the secret has a new version, and the caller knows that its own version was rejected. It
  calls Cache.Refresh, or RefreshNow and the getter. RefreshNow of AWS's client sleeps for 2.5 to 5 s.
* miss: two secrets take turns in a cache that has room for one.

"GetSecretValue alone" is the SDK's call without a cache. It keeps its connection, and so do awscaching and
AWS's client. sqlsecrets fetches through package awssm, which opens a connection for each call.
`

const sdkName = "GetSecretValue alone"

// A caller is a cache on a Secrets Manager of its own.
type caller struct {
	name   string
	server *awssmtest.Server
	// get returns a secret's value. refresh returns its newest value, which is not cached.
	get, refresh func(id string) (string, error)
	ops          int // operations since the calls are counted
}

// newCaller makes a cache for so many secrets.
type newCaller func(sm *awssmtest.Server, size int) *caller

// inTurn are the secrets of each server.
var inTurn = []string{"prod/app/db", "prod/other/db"}

// ourCaller is the cache of this library.
func ourCaller(sm *awssmtest.Server, size int) *caller {
	c := secretcache.New(sm.Source(), &secretcache.Options{MaxSize: size})
	var last *secretcache.Secret // the version that the caller has, which was rejected
	keep := func(s *secretcache.Secret, err error) (string, error) {
		if err != nil {
			return "", err
		}
		last = s
		return s.Reveal(), nil
	}
	return &caller{name: ours, server: sm,
		get:     func(id string) (string, error) { return keep(c.Get(context.Background(), id, "")) },
		refresh: func(id string) (string, error) { return keep(c.Refresh(context.Background(), id, "", last)) }}
}

// dropInCaller is the cache of this library behind the API of AWS's client.
func dropInCaller(sm *awssmtest.Server, size int) *caller {
	c, err := awscaching.New(func(c *awscaching.Cache) { c.Client, c.MaxCacheSize = secretsmanager.NewFromConfig(sm.Config()), size })
	if err != nil {
		panic(err) // only the SDK's configuration can fail, which is not loaded
	}
	return &caller{name: dropInName, server: sm, get: c.GetSecretString, refresh: refreshNow(c.RefreshNow, c.GetSecretString)}
}

// awsCaller is AWS's client.
func awsCaller(sm *awssmtest.Server, size int) *caller {
	c, err := awscache.New(func(c *awscache.Cache) { c.Client, c.MaxCacheSize = secretsmanager.NewFromConfig(sm.Config()), size })
	if err != nil {
		panic(err) // as above
	}
	return &caller{name: awsName, server: sm, get: c.GetSecretString, refresh: refreshNow(c.RefreshNow, c.GetSecretString)}
}

func refreshNow(refresh func(id string), get func(id string) (string, error)) func(id string) (string, error) {
	return func(id string) (string, error) {
		refresh(id)
		return get(id)
	}
}

// sdkCaller has no cache.
func sdkCaller(sm *awssmtest.Server, _ int) *caller {
	client := secretsmanager.NewFromConfig(sm.Config())
	get := func(id string) (string, error) {
		out, err := client.GetSecretValue(context.Background(), &secretsmanager.GetSecretValueInput{SecretId: &id})
		if err != nil {
			return "", err
		}
		return aws.ToString(out.SecretString), nil
	}
	return &caller{name: sdkName, server: sm, get: get, refresh: get}
}

// subject returns an operation that refreshes a secret, or one that misses.
func (c *caller) subject(refresh bool) turns.Subject {
	version := 0
	value := func(id string) string { return fmt.Sprintf(`{"username":"app","password":"%s %d"}`, id, version) }
	put := func() {
		version++
		for _, id := range inTurn {
			c.server.Put(id, value(id))
		}
	}
	check := func(id, got string, err error) {
		if want := value(id); got != want || err != nil {
			panic(fmt.Sprintf("%s: got %q, %v, want %q", c.name, got, err, want))
		}
	}
	put()
	got, err := c.get(inTurn[0])
	check(inTurn[0], got, err)
	c.server.ResetCalls()
	s := turns.Subject{Name: c.name}
	if refresh {
		s.Before = put
		s.Op = func(int) {
			c.ops++
			got, err := c.refresh(inTurn[0])
			check(inTurn[0], got, err)
		}
		return s
	}
	s.Op = func(n int) {
		for range n {
			c.ops++
			id := inTurn[c.ops%2] // the first one is cached
			got, err := c.get(id)
			check(id, got, err)
		}
	}
	return s
}

// callsPerOp returns the API calls of one operation.
func (c *caller) callsPerOp() float64 {
	return float64(c.server.Calls("GetSecretValue")+c.server.Calls("DescribeSecret")) / float64(max(1, c.ops))
}

func cacheRefresh(_ context.Context, quick bool) (*report.Section, error) {
	s := &report.Section{Name: "cache-refresh", Title: "Forced refresh, and miss, on Secrets Manager's API", Text: refreshText}
	refreshes := apiTable("Forced refresh")
	refreshed, callers := compareCallers(quick, "forced refresh", true, turns.Options{One: true, Rounds: 200}, sdkCaller, dropInCaller, ourCaller)
	refreshes.add(callers, refreshed)
	us := refreshed[ours]
	s.Targets = []report.Target{refreshTarget(us, callers[len(callers)-1].callsPerOp(), refreshed[sdkName])}
	plot := report.Plot{Title: "Forced refresh", Unit: "ms", Log: true, Labels: []string{"time"}}
	if !quick { // it sleeps
		theirs, callers := compareCallers(false, "forced refresh", true, turns.Options{One: true, Rounds: 8, MaxRounds: 8}, awsCaller)
		refreshes.add(callers, theirs)
		refreshed[awsName] = theirs[awsName]
	}
	for _, name := range []string{ours, dropInName, awsName, sdkName} {
		plot.Series = append(plot.Series, report.Series{Name: name, Values: report.Values{refreshed[name].Low / 1e6}})
	}
	misses := apiTable("Miss")
	missed, callers := compareCallers(quick, "miss", false, turns.Options{MaxRounds: 120}, sdkCaller, awsCaller, dropInCaller, ourCaller)
	misses.add(callers, missed)
	s.Tables, s.Plots = []report.Table{refreshes.Table, misses.Table}, []report.Plot{plot}
	return s, nil
}

// compareCallers measures caches that each have a server of their own.
func compareCallers(quick bool, what string, refresh bool, o turns.Options, news ...newCaller) (map[string]turns.Result, []*caller) {
	var callers []*caller
	var subjects []turns.Subject
	for _, n := range news {
		c := n(awssmtest.NewServer(nil), 1)
		defer c.server.Close()
		callers, subjects = append(callers, c), append(subjects, c.subject(refresh))
	}
	return compare(quick, what, subjects, o), callers
}

// An apiTableOf is a table of times and API calls.
type apiTableOf struct{ report.Table }

func apiTable(title string) *apiTableOf {
	return &apiTableOf{report.Table{Title: title, Columns: []string{"cache", "low", "median", "API calls", "allocs"}}}
}

func (t *apiTableOf) add(callers []*caller, by map[string]turns.Result) {
	for _, c := range callers {
		r := by[c.name]
		t.Rows = append(t.Rows, []string{c.name, figure(r.Low), figure(r.Median), fmt.Sprintf("%.2f", c.callsPerOp()), fmt.Sprintf("%.0f", r.Allocs)})
	}
}

// refreshTarget asks for one call and no sleep: less than 5 ms more than the call itself.
func refreshTarget(us turns.Result, calls float64, alone turns.Result) report.Target {
	const most = 5 * time.Millisecond
	return report.Target{What: "forced refresh", Want: "1 API call, no sleep", Got: fmt.Sprintf("%.2f calls, %s; the call alone takes %s", calls, figure(us.Low), figure(alone.Low)),
		Met: round2(calls) == 1 && us.High-alone.High < float64(most), Missed: fmt.Sprintf("%.2f calls more, %s more than the call", calls-1, figure(us.High-alone.High))}
}
