package secretcache

import (
	"hash/maphash"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sqlsecrets/sqlsecrets/internal/idtable"
)

const (
	minIdle = 64 // at least so many entries without a value are kept
	// How many entries victim compares usually, and at most if all of them were in use.
	usualScan, mostScan = 64, 1024
)

// A key is the id and the stage by which callers name a version. One version may have several keys.
type key struct{ id, stage string }

func keyOf(id, stage string) key {
	if stage == "" {
		stage = StageCurrent
	}
	return key{id, stage}
}

// An index finds entries by all their ids, and decides which entries are kept. Its cost
// does not grow with the number of entries. find and use need no lock; Cache.mu guards the
// rest.
type index struct {
	ids     idtable.Table[*entry] // by the ids that callers used
	names   idtable.Table[*entry] // by the secret's name, if no caller has used it
	size    int                   // the largest number of values
	inserts atomic.Int64          // how often a value was stored in an entry without one; see stamp

	recent, idle lru // entries with a value, and entries that only remember pauses

	// outdated says, by a hash of the id that Invalidate was called with, which fetch had
	// begun last at that call. A fetch that was under way then may bring a secret with that
	// name or ARN. Two ids with one hash sometimes cause a needless fetch.
	outdated [256]uint64
	seed     maphash.Seed
}

func newIndex(size int) *index {
	x := &index{ids: idtable.New[*entry](2 * size), names: idtable.New[*entry](size / 2), size: size, seed: maphash.MakeSeed()}
	x.recent.init(func(e *entry) int64 { return e.used.Load() })
	x.idle.init(func(e *entry) int64 { return int64(e.pausedUntil()) })
	return x
}

// find returns the entry of k, or nil.
func (x *index) find(k key) *entry {
	for n := x.ids.First(k.id); n != nil; n = n.Next() {
		if n.Value.stage == k.stage {
			return n.Value
		}
	}
	return nil
}

// entry returns the entry of k. If the index has none, it returns a new one, which add can put
// into the index.
func (x *index) entry(k key) *entry {
	if e := x.find(k); e != nil {
		return e
	}
	e := &entry{stage: k.stage, ids: []string{k.id}}
	for n := x.ids.First(k.id); n != nil; n = n.Next() {
		if arn := n.Value.arn; arn != "" && arn != k.id { // the entry of another stage knows the ARN
			if same := x.find(key{arn, k.stage}); same != nil {
				x.name(same, k.id)
				return same
			}
			e.arn, e.ids = arn, append(e.ids, arn)
			break
		}
	}
	return e
}

// add lets callers find e by its ids.
func (x *index) add(e *entry) {
	for _, id := range e.ids {
		x.ids.Add(id, e)
	}
}

// name lets callers find e by id too.
func (x *index) name(e *entry, id string) {
	if !slices.Contains(e.ids, id) {
		e.ids = append(e.ids, id)
		x.ids.Add(id, e)
	}
}

// entryOf returns the entry for the secret s, which a fetch by id brought for the entry e. All ids
// of one ARN share one entry. If another entry has that ARN, or if e has another ARN, then id moves
// to the right entry, and e keeps its value and its other ids.
func (x *index) entryOf(e *entry, id string, s *Secret, now time.Duration) *entry {
	// Only a real ARN identifies a secret: another kind of source may use the field for
	// something else.
	if arn := s.arn; arn != e.arn && strings.HasPrefix(arn, "arn:") {
		to := x.find(key{arn, e.stage})
		switch {
		case to == nil && e.arn == "":
			to = e
		case to == nil:
			to = &entry{stage: e.stage}
		}
		if to != e {
			x.move(id, e, to, now)
		}
		to.arn = arn
		x.name(to, arn)
		e = to
	}
	if e.name == "" && s.name != "" && !slices.Contains(e.ids, s.name) {
		e.name = s.name
		x.names.Add(s.name, e)
	}
	return e
}

// move makes id find the entry to in place of e. What e knows of Invalidate, and when the
// next Recheck may fetch, is copied to it.
func (x *index) move(id string, e, to *entry, now time.Duration) {
	x.ids.Remove(id, e)
	e.ids = slices.DeleteFunc(e.ids, func(s string) bool { return s == id })
	x.name(to, id)
	to.after, to.recheck = max(to.after, e.after), max(to.recheck, e.recheck)
	to.servedUntil.Store(0) // an invalidated value must not be served without c.mu
	switch {
	case len(e.ids) == 0:
		x.remove(e)
	case e.value.Load() == nil:
		x.dropValue(e, now)
	}
}

