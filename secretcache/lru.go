package secretcache

import "container/list"

const (
	// How many entries victim looks at, and at most if all of them were in use.
	usualLooks, mostLooks = 64, 1024
)

// An lru has entries by their order, which grows by use: roughly the more, the longer it
// is. An entry is in one lru at most.
type lru struct {
	list  list.List // of *entry
	order func(*entry) int64
}

// put makes e the entry of l that was used last.
func (l *lru) put(e *entry) {
	e.takeOut()
	e.in, e.place, e.rank = l, l.list.PushFront(e), l.order(e)
}

// takeOut takes e out of its lru, if it is in one.
func (e *entry) takeOut() {
	if e.in != nil {
		e.in.list.Remove(e.place)
		e.in = nil
	}
}

// victim returns the lowest entry without a flight among those that were used least
// recently, or nil. It finds the lowest of all among up to 64; of more it looks at the
// end, and puts off those that were used since it looked last.
func (l *lru) victim() (victim *entry) {
	var lowest int64
	unused := false
	at := l.list.Back()
	for n, m := 0, min(l.list.Len(), mostLooks); n < m && !(unused && n >= usualLooks); n++ {
		e, prev := at.Value.(*entry), at.Prev()
		rank, busy := l.order(e), e.flight != nil
		if rank != e.rank || busy {
			e.rank = rank
			l.list.MoveToFront(at)
		} else {
			unused = true
		}
		if !busy && (victim == nil || rank < lowest) {
			victim, lowest = e, rank
		}
		at = prev
	}
	return victim
}
