package agent

// Decode is decode, for tests.
var Decode = decode
