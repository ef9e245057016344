package main

import (
	"strings"
	"testing"
	"time"
)

// Every section with a database runs. On a machine without Docker those with real servers
// name what is missing, and measure the rest.
func TestDatabaseSections(t *testing.T) {
	for _, s := range sections {
		t.Run(s.name, func(t *testing.T) {
			start := time.Now()
			got, err := s.run(t.Context(), true)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%s took %v; absent: %s", got.Name, time.Since(start).Round(time.Millisecond), strings.Join(got.Absent, "; "))
			for _, table := range got.Tables {
				t.Log(table.Title, table.Columns)
				for _, row := range table.Rows {
					if len(row) != len(table.Columns) {
						t.Errorf("table %q has a row of %d cells, want %d", table.Title, len(row), len(table.Columns))
					}
					t.Log(row)
				}
			}
			for _, target := range got.Targets {
				t.Logf("%+v", target)
				if target.Met != (target.Missed == "") {
					t.Errorf("target %q: met %t, missed %q", target.What, target.Met, target.Missed)
				}
			}
		})
	}
}
