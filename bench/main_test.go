package main

import "testing"

// Each section runs everything once. No duration fails the test.
func TestEverySectionRuns(t *testing.T) {
	for _, s := range sections {
		t.Run(s.name, func(t *testing.T) {
			measured, err := s.run(withTest(t), true)
			if err != nil {
				t.Fatal(err)
			}
			if measured.Name != s.name {
				t.Errorf("the section is called %q, want %q", measured.Name, s.name)
			}
			if len(measured.Tables) == 0 && len(measured.Absent) == 0 {
				t.Error("the section has no table, and names nothing that is not available")
			}
			for _, table := range measured.Tables {
				for _, row := range table.Rows {
					if len(row) != len(table.Columns) {
						t.Errorf("table %q has a row of %d cells, want %d", table.Title, len(row), len(table.Columns))
					}
				}
			}
		})
	}
}
