package engines_test

import (
	"testing"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines"
)

// The check of a location makes no source, because it is called for each data source name.
func TestCheckOfALocationMakesNoSource(t *testing.T) {
	check := engines.Options(nil).CheckLocation
	for _, tt := range []struct {
		source string
		allocs float64 // to parse the list; a source alone takes more
	}{{"aws", 6}, {"agent,aws", 8}, {"file:/mnt/secrets", 6}, {"env:NAME", 6}} {
		if n := testing.AllocsPerRun(100, func() {
			if err := check(driver.Location{Source: tt.source}); err != nil {
				t.Fatal(err)
			}
		}); n > tt.allocs {
			t.Errorf("the check of %q allocates %v times, want %v at most", tt.source, n, tt.allocs)
		}
	}
}
