package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"

	"github.com/sqlsecrets/sqlsecrets/bench/internal/report"
)

// A kept has the sections that were measured, and the file that keeps them.
type kept struct {
	path     string // empty: no file
	Sections map[string]*report.Section
}

// loadKept reads the sections of a file. The file need not exist.
func loadKept(path string) (*kept, error) {
	k := &kept{path: path, Sections: map[string]*report.Section{}}
	if path == "" {
		return k, nil
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return k, nil
	}
	if err != nil {
		return nil, err
	}
	return k, json.Unmarshal(data, k)
}

// add keeps a section. It replaces an earlier one with the same name.
func (k *kept) add(s *report.Section) error {
	k.Sections[s.Name] = s
	if k.path == "" {
		return nil
	}
	data, err := json.Marshal(k)
	if err != nil {
		return err
	}
	return os.WriteFile(k.path, data, 0o644)
}

// inOrder returns the sections in the order of the report.
func (k *kept) inOrder() (all []*report.Section) {
	for _, s := range sections {
		if measured := k.Sections[s.name]; measured != nil {
			all = append(all, measured)
		}
	}
	return all
}
