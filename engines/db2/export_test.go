package db2

// Words is this package's vocabulary.
var Words = words
