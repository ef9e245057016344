package secretcache

import (
	"container/list"
	"hash/maphash"
	"math/bits"
	"slices"
	"sync/atomic"
	"time"
)

const (
	// How many entries victim looks at, and at most if all of them were in use.
	victims, maxVictims = 64, 1024
	// How many entries without a value are remembered at least.
	minIdle = 64
	// An index has from the first to the second number of buckets.
	minBuckets, maxBuckets = 64, 1 << 17
	// How many invalidated ids are remembered while their fetches are under way.
	maxInvalidated = 1024
)

// A key is how callers name a secret's version. There may be several for one.
type key struct{ id, stage string }

func keyOf(id, stage string) key {
	if stage == "" {
		stage = StageCurrent
	}
	return key{id, stage}
}

// An index finds entries by all their ids, and decides which of them are kept. Its
// cost does not grow with their number. find and use need no lock; Cache.mu guards
// the rest.
type index struct {
	seed    maphash.Seed
	buckets []atomic.Pointer[node] // a power of two of them
	size    int                    // values kept
	inserts atomic.Int64           // values stored for the first time; see stamp

	recent list.List // entries with a value, roughly by their last use
	idle   list.List // entries that remember pauses only

	// invalidated has the ids that Invalidate named, each with the number of the last
	// fetch then: a fetch under way may bring a secret of that name or ARN. Fetches up
	// to the number allInvalidated are taken for invalidated.
	invalidated    map[string]uint64
	allInvalidated uint64
}

// A node is one id of an entry.
type node struct {
	id    string
	alias bool // for Invalidate only
	entry *entry
	next  atomic.Pointer[node] // in the bucket
}

func newIndex(size int) index {
	n := min(max(2*uint64(size), minBuckets), maxBuckets)
	return index{
		seed: maphash.MakeSeed(), size: size, invalidated: map[string]uint64{},
		buckets: make([]atomic.Pointer[node], 1<<bits.Len64(n-1)),
	}
}

func (x *index) bucket(id string) *atomic.Pointer[node] {
	return &x.buckets[maphash.String(x.seed, id)&uint64(len(x.buckets)-1)]
}

// find returns the entry of k, or nil.
func (x *index) find(k key) *entry {
	for n := x.bucket(k.id).Load(); n != nil; n = n.next.Load() {
		if n.id == k.id && n.entry.stage == k.stage && !n.alias {
			return n.entry
		}
	}
	return nil
}

// entry returns the entry of k: the one in the index, or one for launch to add.
func (x *index) entry(k key) *entry {
	if e := x.find(k); e != nil {
		return e
	}
	e := &entry{stage: k.stage, ids: []string{k.id}}
	for n := x.bucket(k.id).Load(); n != nil; n = n.next.Load() {
		if arn := n.entry.arn; n.id == k.id && !n.alias && arn != "" && arn != k.id {
			// Another stage has told which secret that is.
			if other := x.find(key{arn, k.stage}); other != nil {
				x.name(other, k.id)
				return other
			}
			e.arn, e.ids = arn, []string{k.id, arn}
			break
		}
	}
	return e
}

// each calls f for the entries that id names, of all stages.
func (x *index) each(id string, f func(*entry)) {
	for n := x.bucket(id).Load(); n != nil; n = n.next.Load() {
		if n.id == id {
			f(n.entry)
		}
	}
}

// add makes e, which entry returned, findable.
func (x *index) add(e *entry) {
	for _, id := range e.ids {
		x.link(e, id, false)
	}
}

// name lets callers find e, which is in the index, by id.
func (x *index) name(e *entry, id string) {
	if !slices.Contains(e.ids, id) {
		e.ids = append(e.ids, id)
		x.link(e, id, false)
	}
}

// alias lets Invalidate find e by name, and not by the name it had before.
func (x *index) alias(e *entry, name string) {
	if slices.Contains(e.ids, name) {
		name = ""
	}
	if name == e.name {
		return
	}
	if e.name != "" {
		x.unlink(e, e.name, true)
	}
	if e.name = name; name != "" {
		x.link(e, name, true)
	}
}

// identify notes the secret's ARN and name. It returns e, or the entry that has the
// ARN already, which takes e's ids over; e is then no longer in the index.
func (x *index) identify(e *entry, arn, name string) *entry {
	if o := x.find(key{arn, e.stage}); o != nil && o != e {
		ids := e.ids
		x.remove(e)
		for _, id := range ids {
			x.name(o, id)
		}
		o.absorb(e)
		e = o
	}
	e.arn = arn
	x.name(e, arn)
	x.alias(e, name)
	return e
}

// split takes id from e, which keeps its value and other ids: it names another secret
// now. It returns the entry of that.
func (x *index) split(e *entry, id string, now time.Duration) *entry {
	x.unlink(e, id, false)
	e.ids = slices.DeleteFunc(e.ids, func(s string) bool { return s == id })
	other := &entry{stage: e.stage, ids: []string{id}, recheck: e.recheck, after: e.after}
	x.add(other)
	if e.value.Load() == nil && !e.remembers(now) {
		x.remove(e)
	}
	return other
}

