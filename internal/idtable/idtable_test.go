package idtable_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/internal/idtable"
)

func values(t *idtable.Table[int], id string) []int {
	var got []int
	for n := t.First(id); n != nil; n = n.Next() {
		got = append(got, n.Value)
	}
	return got
}

func TestTable(t *testing.T) {
	const ids = 1000 // in 64 buckets
	table := idtable.New[int](0)
	name := func(i int) string { return fmt.Sprint("id", i) }
	for i := range ids {
		table.Add(name(i), i)
		table.Add(name(i), -i)
	}
	for i := range ids {
		switch i % 3 {
		case 0:
			table.Remove(name(i), i)
		case 1:
			table.Remove(name(i), -i)
		}
		table.Remove(name(i), ids+1) // which it does not have
	}
	for i := range ids {
		want := [][]int{{-i}, {i}, {-i, i}}[i%3]
		if got := values(&table, name(i)); !slices.Equal(got, want) {
			t.Errorf("%s has the values %v, want %v", name(i), got, want)
		}
	}
	if got := values(&table, "none"); got != nil {
		t.Errorf("an unknown id has the values %v", got)
	}
	table.Clear()
	if got := values(&table, name(1)); got != nil {
		t.Errorf("after Clear, %s has the values %v", name(1), got)
	}
}

func TestReadersNeedNoLock(t *testing.T) {
	table := idtable.New[int](0)
	for i := range 100 {
		table.Add(fmt.Sprint("kept", i), i)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 1000 {
				for i := range 100 {
					if n := table.First(fmt.Sprint("kept", i)); n == nil || n.Value != i {
						t.Errorf("First(kept%d) = %v", i, n)
						return
					}
				}
			}
		})
	}
	for i := range 10_000 {
		table.Add(fmt.Sprint("other", i%50), i)
		table.Remove(fmt.Sprint("other", (i+25)%50), i-25)
	}
	wg.Wait()
}
