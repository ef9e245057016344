package gosqldriver

// Words is this package's vocabulary.
var Words = mySQLWords