func (x *index) link(e *entry, id string, alias bool) {
	b := x.bucket(id)
	n := &node{id: id, alias: alias, entry: e}
	n.next.Store(b.Load())
	b.Store(n)
}

func (x *index) unlink(e *entry, id string, alias bool) {
	for p := x.bucket(id); p.Load() != nil; p = &p.Load().next {
		if n := p.Load(); n.entry == e && n.id == id && n.alias == alias {
			p.Store(n.next.Load()) // who stands at n finds the way on
			return
		}
	}
}

// remove forgets e, its value and its ids.
func (x *index) remove(e *entry) {
	for _, id := range e.ids {
		x.unlink(e, id, false)
	}
	x.alias(e, "")
	x.move(e, nil)
	e.value.Store(nil)
}

// move makes e the first of a list, which may be nil.
func (x *index) move(e *entry, to *list.List) {
	if e.list == to && to != nil {
		to.MoveToFront(e.place)
		return
	}
	if e.list != nil {
		e.list.Remove(e.place)
	}
	if e.list = to; to != nil {
		e.place = to.PushFront(e)
	}
}

// store makes v the value of e.
func (x *index) store(e *entry, v *value) {
	e.value.Store(v)
	if e.list != &x.recent {
		x.inserts.Add(1)
	}
	x.move(e, &x.recent)
	e.rank = x.stamp(v.fetched)
	e.used.Store(e.rank)
	x.evict(e, v.fetched)
}

// drop takes the value of e, which remembers its pauses.
func (x *index) drop(e *entry) {
	e.value.Store(nil)
	x.move(e, &x.idle)
}

// evict makes room: the values that were used least recently go first, and of the
// entries without a value those whose pause ends first. It spares keep, and entries
// that are being fetched.
func (x *index) evict(keep *entry, now time.Duration) {
	for x.recent.Len() > x.size {
		e := victim(&x.recent, keep, func(e *entry) int64 { return e.used.Load() })
		if e == nil {
			break
		}
		if x.drop(e); !e.remembers(now) {
			x.remove(e)
		}
	}
	for x.idle.Len() > max(x.size, minIdle) {
		e := victim(&x.idle, keep, func(e *entry) int64 { return int64(e.pausedUntil()) })
		if e == nil {
			break
		}
		x.remove(e)
	}
}

// victim returns the entry of the lowest rank among the last ones of a list, or nil if
// all have to be spared. Those whose rank has changed since it looked last, it makes
// the first of the list. So its cost is bounded, and in a small list it finds the
// lowest of all.
func victim(l *list.List, keep *entry, rank func(*entry) int64) *entry {
	var lowest *entry
	idle := false // there was one that has not been used
	at := l.Back()
	for n, most := 0, min(l.Len(), maxVictims); n < most && !(idle && n >= victims); n++ {
		e, prev := at.Value.(*entry), at.Prev()
		r, spared := rank(e), e == keep || e.flight != nil
		if r != e.rank || spared {
			e.rank = r
			l.MoveToFront(at)
		} else {
			idle = true
		}
		if !spared && (lowest == nil || r < lowest.rank) {
			lowest = e
		}
		at = prev
	}
	return lowest
}

// use notes that e is in use. It writes at most once a second and insertion, so
// that readers on several cores do not share a line that changes.
func (x *index) use(e *entry, now time.Duration) {
	if stamp := x.stamp(now) + 1; e.used.Load() != stamp {
		e.used.Store(stamp)
	}
}

// stamp orders uses: to the second, and before and after an insertion exactly,
// because both of its terms only grow.
func (x *index) stamp(now time.Duration) int64 {
	return int64(now/time.Second) + 2*x.inserts.Load()
}

// invalidate outdates what is known of the secret that id names, and fetches of it up
// to number. Fetches are under way if flying.
func (x *index) invalidate(id string, number uint64, flying bool) {
	x.each(id, func(e *entry) { e.outdate(number) })
	if !flying {
		return
	}
	if len(x.invalidated) == maxInvalidated {
		clear(x.invalidated)
		x.allInvalidated = number
	}
	x.invalidated[id] = number
}

// invalidatedUpTo returns up to which number fetches of s are invalidated by its name
// or ARN.
func (x *index) invalidatedUpTo(s *Secret) uint64 {
	return max(x.allInvalidated, x.invalidated[s.arn], x.invalidated[s.name])
}

// clear forgets everything.
func (x *index) clear() {
	for i := range x.buckets {
		x.buckets[i].Store(nil)
	}
	for at := x.recent.Front(); at != nil; at = at.Next() {
		at.Value.(*entry).value.Store(nil) // a flight may hold it a while longer
	}
	x.recent.Init()
	x.idle.Init()
	clear(x.invalidated)
}
