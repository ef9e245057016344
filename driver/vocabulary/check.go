package vocabulary

import (
	"errors"
	"slices"
	"strconv"
	"strings"
)

// Match returns a func for Param.Check. It accepts the values for which ok reports true. want describes
// these values for the error "it has to be …".
func Match(want string, ok func(value string) bool) func(string) error {
	return func(v string) error {
		if !ok(v) {
			return errors.New("it has to be " + want)
		}
		return nil
	}
}

// OneOf returns a func for Param.Check that accepts only values.
func OneOf(values ...string) func(string) error {
	return Match("one of "+strings.Join(values, ", "), func(v string) bool { return slices.Contains(values, v) })
}

// Number returns a func for Param.Check that accepts whole numbers from least to most. want is as in
// [Match].
func Number(want string, least, most int) func(string) error {
	return Match(want, func(v string) bool {
		n, err := strconv.Atoi(v)
		return err == nil && n >= least && n <= most && v[0] != '+' && (n < 0 || v[0] != '-')
	})
}

// NotEmpty is a func for Param.Check. It accepts all values but the empty one.
func NotEmpty(v string) error {
	if v == "" {
		return errors.New("it is empty")
	}
	return nil
}
