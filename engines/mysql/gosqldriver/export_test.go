package gosqldriver

// Words is the vocabulary of this package.
var Words = mySQLWords
