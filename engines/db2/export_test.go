package db2

// Words is the vocabulary of this package.
var Words = words
