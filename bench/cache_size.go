package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/sqlsecrets/sqlsecrets/bench/internal/report"
	"github.com/sqlsecrets/sqlsecrets/bench/internal/turns"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

const sizeText = `This section shows which operations cost more in a cache with many secrets. The source answers at once. So the
figures are the cost of the cache and of making the secret. The column "source alone" is the second part.

* miss: a Get of a new secret while there is room.
* miss and eviction: a Get of a new secret when the cache is full.
* failing miss: a Get of a secret that the source does not have. sqlsecrets remembers the pauses of as many
  ids as it may keep secrets, here of up to 100,000. The others remember nothing.
* Invalidate: of any cached secret.
* Invalidate and Get: the same, and the fetch. AWS's client has no such call.

The sizes of one cache take turns, except in "miss", where empty caches are filled. The garbage collector
runs between the comparisons only, because its work depends on what is allocated, not on the size. AWS's client
is measured with up to 100,000 secrets.
`

// The operations that may depend on the number of secrets.
const (
	missing     = "miss"
	evicting    = "miss and eviction"
	failing     = "failing miss"
	invalidate  = "Invalidate"
	invalidated = "Invalidate and Get"
	sourceAlone = "source alone"
)

var sizeOps = []string{missing, evicting, failing, invalidate, invalidated}

var errNoSecret = fmt.Errorf("%w (%w)", secretcache.ErrNotFound, otter.ErrNotFound)

// noSecret fails for ids of secrets that do not exist.
func noSecret(_ context.Context, id string) error {
	if strings.HasPrefix(id, "none/") {
		return errNoSecret
	}
	return nil
}

// A sized is a cache that is full.
type sized struct {
	*peer
	size int
	next int // number of the next new secret; the first secrets have the numbers below size
}

// fillSized fills a cache with size secrets. It returns how long one Get took, in slices of the
// last tenth.
func fillSized(newPeer newPeerFunc, size int) (*sized, []float64, error) {
	c := &sized{peer: newPeer(&backend{before: noSecret}, size, time.Hour), next: size}
	c.size = size
	const slice = 100
	var slices []float64
	for n := 0; n < size; n += slice {
		start := time.Now()
		for i := n; i < min(n+slice, size); i++ {
			if err := c.fill(nameOf(i)); err != nil {
				return nil, nil, err
			}
		}
		if n >= size*9/10 {
			slices = append(slices, float64(time.Since(start))/slice)
		}
	}
	return c, slices, nil
}

// evict gets new secrets.
func (c *sized) evict(n int) {
	for range n {
		if err := c.fill(nameOf(c.next)); err != nil {
			panic(err)
		}
		c.next++
	}
}

// failTo gets secrets that do not exist.
func (c *sized) failTo(n int) {
	for range n {
		if err := c.fill("none/" + nameOf(c.next)); !errors.Is(err, secretcache.ErrNotFound) {
			panic(fmt.Sprintf("%s: a secret that does not exist gave %v", c.name, err))
		}
		c.next++
	}
}

// walk returns an operation on the first secrets, in an order that a processor cannot predict.
func (c *sized) walk(op func(id string)) func(n int) {
	at := 0
	return func(n int) {
		for range n {
			at = (at + 611_953) % c.size // a prime, so that each one has its turn
			op(nameOf(at))
		}
	}
}

// renew makes the cache fetch a secret again.
func (c *sized) renew(id string) {
	c.invalidate(id)
	if err := c.fill(id); err != nil {
		panic(err)
	}
}

// walks returns the operations that do not change the cache.
func (c *sized) walks() (all []turns.Subject) {
	if c.name == ours { // the others forget the secret, so the next call would do nothing
		all = append(all, turns.Subject{Name: sizeName(invalidate, c.size), Op: c.walk(c.invalidate)})
	}
	if c.invalidate != nil {
		all = append(all, turns.Subject{Name: sizeName(invalidated, c.size), Op: c.walk(c.renew)})
	}
	return all
}

// inserts returns the operations that evict the first secrets.
func (c *sized) inserts() []turns.Subject {
	return []turns.Subject{{Name: sizeName(evicting, c.size), Op: c.evict}, {Name: sizeName(failing, c.size), Op: c.failTo}}
}

func sizeName(op string, size int) string { return op + " at " + plural(size, "secret") }

func cacheSize(_ context.Context, quick bool) (*report.Section, error) {
	sizes := []int{1e3, 1e4, 1e5, 1e6}
	if quick {
		sizes = []int{100, 1000}
	}
	s := &report.Section{Name: "cache-size", Title: "Miss, eviction and Invalidate, by the number of secrets", Text: sizeText}
	by := map[string]map[string]turns.Result{}
	for _, one := range []struct {
		name string
		new  newPeerFunc
		most int
	}{{ours, newOurs, 1e6}, {otterName, newOtter, 1e6}, {lruName, newLRU, 1e6}, {awsName, newAWS, 1e5}} {
		results, err := bySize(quick, one.new, slices.DeleteFunc(slices.Clone(sizes), func(n int) bool { return n > one.most }))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", one.name, err)
		}
		by[one.name] = results
	}
	for _, op := range sizeOps {
		s.Plots = append(s.Plots, sizePlot(op, sizes, by))
		s.Tables = append(s.Tables, sizeTable(op, sizes, by))
	}
	for _, op := range []string{missing, evicting, failing, invalidate} {
		s.Targets = append(s.Targets, sizeTarget(op, sizes, by[ours]))
	}
	return s, nil
}

// bySize measures one cache with each size.
func bySize(quick bool, newPeer newPeerFunc, sizes []int) (map[string]turns.Result, error) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	results := map[string]turns.Result{}
	walks := []turns.Subject{{Name: sourceAlone, Op: loop([]string{"prod/service/database"}, (&backend{}).Fetch)}}
	var inserts []turns.Subject
	var name string
	for _, size := range sizes {
		c, fill, err := fillOften(newPeer, size)
		if err != nil {
			return nil, err
		}
		defer c.drop()
		name, results[fill.Name] = c.name, fill
		walks, inserts = append(walks, c.walks()...), append(inserts, c.inserts()...)
		if c.name == ours { // failed ids are remembered
			inserts[len(inserts)-1].Op(min(size, 1e5))
		}
		runtime.GC()
	}
	for _, subjects := range [][]turns.Subject{walks, inserts} {
		maps.Copy(results, compare(quick, name, subjects, turns.Options{MaxRounds: 80}))
		runtime.GC()
	}
	return results, nil
}

// fillOften fills caches one after the other, so that small caches have as many slices as a large
// one. It returns the last cache.
func fillOften(newPeer newPeerFunc, size int) (c *sized, fill turns.Result, err error) {
	var all []float64
	for range max(1, 20_000/size) {
		var slices []float64
		if c != nil {
			c.drop()
		}
		if c, slices, err = fillSized(newPeer, size); err != nil {
			return nil, fill, err
		}
		all = append(all, slices...)
	}
	return c, turns.Of(sizeName(missing, size), all), nil
}
