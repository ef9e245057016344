package secretcache

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/sqlsecrets/sqlsecrets/internal/secretid"
)

// A batch collects the flights that a Prefetch starts or waits for.
type batch struct {
	size   int
	seen   map[*entry]bool
	next   *job // queued when it has size flights
	awaits []awaited
	errs   []error
}

// An awaited is a flight that a Prefetch waits for, and the id that its caller passed.
type awaited struct {
	id     string
	flight *flight
}

// Prefetch fetches the AWSCURRENT versions of the ids that are not cached or are older than
// their TTL, and waits for them. If the source is a [BatchSource], it fetches in
// batches. An id that is in its pause after a failed fetch (see [Cache.Get]) is not fetched again.
//
// The error joins the errors of all ids that could not be fetched; each names its id. If
// ctx ends first, the error is ctx's error together with the reason why the last attempt
// failed.
func (c *Cache) Prefetch(ctx context.Context, ids ...string) error {
	b := &batch{size: 1, seen: map[*entry]bool{}, next: &job{caller: ctx}}
	if src, ok := c.src.(BatchSource); ok {
		b.size = max(1, src.BatchSize())
	}
	for i, id := range ids {
		if err := c.prefetch(b, id, i == len(ids)-1); err != nil {
			return err
		}
	}
	for i, a := range b.awaits {
		if _, err := c.await(ctx, a.flight.done, forever); err != nil {
			return errors.Join(append(b.errs, c.abandon(b.awaits[i:], err))...)
		}
		if err := a.flight.err; err != nil {
			b.errs = append(b.errs, fmt.Errorf("prefetch secret %s: %w", secretid.Quote(a.id), err))
		}
	}
	return errors.Join(b.errs...)
}

// prefetch adds the fetch that id needs, if any, to b. It locks c.mu for one id at a time.
func (c *Cache) prefetch(b *batch, id string, last bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed() {
		return ErrClosed
	}
	k, now := keyOf(id, ""), c.clock.Now()
	e := c.index.entry(k)
	switch {
	case b.seen[e] || e.value.Load().fresh(now):
	case e.flight == nil && e.fails.Wait(moment(now)) > 0:
		b.errs = append(b.errs, fmt.Errorf("prefetch secret %s: %w", secretid.Quote(id), e.err))
	case e.flight == nil:
		c.add(b.next, e, k, false)
		fallthrough
	default:
		e.flight.wanted++
		b.awaits = append(b.awaits, awaited{id, e.flight})
	}
	b.seen[e] = true
	if n := len(b.next.flights); n == b.size || last && n > 0 {
		c.enqueue(b.next)
		b.next = &job{caller: b.next.caller}
	}
	return nil
}

// abandon leaves the flights of awaits, and returns the error of a Prefetch that stops
// waiting because of err.
func (c *Cache) abandon(awaits []awaited, err error) error {
	var failed error
	for _, a := range awaits {
		c.mu.Lock() // for one id at a time
		failed = cmp.Or(failed, c.lastFailure(keyOf(a.id, "")))
		c.leave(a.flight)
		c.mu.Unlock()
	}
	return because(fmt.Errorf("prefetch secrets: %w", err), failed)
}