// remove forgets e and its value.
func (x *index) remove(e *entry) {
	for _, id := range e.ids {
		x.ids.Remove(id, e)
	}
	x.names.Remove(e.name, e)
	e.takeOut()
	e.value.Store(nil)
}

// store makes v the value of e, and evicts other values if there are too many.
func (x *index) store(e *entry, v *value) {
	if e.value.Swap(v) == nil {
		x.inserts.Add(1)
	}
	e.used.Store(x.stamp(v.fetched))
	x.recent.put(e)
	x.evict(v.fetched)
}

// full reports whether one more value would evict another.
func (x *index) full() bool { return x.recent.len >= x.size }

// evict removes values until there are not too many, the least recently used first.
func (x *index) evict(now time.Duration) {
	for x.recent.len > x.size {
		e := x.recent.victim()
		if e == nil {
			return
		}
		x.dropValue(e, now)
	}
}

// dropValue removes the value of e. It keeps e itself if e must remember something. If there are
// too many such entries, the one whose pause ends first is removed.
func (x *index) dropValue(e *entry, now time.Duration) {
	if !e.remembers(now) {
		x.remove(e)
		return
	}
	e.value.Store(nil)
	e.takeOut()
	if x.idle.len >= max(x.size, minIdle) {
		if victim := x.idle.victim(); victim != nil {
			x.remove(victim)
		}
	}
	x.idle.put(e)
}

// use notes that e is in use. It writes at most once per second and per insertion, so that
// readers on several cores rarely change a cache line that they share.
func (x *index) use(e *entry, now time.Duration) {
	if stamp := x.stamp(now) + 1; e.used.Load() != stamp {
		e.used.Store(stamp)
	}
}

// stamp returns a number for a use of an entry. A later use has a larger number if it is in a later
// second, or if there was an insertion in between. Both terms only grow.
func (x *index) stamp(now time.Duration) int64 {
	return int64(now/time.Second) + 2*x.inserts.Load()
}

// invalidate marks the values of the secret that id names, and its fetches up to number, as
// outdated.
func (x *index) invalidate(id string, number uint64) {
	for _, table := range []*idtable.Table[*entry]{&x.ids, &x.names} {
		for n := table.First(id); n != nil; n = n.Next() {
			n.Value.outdate(number)
		}
	}
	x.outdated[x.slot(id)] = number
}

// outdates reports whether Invalidate came after the fetch with this number began. That
// fetch brought s for e. Invalidate may have named an ARN or a name that e did not have yet.
func (x *index) outdates(e *entry, s *Secret, number uint64) bool {
	if last := max(x.outdated[x.slot(s.arn)], x.outdated[x.slot(s.name)]); number <= last {
		e.after = max(e.after, last)
	}
	return number <= e.after
}

func (x *index) slot(id string) uint64 { return maphash.String(x.seed, id) % uint64(len(x.outdated)) }

// clear forgets all values, including those of entries that a flight still refers to.
func (x *index) clear() {
	for x.recent.len > 0 {
		e := x.recent.end.next
		e.takeOut()
		e.value.Store(nil)
	}
	x.ids.Clear()
}

// An lru keeps entries in the order of their use. The order is exact for up to 64 entries,
// and approximate for more. An entry is in at most one lru.
//
// It is a ring through the entries themselves. An element of container/list would take 48
// bytes more for each entry.
type lru struct {
	end   entry // the end of the ring, not an entry of the cache: end.next was used last, end.prev is the next victim
	len   int
	order func(*entry) int64
}

func (l *lru) init(order func(*entry) int64) {
	l.end.prev, l.end.next, l.order = &l.end, &l.end, order
}

// put makes e the entry of l that was used last.
func (l *lru) put(e *entry) {
	e.takeOut()
	e.in, e.rank = l, l.order(e)
	e.prev, e.next = &l.end, l.end.next
	e.prev.next, e.next.prev = e, e
	l.len++
}

// takeOut takes e out of its lru, if it is in one.
func (e *entry) takeOut() {
	if e.in != nil {
		e.in.len--
		e.prev.next, e.next.prev = e.next, e.prev
		e.in, e.prev, e.next = nil, nil, nil
	}
}

// victim returns, of the entries at the end of l, the one with the lowest order that has no
// flight, or nil. It moves entries that were used after it last saw them to the front.
func (l *lru) victim() (victim *entry) {
	unused := false
	e := l.end.prev
	for n, m := 0, min(l.len, mostScan); n < m && !(unused && n >= usualScan); n++ {
		prev := e.prev
		rank, busy := l.order(e), e.flight != nil
		if rank == e.rank && !busy {
			unused = true
		} else {
			l.put(e)
		}
		if !busy && (victim == nil || rank < victim.rank) {
			victim = e
		}
		e = prev
	}
	return victim
}
