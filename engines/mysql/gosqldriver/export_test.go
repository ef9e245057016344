package gosqldriver

import (
	"maps"
	"slices"
)

// The names in this package's tables, but for variables of the server.
var (
	Params             = slices.Sorted(maps.Keys(rules))
	Refused            = slices.Sorted(maps.Keys(refused))
	Properties         = slices.Sorted(maps.Keys(properties))
	WithoutCounterpart = withoutCounterpart
)
