package bench

// Impossible is for the tests of this package.
var Impossible = impossible
