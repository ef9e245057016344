package chance_test

import (
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/internal/chance"
)

func draw(n int) (all []time.Duration) {
	for range n {
		all = append(all, chance.UpTo(time.Hour))
	}
	return all
}

func TestEqualSeedsChooseAlike(t *testing.T) {
	seeded := func(seed uint64) []time.Duration {
		defer chance.Seed(seed)()
		return draw(20)
	}
	one, again, two := seeded(1), seeded(1), seeded(2)
	differ := 0
	for i := range one {
		if one[i] != again[i] {
			t.Errorf("choice %d is %v and %v for one seed", i, one[i], again[i])
		}
		if one[i] != two[i] {
			differ++
		}
	}
	if differ == 0 {
		t.Error("two seeds choose alike")
	}
}

func TestUpToStaysBelowItsLimit(t *testing.T) {
	for _, undo := range []func(){func() {}, chance.Seed(1)} {
		for _, limit := range []time.Duration{-1, 0, 1, 2, time.Hour} {
			for range 100 {
				if d := chance.UpTo(limit); d < 0 || d > max(0, limit-1) {
					t.Errorf("UpTo(%d) = %d", limit, d)
				}
			}
		}
		undo()
	}
}
