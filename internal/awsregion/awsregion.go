// Package awsregion knows the names of AWS regions, and the lists of regions that a data source
// name may have.
package awsregion

import (
	"slices"
	"strings"

	"github.com/sqlsecrets/sqlsecrets/internal/jdbcurl"
)

// Valid reports whether s has the form of a region's name, such as us-west-2. It does not know
// which regions exist. Its purpose is that nothing else becomes part of a host's name.
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

// Split splits a list such as "us-west-2,us-east-1" into its first region and the others, in their
// order. It does not check the regions. others is nil if there are none.
func Split(list string) (first string, others []string) {
	first, rest, more := strings.Cut(list, ",")
	if more {
		others = strings.Split(rest, ",")
	}
	return first, others
}

// known are the regions of https://docs.aws.amazon.com/global-infrastructure/latest/regions/
// and of AWS's other partitions. AWS may have more regions by now.
var known = strings.Fields(`
	af-south-1 ap-east-1 ap-east-2 ap-northeast-1 ap-northeast-2 ap-northeast-3 ap-south-1 ap-south-2
	ap-southeast-1 ap-southeast-2 ap-southeast-3 ap-southeast-4 ap-southeast-5 ap-southeast-6 ap-southeast-7
	ca-central-1 ca-west-1 eu-central-1 eu-central-2 eu-north-1 eu-south-1 eu-south-2 eu-west-1 eu-west-2 eu-west-3
	il-central-1 me-central-1 me-south-1 mx-central-1 sa-east-1 us-east-1 us-east-2 us-west-1 us-west-2
	cn-north-1 cn-northwest-1 us-gov-east-1 us-gov-west-1 eusc-de-east-1
	us-iso-east-1 us-iso-west-1 us-isob-east-1 us-isob-west-1 us-isof-east-1 us-isof-south-1 eu-isoe-west-1`)

// Meant returns the region that the user of a mistyped name meant, or "". The name is one edit away
// from the region. A known name with another number is not a typing error, because there will be
// new regions.
func Meant(name string) string {
	isKnown := func(region string) bool { return place(region) == place(name) }
	if place(name) != name && slices.ContainsFunc(known, isKnown) {
		return ""
	}
	for _, near := range []func(region string) bool{
		func(region string) bool { return jdbcurl.Plain(region) == jdbcurl.Plain(name) },
		isKnown,
		func(region string) bool { return jdbcurl.Nearly(name, region) },
	} {
		if i := slices.IndexFunc(known, near); i >= 0 {
			return known[i]
		}
	}
	return ""
}

// place returns the name of a region without its number.
func place(region string) string { return strings.TrimRight(region, "0123456789") }
