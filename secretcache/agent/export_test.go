package agent

// Decode is for the tests of what it makes of an answer.
var Decode = decode
