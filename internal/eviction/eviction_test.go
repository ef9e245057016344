package eviction_test

import (
	"testing"

	"github.com/sqlsecrets/sqlsecrets/internal/eviction"
)

type thing struct {
	used   int64
	spared bool
	item   eviction.Item[*thing]
}

func newList(n int) (*eviction.List[*thing], []*thing) {
	l := &eviction.List[*thing]{
		Rank:   func(x *thing) int64 { return x.used },
		Spared: func(x *thing) bool { return x.spared },
	}
	var things []*thing
	for i := range n {
		x := &thing{used: int64(i)}
		l.Put(&x.item, x)
		things = append(things, x)
	}
	return l, things
}

func TestVictim(t *testing.T) {
	for _, tt := range []struct {
		name   string
		n      int
		change func([]*thing)
		want   int // index, or -1 for none
	}{
		{"of none", 0, func([]*thing) {}, -1},
		{"the first of few", 3, func([]*thing) {}, 0},
		{"the one used least recently", 3, func(x []*thing) { x[0].used, x[1].used, x[2].used = 12, 11, 10 }, 2},
		{"not one that is spared", 3, func(x []*thing) { x[0].spared = true }, 1},
		{"all spared", 2, func(x []*thing) { x[0].spared, x[1].spared = true, true }, -1},
		{"beyond many that are in use", 1000, func(x []*thing) {
			for _, y := range x[:900] {
				y.used += 10_000
			}
		}, 900},
		{"not one that was taken out", 3, func(x []*thing) { x[0].item.Remove(); x[0].item.Remove() }, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, things := newList(tt.n)
			tt.change(things)
			got, ok := l.Victim()
			if ok != (tt.want >= 0) || ok && got != things[tt.want] {
				t.Errorf("Victim() = %+v, %v, want that of index %d", got, ok, tt.want)
			}
		})
	}
}

func TestPutMovesFromAnotherList(t *testing.T) {
	a, things := newList(2)
	b, _ := newList(0)
	b.Put(&things[0].item, things[0])
	if a.Len() != 1 || b.Len() != 1 {
		t.Errorf("the lists have %d and %d items, want one each", a.Len(), b.Len())
	}
	n := 0
	b.Clear(func(x *thing) {
		if n++; x != things[0] {
			t.Errorf("the other list has %+v", x)
		}
	})
	if n != 1 || b.Len() != 0 {
		t.Errorf("Clear called its func %d times and left %d, want once and none", n, b.Len())
	}
}

// However many there are, Victim looks at few.
func TestVictimIsBounded(t *testing.T) {
	looks := 0
	l, things := newList(100_000)
	for _, x := range things {
		x.used++ // all are in use
	}
	rank := l.Rank
	l.Rank = func(x *thing) int64 { looks++; return rank(x) }
	if _, ok := l.Victim(); !ok || looks > 2000 {
		t.Errorf("it looked at %d of 100,000", looks)
	}
}
