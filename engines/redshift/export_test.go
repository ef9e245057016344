package redshift

import (
	"maps"
	"slices"
)

// The names in this package's tables.
var (
	Params             = slices.Concat(pgxParams, []string{"application_name", "client_encoding"})
	Refused            = slices.Sorted(maps.Keys(refused))
	Settings           = settings
	Properties         = slices.Sorted(maps.Keys(properties))
	WithoutCounterpart = withoutCounterpart
)
