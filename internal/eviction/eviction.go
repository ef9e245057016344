// Package eviction chooses what a bounded cache forgets, at a bounded cost.
package eviction

import "container/list"

const (
	// How many items Victim looks at, and at most if all of them were in use.
	usual, most = 64, 1024
)

// A List orders items by rank, which grows by use: roughly the more, the longer it is.
// Its methods must not be called at the same time.
type List[T any] struct {
	Rank   func(T) int64
	Spared func(T) bool // items that are not to be forgotten now

	list list.List // of *Item[T]
}

// An Item is a value's place in a List. It is in at most one; the zero Item is in none.
type Item[T any] struct {
	value T
	rank  int64 // when List looked last
	list  *List[T]
	place *list.Element
}

// Len returns the number of items.
func (l *List[T]) Len() int { return l.list.Len() }

// Put makes i, which is v's, the item of l that was used last.
func (l *List[T]) Put(i *Item[T], v T) {
	if i.list != l {
		i.Remove()
		i.list, i.place = l, l.list.PushFront(i)
	}
	i.value, i.rank = v, l.Rank(v)
	l.list.MoveToFront(i.place)
}

// Remove takes i out of its List, if it is in one.
func (i *Item[T]) Remove() {
	if i.list != nil {
		i.list.list.Remove(i.place)
		i.list = nil
	}
}

// Victim returns the value of the lowest rank among the items that were used least
// recently. It finds the lowest of all among up to 64; of more it looks at the end,
// and puts off those that were used since it looked last. It returns false if it found
// none that is not spared.
func (l *List[T]) Victim() (victim T, ok bool) {
	var lowest int64
	unused := false
	at := l.list.Back()
	for n, m := 0, min(l.Len(), most); n < m && !(unused && n >= usual); n++ {
		i, prev := at.Value.(*Item[T]), at.Prev()
		rank, spared := l.Rank(i.value), l.Spared(i.value)
		if rank != i.rank || spared {
			i.rank = rank
			l.list.MoveToFront(at)
		} else {
			unused = true
		}
		if !spared && (!ok || rank < lowest) {
			victim, lowest, ok = i.value, rank, true
		}
		at = prev
	}
	return victim, ok
}

// Clear empties l and calls f for each value that was in it.
func (l *List[T]) Clear(f func(T)) {
	for at := l.list.Front(); at != nil; at = l.list.Front() {
		i := at.Value.(*Item[T])
		i.Remove()
		f(i.value)
	}
}
