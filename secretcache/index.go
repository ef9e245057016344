package secretcache

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/sqlsecrets/sqlsecrets/internal/eviction"
	"github.com/sqlsecrets/sqlsecrets/internal/idtable"
)

const (
	// How many entries without a value are remembered, at least.
	minIdle = 64
	// How many invalidated ids are remembered while fetches are under way.
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
	ids     idtable.Table[*entry] // by what callers use
	names   idtable.Table[*entry] // by the secret's name, if no caller has used it
	size    int                   // values kept
	inserts atomic.Int64          // values stored for the first time; see stamp

	recent, idle eviction.List[*entry] // entries with a value, and those that only remember pauses

	// invalidated has the ids that Invalidate named, each with the number of the last
	// fetch then: a fetch under way may bring a secret of that name or ARN. Fetches up
	// to the number allInvalidated are taken for invalidated.
	invalidated    map[string]uint64
	allInvalidated uint64
}

func newIndex(size int) *index {
	x := &index{ids: idtable.New[*entry](2 * size), names: idtable.New[*entry](size), size: size, invalidated: map[string]uint64{}}
	x.recent.Rank = func(e *entry) int64 { return e.used.Load() }
	x.idle.Rank = func(e *entry) int64 { return int64(e.pausedUntil()) }
	x.recent.Spared = (*entry).busy
	x.idle.Spared = (*entry).busy
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

// identify notes the secret's ARN, which may be empty, and name. It returns e, or the
// entry that has the ARN already, which takes e's ids over and its place.
func (x *index) identify(e *entry, arn, name string) *entry {
	if same := x.find(key{arn, e.stage}); arn != "" && same != nil && same != e {
		x.remove(e)
		for _, id := range e.ids {
			x.name(same, id)
		}
		same.absorb(e)
		e = same
	}
	if arn != "" {
		e.arn = arn
		x.name(e, arn)
	}
	if e.name == "" && name != "" && !slices.Contains(e.ids, name) {
		e.name = name
		x.names.Add(name, e)
	}
	return e
}

// split takes id from e, which keeps its value and other ids: it names another secret
// now. It returns the entry of that.
func (x *index) split(e *entry, id string, now time.Duration) *entry {
	x.ids.Remove(id, e)
	e.ids = slices.DeleteFunc(e.ids, func(s string) bool { return s == id })
	other := &entry{stage: e.stage, ids: []string{id}, recheck: e.recheck, after: e.after}
	x.add(other)
	if e.value.Load() == nil {
		x.rest(e, now)
	}
	return other
}

// remove forgets e and its value.
func (x *index) remove(e *entry) {
	for _, id := range e.ids {
		x.ids.Remove(id, e)
	}
	x.names.Remove(e.name, e)
	e.item.Remove()
	e.value.Store(nil)
}

// store makes v the value of e, and makes room for it.
func (x *index) store(e *entry, v *value) {
	if e.value.Swap(v) == nil {
		x.inserts.Add(1)
	}
	e.used.Store(x.stamp(v.fetched))
	x.recent.Put(&e.item, e)
	x.evict(v.fetched)
}

// full reports whether one more value takes another's place.
func (x *index) full() bool { return x.recent.Len() >= x.size }

// evict makes room: the values that were used least recently go first.
func (x *index) evict(now time.Duration) {
	for x.recent.Len() > x.size {
		e, ok := x.recent.Victim()
		if !ok {
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
	e.item.Remove()
	if x.idle.Len() >= max(x.size, minIdle) {
		if e, ok := x.idle.Victim(); ok {
			x.remove(e)
		}
	}
	x.idle.Put(&e.item, e)
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
	for _, table := range []*idtable.Table[*entry]{&x.ids, &x.names} {
		for n := table.First(id); n != nil; n = n.Next() {
			n.Value.outdate(number)
		}
	}
	if flying && len(x.invalidated) == maxInvalidated {
		clear(x.invalidated)
		x.allInvalidated = number
	}
	if flying {
		x.invalidated[id] = number
	}
}

// invalidatedUpTo returns up to which number fetches of s are invalidated by its name
// or ARN.
func (x *index) invalidatedUpTo(s *Secret) uint64 {
	return max(x.allInvalidated, x.invalidated[s.arn], x.invalidated[s.name])
}

// clear forgets everything.
func (x *index) clear() {
	x.recent.Clear(func(e *entry) { e.value.Store(nil) }) // a flight may hold it a while longer
	x.idle.Clear(func(*entry) {})
	x.ids.Clear()
	x.names.Clear()
	clear(x.invalidated)
}
