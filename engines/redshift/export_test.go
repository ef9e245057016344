package redshift

// The vocabulary of this package, and the properties without a counterpart, by hint.
var (
	Words  = words
	Absent = absent
)
