// Package idtable has a table that finds values by their ids, which are strings, without a lock.
package idtable

import (
	"hash/maphash"
	"math/bits"
	"sync/atomic"
)

// minBuckets and maxBuckets bound the memory of a Table: 8 bytes for each bucket.
const minBuckets, maxBuckets = 64, 1 << 21

// A Table has values under ids. An id may have several values, and a value several ids. First and
// Next may be called at any time. Add, Remove and Clear may be called by one goroutine at a time.
// The cost of a call does not grow with the number of ids, up to 2^21 ids.
type Table[V comparable] struct {
	seed    maphash.Seed
	buckets []atomic.Pointer[Node[V]] // their number is a power of two
}

// A Node is one value of an id.
type Node[V comparable] struct {
	Value V
	id    string
	next  atomic.Pointer[Node[V]] // the next node of the bucket
}

// New returns a Table for about size ids.
func New[V comparable](size int) Table[V] {
	n := min(max(uint64(size), minBuckets), maxBuckets)
	return Table[V]{maphash.MakeSeed(), make([]atomic.Pointer[Node[V]], 1<<bits.Len64(n-1))}
}

func (t *Table[V]) bucket(id string) *atomic.Pointer[Node[V]] {
	return &t.buckets[maphash.String(t.seed, id)&uint64(len(t.buckets)-1)]
}

// First returns the value of id that was added last, or nil.
func (t *Table[V]) First(id string) *Node[V] {
	return of(id, t.bucket(id).Load())
}

// Next returns the value of the same id that was added before n's, or nil.
func (n *Node[V]) Next() *Node[V] { return of(n.id, n.next.Load()) }

func of[V comparable](id string, n *Node[V]) *Node[V] {
	for n != nil && n.id != id {
		n = n.next.Load()
	}
	return n
}

// Add adds a value of id.
func (t *Table[V]) Add(id string, v V) {
	n, b := &Node[V]{Value: v, id: id}, t.bucket(id)
	n.next.Store(b.Load())
	b.Store(n)
}

// Remove removes a value of id, if id has it. A reader that is at the removed Node can still call
// Next.
func (t *Table[V]) Remove(id string, v V) {
	for p := t.bucket(id); p.Load() != nil; p = &p.Load().next {
		if n := p.Load(); n.id == id && n.Value == v {
			p.Store(n.next.Load())
			return
		}
	}
}

// Clear removes everything.
func (t *Table[V]) Clear() {
	for i := range t.buckets {
		t.buckets[i].Store(nil)
	}
}
