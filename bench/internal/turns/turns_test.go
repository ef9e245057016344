package turns_test

import (
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/bench/internal/turns"
)

var sink []byte

func TestCompare(t *testing.T) {
	var a, b, before int
	results := turns.Compare([]turns.Subject{
		{Name: "a", Op: func(n int) { a += n }, Before: func() { before++ }},
		{Name: "b", Op: func(n int) {
			b += n
			for range n {
				sink = make([]byte, 1000)
			}
		}},
	}, &turns.Options{Slice: 100 * time.Microsecond, Rounds: 10, MaxRounds: 10})
	for i, name := range []string{"a", "b"} {
		r := results[i]
		if r.Name != name || r.Rounds != 10 || r.Low <= 0 || r.Low > r.Median || r.Median > r.High {
			t.Errorf("result %d is %+v, want 10 rounds of %s", i, r, name)
		}
	}
	if got := results[1]; got.Allocs < 0.9 || got.Allocs > 1.5 || got.Bytes < 1000 {
		t.Errorf("b allocates %v objects and %v bytes per operation, want 1 and 1,024", got.Allocs, got.Bytes)
	}
	if a == 0 || b == 0 || before < 10 {
		t.Errorf("a did %d operations, b %d; Before ran %d times", a, b, before)
	}
}

func TestOnceRunsOneOperation(t *testing.T) {
	n := 0
	turns.Compare([]turns.Subject{{Op: func(k int) { n += k }}}, &turns.Options{Once: true})
	if n != 1 {
		t.Errorf("%d operations, want 1", n)
	}
}

func TestResultOfGivenTimes(t *testing.T) {
	r := turns.Of("x", []float64{11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1})
	if r.Low != 2 || r.Median != 6 || r.High != 10 || r.Rounds != 11 {
		t.Errorf("got %+v", r)
	}
}
