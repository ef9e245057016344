package main

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"sync"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/bench/fleet"
)

// fleetResults are the results of earlier runs, and the file that keeps them.
type fleetResults struct {
	mu   sync.Mutex // guards all below
	file *os.File   // nil: no file
	all  []*fleet.Result
}

// loadRuns reads the results that a file keeps. An empty path is no file.
func loadRuns(path string) (*fleetResults, error) {
	if path == "" {
		return &fleetResults{}, nil
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	r := &fleetResults{file: file}
	for d := json.NewDecoder(file); ; {
		var one fleet.Result
		if err := d.Decode(&one); errors.Is(err, io.EOF) {
			return r, nil
		} else if err != nil {
			return nil, err
		}
		if one.Scenario = fleet.Named(one.Scenario.Name); one.Scenario != nil {
			r.all = append(r.all, &one)
		}
	}
}

// find returns the result of a scenario with n instances, or nil.
func (r *fleetResults) find(s *fleet.Scenario, n int) *fleet.Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, one := range r.all {
		if one.Scenario == s && one.N == n {
			return one
		}
	}
	return nil
}

// add keeps a result.
func (r *fleetResults) add(t *testing.T, one *fleet.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file == nil {
		return
	}
	if err := json.NewEncoder(r.file).Encode(one); err != nil {
		t.Error(err)
	}
}
