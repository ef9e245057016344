// Package awsregion knows the names of AWS regions, and lists of them as a data
// source name has.
package awsregion

import "strings"

// Valid reports whether s may be the name of a region, as us-west-2 is: which there
// are, AWS knows, but nothing else becomes part of a host's name.
func Valid(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// Split splits a list with commas between, "us-west-2,us-east-1", into its first
// region and the others, in their order. It does not check them; others is nil where
// there are none.
func Split(list string) (first string, others []string) {
	first, rest, more := strings.Cut(list, ",")
	if more {
		others = strings.Split(rest, ",")
	}
	return first, others
}
