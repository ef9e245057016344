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
	minIdle = 64 // entries without a value that are remembered, at least
	// How many entries victim compares, and how many at most if all of them were in use.
	usualScan, mostScan = 64, 1024
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
	ids     idtable.Table[*entry] // by what callers use
	names   idtable.Table[*entry] // by the secret's name, if no caller has used it
	size    int                   // values kept
	inserts atomic.Int64          // values stored for the first time; see stamp

	recent, idle lru // entries with a value, and those that only remember pauses

	// outdated has the number of the last fetch when Invalidate came last, by a hash of its
	// id: a fetch under way may bring a secret of that name or ARN. Two ids of one hash
	// cost a fetch now and then.
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

// entry returns the entry of k: the one in the index, or one for add.
func (x *index) entry(k key) *entry {
	if e := x.find(k); e != nil {
		return e
	}
	e := &entry{stage: k.stage, ids: []string{k.id}}
	for n := x.ids.First(k.id); n != nil; n = n.Next() {
		if arn := n.Value.arn; arn != "" && arn != k.id { // another stage has told which secret that is
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

// home returns the entry of the secret s, which a fetch of e by id brought. All ids of an
// ARN have one entry. If the ARN is another entry's, or e has another one, id moves, and e
// keeps its value and its other ids.
func (x *index) home(e *entry, id string, s *Secret, now time.Duration) *entry {
	// Another kind of source may not tell secrets apart by what it says is the ARN.
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

// move lets callers find to by id in place of e. The fetches that Invalidate outdated, and
// the pause of Recheck, go with it.
func (x *index) move(id string, e, to *entry, now time.Duration) {
	x.ids.Remove(id, e)
	e.ids = slices.DeleteFunc(e.ids, func(s string) bool { return s == id })
	x.name(to, id)
	to.after, to.recheck = max(to.after, e.after), max(to.recheck, e.recheck)
	to.calm.Store(0) // what Invalidate outdated is not served
	switch {
	case len(e.ids) == 0:
		x.remove(e)
	case e.value.Load() == nil:
		x.rest(e, now)
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

// store makes v the value of e, and makes room for it.
func (x *index) store(e *entry, v *value) {
	if e.value.Swap(v) == nil {
		x.inserts.Add(1)
	}
	e.used.Store(x.stamp(v.fetched))
	x.recent.put(e)
	x.evict(v.fetched)
}

// full reports whether one more value takes another's place.
func (x *index) full() bool { return x.recent.len >= x.size }

// evict makes room: the values that were used least recently go first.
func (x *index) evict(now time.Duration) {
	for x.recent.len > x.size {
		e := x.recent.victim()
		if e == nil {
			return
		}
		x.rest(e, now)
	}
}

// rest takes the value of e, and keeps e if it has to remember something. Of those that
// it keeps, the one whose pause ends first makes room.
func (x *index) rest(e *entry, now time.Duration) {
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
// to number.
func (x *index) invalidate(id string, number uint64) {
	for _, table := range []*idtable.Table[*entry]{&x.ids, &x.names} {
		for n := table.First(id); n != nil; n = n.Next() {
			n.Value.outdate(number)
		}
	}
	x.outdated[x.slot(id)] = number
}

// outdates reports whether Invalidate came after the fetch of this number began, which
// brought s for e. It may have named the name or the ARN while e did not have them.
func (x *index) outdates(e *entry, s *Secret, number uint64) bool {
	if last := max(x.outdated[x.slot(s.arn)], x.outdated[x.slot(s.name)]); number <= last {
		e.after = max(e.after, last)
	}
	return number <= e.after
}

func (x *index) slot(id string) uint64 { return maphash.String(x.seed, id) % uint64(len(x.outdated)) }

// clear forgets all values, also those that a flight holds a while longer.
func (x *index) clear() {
	for x.recent.len > 0 {
		e := x.recent.end.next
		e.takeOut()
		e.value.Store(nil)
	}
	x.ids.Clear()
}

// An lru keeps entries by their order, which grows by use: exactly up to 64 of them, about
// if there are more. An entry is in one lru at most.
//
// It is a ring through its entries: an element of container/list takes 48 bytes more for each.
type lru struct {
	end   entry // where the ring ends, and no entry of the cache: end.next was used last, end.prev is the next victim
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

// victim returns the lowest entry without a flight of those at the end of l, or nil. It
// moves entries that were used since it saw them last to the front.
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
