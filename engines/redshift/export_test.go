package redshift

// This package's vocabulary, and the properties without a counterpart by hint.
var (
	Words  = words
	Absent = absent
)
