package svg

import (
	"math"
	"strings"
)

// NiceCeiling returns the next of 1, 2, 5, 10 and so on, and 1 if v is not positive.
func NiceCeiling(v float64) float64 {
	if v <= 0 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, n := range []float64{1, 2, 5} {
		if n*power >= v {
			return n * power
		}
	}
	return 10 * power
}

// Commas writes 12345.6 as 12,345.6.
func Commas(s string) string {
	whole, fraction, found := strings.Cut(s, ".")
	for n := len(whole) - 3; n > 0 && whole[n-1] != '-'; n -= 3 {
		whole = whole[:n] + "," + whole[n:]
	}
	if found {
		return whole + "." + fraction
	}
	return whole
}
