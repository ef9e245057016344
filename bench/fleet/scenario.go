package fleet

import (
	"fmt"
	"slices"
	"time"
)

// A Scenario is an event that a fleet meets, with the targets for the library.
type Scenario struct {
	Name  string // of the plot's file
	Title string
	Text  string

	fallbacks   []string // nil = the default, AWSPENDING
	bothRegions bool
	prefetch    []string // ids that each instance fetches with Cache.Prefetch when it starts
	most        int      // limit of the number of instances, because the scenario takes long; 0 = no limit
	run         func(*Fleet)

	// Targets. Zero means none.
	Share    float64       // of the quota, in any second
	Recovery time.Duration // until the last instance is healthy
	Calls    int           // of one instance
	Why      string        // why we accept that a target is missed, as a sentence; empty: we do not accept it
}

const (
	outageTime  = 10 * time.Minute
	afterOutage = 5 * time.Minute
)

// Scenarios are all scenarios, in the order of the report.
var Scenarios = []*Scenario{
	{
		Name: "steady", Title: "Steady state", Share: 0.5,
		Text: "Instances that started within 45 minutes, each with a pool that opens a connection every three minutes.",
		run: func(f *Fleet) {
			f.warmUp()
			f.measure("an hour begins")
			time.Sleep(time.Hour)
		},
	},
	{
		Name: "cold", Title: "Cold start of all at once",
		Text: "All instances start in the same moment with empty caches, each opening ten connections at once.",
		run: func(f *Fleet) {
			f.measure("")
			f.startAll()
			time.Sleep(5 * time.Minute)
		},
	},
	{
		Name: "prefetch", Title: "Cold start of all at once with Prefetch", prefetch: tenSecrets(),
		Text: "The same, but each instance first calls Cache.Prefetch for ten secrets. One of them is the secret of the pool.",
		run: func(f *Fleet) {
			f.measure("")
			f.startAll()
			time.Sleep(5 * time.Minute)
		},
	},
	{
		Name: "ttl", Title: "TTL expiry after a cold start", Share: 0.5,
		Text: "Two hours after a cold start of all at once. The TTL is one hour. The real age at which a secret is renewed is random, 30 to 60 minutes.",
		run: func(f *Fleet) {
			f.startAll()
			time.Sleep(5 * time.Minute)
			f.measure("")
			time.Sleep(2 * time.Hour)
		},
	},
	{
		Name: "rotation", Title: "Rotation", Calls: 3,
		Why:  "The fourth call renews a secret whose TTL ends within these 25 minutes.",
		Text: "A single-user rotation: the database has the new password for 10 seconds before AWSCURRENT moves. Connections stay open.",
		run: func(f *Fleet) {
			f.warmUp()
			f.measure("new password")
			f.rotate("v2", "pw2")
			time.Sleep(10 * time.Second)
			f.recover("AWSCURRENT moves")
			f.service.move(stageCurrent, "v2")
			time.Sleep(25 * time.Minute)
		},
	},
	{
		Name: "rotation-reconnect", Title: "Rotation while all reconnect", Calls: 3,
		Why: "Two calls of each of 100,000 instances at the same moment are 20 times the quota. Throttled calls are repeated.",
		Text: "The same, but all connections end when the password changes, as in a failover of the database. " +
			"Every instance connects again within the 10 seconds before AWSCURRENT moves.",
		run: func(f *Fleet) {
			f.warmUp()
			f.measure("new password, all reconnect")
			f.rotate("v2", "pw2")
			f.loseAll()
			time.Sleep(10 * time.Second)
			f.recover("AWSCURRENT moves")
			f.service.move(stageCurrent, "v2")
			time.Sleep(5 * time.Minute)
		},
	},
	{
		Name: "pending", Title: "Fallback stage AWSPENDING", Share: 0.5, Recovery: time.Minute,
		Text: "A rotation that stops for 10 minutes after it has changed the password: only AWSPENDING works.",
		run: func(f *Fleet) {
			f.warmUp()
			f.measure("only AWSPENDING works")
			f.rotate("v2", "pw2")
			time.Sleep(outageTime)
			f.recover("AWSCURRENT moves")
			f.service.move(stageCurrent, "v2")
			time.Sleep(afterOutage)
		},
	},
	{
		Name: "previous", Title: "Fallback stage AWSPREVIOUS", Share: 0.5, Recovery: time.Minute,
		Text:      "For 10 minutes the database has the password of AWSPREVIOUS again. The option FallbackStages has both stages.",
		fallbacks: []string{stagePending, stagePrevious},
		run: func(f *Fleet) {
			f.service.put("v2", "pw2", stageCurrent)
			f.db.setPassword("pw2")
			f.warmUp()
			f.measure("only AWSPREVIOUS works")
			f.db.setPassword("pw1")
			time.Sleep(outageTime)
			f.recover("the current password is back")
			f.db.setPassword("pw2")
			time.Sleep(afterOutage)
		},
	},
	{
		Name: "database-outage", Title: "Outage of the database", Share: 0.5, Recovery: time.Minute,
		Why: "All instances lose all connections in one second, and the secret of 6 % of them has expired by then. " +
			"A delay of the renewal would break the promise that the first Connect call renews an expired secret.",
		Text: "The database ends all connections and refuses new ones for 10 minutes.",
		run: func(f *Fleet) {
			f.warmUp()
			f.measure("the database is down")
			f.db.setDown(true)
			f.loseAll()
			time.Sleep(outageTime)
			f.recover("the database is up")
			f.db.setDown(false)
			time.Sleep(afterOutage)
		},
	},
	{
		Name: "source-outage", Title: "Outage of Secrets Manager", Share: 0.5, Recovery: time.Minute,
		Text: "Secrets Manager answers with status 503 for 10 minutes. TTLs expire in this time, and every tenth instance restarts in the first minute.",
		run: func(f *Fleet) {
			f.warmUp()
			f.measure("Secrets Manager fails, every tenth restarts")
			f.service.setAll(failing, 0)
			f.restart(10)
			time.Sleep(outageTime)
			f.recover("Secrets Manager is up")
			f.service.setAll(up, 0)
			time.Sleep(afterOutage)
		},
	},
	{
		Name: "source-outage-cold", Title: "Outage of Secrets Manager, and all restart", Share: 0.5, Recovery: time.Minute,
		Why:  "All instances restart within a minute, each with an empty cache. This is a cold start, and a cold start has no delay. See the lasting rate.",
		Text: "The same, but every instance restarts in the first minute of the outage. So no cache has the secret.",
		run: func(f *Fleet) {
			f.warmUp()
			f.measure("Secrets Manager fails, all restart")
			f.service.setAll(failing, 0)
			f.restart(1)
			time.Sleep(outageTime)
			f.recover("Secrets Manager is up")
			f.service.setAll(up, 0)
			time.Sleep(afterOutage)
		},
	},
	{
		Name: "throttling", Title: "Throttling", Recovery: time.Minute,
		Text: "Other programs use up 99.9 % of the quota for 10 minutes, and every tenth instance restarts in the first minute.",
		run: func(f *Fleet) {
			f.warmUp()
			f.measure("throttling begins, every tenth restarts")
			f.service.setAll(up, 0.999)
			f.restart(10)
			time.Sleep(outageTime)
			f.recover("throttling ends")
			f.service.setAll(up, 0)
			time.Sleep(afterOutage)
		},
	},
	{
		Name: "region", Title: "One region down", Share: 0.5, Recovery: time.Minute, bothRegions: true,
		Text: "The secret's region does not answer for 10 minutes. A second region has a replica of the secret. Every tenth instance restarts in the first minute.",
		run: func(f *Fleet) {
			f.warmUp()
			f.measure("the region hangs, every tenth restarts")
			f.service.set(homeRegion, hanging, 0)
			f.restart(10)
			time.Sleep(time.Minute)
			f.timeRecovery("all have restarted")
			time.Sleep(outageTime - time.Minute)
			f.meter.event("the region is up")
			f.service.set(homeRegion, up, 0)
			time.Sleep(afterOutage)
		},
	},
	{
		Name: "mistyped-secret", Title: "Mistyped secret put right, the database unchanged", Share: 0.5, Recovery: time.Minute, most: 1000,
		Why: "With few instances, random effects make the busiest second higher. See the busiest 10 seconds.",
		Text: "Somebody mistypes the password in the secret and puts it right after 75 minutes. The instances notice when their TTL expires, " +
			"within an hour.",
		run: func(f *Fleet) {
			f.warmUp()
			f.measure("mistyped")
			f.service.put("v2", "pw1 with a typo", stageCurrent)
			time.Sleep(75 * time.Minute)
			f.recover("put right")
			f.service.put("v3", "pw1", stageCurrent)
			time.Sleep(afterOutage)
		},
	},
	{
		Name: "mistyped", Title: "Mistyped secret put right, a new password in the database", Share: 0.5, Recovery: time.Minute,
		Why: "All instances notice within three minutes, and each makes about 16 calls in its first minute. " +
			"With fewer calls at first, the next version of a rotation would be found later. See the lasting rate.",
		Text: "Somebody sets a new password, mistypes it in the secret, and puts the secret right after 10 minutes. " +
			"Every login is rejected from the first moment, and every pool tries to open connections within minutes.",
		run: func(f *Fleet) {
			f.warmUp()
			f.measure("mistyped")
			f.db.setPassword("pw2")
			f.service.put("v2", "pw2 with a typo", stageCurrent)
			time.Sleep(outageTime)
			f.recover("put right")
			f.service.put("v3", "pw2", stageCurrent)
			time.Sleep(afterOutage)
		},
	},
}

// tenSecrets returns the ids of the pool's secret and of nine other secrets.
func tenSecrets() []string {
	ids := []string{secretName}
	for n := range 9 {
		ids = append(ids, fmt.Sprintf("prod/other-%d", n+1))
	}
	return ids
}

// Sizes returns the numbers of instances of counts with which the scenario is run.
func (s *Scenario) Sizes(counts []int) []int {
	return slices.DeleteFunc(slices.Clone(counts), func(n int) bool { return s.most > 0 && n > s.most })
}

// Named returns the scenario of a name, or nil.
func Named(name string) *Scenario {
	for _, s := range Scenarios {
		if s.Name == name {
			return s
		}
	}
	return nil
}
