package db2

import (
	"maps"
	"slices"
)

// The names in this package's tables.
var (
	Params     = slices.Sorted(maps.Keys(rules))
	Properties = slices.Sorted(maps.Keys(jcc))
)
