package fleet

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/internal/chance"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm"
)

const (
	poolSize = 10
	// A connection lives at least for the first and at most for the second, as with pgxpool's
	// MaxConnLifetime and MaxConnLifetimeJitter.
	lifeMin, lifeMax = 24 * time.Minute, 30 * time.Minute
	// After a Connect call that failed, the next query that needs a connection comes after a random
	// time between the two.
	queryMin, queryMax = time.Second, 2 * time.Second
)

// An instance is one process of a program: a cache, a connector and a pool. The pool keeps poolSize
// connections open. After a Connect call that failed, it makes one call at a time until one
// succeeds.
type instance struct {
	fleet *Fleet

	calls, rejected atomic.Int64 // calls of the service and rejected logins, since the measurement began

	mu        sync.Mutex // guards all below
	cache     *secretcache.Cache
	connector *driver.Connector
	started   time.Time
	epoch     int // incremented when all connections are lost
	open      int // connections
	opening   int // Connect calls under way
	healthy   bool
	dark      bool // it has no connection
	waiting   bool // the instance waits for the next query that needs a connection
}

// instanceKey is the key in the context of an API call for the *instance that makes the call.
type instanceKey struct{}

// A source is the source of one instance.
type source struct {
	*awssm.Source
	instance *instance
}

// Fetch fetches for the instance.
func (s source) Fetch(ctx context.Context, id, stage string) (*secretcache.Secret, error) {
	return s.Source.Fetch(context.WithValue(ctx, instanceKey{}, s.instance), id, stage)
}

// FetchBatch fetches for the instance.
func (s source) FetchBatch(ctx context.Context, ids []string) []secretcache.Result {
	return s.Source.FetchBatch(context.WithValue(ctx, instanceKey{}, s.instance), ids)
}

// start starts the program, or restarts it.
func (i *instance) start() {
	src := source{i.fleet.service.source(i.fleet.both), i}
	cache := secretcache.New(src, &secretcache.Options{MaxSize: 16}) // saves memory of the simulation
	opts := i.fleet.options
	opts.Secrets = cache
	connector, err := driver.NewConnector(engine{i}, secretName, &opts)
	if err != nil {
		panic(err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.stopCache()
	i.cache, i.connector, i.opening, i.started = cache, connector, 0, time.Now()
	if len(i.fleet.prefetch) > 0 {
		go i.prefetch(cache, connector)
		return
	}
	i.reconnect()
}

// prefetch fetches all secrets and opens the pool, even if the fetch fails.
func (i *instance) prefetch(cache *secretcache.Cache, c *driver.Connector) {
	if err := cache.Prefetch(context.Background(), i.fleet.prefetch...); err != nil {
		i.fleet.meter.count(func(n *Second) { n.PrefetchesFailed++ })
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if c == i.connector {
		i.reconnect()
	}
}

// stop ends the program.
func (i *instance) stop() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.stopCache()
	i.connector = nil
}

// stopCache closes the cache. i.mu is held.
func (i *instance) stopCache() {
	if i.cache != nil {
		_ = i.cache.Close()
	}
}

// lose ends all connections and opens new ones.
func (i *instance) lose() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.reconnect()
}

// reconnect opens new connections. The former ones are lost. i.mu is held.
func (i *instance) reconnect() {
	i.epoch++
	i.open = 0
	i.note(false)
	i.fill()
}

// note reports the state of the instance to the meter: whether it gets connections, and whether it
// has any. i.mu is held.
func (i *instance) note(healthy bool) {
	dark := i.open == 0
	unhealthy, without := change(i.healthy, healthy), change(!i.dark, !dark)
	i.healthy, i.dark = healthy, dark
	if unhealthy != 0 || without != 0 {
		i.fleet.meter.health(unhealthy, without)
	}
}

// change returns 1 if a state that was good is bad now, -1 if it is good again, and 0 otherwise.
func change(before, now bool) int {
	switch {
	case before && !now:
		return 1
	case !before && now:
		return -1
	}
	return 0
}

// fill opens the connections that are missing. i.mu is held.
func (i *instance) fill() {
	for i.open+i.opening < poolSize {
		i.opening++
		go i.connect(i.connector)
	}
}

// connect makes one Connect call.
func (i *instance) connect(c *driver.Connector) {
	_, err := c.Connect(context.Background())
	i.mu.Lock()
	defer i.mu.Unlock()
	if c != i.connector {
		return // the program was restarted in the meantime
	}
	i.opening--
	if err != nil {
		i.note(false)
		i.await()
		return
	}
	i.open++
	i.note(true)
	i.fill()
	epoch := i.epoch
	time.AfterFunc(i.fleet.life(i.started), func() { i.expire(epoch) })
}

// await makes a Connect call when the next query comes. i.mu is held.
func (i *instance) await() {
	if i.waiting {
		return
	}
	i.waiting = true
	time.AfterFunc(queryMin+chance.UpTo(queryMax-queryMin), func() {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.waiting = false
		if i.connector != nil && i.open+i.opening < poolSize {
			i.opening++
			go i.connect(i.connector)
		}
	})
}

// expire ends a connection at the end of its life.
func (i *instance) expire(epoch int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if epoch != i.epoch || i.connector == nil {
		return
	}
	i.open--
	i.note(i.healthy && i.open > 0)
	if i.healthy {
		i.fill()
	} else if i.opening == 0 {
		i.await()
	}
}
