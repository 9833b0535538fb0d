// Package onig runs the regular expressions of tokenizer files with the meaning that Oniguruma 6.9.10 gives them.
//
// It is an engine of its own because neither the standard library (no look-around) nor a translation to another
// backtracking engine gives two properties at once: the same matches as the reference, and a bound on work that depends
// on the text alone. The engine backtracks; where that proves costly it remembers the places that failed, which makes
// every pattern without back-references linear in the text, and a budget of steps ends the others with an error.
//
// Held by tests: equality with the reference for each pattern of known tokenizers, and with dlclark/regexp2 on random
// texts (TestAgainstRegexp2); properties cover all code points as measured (package ucd).
package onig
