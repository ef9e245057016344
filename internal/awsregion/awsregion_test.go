package awsregion_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/internal/awsregion"
)

func TestValid(t *testing.T) {
	for s, want := range map[string]bool{
		"us-west-2": true, "cn-north-1": true, "us-gov-west-1": true, "eusc-de-east-1": true, "us-iso-east-1": true, "a": true,
		strings.Repeat("a", 63): true, strings.Repeat("a", 64): false,
		"": false, "-": false, "-us-west-2": false, "us-west-2-": false, "US-WEST-2": false, "us west": false,
		"us-west-2.example.com": false, "us/west": false, "us_west_2": false, "ü": false, "a,b": false,
	} {
		if got := awsregion.Valid(s); got != want {
			t.Errorf("Valid(%q) = %t, want %t", s, got, want)
		}
	}
}

func TestSplit(t *testing.T) {
	for _, tt := range []struct {
		list, first string
		others      []string
	}{
		{"", "", nil},
		{"us-west-2", "us-west-2", nil},
		{"us-west-2,us-east-1", "us-west-2", []string{"us-east-1"}},
		{"a,b,c", "a", []string{"b", "c"}},
		{"a,", "a", []string{""}},
		{",b", "", []string{"b"}},
	} {
		first, others := awsregion.Split(tt.list)
		if first != tt.first || !slices.Equal(others, tt.others) || (others == nil) != (tt.others == nil) {
			t.Errorf("Split(%q) = %q, %q, want %q, %q", tt.list, first, others, tt.first, tt.others)
		}
	}
}

func TestMeantIsARegionOneEditAway(t *testing.T) {
	for name, want := range map[string]string{
		"us-west2": "us-west-2", "us-wst-2": "us-west-2", "uswest-2": "us-west-2", "eu-centarl-1": "eu-central-1",
		"us-west-": "us-west-1", "us-west": "us-west-1",
		"us-west-2": "", "us-west-3": "", "ap-southeast-12": "", "eusc-de-east-1": "", "eusc-de-east-2": "",
		"local": "", "mars-north-1": "", "us": "",
	} {
		if got := awsregion.Meant(name); got != want {
			t.Errorf("Meant(%q) = %q, want %q", name, got, want)
		}
	}
}
