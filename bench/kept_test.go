package main

import (
	"path/filepath"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/bench/internal/report"
)

func TestKeptSections(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.json")
	first, err := loadKept(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*report.Section{{Name: "cache-memory", Title: "old"}, {Name: "cache-hit"}, {Name: "cache-memory", Title: "new"}} {
		if err := first.add(s); err != nil {
			t.Fatal(err)
		}
	}
	second, err := loadKept(path)
	if err != nil {
		t.Fatal(err)
	}
	all := second.inOrder()
	if len(all) != 2 || all[0].Name != "cache-hit" || all[1].Title != "new" {
		t.Errorf("the file keeps %+v, want cache-hit and the newest cache-memory", all)
	}
}

func TestNamedSections(t *testing.T) {
	if chosen, err := named("cache-memory,cache-hit"); err != nil || len(chosen) != 2 || chosen[0].name != "cache-memory" {
		t.Errorf("got %v, %v", chosen, err)
	}
	if _, err := named("cache-hit,none"); err == nil {
		t.Error("an unknown section is not an error")
	}
}
